//! Links, addresses, routes and neighbours by rtnetlink.

use std::{
    ffi::CStr,
    io,
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use ipnet::IpNet;

use super::{
    message::{Attributes, CREATE, DUMP, EXCLUSIVE, REPLACE, attribute, attributes},
    socket::Socket,
};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// rtnetlink's number of this message.
pub const NEW_LINK: u16 = 16;
const DELETE_LINK: u16 = 17;
/// rtnetlink's number of this message.
pub const GET_LINK: u16 = 18;
/// rtnetlink's number of this message.
pub const NEW_ADDRESS: u16 = 20;
/// rtnetlink's number of this message.
pub const DELETE_ADDRESS: u16 = 21;
const GET_ADDRESS: u16 = 22;
const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const GET_ROUTE: u16 = 26;
const NEW_NEIGHBOUR: u16 = 28;
const DELETE_NEIGHBOUR: u16 = 29;
const GET_NEIGHBOUR: u16 = 30;

const VETH_INFO_PEER: u16 = 1;
const VXLAN_ID: u16 = 1;
const VXLAN_LOCAL: u16 = 4;
const VXLAN_LEARNING: u16 = 7;
const VXLAN_PORT: u16 = 15;
const VXLAN_LOCAL6: u16 = 17;

const MAIN_TABLE: u8 = 254;
const UNICAST: u8 = 1;
const SCOPE_GLOBAL: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const ON_LINK: u32 = 4;
const IPV4: u8 = libc::AF_INET as u8;
const IPV6: u8 = libc::AF_INET6 as u8;
const BRIDGE: u8 = libc::AF_BRIDGE as u8;
const PERMANENT: u16 = 0x80;
const ON_DEVICE_ITSELF: u8 = 2;

/// The mark of the routes that are ours: rtnetlink's "protocol" of a route.
pub const PROTOCOL: u8 = 71;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Number of the interface.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What made it: `veth`, `vxlan`; empty for hardware.
    pub kind: String,
    /// Free text given to it.
    pub alias: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// For a VXLAN: network identifier, port, own address.
    pub vxlan: Option<(u32, u16, Option<IpAddr>)>,
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Where to.
    pub destination: IpNet,
    /// Next hop; `None` if the destination is on the link.
    pub gateway: Option<IpAddr>,
    /// Interface's number.
    pub link: u32,
    /// Address that packets from this machine carry.
    pub source: Option<IpAddr>,
    /// The next hop is reached without a route of its own.
    pub on_link: bool,
}

/// An entry of the neighbour table, or with `bridge` of a forwarding table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Interface's number.
    pub link: u32,
    /// Address of the neighbour, or of the machine that frames go to.
    pub address: IpAddr,
    /// Its Ethernet address.
    pub mac: Mac,
    /// Whether frames for `mac` are sent to `address` through a tunnel.
    pub bridge: bool,
}

/// A pair of interfaces to make.
#[derive(Debug)]
pub struct Veth<'a> {
    /// Name at this end.
    pub name: &'a str,
    /// Ethernet address at this end.
    pub mac: Mac,
    /// Free text for this end.
    pub alias: &'a str,
    /// Name at the other end.
    pub peer_name: &'a str,
    /// Ethernet address at the other end.
    pub peer_mac: Mac,
    /// Network namespace of the other end.
    pub peer_namespace: BorrowedFd<'a>,
    /// Largest packet in bytes.
    pub mtu: u32,
}

impl Socket {
    /// Every interface.
    pub fn links(&self) -> io::Result<Vec<Link>> {
        let mut links = Vec::new();
        self.ask(GET_LINK, DUMP, &[0; 16], |_| {}, |body| links.extend(link(body)))?;
        Ok(links)
    }

