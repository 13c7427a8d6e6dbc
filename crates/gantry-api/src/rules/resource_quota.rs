//! ResourceQuota.

use serde_json::Value;

use super::common::{drop_status, keep_status, list, qualified_name, text};
use super::persistent_volume_claim::quantity;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The names without a domain that can be limited.
const STANDARD: [&str; 22] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
    "storage",
    "hugepages-2Mi",
    "hugepages-1Gi",
];
/// Names that are counted: their amounts are whole.
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
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
        let path = path.key(name);
        qualified_name(&path, name, errors);
        if !name.contains('/')
            && !STANDARD.contains(&name.as_str())
            && !name.starts_with("requests.hugepages-")
        {
            errors.push(FieldError::invalid(&path, name.as_str(), "must be a standard resource for quotas"));
        }
        let Some(parsed) = quantity(amount) else { continue };
        if parsed.is_negative() {
            errors.push(FieldError::invalid(&path, amount.clone(), "must be greater than or equal to 0"));
        }
        let counted = COUNTED.contains(&name.as_str()) || name.starts_with("count/");
        if counted && !parsed.is_whole() {
            errors.push(FieldError::invalid(&path, amount.clone(), "must be an integer"));
        }
    }
}

fn hard(spec: &Value) -> impl Iterator<Item = &str> {
    spec["hard"].as_object().into_iter().flatten().map(|(name, _)| name.as_str())
}

/// Whether a scope says anything about amounts of the resource.
fn tracked(scope: &str, resource: &str) -> bool {
    let of_pods = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
    match scope {
        "BestEffort" => matches!(resource, "pods" | "count/pods"),
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => {
            matches!(
                resource,
                "pods"
                    | "count/pods"
                    | "ephemeral-storage"
                    | "requests.ephemeral-storage"
                    | "limits.ephemeral-storage"
            ) || of_pods.contains(&resource)
                || resource.contains('/')
        }
        "VolumeAttributesClass" => {
            matches!(resource, "persistentvolumeclaims" | "count/persistentvolumeclaims" | "requests.storage")
        }
        _ => true,
    }
}

fn scopes(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let at = path.child("scopes");
    let scopes: Vec<&str> = list(spec, "scopes").iter().filter_map(Value::as_str).collect();
    for scope in &scopes {
        if !SCOPES.contains(scope) {
            errors.push(FieldError::invalid(&at, spec["scopes"].clone(), "unsupported scope"));
        } else if hard(spec).any(|resource| !tracked(scope, resource)) {
            let words = "unsupported scope applied to resource";
            errors.push(FieldError::invalid(&at, spec["scopes"].clone(), words));
        }
    }
    for (one, other) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if scopes.contains(&one) && scopes.contains(&other) {
            errors.push(FieldError::invalid(&at, spec["scopes"].clone(), "conflicting scopes"));
        }
    }
}

fn selector(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let expressions = &spec["scopeSelector"]["matchExpressions"];
    for (at, expression) in expressions.as_array().into_iter().flatten().enumerate() {
        let path = path.index(at);
        let (scope, operator) = (text(expression, "scopeName"), text(expression, "operator"));
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(&path.child("scopeName"), scope, "unsupported scope"));
        } else if hard(spec).any(|resource| !tracked(scope, resource)) {
            let words = "unsupported scope applied to resource";
            errors.push(FieldError::invalid(&path, expression.clone(), words));
        }
        let valued = matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if !valued && operator != "Exists" {
            errors.push(FieldError::invalid(
                &path.child("operator"),
                operator,
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
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
                errors.push(FieldError::invalid(
                    &path.child("operator"),
                    other,
                    "not a valid selector operator",
                ));
            }
        }
    }
}
