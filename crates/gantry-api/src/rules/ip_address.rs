//! IPAddress and ServiceCIDR: which addresses Services have, and where they come from.

use ipnet::IpNet;

use super::common::{
    IMMUTABLE, cidr, dns_subdomain, drop_status, immutable, ip, keep_status, list, path_segment, required,
    text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules of IPAddress.
pub const RULES: Rules = Rules {
    validate: |address| {
        let mut errors = Vec::new();
        let name = text(&address["metadata"], "name");
        ip(&Path::new("metadata").child("name"), name, &mut errors);
        let (path, parent) = (Path::new("spec").child("parentRef"), &address["spec"]["parentRef"]);
        if parent.is_object() {
            if !text(parent, "group").is_empty() {
                dns_subdomain(&path.child("group"), text(parent, "group"), &mut errors);
            }
            for key in ["resource", "name"] {
                if let Some(name) = required(&path, parent, key, &mut errors) {
                    path_segment(&path.child(key), name, &mut errors);
                }
            }
            path_segment(&path.child("namespace"), text(parent, "namespace"), &mut errors);
        } else {
            errors.push(FieldError::required(&path, ""));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("parentRef");
        immutable(&path, &new["spec"]["parentRef"], &old["spec"]["parentRef"], &mut errors);
        errors
    },
    ..Rules::NONE
};

/// The rules of ServiceCIDR.
pub const SERVICE_CIDR: Rules = Rules {
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |range| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("cidrs");
        let cidrs: Vec<&str> =
            list(&range["spec"], "cidrs").iter().map(|cidr| cidr.as_str().unwrap_or_default()).collect();
        if cidrs.is_empty() {
            errors.push(FieldError::required(&path, "at least one CIDR required"));
            return errors;
        }
        let shown = || range["spec"]["cidrs"].clone();
        if cidrs.len() > 2 {
            errors.push(FieldError::invalid(&path, shown(), "may only hold up to 2 values"));
            return errors;
        }
        for (at, text) in cidrs.iter().enumerate() {
            cidr(&path.index(at), text, &mut errors);
        }
        let parsed: Vec<Option<IpNet>> = cidrs.iter().map(|cidr| cidr.parse().ok()).collect();
        if let [Some(one), Some(other)] = parsed[..]
            && one.addr().is_ipv4() == other.addr().is_ipv4()
        {
            let words =
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.push(FieldError::invalid(&path, shown(), words));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (path, cidrs) = (Path::new("spec").child("cidrs"), &new["spec"]["cidrs"]);
        let (after, before) = (list(&new["spec"], "cidrs"), list(&old["spec"], "cidrs"));
        // A second family may be added behind the first.
        let widened = before.len() == 1 && after.len() == 2;
        if after.len() == before.len() || widened {
            for (at, (new, old)) in after.iter().zip(before).enumerate() {
                immutable(&path.index(at), new, old, &mut errors);
            }
        } else {
            errors.push(FieldError::invalid(&path, cidrs.clone(), IMMUTABLE));
        }
        errors
    },
    ..Rules::NONE
};