    /// The interface of that name.
    pub fn link(&self, name: &str) -> io::Result<Option<Link>> {
        let mut found = None;
        let asked = |a: &mut Attributes<'_>| a.text(libc::IFLA_IFNAME, name);
        match self.ask(GET_LINK, 0, &[0; 16], asked, |body| found = link(body)) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            other => other.map(|()| found),
        }
    }

    /// Makes a veth pair whose other end is in another namespace.
    pub fn add_veth(&self, veth: &Veth<'_>) -> io::Result<()> {
        self.request(NEW_LINK, CREATE | EXCLUSIVE, &[0; 16], |a| {
            a.text(libc::IFLA_IFNAME, veth.name);
            a.native(libc::IFLA_MTU, veth.mtu);
            a.bytes(libc::IFLA_ADDRESS, &veth.mac);
            a.nest(libc::IFLA_LINKINFO, |a| {
                a.text(libc::IFLA_INFO_KIND, "veth");
                a.nest(libc::IFLA_INFO_DATA, |a| {
                    a.nest(VETH_INFO_PEER, |a| {
                        a.raw(&[0; 16]);
                        a.text(libc::IFLA_IFNAME, veth.peer_name);
                        a.native(libc::IFLA_MTU, veth.mtu);
                        a.bytes(libc::IFLA_ADDRESS, &veth.peer_mac);
                        a.native(libc::IFLA_NET_NS_FD, veth.peer_namespace.as_raw_fd() as u32);
                    });
                });
            });
        })?;
        // Text is taken when an interface changes, not when it is made.
        self.request(NEW_LINK, 0, &[0; 16], |a| {
            a.text(libc::IFLA_IFNAME, veth.name);
            a.bytes(libc::IFLA_IFALIAS, veth.alias.as_bytes());
        })
    }

    /// Makes a VXLAN device that learns nothing by itself.
    pub fn add_vxlan(
        &self,
        name: &str,
        id: u32,
        port: u16,
        local: IpAddr,
        mac: Mac,
        mtu: u32,
    ) -> io::Result<()> {
        self.request(NEW_LINK, CREATE | EXCLUSIVE, &[0; 16], |a| {
            a.text(libc::IFLA_IFNAME, name);
            a.native(libc::IFLA_MTU, mtu);
            a.bytes(libc::IFLA_ADDRESS, &mac);
            a.nest(libc::IFLA_LINKINFO, |a| {
                a.text(libc::IFLA_INFO_KIND, "vxlan");
                a.nest(libc::IFLA_INFO_DATA, |a| {
                    a.native(VXLAN_ID, id);
                    a.bytes(VXLAN_PORT, &port.to_be_bytes());
                    a.bytes(VXLAN_LEARNING, &[0]);
                    match local {
                        IpAddr::V4(ip) => a.bytes(VXLAN_LOCAL, &ip.octets()),
                        IpAddr::V6(ip) => a.bytes(VXLAN_LOCAL6, &ip.octets()),
                    }
                });
            });
        })
    }

    /// Brings an interface up.
    pub fn set_up(&self, link: u32) -> io::Result<()> {
        let up = libc::IFF_UP as u32;
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        header[8..12].copy_from_slice(&up.to_ne_bytes());
        header[12..16].copy_from_slice(&up.to_ne_bytes());
        self.request(NEW_LINK, 0, &header, |_| {})
    }

    /// Deletes an interface; `false` if there is none of that name.
    pub fn delete_link(&self, name: &str) -> io::Result<bool> {
        existed(self.request(DELETE_LINK, 0, &[0; 16], |a| a.text(libc::IFLA_IFNAME, name)), libc::ENODEV)
    }

    /// Gives an interface an address, if it has not got it.
    pub fn add_address(&self, link: u32, address: IpNet) -> io::Result<()> {
        self.add_address_of_scope(link, address, SCOPE_GLOBAL)
    }

    /// Gives an interface an address, if it has not got it, that nothing is sent from unasked.
    pub fn add_host_address(&self, link: u32, address: IpNet) -> io::Result<()> {
        self.add_address_of_scope(link, address, SCOPE_HOST)
    }

    fn add_address_of_scope(&self, link: u32, address: IpNet, scope: u8) -> io::Result<()> {
        const WITHOUT_DUPLICATE_DETECTION: u8 = 2;
        let flags = if address.addr().is_ipv6() { WITHOUT_DUPLICATE_DETECTION } else { 0 };
        let mut header = [family(address.addr()), address.prefix_len(), flags, scope, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        let bytes = octets(address.addr());
        self.request(NEW_ADDRESS, CREATE | REPLACE, &header, |a| {
            a.bytes(libc::IFA_LOCAL, &bytes);
            a.bytes(libc::IFA_ADDRESS, &bytes);
        })
    }

    /// Takes an address from an interface. False if it has not got it.
    pub fn delete_address(&self, link: u32, address: IpNet) -> io::Result<bool> {
        let mut header = [family(address.addr()), address.prefix_len(), 0, SCOPE_GLOBAL, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&link.to_ne_bytes());
        let deleted = self.request(DELETE_ADDRESS, 0, &header, |a| {
            a.bytes(libc::IFA_LOCAL, &octets(address.addr()));
        });
        existed(deleted, libc::EADDRNOTAVAIL)
    }

    /// Every address with the number of its interface and its prefix.
    pub fn addresses(&self) -> io::Result<Vec<(u32, IpNet)>> {
        let mut addresses = Vec::new();
        self.ask(
            GET_ADDRESS,
            DUMP,
            &[0; 8],
            |_| {},
            |body| {
                let Some((header, rest)) = body.split_at_checked(8) else { return };
                let own = attribute(rest, libc::IFA_LOCAL).or_else(|| attribute(rest, libc::IFA_ADDRESS));
                if let Some(net) = own.and_then(ip).and_then(|ip| IpNet::new(ip, header[1]).ok()) {
                    addresses.push((number(&header[4..8]), net));
                }
            },
        )?;
        Ok(addresses)
    }

    /// Adds a route, or replaces the one to the same destination.
    pub fn set_route(&self, route: &Route) -> io::Result<()> {
        self.request(NEW_ROUTE, CREATE | REPLACE, &route_header(route), |a| route_attributes(a, route))
    }

    /// Deletes a route; `false` if there is none such.
    pub fn delete_route(&self, route: &Route) -> io::Result<bool> {
        let deleted = self.request(DELETE_ROUTE, 0, &route_header(route), |a| route_attributes(a, route));
        existed(deleted, libc::ESRCH)
    }

    /// The routes of the main table that are ours.
    pub fn own_routes(&self) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        self.ask(GET_ROUTE, DUMP, &[0; 12], |_| {}, |body| routes.extend(own_route(body)))?;
        Ok(routes)
    }

    /// Adds a lasting neighbour entry, or replaces the one for the same address.
    pub fn set_neighbour(&self, neighbour: &Neighbour) -> io::Result<()> {
        let header = neighbour_header(neighbour, PERMANENT);
        self.request(NEW_NEIGHBOUR, CREATE | REPLACE, &header, |a| {
            a.bytes(libc::NDA_DST, &octets(neighbour.address));
            a.bytes(libc::NDA_LLADDR, &neighbour.mac);
        })
    }

    /// Deletes a neighbour entry; `false` if there is none such.
    pub fn delete_neighbour(&self, neighbour: &Neighbour) -> io::Result<bool> {
        let deleted = self.request(DELETE_NEIGHBOUR, 0, &neighbour_header(neighbour, 0), |a| {
            a.bytes(libc::NDA_DST, &octets(neighbour.address));
            if neighbour.bridge {
                a.bytes(libc::NDA_LLADDR, &neighbour.mac);
            }
        });
        existed(deleted, libc::ENOENT)
    }

    /// The lasting neighbour and forwarding entries of an interface.
    pub fn neighbours(&self, link: u32) -> io::Result<Vec<Neighbour>> {
        let mut neighbours = Vec::new();
        for family in [libc::AF_UNSPEC as u8, BRIDGE] {
            let mut header = [0; 12];
            header[0] = family;
            self.ask(
                GET_NEIGHBOUR,
                DUMP,
                &header,
                |_| {},
                |body| neighbours.extend(lasting_neighbour(body)),
            )?;
        }
        neighbours.retain(|n| n.link == link);
        Ok(neighbours)
    }
}

