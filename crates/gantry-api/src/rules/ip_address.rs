//! IPAddress and ServiceCIDR: which addresses Services have, and where they come from.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::common::{drop_status, immutable, keep_status, list, required, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules of IPAddress.
pub const RULES: Rules = Rules {
    validate: |address| {
        let mut errors = Vec::new();
        let name = text(&address["metadata"], "name");
        let canonical = name.parse::<IpAddr>().is_ok_and(|parsed| parsed.to_string() == name);
        if !canonical {
            let path = Path::new("metadata").child("name");
            errors.push(FieldError::invalid(&path, name, "must be a valid IP address in canonical form"));
        }
        let (path, parent) = (Path::new("spec").child("parentRef"), &address["spec"]["parentRef"]);
        if parent.is_object() {
            for key in ["resource", "name"] {
                required(&path, parent, key, &mut errors);
            }
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
        let parsed: Vec<Option<IpNet>> = cidrs.iter().map(|cidr| cidr.parse().ok()).collect();
        if let [Some(one), Some(other)] = parsed[..]
            && one.addr().is_ipv4() == other.addr().is_ipv4()
        {
            let words =
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.push(FieldError::invalid(&path, shown(), words));
        }
        for (at, (text, cidr)) in cidrs.iter().zip(&parsed).enumerate() {
            let words = match cidr {
                Some(cidr) if cidr.trunc() == *cidr && cidr.to_string() == *text => continue,
                Some(cidr) => format!("must be in canonical form (\"{}\")", cidr.trunc()),
                None => "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned(),
            };
            errors.push(FieldError::invalid(&path.index(at), *text, words));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (path, cidrs) = (Path::new("spec").child("cidrs"), &new["spec"]["cidrs"]);
        let (after, before) = (list(&new["spec"], "cidrs"), list(&old["spec"], "cidrs"));
        // A second family may be added behind the first.
        let widened = before.len() == 1 && after.len() == 2 && after[0] == before[0];
        if !widened {
            immutable(&path, cidrs, &Value::from(before.to_vec()), &mut errors);
        }
        errors
    },
    ..Rules::NONE
};
