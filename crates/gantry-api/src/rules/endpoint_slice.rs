//! EndpointSlice.

use std::net::IpAddr;

use gantry_json::{Map, Value};

use super::addresses;
use super::common::{
    default, dns_label, dns_subdomain, immutable, items, label_value, labels, list, protocol, qualified_name,
    required_one_of, sloppy_ip, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The most addresses of an endpoint.
const MOST_ADDRESSES: usize = 100;
/// The most endpoints of a slice.
const MOST_ENDPOINTS: usize = 1000;
/// The most ports of a slice.
const MOST_PORTS: usize = 20000;
/// The most labels of the old topology of an endpoint.
const MOST_LABELS: usize = 16;
/// The most zones or nodes that an endpoint is meant for.
const MOST_HINTS: usize = 8;

/// The rules.
pub const RULES: Rules = Rules {
    default: |slice| {
        let Some(slice) = slice.as_object_mut() else { return };
        for port in items(slice, "ports") {
            default(port, "name", "");
            default(port, "protocol", "TCP");
        }
    },
    prepare_create: |slice| drop_topology(slice),
    prepare_update: |slice, old| {
        if slice["endpoints"] != old["endpoints"] {
            drop_topology(slice);
        }
    },
    validate: |slice| {
        let mut errors = Vec::new();
        let kind = text(slice, "addressType");
        required_one_of(&Path::new("addressType"), kind, &["FQDN", "IPv4", "IPv6"], &mut errors);
        validate_endpoints(kind, list(slice, "endpoints"), &mut errors);
        validate_ports(list(slice, "ports"), &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("addressType"), &new["addressType"], &old["addressType"], &mut errors);
        errors
    },
    warn: |slice, old| {
        let mut warnings = Vec::new();
        if text(slice, "addressType") == "FQDN" {
            if old.is_none() {
                warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
            }
            return warnings;
        }
        for (at, endpoint) in list(slice, "endpoints").iter().enumerate() {
            let path = Path::new("endpoints").index(at).child("addresses");
            for (at, address) in list(endpoint, "addresses").iter().filter_map(Value::as_str).enumerate() {
                addresses::of_ip(&path.index(at), address, &mut warnings);
            }
        }
        warnings
    },
    ..Rules::NONE
};

/// What a slice of an older version said of places is not taken any more.
fn drop_topology(slice: &mut Value) {
    let Some(slice) = slice.as_object_mut() else { return };
    items(slice, "endpoints").for_each(|endpoint| drop(endpoint.remove("deprecatedTopology")));
}

fn validate_endpoints(kind: &str, endpoints: &[Value], errors: &mut Vec<FieldError>) {
    let path = Path::new("endpoints");
    if endpoints.len() > MOST_ENDPOINTS {
        return errors.push(FieldError::too_many(&path, endpoints.len(), MOST_ENDPOINTS));
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        validate_endpoint(&path.index(at), kind, endpoint, errors);
    }
}

/// Checks an endpoint's addresses, names and hints.
fn validate_endpoint(path: &Path, kind: &str, endpoint: &Value, errors: &mut Vec<FieldError>) {
    let addresses = list(endpoint, "addresses");
    let at = path.child("addresses");
    if addresses.is_empty() {
        errors.push(FieldError::required(&at, "must contain at least 1 address"));
    } else if addresses.len() > MOST_ADDRESSES {
        errors.push(FieldError::too_many(&at, addresses.len(), MOST_ADDRESSES));
    }
    for (index, address) in addresses.iter().enumerate() {
        validate_address(&at.index(index), kind, address.as_str().unwrap_or_default(), errors);
    }
    if let Some(name) = endpoint["nodeName"].as_str() {
        dns_subdomain(&path.child("nodeName"), name, errors);
    }
    let (at, topology) = (path.child("deprecatedTopology"), &endpoint["deprecatedTopology"]);
    let count = topology.as_object().map_or(0, Map::len);
    if count > MOST_LABELS {
        errors.push(FieldError::too_many(&at, count, MOST_LABELS));
    }
    labels(&at, topology, errors);
    if let Some(name) = endpoint["hostname"].as_str() {
        dns_label(&path.child("hostname"), name, errors);
    }
    let hints = path.child("hints");
    validate_hints(&hints.child("forZones"), list(&endpoint["hints"], "forZones"), label_value, errors);
    validate_hints(&hints.child("forNodes"), list(&endpoint["hints"], "forNodes"), dns_subdomain, errors);
}

fn validate_address(path: &Path, kind: &str, address: &str, errors: &mut Vec<FieldError>) {
    let family = sloppy_ip(address).map(|address| address.to_canonical());
    match (kind, family) {
        ("IPv4", Some(IpAddr::V4(_))) | ("IPv6", Some(IpAddr::V6(_))) => {}
        ("IPv4" | "IPv6", _) => {
            errors.push(FieldError::invalid(path, address, format!("must be a valid {kind} address")));
        }
        ("FQDN", _) => return addresses::full_name(path, address, errors),
        _ => return,
    }
    addresses::not_special(path, address, errors);
}

fn validate_hints(
    path: &Path,
    hints: &[Value],
    check: fn(&Path, &str, &mut Vec<FieldError>),
    errors: &mut Vec<FieldError>,
) {
    if hints.len() > MOST_HINTS {
        return errors.push(FieldError::too_many(path, hints.len(), MOST_HINTS));
    }
    for (at, hint) in hints.iter().enumerate() {
        let (path, name) = (path.index(at).child("name"), text(hint, "name"));
        if hints[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        check(&path, name, errors);
    }
}

fn validate_ports(ports: &[Value], errors: &mut Vec<FieldError>) {
    let path = Path::new("ports");
    if ports.len() > MOST_PORTS {
        return errors.push(FieldError::too_many(&path, ports.len(), MOST_PORTS));
    }
    let mut names = std::collections::HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        let (path, name) = (path.index(at), text(port, "name"));
        if !name.is_empty() {
            dns_label(&path.child("name"), name, errors);
        }
        if !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        protocol(&path.child("protocol"), text(port, "protocol"), errors);
        if let Some(name) = port["appProtocol"].as_str() {
            qualified_name(&path.child("appProtocol"), name, errors);
        }
    }
}
