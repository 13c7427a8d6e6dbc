//! LimitRange.

use gantry_json::{Key, Map, Value};

use super::common::{items, list, object, qualified_name, text};
use super::persistent_volume_claim::quantity;
use super::resources;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |range| {
        let Some(range) = range.as_object_mut() else { return };
        for item in items(object(range, "spec"), "limits")
            .filter(|item| item.get("type") == Some(&"Container".into()))
        {
            // A limit is the largest there may be, a request the limit or the least there may be.
            fill(item, "default", "max");
            fill(item, "defaultRequest", "default");
            fill(item, "defaultRequest", "min");
        }
    },
    validate: |range| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("limits");
        let limits = list(&range["spec"], "limits");
        for (at, item) in limits.iter().enumerate() {
            let path = path.index(at);
            let kind = text(item, "type");
            type_name(&path.child("type"), kind, &mut errors);
            if limits[..at].iter().any(|other| other["type"] == kind) {
                errors.push(FieldError::duplicate(&path.child("type"), kind));
            }
            validate_item(&path, kind, item, &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

/// Fills `to` with what only `from` has.
fn fill(item: &mut Map, to: &str, from: &str) {
    let Some(Value::Object(from)) = item.get(from).cloned() else { return };
    let to = object(item, to);
    for (name, amount) in from {
        to.entry(name).or_insert(amount);
    }
}

fn type_name(path: &Path, kind: &str, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    qualified_name(path, kind, errors);
    if errors.len() == before
        && !kind.contains('/')
        && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim")
    {
        let words = "must be a standard limit type or fully qualified";
        errors.push(FieldError::invalid(path, kind, words));
    }
}

fn validate_item(path: &Path, kind: &str, item: &Value, errors: &mut Vec<FieldError>) {
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        // A pod's defaults are refused as a whole.
        let skipped = kind == "Pod" && field.starts_with("default");
        for (name, _) in item[field].as_object().into_iter().flatten().filter(|_| !skipped) {
            let path = path.child(field).key(name);
            match kind {
                "Pod" | "Container" => resources::container_name(&path, name, errors),
                _ => resources::name(&path, name, errors),
            }
        }
    }
    if kind == "Pod" {
        for key in ["default", "defaultRequest"] {
            if item[key].as_object().is_some_and(|map| !map.is_empty()) {
                let words = "may not be specified when `type` is 'Pod'";
                errors.push(FieldError::forbidden(&path.child(key), words));
            }
        }
    }
    if kind == "PersistentVolumeClaim" && ["min", "max"].iter().all(|key| item[*key]["storage"].is_null()) {
        let words = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(FieldError::required(&path.child("limits"), words));
    }
    let mut names: Vec<&Key> = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
        .iter()
        .flat_map(|key| item[*key].as_object().into_iter().flatten().map(|(name, _)| name))
        .collect();
    names.sort();
    names.dedup();
    for name in names {
        compare(path, name, item, errors);
    }
}

fn compare(path: &Path, name: &str, item: &Value, errors: &mut Vec<FieldError>) {
    let amount = |key: &str| quantity(&item[key][name]);
    // Each pair: the smaller, the larger, the field that is at fault, that whose value is told, and the words.
    let pairs = [
        ("min", "max", "min", "min", "min value", "max value"),
        ("min", "defaultRequest", "defaultRequest", "defaultRequest", "min value", "default request value"),
        ("defaultRequest", "max", "defaultRequest", "defaultRequest", "default request value", "max value"),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        ("min", "default", "default", "min", "min value", "default value"),
        ("default", "max", "default", "max", "default value", "max value"),
    ];
    for (small, large, at, told, small_words, large_words) in pairs {
        let (Some(less), Some(more)) = (amount(small), amount(large)) else { continue };
        if less > more {
            let words = format!("{small_words} {less} is greater than {large_words} {more}");
            let shown = item[told][name].clone();
            errors.push(FieldError::invalid(&path.child(at).key(name), shown, words));
        }
    }
    if let (Some(limit), Some(request)) = (amount("default"), amount("defaultRequest"))
        && !resources::may_be_overcommitted(name)
        && limit != request
    {
        let words = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
        let path = path.child("defaultRequest").key(name);
        errors.push(FieldError::invalid(&path, item["defaultRequest"][name].clone(), words));
    }
    let at = path.child("maxLimitRequestRatio").key(name);
    let shown = &item["maxLimitRequestRatio"][name];
    let Some(ratio) = amount("maxLimitRequestRatio") else { return };
    if ratio.as_f64() < 1.0 {
        errors.push(FieldError::invalid(&at, shown.clone(), format!("ratio {ratio} is less than 1")));
    }
    if let (Some(least), Some(most)) = (amount("min"), amount("max")) {
        let most_ratio = most.as_f64() / least.as_f64();
        if !least.is_zero() && ratio.as_f64() > most_ratio {
            let words = format!("ratio {ratio} is greater than max/min = {most_ratio:.6}");
            errors.push(FieldError::invalid(&at, shown.clone(), words));
        }
    }
}
