//! Which way leads to the pods of which node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;

use crate::netlink::route::{Mac, Neighbour, Route};

/// What one node has to know of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its own addresses, the primary one first.
    pub addresses: Vec<IpAddr>,
    /// Ranges of its pods' addresses.
    pub pod_cidrs: Vec<IpNet>,
}

impl Peer {
    /// What a Node says of it.
    pub fn read(node: &Node) -> Self {
        let addresses = node.status.iter().flat_map(|s| s.addresses.iter().flatten());
        let internal = addresses.filter(|a| a.type_ == "InternalIP");
        let spec = node.spec.as_ref();
        let listed = spec.and_then(|s| s.pod_cidrs.as_deref()).unwrap_or_default();
        let single = spec.and_then(|s| s.pod_cidr.as_ref()).filter(|_| listed.is_empty());
        Self {
            addresses: internal.filter_map(|a| a.address.parse().ok()).collect(),
            pod_cidrs: listed.iter().chain(single).filter_map(|net| net.parse().ok()).collect(),
        }
    }
}

/// What routes depend on besides other nodes: this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Its name.
    pub node_name: String,
    /// Its own addresses, the primary one first.
    pub node_ips: Vec<IpAddr>,
    /// Those of its addresses that interfaces have, with the interface's number and the network.
    pub connected: Vec<(u32, IpNet)>,
    /// Ranges of its pods' addresses.
    pub pod_cidrs: Vec<IpNet>,
}

impl Here {
    /// Which address packets from here to `net` carry, if it is known; what comes from the loopback's does not
    /// leave the machine.
    pub fn source(&self, net: IpNet) -> Option<IpAddr> {
        let same = |ip: &IpAddr| ip.is_ipv6() == net.addr().is_ipv6() && !ip.is_loopback();
        self.connected.iter().map(|(_, own)| own.addr()).find(same)
    }

    /// The address among `addresses` that shares a link with this node, and the link.
    fn neighbour(&self, addresses: &[IpAddr], ipv6: bool) -> Option<(u32, IpAddr)> {
        let same = addresses.iter().filter(|ip| ip.is_ipv6() == ipv6);
        same.flat_map(|ip| self.connected.iter().map(move |(link, net)| (*link, net, *ip)))
            .find(|(_, net, ip)| net.contains(ip) && net.addr() != *ip)
            .map(|(link, _, ip)| (link, ip))
    }
}

/// A range of pods that is reached through the VXLAN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tunnel {
    /// The range; its first address is the other node's own in the VXLAN.
    pub destination: IpNet,
    /// The other node's Ethernet address in the VXLAN.
    pub mac: Mac,
    /// The other node's address that tunnelled packets are sent to.
    pub remote: IpAddr,
}

impl Tunnel {
    /// The route through the VXLAN device with this number.
    pub fn route(&self, device: u32) -> Route {
        Route {
            destination: self.destination,
            gateway: Some(self.destination.network()),
            link: device,
            source: None,
            on_link: true,
        }
    }

    /// What the VXLAN device has to know: the other node's Ethernet address, and where frames to it go.
    pub fn neighbours(&self, device: u32) -> [Neighbour; 2] {
        let entry = |address, bridge| Neighbour { link: device, address, mac: self.mac, bridge };
        [entry(self.destination.network(), false), entry(self.remote, true)]
    }
}

/// The ways to the pods of all other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Straight to another node.
    pub routes: Vec<Route>,
    /// Through the VXLAN.
    pub tunnels: BTreeSet<Tunnel>,
    /// This node's address that tunnelled packets carry.
    pub local: Option<IpAddr>,
    /// Nodes that no way leads to, as they have no address that this node could send to.
    pub unreachable: Vec<String>,
}

/// Decides the way to each of `peers`, which are known by their names.
pub fn plan(here: &Here, peers: &BTreeMap<String, Peer>) -> Plan {
    let mut plan = Plan { local: here.node_ips.first().copied(), ..Plan::default() };
    for (name, peer) in peers.iter().filter(|(name, _)| **name != here.node_name) {
        let usable: Vec<IpAddr> =
            peer.addresses.iter().copied().filter(|ip| !here.node_ips.contains(ip)).collect();
        let remote = usable.iter().find(|ip| plan.local.is_some_and(|own| own.is_ipv6() == ip.is_ipv6()));
        for destination in &peer.pod_cidrs {
            let overlaps = |own: &IpNet| own.contains(destination) || destination.contains(own);
            if here.pod_cidrs.iter().any(overlaps) {
                plan.unreachable.push(name.clone());
                continue;
            }
            let ipv6 = destination.addr().is_ipv6();
            if let Some((link, gateway)) = here.neighbour(&usable, ipv6) {
                let (destination, gateway) = (destination.trunc(), Some(gateway));
                let source = None;
                plan.routes.push(Route { destination, gateway, link, source, on_link: false });
            } else if let Some(remote) = remote {
                let destination = destination.trunc();
                plan.tunnels.insert(Tunnel { destination, mac: mac(name), remote: *remote });
            } else {
                plan.unreachable.push(name.clone());
            }
        }
    }
    plan
}

/// A node's Ethernet address in the VXLAN: locally administered, made from its name.
pub fn mac(node: &str) -> Mac {
    // FNV-1a.
    let hash =
        node.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    [0x0a, 0x47, a, b, c, d]
}

/// Whether an address is valid on its link only.
pub fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests;
