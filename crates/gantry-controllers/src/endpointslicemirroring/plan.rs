//! Which slices mirror an Endpoints object, and what that changes of those that do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;

use crate::endpointslice::{MANAGED_BY, Ports, SERVICE_NAME, ports_of, slice_ports};
use crate::service_pods::TRIGGER_TIME;

/// This controller.
pub(super) const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
/// Endpoints with this label are not mirrored.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints with this annotation are somebody's lock.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Most endpoints that are mirrored of a subset, and most in a slice.
pub(super) const MOST: usize = 1000;

/// What is to be written, and what could not be mirrored.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
    /// Addresses that are no addresses.
    pub invalid: usize,
    /// Addresses left out for whatever reason.
    pub skipped: usize,
}

/// An address type and a set of ports: these have one slice.
type Key = (&'static str, Ports);
/// What makes two endpoints the same one: address, host name, and namespace and name of its target.
type Identity = (IpAddr, Option<String>, Option<(Option<String>, Option<String>)>);

/// Whether an Endpoints object is to be mirrored for `service`, which is its own.
pub(super) fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    let metadata = &endpoints.metadata;
    let skipped = metadata.labels.as_ref().and_then(|all| all.get(SKIP)).is_some_and(|value| value == "true");
    let lock = metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LOCK));
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    !skipped && !lock && selector.is_none_or(BTreeMap::is_empty)
}

/// Compares `slices`, which mirror `endpoints`, with what they should be.
pub(super) fn plan(endpoints: &Endpoints, slices: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let desired = desired(endpoints, &mut plan);
    let mut existing: BTreeMap<Key, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        match family(&slice.address_type) {
            Some(family) => existing.entry((family, ports_of(slice))).or_default().push(slice.clone()),
            None => plan.delete.push(slice.clone()),
        }
    }
    for ((family, ports), wanted) in desired {
        let mut known = existing.remove(&(family, ports.clone())).unwrap_or_default().into_iter();
        let first = known.next();
        plan.delete.extend(known);
        let wanted: Vec<Endpoint> = wanted.into_values().take(MOST).collect();
        let new = slice(endpoints, family, &ports, wanted);
        match first {
            None => plan.create.push(new),
            Some(first) if is_same(&first, &new) => {}
            Some(first) => plan.update.push(in_place_of(&first, new)),
        }
    }
    plan.delete.extend(existing.into_values().flatten());
    reuse(&mut plan);
    if endpoints.metadata.deletion_timestamp.is_some() {
        plan.create.clear();
    }
    plan
}

fn family(address_type: &str) -> Option<&'static str> {
    ["IPv4", "IPv6"].into_iter().find(|family| *family == address_type)
}

/// The endpoints by their slice.
fn desired(endpoints: &Endpoints, plan: &mut Plan) -> BTreeMap<Key, BTreeMap<Identity, Endpoint>> {
    let mut desired: BTreeMap<Key, BTreeMap<Identity, Endpoint>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let all = ready.chain(subset.not_ready_addresses.iter().flatten().map(|address| (address, false)));
        let (mut total, mut added) = (0, 0);
        for (address, ready) in all {
            total += 1;
            if added >= MOST {
                continue;
            }
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                plan.invalid += 1;
                continue;
            };
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let target =
                address.target_ref.as_ref().map(|target| (target.namespace.clone(), target.name.clone()));
            let identity = (ip, address.hostname.clone(), target);
            let of_slice = desired.entry((family, ports.clone())).or_default();
            of_slice.insert(identity, endpoint(address, ip, ready));
            added += 1;
        }
        plan.skipped += total - added;
    }
    desired
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..Default::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Default::default()
    }
}

fn ports(subset: &EndpointSubset) -> Ports {
    let all = subset.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        (port.name.clone().unwrap_or_default(), protocol, port.port, port.app_protocol.clone())
    });
    let mut ports: Ports = all.collect();
    ports.sort();
    ports
}

/// A slice that mirrors `wanted`, with the labels and annotations of the Endpoints object.
fn slice(endpoints: &Endpoints, family: &str, ports: &Ports, wanted: Vec<Endpoint>) -> EndpointSlice {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.into(), name.clone());
    labels.insert(MANAGED_BY.into(), CONTROLLER.into());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(TRIGGER_TIME);
    annotations.remove(LAST_APPLIED);
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Endpoints".into(),
        name: name.clone(),
        uid: endpoints.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        address_type: family.into(),
        endpoints: wanted,
        ports: slice_ports(ports),
    }
}

/// Whether a slice says what `new` says, in whatever order.
fn is_same(slice: &EndpointSlice, new: &EndpointSlice) -> bool {
    let sorted = |slice: &EndpointSlice| {
        let mut all = slice.endpoints.clone();
        all.sort_by(|a, b| a.addresses.cmp(&b.addresses).then_with(|| a.hostname.cmp(&b.hostname)));
        all
    };
    let annotations = |slice: &EndpointSlice| slice.metadata.annotations.clone().unwrap_or_default();
    slice.metadata.labels == new.metadata.labels
        && annotations(slice) == annotations(new)
        && slice.metadata.owner_references == new.metadata.owner_references
        && (slice.endpoints == new.endpoints || sorted(slice) == sorted(new))
}

/// `new` under the name of `slice`.
fn in_place_of(slice: &EndpointSlice, new: EndpointSlice) -> EndpointSlice {
    let ObjectMeta { labels, annotations, owner_references, .. } = new.metadata;
    let metadata = ObjectMeta { labels, annotations, owner_references, ..slice.metadata.clone() };
    EndpointSlice { metadata, ..new }
}

/// Changes slices that would go into those that would be made: one write instead of two.
fn reuse(plan: &mut Plan) {
    for new in std::mem::take(&mut plan.create) {
        let at = plan.delete.iter().position(|leaving| leaving.address_type == new.address_type);
        match at.map(|at| plan.delete.remove(at)) {
            Some(leaving) => plan.update.push(in_place_of(&leaving, new)),
            None => plan.create.push(new),
        }
    }
}

#[cfg(test)]
mod tests;
