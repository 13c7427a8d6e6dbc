//! EndpointSlice.

use std::net::IpAddr;

use serde_json::Value;

use super::common::{default, dns_label, dns_subdomain, immutable, items, list, one_of, text};
use super::endpoints::special_address;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The most addresses of an endpoint.
const MOST_ADDRESSES: usize = 100;

/// The rules.
pub const RULES: Rules = Rules {
    default: |slice| {
        let Some(slice) = slice.as_object_mut() else { return };
        for port in items(slice, "ports") {
            default(port, "name", "");
            default(port, "protocol", "TCP");
        }
    },
    validate: |slice| {
        let mut errors = Vec::new();
        one_of(&Path::new("addressType"), text(slice, "addressType"), &["IPv4", "IPv6", "FQDN"], &mut errors);
        let endpoints = list(slice, "endpoints");
        if endpoints.len() > 1000 {
            errors.push(FieldError::too_many(&Path::new("endpoints"), endpoints.len(), 1000));
        }
        for (at, endpoint) in endpoints.iter().enumerate() {
            if list(endpoint, "addresses").is_empty() {
                let path = Path::new("endpoints").index(at).child("addresses");
                errors.push(FieldError::required(&path, "must contain at least 1 address"));
            }
            validate_endpoint(
                &Path::new("endpoints").index(at),
                text(slice, "addressType"),
                endpoint,
                &mut errors,
            );
        }
        let ports = list(slice, "ports");
        for (at, port) in ports.iter().enumerate() {
            let path = Path::new("ports").index(at);
            let name = text(port, "name");
            if ports[..at].iter().any(|other| text(other, "name") == name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            if !name.is_empty() {
                dns_label(&path.child("name"), name, &mut errors);
            }
            one_of(&path.child("protocol"), text(port, "protocol"), &["SCTP", "TCP", "UDP"], &mut errors);
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("addressType"), &new["addressType"], &old["addressType"], &mut errors);
        errors
    },
    ..Rules::NONE
};

/// Checks an endpoint's addresses and names.
fn validate_endpoint(path: &Path, kind: &str, endpoint: &Value, errors: &mut Vec<FieldError>) {
    let addresses = list(endpoint, "addresses");
    let at = path.child("addresses");
    if addresses.len() > MOST_ADDRESSES {
        errors.push(FieldError::too_many(&at, addresses.len(), MOST_ADDRESSES));
    }
    for (index, address) in addresses.iter().enumerate() {
        let (path, address) = (at.index(index), address.as_str().unwrap_or_default());
        match (kind, address.parse::<IpAddr>()) {
            ("IPv4", Ok(IpAddr::V4(_))) | ("IPv6", Ok(IpAddr::V6(_))) => {}
            ("IPv4" | "IPv6", _) => {
                let words = format!("must be a valid {kind} address");
                errors.push(FieldError::invalid(&path, address, words));
            }
            ("FQDN", _) => {
                dns_subdomain(&path, address, errors);
                continue;
            }
            _ => continue,
        }
        special_address(&path, address, errors);
    }
    if !text(endpoint, "hostname").is_empty() {
        dns_label(&path.child("hostname"), text(endpoint, "hostname"), errors);
    }
    if !text(endpoint, "nodeName").is_empty() {
        dns_subdomain(&path.child("nodeName"), text(endpoint, "nodeName"), errors);
    }
}
