//! Endpoints.

use std::net::IpAddr;

use serde_json::Value;

use super::common::{default, dns_label, dns_subdomain, items, list, one_of, port, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

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
            if ["addresses", "notReadyAddresses"].iter().all(|key| list(subset, key).is_empty()) {
                errors.push(FieldError::required(&path, "must specify `addresses` or `notReadyAddresses`"));
            }
            for key in ["addresses", "notReadyAddresses"] {
                for (at, each) in list(subset, key).iter().enumerate() {
                    address(&path.child(key).index(at), each, &mut errors);
                }
            }
            let ports = list(subset, "ports");
            for (at, each) in ports.iter().enumerate() {
                let path = path.child("ports").index(at);
                match text(each, "name") {
                    "" if ports.len() > 1 => errors.push(FieldError::required(&path.child("name"), "")),
                    "" => {}
                    name => dns_label(&path.child("name"), name, &mut errors),
                }
                port(&path.child("port"), &each["port"], &mut errors);
                let protocols = ["SCTP", "TCP", "UDP"];
                one_of(&path.child("protocol"), text(each, "protocol"), &protocols, &mut errors);
            }
        }
        errors
    },
    ..Rules::NONE
};

/// Checks that an address can be another's: not one that says something else on every machine.
pub(super) fn special_address(path: &Path, text: &str, errors: &mut Vec<FieldError>) {
    let mut refuse = |words: String| errors.push(FieldError::invalid(path, text, words));
    let Ok(address) = text.parse::<IpAddr>() else {
        return refuse("must be a valid IP address".to_owned());
    };
    let (link_local, multicast) = match address.to_canonical() {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if address.to_canonical().is_unspecified() {
        refuse(format!("may not be unspecified ({text})"));
    }
    if address.to_canonical().is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned());
    }
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    }
    if multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned());
    }
}

fn address(path: &Path, address: &Value, errors: &mut Vec<FieldError>) {
    let ip = text(address, "ip");
    let before = errors.len();
    if ip.parse::<IpAddr>().is_err() {
        let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        errors.push(FieldError::invalid(&path.child("ip"), ip, words));
    }
    if !text(address, "hostname").is_empty() {
        dns_label(&path.child("hostname"), text(address, "hostname"), errors);
    }
    if !text(address, "nodeName").is_empty() {
        dns_subdomain(&path.child("nodeName"), text(address, "nodeName"), errors);
    }
    if errors.len() == before {
        special_address(&path.child("ip"), ip, errors);
    }
}
