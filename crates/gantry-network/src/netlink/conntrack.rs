//! Connection tracking's table by ctnetlink: UDP flows and their removal.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use super::{
    message::{DUMP, attribute},
    route::ip,
    socket::Socket,
};

const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
const ZONE: u16 = 18;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;
/// Attributes of source and destination, for IPv4 and IPv6.
const ADDRESSES: [(u16, u16); 2] = [(1, 2), (3, 4)];
const DESTINATION_TRANSLATED: u32 = 1 << 5;
const UDP: u8 = 17;

/// A UDP flow that the kernel remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What its first packet was sent to.
    pub to: SocketAddr,
    /// Who answers.
    pub answers: SocketAddr,
    /// Whether it was led elsewhere than it was sent to.
    pub translated: bool,
    tuple: Vec<u8>,
    zone: Option<Vec<u8>>,
}

impl Socket {
    /// The UDP flows of an address family, by the kernel's number of the family.
    pub fn udp_flows(&self, family: u8) -> io::Result<Vec<Flow>> {
        let mut flows = Vec::new();
        self.ask(GET, DUMP, &[family, 0, 0, 0], |_| {}, |body| flows.extend(flow(body)))?;
        Ok(flows)
    }

    /// Makes the kernel forget a flow; `false` if it has already.
    pub fn delete_flow(&self, family: u8, flow: &Flow) -> io::Result<bool> {
        let deleted = self.request(DELETE, 0, &[family, 0, 0, 0], |a| {
            a.nest(ORIGINAL, |a| a.raw(&flow.tuple));
            if let Some(zone) = &flow.zone {
                a.bytes(ZONE, zone);
            }
        });
        match deleted {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            other => other.map(|()| true),
        }
    }
}

fn flow(body: &[u8]) -> Option<Flow> {
    let (_, rest) = body.split_at_checked(4)?;
    let tuple = attribute(rest, ORIGINAL)?;
    let (_, to) = ends(tuple)?;
    let (answers, _) = ends(attribute(rest, REPLY)?)?;
    let status = attribute(rest, STATUS).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes);
    Some(Flow {
        to,
        answers,
        translated: status & DESTINATION_TRANSLATED != 0,
        tuple: tuple.to_vec(),
        zone: attribute(rest, ZONE).map(<[u8]>::to_vec),
    })
}

/// Source and destination of a direction of a UDP flow.
fn ends(tuple: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (addresses, protocol) = (attribute(tuple, TUPLE_IP)?, attribute(tuple, TUPLE_PROTOCOL)?);
    if attribute(protocol, NUMBER)? != [UDP] {
        return None;
    }
    let address = |pick: fn((u16, u16)) -> u16| -> Option<IpAddr> {
        ADDRESSES.into_iter().find_map(|kinds| ip(attribute(addresses, pick(kinds))?))
    };
    let port = |kind| attribute(protocol, kind)?.try_into().ok().map(u16::from_be_bytes);
    Some((
        SocketAddr::new(address(|kinds| kinds.0)?, port(SOURCE_PORT)?),
        SocketAddr::new(address(|kinds| kinds.1)?, port(DESTINATION_PORT)?),
    ))
}
