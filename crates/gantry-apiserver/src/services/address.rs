//! The IPAddress of a cluster address: made and removed in the same commit as the Service's own change.

use std::net::IpAddr;
use std::sync::Arc;

use gantry_json::{Value, json};
use gantry_store::{Part, Replacement, Snapshot};

use super::holdings::ADDRESSES;
use crate::allocate::Held;
use crate::rest::now;
use crate::storage;

/// The label that names an IPAddress's family.
pub(super) const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
/// The label that says whose an IPAddress is.
pub(super) const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
/// Who the allocator is there.
pub(super) const MANAGER: &str = "ipallocator.k8s.io";

/// What the label says of an address.
pub(super) fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// An IPAddress as a client would send it.
pub(super) fn ip_address(address: IpAddr, namespace: &str, service: &str) -> Value {
    json!({
        "kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
        "metadata": {
            "name": address.to_string(),
            "labels": {FAMILY: family(address), MANAGED_BY: MANAGER},
        },
        "spec": {"parentRef": {"resource": "services", "namespace": namespace, "name": service}},
    })
}

/// The same as it is stored.
fn stored(address: IpAddr, namespace: &str, service: &str) -> Vec<u8> {
    let mut object = ip_address(address, namespace, service);
    let now = now();
    let metadata = &mut object["metadata"];
    metadata["uid"] = uuid::Uuid::new_v4().to_string().into();
    metadata["managedFields"] = json!([{
        "manager": "kube-apiserver", "operation": "Update", "apiVersion": "networking.k8s.io/v1", "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": {
            "f:metadata": {"f:labels": {
                ".": {},
                "f:ipaddress.kubernetes.io/ip-family": {}, "f:ipaddress.kubernetes.io/managed-by": {},
            }},
            "f:spec": {"f:parentRef": {".": {}, "f:name": {}, "f:namespace": {}, "f:resource": {}}},
        },
    }]);
    metadata["creationTimestamp"] = now.into();
    storage::encode(&object)
}

/// The store's key of an address's object.
fn key(address: IpAddr) -> Arc<str> {
    format!("{ADDRESSES}{address}").into()
}

/// What has to be written along with `service`: the addresses that it did not have as `old`, and those that
/// it has no longer; all where `service` is gone.
pub(super) fn parts(service: Option<&Value>, old: Option<&Value>, snapshot: &Snapshot) -> Vec<Part> {
    let held = |service: Option<&Value>| service.map(Held::of).unwrap_or_default().ips;
    let (has, had) = (held(service), held(old));
    if has == had {
        return Vec::new();
    }
    let Some(named) = service.or(old) else { return Vec::new() };
    let text = |field: &str| named["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let new = has
        .iter()
        .filter(|address| !had.contains(address))
        .map(|address| Part::Create { key: key(*address), value: stored(*address, namespace, name) });
    let left = had.iter().filter(|address| !has.contains(address));
    new.chain(left.filter_map(|address| release(*address, namespace, name, snapshot))).collect()
}

/// Takes the IPAddress away, if it is this Service's.
fn release(address: IpAddr, namespace: &str, service: &str, snapshot: &Snapshot) -> Option<Part> {
    let entry = snapshot.get(&key(address))?;
    let mut object: Value = gantry_json::from_slice(&entry.value).ok()?;
    let parent = &object["spec"]["parentRef"];
    let of = |field: &str| parent[field].as_str().unwrap_or_default();
    let own = (of("group"), of("resource"), of("namespace"), of("name"));
    if own != ("", "services", namespace, service) {
        return None;
    }
    let (key, expected) = (entry.key.clone(), entry.mod_revision);
    let metadata = &mut object["metadata"];
    if metadata["finalizers"].as_array().is_none_or(Vec::is_empty) {
        return Some(Part::Delete { key, expected });
    }
    if metadata["deletionTimestamp"].is_string() {
        return None;
    }
    // Somebody wants to see it go.
    metadata["deletionTimestamp"] = now().into();
    metadata["deletionGracePeriodSeconds"] = 0.into();
    Some(Replacement { key, expected, value: storage::encode(&object) }.into())
}
