//! NetworkPolicy.

use gantry_json::{Map, Value, json};
use ipnet::IpNet;

use super::addresses;
use super::common::{
    default, items, label_selector, list, object, one_of, port as port_number, port_name, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
/// The most directions that a policy is for.
const DIRECTIONS: [(&str, &str, &str); 2] = [("Ingress", "ingress", "from"), ("Egress", "egress", "to")];

/// The rules.
pub const RULES: Rules = Rules {
    default: |policy| {
        let Some(policy) = policy.as_object_mut() else { return };
        let spec = object(policy, "spec");
        for (_, field, _) in DIRECTIONS {
            for rule in items(spec, field) {
                items(rule, "ports").for_each(|port| default(port, "protocol", "TCP"));
            }
        }
        let typed = spec.get("policyTypes").and_then(Value::as_array).is_some_and(|types| !types.is_empty());
        if !typed {
            let egress = spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty());
            let types = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".into(), types);
        }
    },
    validate: |policy| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &policy["spec"]);
        label_selector(&path.child("podSelector"), &spec["podSelector"], &mut errors);
        for (_, field, peers) in DIRECTIONS {
            for (at, rule) in list(spec, field).iter().enumerate() {
                let path = path.child(field).index(at);
                for (at, each) in list(rule, "ports").iter().enumerate() {
                    port(&path.child("ports").index(at), each, &mut errors);
                }
                for (at, each) in list(rule, peers).iter().enumerate() {
                    peer(&path.child(peers).index(at), each, &mut errors);
                }
            }
        }
        let types = list(spec, "policyTypes");
        let at = path.child("policyTypes");
        if types.len() > DIRECTIONS.len() {
            let words = "may not specify more than two policyTypes";
            errors.push(FieldError::invalid(&at, spec["policyTypes"].clone(), words));
            return errors;
        }
        for (index, each) in types.iter().enumerate() {
            one_of(&at.index(index), each.as_str().unwrap_or_default(), &["Egress", "Ingress"], &mut errors);
        }
        errors
    },
    warn: |policy, _| {
        let mut warnings = Vec::new();
        let (path, spec) = (Path::new("spec"), &policy["spec"]);
        for (_, field, peers) in DIRECTIONS {
            for (at, rule) in list(spec, field).iter().enumerate() {
                let path = path.child(field).index(at).child(peers);
                for (at, peer) in list(rule, peers).iter().enumerate() {
                    let (path, block) = (path.index(at).child("ipBlock"), &peer["ipBlock"]);
                    addresses::of_cidr(&path.child("cidr"), text(block, "cidr"), &mut warnings);
                    for (at, range) in list(block, "except").iter().filter_map(Value::as_str).enumerate() {
                        addresses::of_cidr(&path.child("except").index(at), range, &mut warnings);
                    }
                }
            }
        }
        warnings
    },
    ..Rules::NONE
};

fn port(path: &Path, each: &Value, errors: &mut Vec<FieldError>) {
    one_of(&path.child("protocol"), text(each, "protocol"), &["SCTP", "TCP", "UDP"], errors);
    let at = path.child("port");
    match &each["port"] {
        Value::Null => {}
        Value::String(name) => port_name(&at, name, errors),
        number => port_number(&at, number, errors),
    }
    let end = &each["endPort"];
    if end.is_null() {
        return;
    }
    let at = path.child("endPort");
    match each["port"].as_i64() {
        Some(first) => {
            if end.as_i64().is_some_and(|last| last < first) {
                errors.push(FieldError::invalid(&at, end.clone(), "must be greater than or equal to `port`"));
            }
            port_number(&at, end, errors);
        }
        None if each["port"].is_null() => {
            errors.push(FieldError::invalid(
                &at,
                end.clone(),
                "may not be specified when `port` is not specified",
            ));
        }
        None => {
            errors.push(FieldError::invalid(
                &at,
                end.clone(),
                "may not be specified when `port` is non-numeric",
            ));
        }
    }
}

fn peer(path: &Path, peer: &Value, errors: &mut Vec<FieldError>) {
    for key in ["podSelector", "namespaceSelector"] {
        label_selector(&path.child(key), &peer[key], errors);
    }
    let fields = peer.as_object().map_or(0, Map::len);
    if peer["ipBlock"].is_object() {
        block(&path.child("ipBlock"), &peer["ipBlock"], errors);
    }
    if fields == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    } else if fields > 1 && peer["ipBlock"].is_object() {
        errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
    }
}

fn block(path: &Path, block: &Value, errors: &mut Vec<FieldError>) {
    let at = path.child("cidr");
    let cidr = text(block, "cidr");
    if cidr.is_empty() {
        errors.push(FieldError::required(&at, ""));
        return;
    }
    let Ok(whole) = cidr.parse::<IpNet>() else {
        errors.push(FieldError::invalid(&at, cidr, CIDR));
        return;
    };
    for (index, except) in list(block, "except").iter().enumerate() {
        let at = path.child("except").index(index);
        let except = except.as_str().unwrap_or_default();
        match except.parse::<IpNet>() {
            Err(_) => errors.push(FieldError::invalid(&at, except, CIDR)),
            Ok(part) if !whole.contains(&part) || part.prefix_len() <= whole.prefix_len() => {
                errors.push(FieldError::invalid(&at, except, "must be a strict subset of `cidr`"));
            }
            Ok(_) => {}
        }
    }
}
