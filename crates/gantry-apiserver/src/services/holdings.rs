//! Who holds which cluster address and node port, and which ranges there are: an index over what is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::Deserialize;

use super::address::{FAMILY, MANAGED_BY, MANAGER, family};
use crate::allocate::{Held, Range};
use crate::authz::feed::Index;

/// Where Services are stored.
pub(super) const SERVICES: &str = "/registry/services/";
/// Where IPAddresses are stored.
pub(super) const ADDRESSES: &str = "/registry/networking.k8s.io/ipaddresses/";
/// Where ServiceCIDRs are stored.
pub(super) const RANGES: &str = "/registry/networking.k8s.io/servicecidrs/";

/// A Service as `NAMESPACE/NAME`.
pub(super) type ServiceName = Arc<str>;

/// Comes before every name.
static FIRST: LazyLock<ServiceName> = LazyLock::new(|| "".into());

/// Everything that is held.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    services: BTreeMap<ServiceName, Held>,
    by_ip: BTreeSet<(IpAddr, ServiceName)>,
    by_port: BTreeSet<(u16, ServiceName)>,
    addresses: BTreeMap<IpAddr, Address>,
    objects: BTreeMap<Box<str>, ServiceCidr>,
    /// Of the objects that can be allocated from, each range once.
    ranges: Vec<Range>,
}

/// An IPAddress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// What it is for.
    pub parent: Parent,
    /// Whether it says that it is the allocator's.
    pub managed: bool,
    /// Whether its labels are those that the allocator gives.
    pub labelled: bool,
    /// Since when it is there.
    pub created: Timestamp,
}

/// What an IPAddress is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Parent {
    /// A Service.
    Service(ServiceName),
    /// Something else, as its group, resource, namespace and name.
    Other([String; 4]),
}

/// What of a ServiceCIDR matters here.
#[derive(Debug, Default)]
struct ServiceCidr {
    networks: Vec<IpNet>,
    /// Whether addresses may be taken from it.
    open: bool,
}

impl Holdings {
    /// What can be allocated from.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// Whether the address is some Service's, or has an IPAddress.
    pub fn has_ip(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address) || self.holders(address).next().is_some()
    }

    /// Whether the node port is some Service's.
    pub fn has_port(&self, port: u16) -> bool {
        self.by_port.range((port, FIRST.clone())..).next().is_some_and(|(at, _)| *at == port)
    }

    /// The Services that have the address.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &ServiceName> {
        self.by_ip
            .range((address, FIRST.clone())..)
            .take_while(move |(at, _)| *at == address)
            .map(|(_, service)| service)
    }

    /// Every Service's name.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// What a Service holds; `None` where there is no such Service.
    pub fn held(&self, service: &str) -> Option<&Held> {
        self.services.get(service)
    }

    /// Every address that has an IPAddress.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.keys().copied()
    }

    /// The IPAddress of that address.
    pub fn address(&self, address: IpAddr) -> Option<&Address> {
        self.addresses.get(&address)
    }

    /// Whether the address is in any ServiceCIDR, be that ready or not.
    pub fn in_range(&self, address: IpAddr) -> bool {
        let networks = self.objects.values().flat_map(|object| &object.networks);
        let edge = |network: &IpNet| {
            network.network() == address
                || matches!(network, IpNet::V4(network) if IpAddr::V4(network.broadcast()) == address)
        };
        networks.into_iter().any(|network| network.contains(&address) && !edge(network))
    }

    fn set_service(&mut self, name: &str, held: Option<Held>) {
        if let Some((name, before)) = self.services.remove_entry(name) {
            for address in before.ips {
                self.by_ip.remove(&(address, name.clone()));
            }
            for port in before.ports {
                self.by_port.remove(&(port, name.clone()));
            }
        }
        if let Some(held) = held {
            let name = ServiceName::from(name);
            self.by_ip.extend(held.ips.iter().map(|address| (*address, name.clone())));
            self.by_port.extend(held.ports.iter().map(|port| (*port, name.clone())));
            self.services.insert(name, held);
        }
    }

    fn open_ranges(&mut self) {
        let open = self.objects.values().filter(|object| object.open);
        let networks: BTreeSet<IpNet> = open.flat_map(|object| &object.networks).copied().collect();
        self.ranges = networks.into_iter().filter_map(Range::new).collect();
    }
}

