//! Node.

use gantry_json::{Map, Value, json};

use super::common::{keep_status, legacy_cidr, list, text};
use super::{addresses, placement, resources};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: set_defaults,
    prepare_create: drop_configuration,
    prepare_update: |node, old| {
        keep_status(node, old);
        if old["spec"]["configSource"].is_null() {
            drop_configuration(node);
        }
    },
    validate: |node| {
        let mut errors = Vec::new();
        // The path is upstream's.
        let path = Path::new("metadata").child("taints");
        placement::taints(&path, list(&node["spec"], "taints"), &mut errors);
        amounts(node, &mut errors);
        pod_ranges(&Path::new("spec").child("podCIDRs"), list(&node["spec"], "podCIDRs"), &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let (path, spec, before) = (Path::new("spec"), &new["spec"], &old["spec"]);
        let earlier = list(before, "podCIDRs");
        // What was once set stays; setting it later is allowed.
        if !earlier.is_empty() && list(spec, "podCIDRs") != earlier {
            let words = "node updates may not change podCIDR except from \"\" to valid";
            errors.push(FieldError::forbidden(&path.child("podCIDRs"), words));
        }
        if !text(before, "providerID").is_empty() && spec["providerID"] != before["providerID"] {
            let words = "node updates may not change providerID except from \"\" to valid";
            errors.push(FieldError::forbidden(&path.child("providerID"), words));
        }
        if text(spec, "externalID") != text(before, "externalID") {
            errors.push(FieldError::forbidden(&path.child("externalID"), "may not be updated"));
        }
        errors
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        amounts(new, &mut errors);
        let addresses = list(&new["status"], "addresses");
        for (at, address) in addresses.iter().enumerate() {
            if addresses[..at].contains(address) {
                let path = Path::new("status").child("addresses").index(at);
                errors.push(FieldError::duplicate(&path, address.clone()));
            }
        }
        errors
    },
    selectable: |node| {
        let cordoned = node["spec"]["unschedulable"] == true;
        vec![("spec.unschedulable", cordoned.to_string())]
    },
    warn: |node, _| {
        let mut warnings = Vec::new();
        let (path, spec) = (Path::new("spec"), &node["spec"]);
        if spec["configSource"].is_object() {
            warnings.push("spec.configSource: the feature is no longer supported".to_owned());
        }
        if !text(spec, "externalID").is_empty() {
            let words = "spec.externalID: this field is deprecated, and is unused by Kubernetes";
            warnings.push(words.to_owned());
        }
        for (at, range) in list(spec, "podCIDRs").iter().filter_map(Value::as_str).enumerate() {
            addresses::of_cidr(&path.child("podCIDRs").index(at), range, &mut warnings);
        }
        warnings
    },
    ..Rules::NONE
};

/// What can be promised is all there is, unless the node says less; the two fields for ranges of pods'
/// addresses follow each other.
fn set_defaults(node: &mut Value) {
    if node["status"]["allocatable"].is_null()
        && let Some(capacity) = node["status"]["capacity"].as_object().cloned()
    {
        node["status"]["allocatable"] = capacity.into();
    }
    let Some(spec) = node.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let first = |spec: &Map| spec.get("podCIDRs")?.as_array()?.first().cloned();
    match spec.get("podCIDR").cloned().filter(|range| *range != "" && !range.is_null()) {
        Some(range) if first(spec).is_none_or(|first| first != range) => {
            spec.insert("podCIDRs".into(), json!([range]));
        }
        Some(_) => {}
        None => {
            if let Some(range) = first(spec) {
                spec.insert("podCIDR".into(), range);
            }
        }
    }
}

/// Nodes have not been configured by objects for long.
fn drop_configuration(node: &mut Value) {
    for (part, field) in [("spec", "configSource"), ("status", "config")] {
        if let Some(fields) = node.get_mut(part).and_then(Value::as_object_mut) {
            fields.remove(field);
        }
    }
}

fn amounts(node: &Value, errors: &mut Vec<FieldError>) {
    for field in ["capacity", "allocatable"] {
        let path = Path::new("status").child(field);
        for (name, amount) in node["status"][field].as_object().into_iter().flatten() {
            resources::amount(&path.child(name), name, amount, errors);
        }
    }
}

fn pod_ranges(path: &Path, ranges: &[Value], errors: &mut Vec<FieldError>) {
    for (at, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
        legacy_cidr(&path.index(at), range, errors);
    }
    let six = |range: &Value| range.as_str().is_some_and(|range| range.contains(':'));
    let both = ranges.iter().any(six) && !ranges.iter().all(six);
    if ranges.len() > 2 || (ranges.len() == 2 && !both) {
        let words = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid(path, ranges.to_vec(), words));
    }
    for (at, range) in ranges.iter().enumerate().filter(|(at, range)| ranges[..*at].contains(range)) {
        errors.push(FieldError::duplicate(&path.index(at), range.clone()));
    }
}
