//! ResourceSlice: the devices that a driver offers.

use serde_json::{Map, Value};

use super::common::{dns_label, dns_subdomain, immutable, list, one_of, qualified_name, required, text};
use super::csi_driver;
use super::resource_claim::{at_most, distinct};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The longest name of a pool.
const LONGEST_POOL: usize = 253;
/// The longest domain and name of an attribute.
const LONGEST_DOMAIN: usize = 63;
const LONGEST_NAME: usize = 32;
/// The longest text of an attribute.
const LONGEST_VALUE: usize = 64;
/// The most attributes and capacities of a device.
const MOST_ATTRIBUTES: usize = 32;
const MOST_DEVICES: usize = 128;
/// The most devices where some have taints or draw on shared counters.
const MOST_SPECIAL_DEVICES: usize = 64;
const MOST_COUNTER_SETS: usize = 8;
const MOST_TAINTS: usize = 16;

/// The rules.
pub const RULES: Rules = Rules {
    validate: |slice| {
        let mut errors = Vec::new();
        validate(&Path::new("spec"), &slice["spec"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (path, spec, before) = (Path::new("spec"), &new["spec"], &old["spec"]);
        let at = path.child("pool").child("name");
        immutable(&at, &spec["pool"]["name"], &before["pool"]["name"], &mut errors);
        for key in ["driver", "nodeName"] {
            immutable(&path.child(key), &spec[key], &before[key], &mut errors);
        }
        errors
    },
    selectable: |slice| {
        let spec = &slice["spec"];
        vec![("spec.nodeName", text(spec, "nodeName").into()), ("spec.driver", text(spec, "driver").into())]
    },
    ..Rules::NONE
};

/// Checks the name of a pool: subdomains with slashes between them.
pub(super) fn pool_name(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > LONGEST_POOL {
        errors.push(FieldError::too_long(path, LONGEST_POOL));
    }
    name.split('/').for_each(|part| dns_subdomain(path, part, errors));
}

/// Checks the name of an attribute or capacity, which may or must have a domain.
pub(super) fn qualified(path: &Path, name: &str, domain: bool, errors: &mut Vec<FieldError>) {
    let (prefix, own) = match name.split_once('/') {
        Some((prefix, own)) => (Some(prefix), own),
        None => (None, name),
    };
    match prefix {
        None if name.is_empty() => {
            errors.push(FieldError::required(path, "name required"));
            return;
        }
        None if domain => {
            errors.push(FieldError::invalid(path, name, "must include a domain"));
        }
        None => {}
        Some("") => errors.push(FieldError::required(path, "the domain must not be empty")),
        Some(prefix) => {
            if prefix.len() > LONGEST_DOMAIN {
                errors.push(FieldError::too_long(path, LONGEST_DOMAIN));
            }
            dns_subdomain(path, prefix, errors);
        }
    }
    if own.is_empty() {
        errors.push(FieldError::required(path, "the name must not be empty"));
        return;
    }
    if own.len() > LONGEST_NAME {
        errors.push(FieldError::too_long(path, LONGEST_NAME));
    }
    let starts = own.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !own.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let words = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
        errors.push(FieldError::invalid(path, own, words));
    }
}

fn validate(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    csi_driver::name(&path.child("driver"), text(spec, "driver"), errors);
    let (at, pool) = (path.child("pool"), &spec["pool"]);
    pool_name(&at.child("name"), text(pool, "name"), errors);
    let number = |key: &str| pool[key].as_i64().unwrap_or(0);
    if number("resourceSliceCount") <= 0 {
        let count = number("resourceSliceCount");
        errors.push(FieldError::invalid(&at.child("resourceSliceCount"), count, "must be greater than zero"));
    }
    if number("generation") < 0 {
        let words = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(&at.child("generation"), number("generation"), words));
    }
    place(path, spec, errors);
    let devices = list(spec, "devices");
    let special =
        |device: &Value| !list(device, "taints").is_empty() || !list(device, "consumesCounters").is_empty();
    let most = if devices.iter().any(special) { MOST_SPECIAL_DEVICES } else { MOST_DEVICES };
    if !spec["sharedCounters"].is_null() && !spec["devices"].is_null() {
        let words = "only one of `sharedCounters` or `devices` is allowed";
        errors.push(FieldError::invalid(path, "", words));
    }
    let at = path.child("devices");
    at_most(&at, devices, most, errors);
    for (index, each) in devices.iter().enumerate() {
        device(&at.index(index), each, spec["perDeviceNodeSelection"] == true, errors);
    }
    distinct(&at, devices, "name", errors);
    let (at, counters) = (path.child("sharedCounters"), list(spec, "sharedCounters"));
    at_most(&at, counters, MOST_COUNTER_SETS, errors);
    for (index, set) in counters.iter().enumerate() {
        let path = at.index(index);
        if let Some(name) = required(&path, set, "name", errors) {
            dns_label(&path.child("name"), name, errors);
        }
        if set["counters"].as_object().is_none_or(Map::is_empty) {
            errors.push(FieldError::required(&path.child("counters"), ""));
        }
    }
    distinct(&at, counters, "name", errors);
}

