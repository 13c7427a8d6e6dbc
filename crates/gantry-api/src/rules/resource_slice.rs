//! ResourceSlice: the devices that a driver offers.

use gantry_json::{Map, Value};

use super::common::{
    dns_label, dns_subdomain, immutable, label_value, list, qualified_name, required, required_one_of, text,
};
use super::resource_claim::{few, few_distinct};
use super::{csi_driver, placement};
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
/// The most counters of a set, and the most sets that a device draws from.
const MOST_COUNTERS: usize = 32;
const MOST_DRAWN_FROM: usize = 2;
/// The most conditions of either sort that a device waits for.
const MOST_BINDING: usize = 4;
/// The longest key of an attribute that is shown whole.
const LONGEST_KEY: usize = LONGEST_DOMAIN + 1 + LONGEST_NAME;

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

/// Checks the name of an attribute or capacity, which may have a domain.
fn qualified(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    let parts: Vec<&str> = name.split('/').collect();
    let own = match parts.as_slice() {
        [own] => own,
        [domain, own] => {
            match *domain {
                "" => errors.push(FieldError::invalid(path, "", "the domain must not be empty")),
                domain => csi_driver::name(path, domain, errors),
            }
            if own.is_empty() {
                errors.push(FieldError::invalid(path, "", "the name must not be empty"));
                return;
            }
            own
        }
        // Upstream takes these.
        _ => return,
    };
    if own.len() > LONGEST_NAME {
        errors.push(FieldError::too_long(path, LONGEST_NAME));
    }
    let starts = own.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !own.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        let words = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
        errors.push(FieldError::invalid(path, *own, words));
    }
}

/// Checks the name of an attribute, which must have a domain.
pub(super) fn fully_qualified(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    qualified(path, name, errors);
    if !name.contains('/') {
        let words = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(path, name, words));
    }
}

/// A key as paths show it: a long one without its middle.
fn shortened(key: &str, longest: usize) -> String {
    if key.len() <= longest {
        return key.to_owned();
    }
    let left = longest - 3;
    let (start, end) = (&key.as_bytes()[..left.div_ceil(2)], &key.as_bytes()[key.len() - left / 2..]);
    format!("{}...{}", String::from_utf8_lossy(start), String::from_utf8_lossy(end))
}

