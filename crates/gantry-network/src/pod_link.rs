//! The interface of a pod: one end of a veth pair in the pod's namespace, the other at the host, with
//! a route for each of the pod's addresses. Nothing is bridged: every packet of a pod is routed.
//!
//! In the pod the default route leads to an address that exists nowhere. Lasting neighbour entries
//! say which Ethernet address it has, and at the host which one the pod has, so nobody asks for any.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
    os::fd::AsFd,
    path::Path,
};

use ipnet::IpNet;

use crate::{
    error::{During, Result},
    namespace,
    netlink::{
        Socket,
        route::{Mac, Neighbour, Route, Veth},
    },
    sysctl,
};

/// The start of the names of the interfaces of pods.
pub const PREFIX: &str = "gantry";
const POD_INTERFACE: &str = "eth0";
/// Every pod's link is its own, so all host ends may have the same Ethernet address.
const HOST_MAC: Mac = [0xee; 6];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Name of the host's end of a pod's link: at most 15 bytes, the same for the same pod.
pub fn name(pod: &str) -> String {
    // FNV-1a, cut to the 36 bits that fit.
    let hash = pod.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{PREFIX}{:09x}", (hash ^ (hash >> 36)) & 0xf_ffff_ffff)
}

/// Makes the link of a pod, or completes it. Succeeds when it is there already.
pub fn attach(host: &Socket, pod: &str, netns: &Path, addresses: &[IpAddr], mtu: u32) -> Result<()> {
    let name = name(pod);
    let namespace = namespace::open(netns)?;
    let mac = pod_mac(addresses);
    let veth = Veth {
        name: &name,
        mac: HOST_MAC,
        alias: pod,
        peer_name: POD_INTERFACE,
        peer_mac: mac,
        peer_namespace: namespace.as_fd(),
        mtu,
    };
    let existing = host.link(&name).during(|| format!("looking for interface {name}"))?;
    if existing.is_some() && !namespace::within(&namespace, netns, has_interface)? {
        // Left from an attachment to a namespace that this one has taken the place of.
        host.delete_link(&name).during(|| format!("deleting interface {name}"))?;
    }
    match host.add_veth(&veth) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) && existing.is_some() => {}
        other => other.during(|| format!("making interface {name} for {}", netns.display()))?,
    }
    namespace::within(&namespace, netns, || inside(addresses))?;
    outside(host, &name, mac, addresses)
}

/// Removes the link of a pod, from both ends; its routes go with it.
pub fn detach(host: &Socket, pod: &str) -> Result<bool> {
    let name = name(pod);
    host.delete_link(&name).during(|| format!("deleting interface {name}"))
}

/// Ethernet address of a pod: locally administered, made from its first address.
fn pod_mac(addresses: &[IpAddr]) -> Mac {
    let mut mac = [0x0a, 0x58, 0, 0, 0, 0];
    match addresses.first() {
        Some(IpAddr::V4(ip)) => mac[2..].copy_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => mac[2..].copy_from_slice(&ip.octets()[12..]),
        None => {}
    }
    mac
}

fn has_interface() -> Result<bool> {
    let opened = Socket::route().and_then(|socket| socket.link(POD_INTERFACE));
    opened.map(|link| link.is_some()).during(|| format!("looking for interface {POD_INTERFACE}"))
}

fn inside(addresses: &[IpAddr]) -> Result<()> {
    let doing = |what: &'static str| move || format!("{what} in the pod's namespace");
    let socket = Socket::route().during(doing("opening a socket"))?;
    let loopback = socket.link("lo").during(doing("looking for interface lo"))?;
    if let Some(loopback) = loopback {
        socket.set_up(loopback.index).during(doing("bringing up interface lo"))?;
    }
    let link = socket.link(POD_INTERFACE).and_then(|link| link.ok_or(io::ErrorKind::NotFound.into()));
    let link = link.during(doing("looking for interface eth0"))?.index;
    for &address in addresses {
        socket.add_address(link, IpNet::from(address)).during(doing("adding an address"))?;
    }
    socket.set_up(link).during(doing("bringing up interface eth0"))?;
    for address in addresses {
        let (gateway, any) = match address {
            IpAddr::V4(_) => (IpAddr::from(GATEWAY), IpNet::from(IpAddr::from([0; 4]))),
            IpAddr::V6(_) => (IpAddr::from(GATEWAY6), IpNet::from(IpAddr::from([0; 16]))),
        };
        let neighbour = Neighbour { link, address: gateway, mac: HOST_MAC, bridge: false };
        socket.set_neighbour(&neighbour).during(doing("adding the gateway's neighbour entry"))?;
        let to_gateway =
            Route { destination: gateway.into(), gateway: None, link, source: None, on_link: false };
        let default = IpNet::new(any.addr(), 0).unwrap_or(any);
        let default =
            Route { destination: default, gateway: Some(gateway), link, source: None, on_link: false };
        for route in [to_gateway, default] {
            socket.set_route(&route).during(doing("adding a route"))?;
        }
    }
    Ok(())
}

