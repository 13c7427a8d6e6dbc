//! What the proxy needs to know of a Service.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service as Object, ServicePort};

use crate::{nft::Family, protocol::Protocol};

/// Services with this label are another proxy's.
const PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
const DEFAULT_AFFINITY_SECONDS: i32 = 3 * 60 * 60;

/// A Service in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The family of all its addresses here.
    pub family: Family,
    /// Its address in the cluster.
    pub cluster_ip: IpAddr,
    /// `externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of its load balancer that lead here.
    pub balancer_ips: Vec<IpAddr>,
    /// Who may come through the load balancer; empty means everyone.
    pub source_ranges: Vec<IpNet>,
    /// How many seconds a client stays with its endpoint.
    pub affinity_seconds: Option<u32>,
    /// Connections from inside the cluster go to endpoints of this node only.
    pub internal_local: bool,
    /// Connections from outside go to endpoints of this node only.
    pub external_local: bool,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The name that EndpointSlices know it by; may be empty.
    pub name: String,
    /// Its protocol.
    pub protocol: Protocol,
    /// Number at the Service's addresses.
    pub port: u16,
    /// Number at every node.
    pub node_port: Option<u16>,
}

impl Service {
    /// The part of a Service in one family; `None` if nothing is to be done for it: it is headless, only
    /// a name, another proxy's, or has no address in this family.
    pub fn read(object: &Object, family: Family) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        if spec.type_.as_deref() == Some("ExternalName") || is_foreign(object) {
            return None;
        }
        let own = |address: &str| address.parse().ok().filter(|ip| Family::of(*ip) == family);
        let cluster_ips = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let cluster_ip = cluster_ips.map(String::as_str).find_map(own)?;
        let external_ips = spec.external_ips.iter().flatten().filter_map(|ip| own(ip)).collect();
        let status = object.status.as_ref().and_then(|s| s.load_balancer.as_ref());
        let ingress = status.and_then(|b| b.ingress.as_ref()).into_iter().flatten();
        let to_us = ingress.filter(|i| i.ip_mode.as_deref() != Some("Proxy"));
        let balancer_ips = to_us.filter_map(|i| own(i.ip.as_deref()?)).collect();
        let all_ranges: Vec<IpNet> = spec
            .load_balancer_source_ranges
            .iter()
            .flatten()
            .filter_map(|range| range.trim().parse::<IpNet>().ok())
            .collect();
        let source_ranges = all_ranges.into_iter().filter(|net| Family::of(net.addr()) == family).collect();
        let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
            config.and_then(|c| c.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS).max(1) as u32
        });
        let local = |policy: &Option<String>| policy.as_deref() == Some("Local");
        Some(Self {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            name: object.metadata.name.clone().unwrap_or_default(),
            family,
            cluster_ip,
            external_ips,
            balancer_ips,
            source_ranges,
            affinity_seconds: affinity,
            internal_local: local(&spec.internal_traffic_policy),
            external_local: local(&spec.external_traffic_policy),
            ports: spec.ports.iter().flatten().filter_map(port).collect(),
        })
    }
}

/// The port that a load balancer asks at whether this node has endpoints of the Service, if it does.
pub fn health_check_port(object: &Object) -> Option<u16> {
    let spec = object.spec.as_ref()?;
    let asks = spec.type_.as_deref() == Some("LoadBalancer")
        && spec.external_traffic_policy.as_deref() == Some("Local")
        && !is_foreign(object);
    spec.health_check_node_port.filter(|_| asks).and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0)
}

fn is_foreign(object: &Object) -> bool {
    object.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(PROXY_NAME))
}

fn port(object: &ServicePort) -> Option<Port> {
    Some(Port {
        name: object.name.clone().unwrap_or_default(),
        protocol: object.protocol.as_deref().unwrap_or("TCP").parse().ok()?,
        port: u16::try_from(object.port).ok()?,
        node_port: object.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0),
    })
}
