//! Endpoints.

use gantry_json::Value;

use super::addresses;
use super::common::{
    default, dns_label, dns_subdomain, items, legacy_ip, list, port, protocol, qualified_name, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The lists of addresses that a subset has.
const ADDRESSES: [&str; 2] = ["addresses", "notReadyAddresses"];

/// The rules.
pub const RULES: Rules = Rules {
    default: |endpoints| {
        let Some(endpoints) = endpoints.as_object_mut() else { return };
        for subset in items(endpoints, "subsets") {
            for port in items(subset, "ports") {
                default(port, "protocol", "TCP");
            }
        }
    },
    validate: |endpoints: &Value| {
        let mut errors = Vec::new();
        for (at, subset) in list(endpoints, "subsets").iter().enumerate() {
            let path = Path::new("subsets").index(at);
            if ADDRESSES.iter().all(|key| list(subset, key).is_empty()) {
                errors.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
            }
            for key in ADDRESSES {
                for (at, each) in list(subset, key).iter().enumerate() {
                    address(&path.child(key).index(at), each, &mut errors);
                }
            }
            let ports = list(subset, "ports");
            for (at, each) in ports.iter().enumerate() {
                endpoint_port(&path.child("ports").index(at), each, ports.len() > 1, &mut errors);
            }
        }
        errors
    },
    warn: |endpoints, _| {
        let mut warnings = Vec::new();
        for (at, subset) in list(endpoints, "subsets").iter().enumerate() {
            for key in ADDRESSES {
                let path = Path::new("subsets").index(at).child(key);
                for (at, each) in list(subset, key).iter().enumerate() {
                    addresses::of_ip(&path.index(at).child("ip"), text(each, "ip"), &mut warnings);
                }
            }
        }
        warnings
    },
    ..Rules::NONE
};

fn address(path: &Path, address: &Value, errors: &mut Vec<FieldError>) {
    let ip = text(address, "ip");
    legacy_ip(&path.child("ip"), ip, errors);
    if !text(address, "hostname").is_empty() {
        dns_label(&path.child("hostname"), text(address, "hostname"), errors);
    }
    if let Some(name) = address["nodeName"].as_str() {
        dns_subdomain(&path.child("nodeName"), name, errors);
    }
    addresses::not_special(&path.child("ip"), ip, errors);
}

fn endpoint_port(path: &Path, each: &Value, named: bool, errors: &mut Vec<FieldError>) {
    match text(each, "name") {
        "" if named => errors.push(FieldError::required(&path.child("name"), "")),
        "" => {}
        name => dns_label(&path.child("name"), name, errors),
    }
    port(&path.child("port"), &each["port"], errors);
    protocol(&path.child("protocol"), text(each, "protocol"), errors);
    if let Some(name) = each["appProtocol"].as_str() {
        qualified_name(&path.child("appProtocol"), name, errors);
    }
}
