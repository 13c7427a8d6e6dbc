//! Which endpoints of a Service's port are to be used here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use k8s_openapi::api::discovery::v1::{Endpoint as Object, EndpointSlice};

use super::{
    Place,
    service::{Port, Service},
};
use crate::{nft::Family, protocol::Protocol};

/// An endpoint of a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Endpoint {
    ready: bool,
    /// It answers, be it ready for more or not.
    serving: bool,
    /// Shutting down.
    terminating: bool,
    local: bool,
    zones: BTreeSet<String>,
    nodes: BTreeSet<String>,
}

/// The endpoints to use, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// For connections that may go anywhere.
    pub cluster: Vec<SocketAddr>,
    /// Those on this node.
    pub local: Vec<SocketAddr>,
    /// All that answer, wherever they are: what goes on there may go on.
    pub serving: Vec<SocketAddr>,
}

impl Endpoints {
    /// Chooses among the endpoints of `port` in `slices`.
    ///
    /// Ready ones are used. Where there is none, those that shut down but still answer (KEP-1669). Hints
    /// for this node or zone are followed if every ready endpoint has some and one is for here.
    pub fn choose(service: &Service, port: &Port, slices: &[&EndpointSlice], place: &Place) -> Self {
        let all = read(service.family, port, slices, place);
        let usable = |filter: &dyn Fn(&Endpoint) -> bool| -> Vec<SocketAddr> {
            all.iter().filter(|(_, e)| filter(e)).map(|(address, _)| *address).collect()
        };
        let or_draining = |ready: Vec<SocketAddr>, filter: &dyn Fn(&Endpoint) -> bool| {
            if ready.is_empty() { usable(&|e| e.serving && e.terminating && filter(e)) } else { ready }
        };
        let ready: Vec<&Endpoint> = all.values().filter(|e| e.ready).collect();
        let hinted = |hints: fn(&Endpoint) -> &BTreeSet<String>, here: &str| {
            ready.iter().all(|e| !hints(e).is_empty()) && ready.iter().any(|e| hints(e).contains(here))
        };
        let cluster = if hinted(|e| &e.nodes, &place.node) {
            usable(&|e| e.ready && e.nodes.contains(&place.node))
        } else if let Some(zone) = place.zone.as_ref().filter(|zone| hinted(|e| &e.zones, zone)) {
            usable(&|e| e.ready && e.zones.contains(zone))
        } else {
            usable(&|e| e.ready)
        };
        let local = usable(&|e| e.ready && e.local);
        Self {
            cluster: or_draining(cluster, &|_| true),
            local: or_draining(local, &|e| e.local),
            serving: usable(&|e| e.serving),
        }
    }
}

fn read(
    family: Family,
    port: &Port,
    slices: &[&EndpointSlice],
    place: &Place,
) -> BTreeMap<SocketAddr, Endpoint> {
    let kind = match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    };
    let mut endpoints: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == kind) {
        for number in numbers(slice, port) {
            for object in slice.endpoints.iter() {
                // An endpoint's addresses are the same to a client; the first one is used.
                let Some(ip) = object.addresses.first().and_then(|ip| ip.parse().ok()) else { continue };
                let endpoint = read_endpoint(object, place);
                let known = endpoints.entry(SocketAddr::new(ip, number)).or_insert_with(|| endpoint.clone());
                // While it moves from one slice to another it may be in both.
                if endpoint.ready && !known.ready {
                    *known = endpoint;
                }
            }
        }
    }
    endpoints
}

/// Addresses of the ready endpoints on this node.
pub fn local_addresses<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    place: &Place,
) -> BTreeSet<&'a String> {
    let ready = slices.flat_map(|slice| &slice.endpoints).filter(|object| {
        let endpoint = read_endpoint(object, place);
        endpoint.ready && endpoint.local
    });
    ready.filter_map(|object| object.addresses.first()).collect()
}

fn numbers<'a>(slice: &'a EndpointSlice, port: &'a Port) -> impl Iterator<Item = u16> + 'a {
    let same = slice.ports.iter().flatten().filter(|p| {
        let protocol = p.protocol.as_deref().unwrap_or("TCP").parse::<Protocol>();
        p.name.as_deref().unwrap_or_default() == port.name && protocol.is_ok_and(|p| p == port.protocol)
    });
    same.filter_map(|p| p.port.and_then(|n| u16::try_from(n).ok()))
}

fn read_endpoint(object: &Object, place: &Place) -> Endpoint {
    let conditions = object.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let serving = ready || conditions.and_then(|c| c.serving).unwrap_or(false);
    let terminating = conditions.and_then(|c| c.terminating).unwrap_or(false);
    let hints = object.hints.as_ref();
    let zones = hints.and_then(|h| h.for_zones.as_ref()).into_iter().flatten().map(|z| z.name.clone());
    let nodes = hints.and_then(|h| h.for_nodes.as_ref()).into_iter().flatten().map(|n| n.name.clone());
    Endpoint {
        ready,
        serving,
        terminating,
        local: object.node_name.as_ref() == Some(&place.node),
        zones: zones.collect(),
        nodes: nodes.collect(),
    }
}

#[cfg(test)]
mod tests;