/// Checks the conditions under which a device can be used, and those under which it cannot.
pub(super) fn binding(path: &Path, device: &Value, errors: &mut Vec<FieldError>) {
    let fields = ["bindingConditions", "bindingFailureConditions"];
    let [conditions, failures] = fields.map(|field| list(device, field));
    for field in fields {
        let name = |path: &Path, name: &Value, errors: &mut Vec<FieldError>| {
            qualified_name(path, name.as_str().unwrap_or_default(), errors);
        };
        few(&path.child(field), list(device, field), MOST_BINDING, name, errors);
    }
    for (field, all) in fields.into_iter().zip([conditions, failures]) {
        for (at, each) in all.iter().enumerate() {
            let path = path.child(field).index(at);
            if all[..at].contains(each) {
                errors.push(FieldError::duplicate(&path, each.clone()));
            }
            if field == fields[1] && conditions.contains(each) {
                let words = "bindingFailureConditions must not overlap with bindingConditions";
                errors.push(FieldError::invalid(&path, each.clone(), words));
            }
        }
    }
    for (missing, given) in [(fields[0], fields[1]), (fields[1], fields[0])] {
        if list(device, missing).is_empty() && !list(device, given).is_empty() {
            let words = format!("{missing} are required to use {given}");
            errors.push(FieldError::invalid(&path.child(missing), Value::Null, words));
        }
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
    let placed = spec["perDeviceNodeSelection"] == true;
    let check = |path: &Path, each: &Value, errors: &mut Vec<FieldError>| device(path, each, placed, errors);
    few_distinct(&path.child("devices"), devices, most, |each| &each["name"], check, errors);
    let set = |path: &Path, set: &Value, errors: &mut Vec<FieldError>| counters(path, "name", set, errors);
    let sets = list(spec, "sharedCounters");
    few_distinct(&path.child("sharedCounters"), sets, MOST_COUNTER_SETS, |each| &each["name"], set, errors);
}

/// Checks the counters of a set, or those that are drawn from the set named by `key`.
fn counters(path: &Path, key: &str, set: &Value, errors: &mut Vec<FieldError>) {
    if let Some(name) = required(path, set, key, errors) {
        dns_label(&path.child(key), name, errors);
    }
    let path = path.child("counters");
    let counters = set["counters"].as_object();
    match counters.map_or(0, Map::len) {
        0 => errors.push(FieldError::required(&path, "")),
        count if count > MOST_COUNTERS => errors.push(FieldError::too_many(&path, count, MOST_COUNTERS)),
        _ => {
            for (name, _) in counters.into_iter().flatten() {
                dns_label(&path.key(&shortened(name, LONGEST_DOMAIN)), name, errors);
            }
        }
    }
}

/// Which of the fields that say where something is are set; faults of their own are told.
fn places(
    path: &Path,
    parent: &Value,
    fields: &[&str],
    unnamed: &str,
    errors: &mut Vec<FieldError>,
) -> Vec<String> {
    let mut set = Vec::new();
    for field in fields {
        let (path, value) = (path.child(field), &parent[*field]);
        match value {
            Value::Null => continue,
            Value::String(name) if name.is_empty() => {
                errors.push(FieldError::invalid(&path, "", unnamed));
                continue;
            }
            Value::String(name) => dns_subdomain(&path, name, errors),
            Value::Bool(false) => {
                errors.push(FieldError::invalid(&path, false, "must be either unset or set to true"));
                continue;
            }
            Value::Object(_) => placement::node_selector(&path, value, errors),
            _ => {}
        }
        set.push(format!("`{field}`"));
    }
    set
}

fn place(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let fields = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    let set = places(path, spec, &fields, "must be either unset or set to a non-empty string", errors);
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
        let path = path.child("attributes").key(&shortened(name, LONGEST_KEY));
        qualified(&path, name, errors);
        attribute(&path, value, errors);
    }
    for (name, value) in entries("capacity") {
        let path = path.child("capacity").key(&shortened(name, LONGEST_KEY));
        qualified(&path, name, errors);
        if value["requestPolicy"].is_object() && device["allowMultipleAllocations"] != true {
            let words = "allowMultipleAllocations must be true";
            errors.push(FieldError::forbidden(&path.child("requestPolicy"), words));
        }
    }
    few(&path.child("taints"), list(device, "taints"), MOST_TAINTS, taint, errors);
    let set =
        |path: &Path, set: &Value, errors: &mut Vec<FieldError>| counters(path, "counterSet", set, errors);
    let (at, drawn) = (path.child("consumesCounters"), list(device, "consumesCounters"));
    few_distinct(&at, drawn, MOST_DRAWN_FROM, |each| &each["counterSet"], set, errors);
    let fields = ["nodeName", "nodeSelector", "allNodes"];
    if placed {
        let set = places(path, device, &fields, "must not be empty", errors);
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
    binding(path, device, errors);
}

fn taint(path: &Path, taint: &Value, errors: &mut Vec<FieldError>) {
    qualified_name(&path.child("key"), text(taint, "key"), errors);
    label_value(&path.child("value"), text(taint, "value"), errors);
    let known = ["NoExecute", "NoSchedule", "None"];
    required_one_of(&path.child("effect"), text(taint, "effect"), &known, errors);
}

fn attribute(path: &Path, attribute: &Value, errors: &mut Vec<FieldError>) {
    for key in ["string", "version"] {
        let Some(value) = attribute[key].as_str() else { continue };
        let path = path.child(key);
        if key == "version" && !is_semantic(value) {
            let words = "must be a string compatible with semver.org spec 2.0.0";
            errors.push(FieldError::invalid(&path, value, words));
        }
        if value.len() > LONGEST_VALUE {
            errors.push(FieldError::too_long(&path, LONGEST_VALUE));
        }
    }
    let shown = match attribute.as_object().map_or(0, Map::len) {
        1 => return,
        0 => "".into(),
        _ => attribute.clone(),
    };
    errors.push(FieldError::invalid(path, shown, "exactly one value must be specified"));
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
