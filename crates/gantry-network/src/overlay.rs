//! Routes to the pods of other nodes.
//!
//! To a node that shares a link with this one they lead straight to its address. To any other they lead
//! into a VXLAN, which learns nothing by itself: each node's Ethernet address in it follows from its
//! name, so that a neighbour entry and a forwarding entry per node can be written from what the API
//! says. [`plan`] decides, this file makes the kernel follow, only where it does not already.

pub mod plan;

use std::{collections::BTreeSet, io};

use ipnet::IpNet;

use crate::{
    error::{During, Result},
    netlink::{
        Socket,
        route::{Mac, Neighbour, Route},
    },
    sysctl,
};
use plan::{Here, Plan, Tunnel};

/// Name of the VXLAN device.
pub const DEVICE: &str = "gantry-vxlan";
const LOOPBACK: &str = "lo";

/// How the VXLAN is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// Network identifier.
    pub id: u32,
    /// UDP port.
    pub port: u16,
    /// Largest packet in bytes.
    pub mtu: u32,
}

/// What the kernel says of this node.
pub fn here(host: &Socket, node_name: &str, node_ips: &[std::net::IpAddr]) -> Result<Here> {
    let addresses = host.addresses().during(|| "listing addresses".into())?;
    let connected = addresses.into_iter().filter(|(_, net)| node_ips.contains(&net.addr()));
    Ok(Here {
        node_name: node_name.to_owned(),
        node_ips: node_ips.to_vec(),
        connected: connected.collect(),
        pod_cidrs: Vec::new(),
    })
}

/// Makes the kernel's routes those of `plan`, and `services` lead nowhere: connections to Services find
/// a route when they start here, before they are led on to an endpoint.
pub fn apply(host: &Socket, here: &Here, plan: &Plan, services: &[IpNet], vxlan: &Vxlan) -> Result<()> {
    let loopback = host.link(LOOPBACK).and_then(|link| link.ok_or(io::ErrorKind::NotFound.into()));
    let loopback = loopback.during(|| format!("looking for interface {LOOPBACK}"))?.index;
    let mut wanted: BTreeSet<Route> = plan.routes.iter().cloned().collect();
    wanted.extend(services.iter().map(|net| Route {
        destination: *net,
        gateway: None,
        link: loopback,
        source: here.source(*net),
        on_link: false,
    }));
    match &plan.local {
        Some(_) if !plan.tunnels.is_empty() => {
            let device = device(host, here, plan, vxlan)?;
            neighbours(host, device, &plan.tunnels)?;
            wanted.extend(plan.tunnels.iter().map(|t| t.route(device)));
        }
        _ => drop(host.delete_link(DEVICE).during(|| format!("deleting interface {DEVICE}"))?),
    }
    // Those to this node's pods have no gateway, and go with the pods' interfaces.
    let ours = |route: &Route| route.gateway.is_some() || route.link == loopback;
    let routes = host.own_routes().during(|| "listing routes".into())?;
    let existing: BTreeSet<Route> = routes.into_iter().filter(ours).collect();
    for route in wanted.difference(&existing) {
        host.set_route(route).during(|| format!("adding the route to {}", route.destination))?;
    }
    for route in existing.difference(&wanted) {
        // One to the same destination has been replaced.
        if !wanted.iter().any(|w| w.destination == route.destination) {
            host.delete_route(route).during(|| format!("deleting the route to {}", route.destination))?;
        }
    }
    Ok(())
}

/// The VXLAN device, made if it is not there as wanted.
fn device(host: &Socket, here: &Here, plan: &Plan, vxlan: &Vxlan) -> Result<u32> {
    let looking = || format!("looking for interface {DEVICE}");
    let wanted = Some((vxlan.id, vxlan.port, plan.local));
    let existing = host.link(DEVICE).during(looking)?;
    if existing.as_ref().is_some_and(|link| link.vxlan != wanted) {
        host.delete_link(DEVICE).during(|| format!("deleting interface {DEVICE}"))?;
    }
    if existing.is_none_or(|link| link.vxlan != wanted)
        && let Some(local) = plan.local
    {
        let mac = plan::mac(&here.node_name);
        let made = host.add_vxlan(DEVICE, vxlan.id, vxlan.port, local, mac, vxlan.mtu);
        made.during(|| format!("making interface {DEVICE}"))?;
    }
    let link = host.link(DEVICE).and_then(|link| link.ok_or(io::ErrorKind::NotFound.into()));
    let index = link.during(looking)?.index;
    // Packets may come through the tunnel from a node that is answered another way.
    sysctl::set(&format!("net/ipv4/conf/{DEVICE}/rp_filter"), "2")?;
    let addresses = host.addresses().during(|| "listing addresses".into())?;
    let wanted: Vec<IpNet> = here.pod_cidrs.iter().map(|net| net.network().into()).collect();
    for (_, old) in addresses.iter().filter(|(link, net)| *link == index && !wanted.contains(net)) {
        // Those that the kernel gives every interface stay.
        if !plan::is_link_local(old.addr()) {
            host.delete_address(index, *old).during(|| format!("deleting address {old} of {DEVICE}"))?;
        }
    }
    for address in wanted.iter().filter(|net| !addresses.contains(&(index, **net))) {
        host.add_address(index, *address).during(|| format!("adding address {address} to {DEVICE}"))?;
    }
    host.set_up(index).during(|| format!("bringing up interface {DEVICE}"))?;
    Ok(index)
}

fn neighbours(host: &Socket, device: u32, tunnels: &BTreeSet<Tunnel>) -> Result<()> {
    let wanted: BTreeSet<Neighbour> = tunnels.iter().flat_map(|t| t.neighbours(device)).collect();
    let existing = host.neighbours(device).during(|| format!("listing the neighbours of {DEVICE}"))?;
    let existing: BTreeSet<Neighbour> =
        existing.into_iter().filter(|n| n.bridge || !n.address.is_multicast()).collect();
    let macs: BTreeSet<Mac> = wanted.iter().map(|n| n.mac).collect();
    // Another machine for the same Ethernet address would be added beside the old one.
    for old in existing.difference(&wanted) {
        if old.bridge || !macs.contains(&old.mac) {
            host.delete_neighbour(old).during(|| format!("deleting the neighbour {}", old.address))?;
        }
    }
    for new in wanted.difference(&existing) {
        host.set_neighbour(new).during(|| format!("adding the neighbour {}", new.address))?;
    }
    Ok(())
}