impl Index for Holdings {
    const PREFIXES: &'static [&'static str] = &[SERVICES, ADDRESSES, RANGES];

    fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        if let Some(name) = key.strip_prefix(SERVICES) {
            self.set_service(name, value.map(Held::read));
        } else if let Some(name) = key.strip_prefix(ADDRESSES) {
            let Ok(address) = name.parse() else { return };
            match value {
                Some(bytes) => drop(self.addresses.insert(address, Address::read(address, bytes))),
                None => drop(self.addresses.remove(&address)),
            }
        } else if let Some(name) = key.strip_prefix(RANGES) {
            match value {
                Some(bytes) => drop(self.objects.insert(name.into(), ServiceCidr::read(bytes))),
                None => drop(self.objects.remove(name)),
            }
            self.open_ranges();
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    parent_ref: Option<ParentRef>,
    cidrs: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ParentRef {
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Address {
    fn read(address: IpAddr, bytes: &[u8]) -> Self {
        let Object { metadata, spec, .. } = gantry_json::from_slice(bytes).unwrap_or_default();
        let ParentRef { group, resource, namespace, name } = spec.parent_ref.unwrap_or_default();
        let parent = match group.is_empty() && resource == "services" {
            true => Parent::Service(format!("{namespace}/{name}").into()),
            false => Parent::Other([group, resource, namespace, name]),
        };
        let labels = metadata.labels.unwrap_or_default();
        let managed = labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
        let labelled = managed && labels.get(FAMILY).is_some_and(|label| label == family(address));
        Self { parent, managed, labelled, created: metadata.creation_timestamp.unwrap_or_default() }
    }
}

impl ServiceCidr {
    fn read(bytes: &[u8]) -> Self {
        let Object { metadata, spec, status } = gantry_json::from_slice(bytes).unwrap_or_default();
        let cidrs = spec.cidrs.into_iter().flatten();
        let networks = cidrs.filter_map(|cidr| cidr.parse().ok()).map(|network: IpNet| network.trunc());
        let ready = status.conditions.into_iter().flatten().find(|condition| condition.kind == "Ready");
        // Without a condition nobody has looked at it yet, and nothing speaks against it.
        let ready = ready.is_none_or(|condition| condition.status == "True");
        Self { networks: networks.collect(), open: ready && metadata.deletion_timestamp.is_none() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use gantry_json::{Value, json};

    use super::*;

    fn apply(holdings: &mut Holdings, key: &str, value: Value) {
        let bytes = (!value.is_null()).then(|| value.to_string().into_bytes());
        holdings.apply(key, bytes.as_deref());
    }

    #[test]
    fn what_services_and_addresses_hold() {
        let mut holdings = Holdings::default();
        let spec = json!({"spec": {"clusterIPs": ["10.43.0.7"], "ports": [{"nodePort": 30_001}]}});
        apply(&mut holdings, "/registry/services/a/x", spec.clone());
        apply(&mut holdings, "/registry/services/b/x", spec);
        apply(&mut holdings, "/registry/networking.k8s.io/ipaddresses/10.43.0.8", json!({}));
        let has = |holdings: &Holdings, last| holdings.has_ip(Ipv4Addr::new(10, 43, 0, last).into());
        assert_eq!([6, 7, 8, 9].map(|last| has(&holdings, last)), [false, true, true, false]);
        assert_eq!([30_000, 30_001, 30_002].map(|port| holdings.has_port(port)), [false, true, false]);
        apply(&mut holdings, "/registry/services/a/x", json!({"spec": {"clusterIPs": ["10.43.0.9"]}}));
        assert_eq!([7, 9].map(|last| has(&holdings, last)), [true, true]);
        apply(&mut holdings, "/registry/services/b/x", Value::Null);
        apply(&mut holdings, "/registry/networking.k8s.io/ipaddresses/10.43.0.8", Value::Null);
        assert_eq!([7, 8, 9].map(|last| has(&holdings, last)), [false, false, true]);
        assert!(!holdings.has_port(30_001));
    }

    #[test]
    fn ranges_are_used_while_they_are_ready() {
        let mut holdings = Holdings::default();
        let condition = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
        let mut check = |name: &str, object: Value, expect: &[&str]| {
            apply(&mut holdings, &format!("{RANGES}{name}"), object);
            let open: Vec<String> =
                holdings.ranges().iter().map(|range| range.network().to_string()).collect();
            assert_eq!(open, expect);
        };
        let (one, two) =
            (json!({"cidrs": ["10.43.0.0/16"]}), json!({"cidrs": ["10.44.0.0/24", "fd00::/64"]}));
        check("a", json!({"spec": one}), &["10.43.0.0/16"]);
        check("b", json!({"spec": two, "status": condition("False")}), &["10.43.0.0/16"]);
        check(
            "b",
            json!({"spec": two, "status": condition("True")}),
            &["10.43.0.0/16", "10.44.0.0/24", "fd00::/64"],
        );
        check("c", json!({"spec": one}), &["10.43.0.0/16", "10.44.0.0/24", "fd00::/64"]);
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        check("a", json!({"metadata": deleted, "spec": one}), &["10.43.0.0/16", "10.44.0.0/24", "fd00::/64"]);
        check("c", Value::Null, &["10.44.0.0/24", "fd00::/64"]);
        assert!(holdings.in_range("10.43.0.1".parse().unwrap()), "it is there still");
        assert!(!holdings.in_range("10.43.0.0".parse().unwrap()));
        assert!(!holdings.in_range("10.43.255.255".parse().unwrap()));
        assert!(!holdings.in_range("10.45.0.1".parse().unwrap()));
    }
}