fn existed(result: io::Result<()>, missing: i32) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(missing) => Ok(false),
        Err(error) => Err(error),
    }
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { IPV4 } else { IPV6 }
}

/// An address as bytes in network order.
pub fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The address of 4 or 16 bytes.
pub fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(Into::into)
}

fn number(bytes: &[u8]) -> u32 {
    bytes.try_into().map_or(0, u32::from_ne_bytes)
}

fn text(bytes: &[u8]) -> String {
    CStr::from_bytes_until_nul(bytes).map_or_else(
        |_| String::from_utf8_lossy(bytes).into_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

fn link(body: &[u8]) -> Option<Link> {
    let (header, rest) = body.split_at_checked(16)?;
    let mut link = Link {
        index: number(&header[4..8]),
        name: String::new(),
        kind: String::new(),
        alias: String::new(),
        mtu: 0,
        vxlan: None,
    };
    for (kind, value) in attributes(rest) {
        match kind {
            libc::IFLA_IFNAME => link.name = text(value),
            libc::IFLA_IFALIAS => link.alias = text(value),
            libc::IFLA_MTU => link.mtu = number(value),
            libc::IFLA_LINKINFO => {
                link.kind = attribute(value, libc::IFLA_INFO_KIND).map(text).unwrap_or_default();
                if link.kind == "vxlan" {
                    link.vxlan = attribute(value, libc::IFLA_INFO_DATA).map(vxlan);
                }
            }
            _ => {}
        }
    }
    Some(link)
}

fn vxlan(data: &[u8]) -> (u32, u16, Option<IpAddr>) {
    let port = attribute(data, VXLAN_PORT).and_then(|b| b.try_into().ok()).map_or(0, u16::from_be_bytes);
    let local = attribute(data, VXLAN_LOCAL).or_else(|| attribute(data, VXLAN_LOCAL6)).and_then(ip);
    (attribute(data, VXLAN_ID).map_or(0, number), port, local)
}

fn route_header(route: &Route) -> [u8; 12] {
    let scope =
        if route.gateway.is_none() && route.destination.addr().is_ipv4() { SCOPE_LINK } else { SCOPE_GLOBAL };
    let mut header = [0; 12];
    header[0] = family(route.destination.addr());
    header[1] = route.destination.prefix_len();
    header[4] = MAIN_TABLE;
    header[5] = PROTOCOL;
    header[6] = scope;
    header[7] = UNICAST;
    let flags = if route.on_link { ON_LINK } else { 0 };
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn route_attributes(a: &mut Attributes<'_>, route: &Route) {
    if route.destination.prefix_len() > 0 {
        a.bytes(libc::RTA_DST, &octets(route.destination.network()));
    }
    if let Some(gateway) = route.gateway {
        a.bytes(libc::RTA_GATEWAY, &octets(gateway));
    }
    if let Some(source) = route.source {
        a.bytes(libc::RTA_PREFSRC, &octets(source));
    }
    a.native(libc::RTA_OIF, route.link);
}

fn own_route(body: &[u8]) -> Option<Route> {
    let (header, rest) = body.split_at_checked(12)?;
    if header[4] != MAIN_TABLE || header[5] != PROTOCOL {
        return None;
    }
    let any: IpAddr = if header[0] == IPV4 { [0; 4].into() } else { [0; 16].into() };
    let destination = attribute(rest, libc::RTA_DST).and_then(ip).unwrap_or(any);
    Some(Route {
        destination: IpNet::new(destination, header[1]).ok()?,
        gateway: attribute(rest, libc::RTA_GATEWAY).and_then(ip),
        link: attribute(rest, libc::RTA_OIF).map_or(0, number),
        source: attribute(rest, libc::RTA_PREFSRC).and_then(ip),
        on_link: number(&header[8..12]) & ON_LINK != 0,
    })
}

fn neighbour_header(neighbour: &Neighbour, state: u16) -> [u8; 12] {
    let mut header = [0; 12];
    header[0] = if neighbour.bridge { BRIDGE } else { family(neighbour.address) };
    header[4..8].copy_from_slice(&neighbour.link.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    header[10] = if neighbour.bridge { ON_DEVICE_ITSELF } else { 0 };
    header
}

fn lasting_neighbour(body: &[u8]) -> Option<Neighbour> {
    let (header, rest) = body.split_at_checked(12)?;
    if u16::from_ne_bytes([header[8], header[9]]) & PERMANENT == 0 {
        return None;
    }
    Some(Neighbour {
        link: number(&header[4..8]),
        address: attribute(rest, libc::NDA_DST).and_then(ip)?,
        mac: attribute(rest, libc::NDA_LLADDR)?.try_into().ok()?,
        bridge: header[0] == BRIDGE,
    })
}