fn outside(host: &Socket, name: &str, mac: Mac, addresses: &[IpAddr]) -> Result<()> {
    let link = host.link(name).and_then(|link| link.ok_or(io::ErrorKind::NotFound.into()));
    let link = link.during(|| format!("looking for interface {name}"))?.index;
    // The pod cannot reach anything but through the host, so no better way is to be told to it.
    sysctl::set(&format!("net/ipv4/conf/{name}/send_redirects"), "0")?;
    host.set_up(link).during(|| format!("bringing up interface {name}"))?;
    for &address in addresses {
        let neighbour = Neighbour { link, address, mac, bridge: false };
        host.set_neighbour(&neighbour).during(|| format!("adding a neighbour entry for {address}"))?;
        let route = Route { destination: address.into(), gateway: None, link, source: None, on_link: false };
        host.set_route(&route).during(|| format!("adding a route to {address}"))?;
        if address.is_ipv4() && !leaves_from_somewhere(address) {
            // A machine without an address, because its cable is out, is to a pod what the pod calls it.
            let own = IpNet::from(IpAddr::from(GATEWAY));
            host.add_address(link, own).during(|| format!("adding an address to interface {name}"))?;
        }
    }
    Ok(())
}

/// Whether this machine has an address that packets to `pod` can come from.
fn leaves_from_somewhere(pod: IpAddr) -> bool {
    // Connecting a datagram socket sends nothing; the kernel chooses the address.
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((pod, 9))?;
        socket.local_addr()
    });
    // What another pod's link has for want of one goes with that pod.
    asked.is_ok_and(|own| !own.ip().is_unspecified() && own.ip() != IpAddr::from(GATEWAY))
}

/// Lets the host's loopback address lead to the pod, for its host ports.
pub fn answer_loopback(pod: &str) -> Result<()> {
    sysctl::set(&format!("net/ipv4/conf/{}/route_localnet", name(pod)), "1")
}

/// Interfaces at the host that belong to pods, by pod.
pub fn attached(host: &Socket) -> Result<Vec<(String, String)>> {
    let links = host.links().during(|| "listing interfaces".into())?;
    let ours = links
        .into_iter()
        .filter(|l| l.kind == "veth" && l.name.starts_with(PREFIX) && l.name == name(&l.alias));
    Ok(ours.map(|l| (l.alias, l.name)).collect())
}

/// Turns forwarding on, for the address families in use.
pub fn forward(ipv4: bool, ipv6: bool) -> Result<()> {
    if ipv4 {
        sysctl::set("net/ipv4/ip_forward", "1")?;
    }
    if ipv6 {
        sysctl::set("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        for pod in ["", "a", "8f5c0d3c1e8c4b6aa4b1d8f1e0c9d2b3a4f5e6d7c8b9a0f1e2d3c4b5a6978869"] {
            assert_eq!(name(pod).len(), 15);
        }
        assert_ne!(name("a"), name("b"));
    }

    #[test]
    fn ethernet_addresses_come_from_addresses() {
        assert_eq!(pod_mac(&["10.42.0.5".parse().unwrap()]), [0x0a, 0x58, 10, 42, 0, 5]);
        assert_eq!(pod_mac(&["fd00::102:304".parse().unwrap()]), [0x0a, 0x58, 1, 2, 3, 4]);
    }
}
