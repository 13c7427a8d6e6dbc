//! Addresses: what endpoints may have, and what is said about forms that a later release will refuse.

use std::net::IpAddr;

use ipnet::IpNet;

use super::common::{dns_label, dns_subdomain, sloppy_ip};
use crate::field::{FieldError, Path};

/// Checks that an address can be another's: not one that says something else on every machine.
pub(super) fn not_special(path: &Path, text: &str, errors: &mut Vec<FieldError>) {
    let mut refuse = |words: String| errors.push(FieldError::invalid(path, text, words));
    let Some(address) = sloppy_ip(text).map(|address| address.to_canonical()) else {
        return refuse("must be a valid IP address".to_owned());
    };
    let (link_local, multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if address.is_unspecified() {
        refuse(format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned());
    }
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned());
    }
    if multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned());
    }
}

/// Checks a name of at least two parts; a dot may end it.
pub(super) fn full_name(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let before = errors.len();
    dns_subdomain(path, name, errors);
    if errors.len() > before {
        return;
    }
    if !name.contains('.') {
        let words = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, name, words));
    }
    name.split('.').for_each(|label| dns_label(path, label, errors));
}

/// What is said about an address that is written as no other is.
pub(super) fn of_ip(path: &Path, text: &str, warnings: &mut Vec<String>) {
    let Some(parsed) = sloppy_ip(text) else { return };
    let mapped = |address: &IpAddr| matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
    match text.parse::<IpAddr>() {
        Ok(strict) if !mapped(&strict) => {
            if strict.is_ipv6() && strict.to_string() != text {
                warnings.push(format!(
                    "{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({:?})",
                    strict.to_string()
                ));
            }
        }
        _ => warnings.push(format!(
            "{path}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use {:?}",
            parsed.to_canonical().to_string()
        )),
    }
}

/// What is said about a range of addresses that is written as no other is.
pub(super) fn of_cidr(path: &Path, text: &str, warnings: &mut Vec<String>) {
    let Some((first, length)) = text.split_once('/') else { return };
    let (Some(address), Ok(bits)) = (sloppy_ip(first), length.parse::<u8>()) else { return };
    let Ok(net) = IpNet::new(address, bits) else { return };
    let (whole, before) = (net.trunc(), warnings.len());
    if whole != net {
        let one = format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 });
        warnings.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be {:?} or {one:?}?)",
            whole.to_string()
        ));
    }
    let mapped = matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
    let zeros = first.parse::<IpAddr>().is_err() || (length.len() > 1 && length.starts_with('0'));
    if mapped || zeros {
        warnings.push(format!(
            "{path}: non-standard CIDR value {text:?} will be considered invalid in a future Kubernetes release: use {:?}",
            whole.to_string()
        ));
    }
    if warnings.len() == before && address.is_ipv6() && net.to_string() != text {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({:?})",
            net.to_string()
        ));
    }
}
