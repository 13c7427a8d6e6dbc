//! ResourceQuota.

use gantry_json::Value;

use super::common::{drop_status, keep_status, list, text};
use super::resources;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

/// The rules.
pub const RULES: Rules = Rules {
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |quota| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &quota["spec"]);
        amounts(&path.child("hard"), &spec["hard"], &mut errors);
        scopes(&path, spec, &mut errors);
        selector(&path.child("scopeSelector").child("matchExpressions"), spec, &mut errors);
        errors
    },
    validate_update: |new, old| {
        let names = |quota: &Value| {
            let mut names: Vec<String> =
                list(&quota["spec"], "scopes").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            names.sort();
            names.dedup();
            names
        };
        let path = Path::new("spec").child("scopes");
        let changed = names(new) != names(old);
        let error = || FieldError::invalid(&path, new["spec"]["scopes"].clone(), "field is immutable");
        changed.then(error).into_iter().collect()
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        for key in ["hard", "used"] {
            amounts(&Path::new("status").child(key), &new["status"][key], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

fn amounts(path: &Path, amounts: &Value, errors: &mut Vec<FieldError>) {
    for (name, amount) in amounts.as_object().into_iter().flatten() {
        resources::quota_name(&path.key(name), name, errors);
        resources::amount(&path.key(name), name, amount, errors);
    }
}

/// How many of the limited resources the scope says nothing about.
fn untracked(scope: &str, spec: &Value) -> usize {
    let names = spec["hard"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let tracked = |resource: &str| match scope {
        "BestEffort" => resource == "pods",
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => matches!(
            resource,
            "pods" | "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory"
        ),
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    };
    names.filter(|name| resources::is_quota_name(name) && !tracked(name)).count()
}

fn conflicts(path: &Path, scopes: &[&str], spec: &Value, errors: &mut Vec<FieldError>) {
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.push(FieldError::invalid(path, spec["scopes"].clone(), "conflicting scopes"));
        }
    }
}

fn scopes(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let at = path.child("scopes");
    let scopes: Vec<&str> = list(spec, "scopes").iter().filter_map(Value::as_str).collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            errors.push(FieldError::invalid(&at, spec["scopes"].clone(), "unsupported scope"));
        }
        let words = "unsupported scope applied to resource";
        let error = FieldError::invalid(&at, spec["scopes"].clone(), words);
        errors.extend(std::iter::repeat_n(error, untracked(scope, spec)));
    }
    conflicts(&at, &scopes, spec, errors);
}

/// Checks the scopes that are selected; upstream tells faults at the list.
fn selector(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let selector = &spec["scopeSelector"];
    let expressions = list(selector, "matchExpressions");
    for expression in expressions {
        let (scope, operator) = (text(expression, "scopeName"), text(expression, "operator"));
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(&path.child("scopeName"), scope, "unsupported scope"));
        }
        let words = "unsupported scope applied to resource";
        let error = FieldError::invalid(path, selector.clone(), words);
        errors.extend(std::iter::repeat_n(error, untracked(scope, spec)));
        let valued = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if SCOPES.contains(&scope) && !valued && operator != "Exists" {
            errors.push(FieldError::invalid(
                &path.child("operator"),
                operator,
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            ));
        }
        let values = list(expression, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                &path.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::invalid(
                &path.child("values"),
                expression["values"].clone(),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => {
                let words = "not a valid selector operator";
                errors.push(FieldError::invalid(&path.child("operator"), other, words));
            }
        }
    }
    let scopes: Vec<&str> = expressions.iter().map(|expression| text(expression, "scopeName")).collect();
    conflicts(path, &scopes, spec, errors);
}
