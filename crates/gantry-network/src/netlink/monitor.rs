//! What others change about the network: interfaces that go and come back, addresses, and our table
//! when somebody clears all of nftables. The kernel tells about it without being asked.

use std::io;

use futures::FutureExt;
use netlink_sys::{AsyncSocket, AsyncSocketExt, TokioSocket};
use nix::sys::socket::{setsockopt, sockopt};

use super::{
    message::{attribute, received},
    route::{self, ip},
};
use crate::{nft::encode::is_deleted_table, overlay::plan::is_link_local, pod_link};

const LINKS: u32 = 1;
const IPV4_ADDRESSES: u32 = 5;
const IPV6_ADDRESSES: u32 = 9;
const TABLES: u32 = 7;
/// Messages that were not read in time are not kept; that is told, too.
const RECEIVE_BUFFER: usize = 1 << 20;

/// What is to be looked at again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disturbed {
    /// Interfaces and addresses, and with them routes.
    pub routes: bool,
    /// Our tables.
    pub tables: bool,
}

/// Listens to the kernel in the network namespace of the thread that opened it.
pub struct Monitor {
    routing: TokioSocket,
    netfilter: TokioSocket,
}

impl Monitor {
    /// Listens from now on. Has to be called inside of a runtime.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            routing: listen(netlink_sys::protocols::NETLINK_ROUTE, &[LINKS, IPV4_ADDRESSES, IPV6_ADDRESSES])?,
            netfilter: listen(netlink_sys::protocols::NETLINK_NETFILTER, &[TABLES])?,
        })
    }

    /// Waits for something that matters.
    pub async fn next(&self) -> io::Result<Disturbed> {
        loop {
            let disturbed = tokio::select! {
                routes = read(&self.routing, matters) => Disturbed { routes: routes?, tables: false },
                tables = read(&self.netfilter, is_deleted_table) => Disturbed { routes: false, tables: tables? },
            };
            if disturbed != Disturbed::default() {
                return Ok(disturbed);
            }
        }
    }
}

fn listen(protocol: isize, groups: &[u32]) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(protocol)?;
    socket.socket_mut().bind_auto()?;
    setsockopt(socket.socket_ref(), sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    groups.iter().try_for_each(|group| socket.socket_mut().add_membership(*group))?;
    Ok(socket)
}

/// Waits for messages and reads all there are; whether one of them matters.
async fn read(socket: &TokioSocket, matters: fn(u16, &[u8]) -> bool) -> io::Result<bool> {
    let mut next = Some(socket.recv_from_full().await);
    let mut found = false;
    while let Some(received_now) = next {
        match received_now {
            Ok((bytes, _)) => found |= received(&bytes).any(|m| matters(m.kind, m.body)),
            // Nobody knows what was lost.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => found = true,
            Err(error) => return Err(error),
        }
        next = socket.recv_from_full().now_or_never();
    }
    Ok(found)
}

/// Whether a message is about something else than our pods' interfaces.
fn matters(kind: u16, body: &[u8]) -> bool {
    match kind {
        route::NEW_LINK => {
            let name = body.get(16..).and_then(|rest| attribute(rest, libc::IFLA_IFNAME));
            name.is_some_and(|name| !name.starts_with(pod_link::PREFIX.as_bytes()))
        }
        route::NEW_ADDRESS | route::DELETE_ADDRESS => {
            let address = body.get(8..).and_then(|rest| attribute(rest, libc::IFA_ADDRESS)).and_then(ip);
            address.is_some_and(|address| !is_link_local(address))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::message::Messages;

    fn check(kind: u16, header: usize, attribute: u16, value: &[u8]) -> bool {
        let mut messages = Messages::default();
        messages.push(kind, 0, &vec![0; header], |a| a.bytes(attribute, value));
        received(messages.bytes()).any(|m| matters(m.kind, m.body))
    }

    #[test]
    fn our_pods_do_not_matter() {
        assert!(check(route::NEW_LINK, 16, libc::IFLA_IFNAME, b"eth0\0"));
        assert!(!check(route::NEW_LINK, 16, libc::IFLA_IFNAME, b"gantry0123\0"));
        assert!(check(route::NEW_ADDRESS, 8, libc::IFA_ADDRESS, &[192, 0, 2, 1]));
        assert!(!check(
            route::NEW_ADDRESS,
            8,
            libc::IFA_ADDRESS,
            &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        ));
        assert!(!check(route::GET_LINK, 16, libc::IFLA_IFNAME, b"eth0\0"));
        assert!(!matters(route::NEW_LINK, &[]));
    }
}