/// Which of the fields that say where something is are set; faults of their own are told.
fn places(path: &Path, parent: &Value, fields: &[&str], errors: &mut Vec<FieldError>) -> Vec<String> {
    let mut set = Vec::new();
    for field in fields {
        let (path, value) = (path.child(field), &parent[*field]);
        match value {
            Value::Null => continue,
            Value::String(name) if name.is_empty() => {
                let words = "must be either unset or set to a non-empty string";
                errors.push(FieldError::invalid(&path, "", words));
                continue;
            }
            Value::String(name) => dns_subdomain(&path, name, errors),
            Value::Bool(false) => {
                errors.push(FieldError::invalid(&path, false, "must be either unset or set to true"));
                continue;
            }
            _ => {}
        }
        set.push(format!("`{field}`"));
    }
    set
}

fn place(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let fields = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    let set = places(path, spec, &fields, errors);
    let terms = list(&spec["nodeSelector"], "nodeSelectorTerms");
    if spec["nodeSelector"].is_object() && terms.len() != 1 {
        let at = path.child("nodeSelector").child("nodeSelectorTerms");
        let words = "must have exactly one node selector term";
        errors.push(FieldError::invalid(&at, terms.to_vec(), words));
    }
    let words = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => errors.push(FieldError::required(path, words)),
        1 => {}
        _ => {
            let words = format!("{words}, but multiple fields are set");
            errors.push(FieldError::invalid(path, format!("{{{}}}", set.join(", ")), words));
        }
    }
}

fn device(path: &Path, device: &Value, placed: bool, errors: &mut Vec<FieldError>) {
    dns_label(&path.child("name"), text(device, "name"), errors);
    let entries = |key: &str| device[key].as_object().into_iter().flatten();
    let count = entries("attributes").count() + entries("capacity").count();
    if count > MOST_ATTRIBUTES {
        let words =
            format!("the total number of attributes and capacities must not exceed {MOST_ATTRIBUTES}");
        errors.push(FieldError::invalid(path, count, words));
    }
    for (name, value) in entries("attributes") {
        let path = path.child("attributes").key(name);
        qualified(&path, name, false, errors);
        attribute(&path, value, errors);
    }
    for (name, _) in entries("capacity") {
        qualified(&path.child("capacity").key(name), name, false, errors);
    }
    let (at, taints) = (path.child("taints"), list(device, "taints"));
    at_most(&at, taints, MOST_TAINTS, errors);
    for (index, taint) in taints.iter().enumerate() {
        let path = at.index(index);
        if let Some(key) = required(&path, taint, "key", errors) {
            qualified_name(&path.child("key"), key, errors);
        }
        match text(taint, "effect") {
            "" => errors.push(FieldError::required(&path.child("effect"), "")),
            effect => one_of(&path.child("effect"), effect, &["NoExecute", "NoSchedule", "None"], errors),
        }
    }
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    if placed {
        let set = places(path, device, &fields, errors);
        let words = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        match set.len() {
            0 => errors.push(FieldError::required(path, words)),
            1 => {}
            _ => errors.push(FieldError::invalid(path, format!("{{{}}}", set.join(", ")), words)),
        }
    } else if fields.iter().any(|field| !device[*field].is_null()) {
        let words = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        errors.push(FieldError::invalid(path, Value::Null, words));
    }
}

fn attribute(path: &Path, attribute: &Value, errors: &mut Vec<FieldError>) {
    match attribute.as_object().map_or(0, Map::len) {
        1 => {}
        0 => errors.push(FieldError::invalid(path, "", "exactly one value must be specified")),
        _ => errors.push(FieldError::invalid(path, attribute.clone(), "exactly one value must be specified")),
    }
    for key in ["string", "version"] {
        let value = text(attribute, key);
        let path = path.child(key);
        if key == "version" && !attribute["version"].is_null() && !is_semantic(value) {
            let words = "must be a string compatible with semver.org spec 2.0.0";
            errors.push(FieldError::invalid(&path, value, words));
        }
        if value.len() > LONGEST_VALUE {
            errors.push(FieldError::too_long(&path, LONGEST_VALUE));
        }
    }
}

/// Whether the text is a semantic version (semver.org 2.0.0).
fn is_semantic(text: &str) -> bool {
    let (rest, build) = text.split_once('+').map_or((text, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| digits(part) && (part == "0" || !part.starts_with('0'));
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3
        && parts.into_iter().all(number)
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || number(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}
