//! What webhooks and admission policies have in common: which requests they are for.

use serde_json::{Map, Value, json};

use super::common::{
    default, dns_subdomain, label_selector, list, object, one_of, qualified_name, required, text,
};
use crate::field::{FieldError, Path};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// The most conditions of a match.
const MOST_CONDITIONS: usize = 64;

/// Sets the defaults of a rule.
pub(super) fn rule_defaults(rule: &mut Map<String, Value>) {
    default(rule, "scope", "*");
}

/// Sets the defaults of what a policy or a binding matches.
pub(super) fn match_defaults(matches: &mut Map<String, Value>) {
    default(matches, "matchPolicy", "Equivalent");
    default(matches, "namespaceSelector", json!({}));
    default(matches, "objectSelector", json!({}));
    for key in ["resourceRules", "excludeResourceRules"] {
        super::common::items(matches, key).for_each(rule_defaults);
    }
}

/// Checks what a policy or a binding matches.
pub(super) fn match_resources(path: &Path, matches: &Value, errors: &mut Vec<FieldError>) {
    one_of(&path.child("matchPolicy"), text(matches, "matchPolicy"), &["Equivalent", "Exact"], errors);
    for key in ["namespaceSelector", "objectSelector"] {
        label_selector(&path.child(key), &matches[key], errors);
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        for (at, rule) in list(matches, key).iter().enumerate() {
            let path = path.child(key).index(at);
            resource_rule(&path, rule, errors);
            let names = list(rule, "resourceNames");
            for (index, name) in names.iter().enumerate().filter(|(at, name)| names[..*at].contains(name)) {
                errors.push(FieldError::duplicate(&path.child("resourceNames").index(index), name.clone()));
            }
        }
    }
}

/// Checks a rule: operations, groups, versions and resources.
pub(super) fn resource_rule(path: &Path, rule: &Value, errors: &mut Vec<FieldError>) {
    let values = |key: &str| -> Vec<&str> { list(rule, key).iter().filter_map(Value::as_str).collect() };
    let at = path.child("operations");
    let operations = values("operations");
    if operations.is_empty() {
        errors.push(FieldError::required(&at, ""));
    }
    if operations.len() > 1 && operations.contains(&"*") {
        let words = "if '*' is present, must not specify other operations";
        errors.push(FieldError::invalid(&at, rule["operations"].clone(), words));
    }
    for (index, operation) in operations.iter().enumerate() {
        one_of(&at.index(index), operation, OPERATIONS, errors);
    }
    for (key, words) in [
        ("apiGroups", "if '*' is present, must not specify other API groups"),
        ("apiVersions", "if '*' is present, must not specify other API versions"),
    ] {
        let (at, all) = (path.child(key), values(key));
        if all.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        if all.len() > 1 && all.contains(&"*") {
            errors.push(FieldError::invalid(&at, rule[key].clone(), words));
        }
        for (index, version) in all.iter().enumerate() {
            if key == "apiVersions" && version.is_empty() {
                errors.push(FieldError::required(&at.index(index), ""));
            }
        }
    }
    resources(&path.child("resources"), &values("resources"), &rule["resources"], errors);
    if !rule["scope"].is_null() {
        one_of(&path.child("scope"), text(rule, "scope"), &["*", "Cluster", "Namespaced"], errors);
    }
}

fn resources(path: &Path, all: &[&str], shown: &Value, errors: &mut Vec<FieldError>) {
    if all.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    // The resources all of whose subresources were named, and the subresources of all resources.
    let (mut whole, mut everywhere) = (Vec::new(), Vec::new());
    let mut last_alone = "*";
    for (at, resource) in all.iter().enumerate() {
        let path = path.index(at);
        if resource.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        let Some((name, part)) = resource.split_once('/') else {
            last_alone = resource;
            continue;
        };
        let mut covered = |by: String| {
            let words = format!("if '{by}' is present, must not specify {resource}");
            errors.push(FieldError::invalid(&path, *resource, words));
        };
        if whole.contains(&name) {
            covered(format!("{name}/*"));
        }
        if everywhere.contains(&part) {
            covered(format!("*/{part}"));
        }
        if part == "*" {
            whole.push(name);
        }
        if name == "*" {
            everywhere.push(part);
        }
    }
    if all.len() > 1 && all.contains(&"*/*") {
        let words = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, shown.clone(), words));
    }
    // Upstream looks at the last of the others.
    if all.contains(&"*") && last_alone != "*" {
        let words = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, shown.clone(), words));
    }
}

/// Checks the conditions of a match.
pub(super) fn match_conditions(path: &Path, conditions: &[Value], errors: &mut Vec<FieldError>) {
    if conditions.len() > MOST_CONDITIONS {
        errors.push(FieldError::too_many(path, conditions.len(), MOST_CONDITIONS));
    }
    for (at, condition) in conditions.iter().enumerate() {
        let path = path.index(at);
        if text(condition, "expression").trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), ""));
        }
        match text(condition, "name") {
            "" => errors.push(FieldError::required(&path.child("name"), "")),
            name => qualified_name(&path.child("name"), name, errors),
        }
        if conditions[..at].iter().any(|other| other["name"] == condition["name"]) {
            errors.push(FieldError::duplicate(&path.child("name"), condition["name"].clone()));
        }
    }
}

/// Sets the defaults of a policy of either sort.
pub(super) fn policy_defaults(policy: &mut Value) {
    let Some(policy) = policy.as_object_mut() else { return };
    let spec = object(policy, "spec");
    default(spec, "failurePolicy", "Fail");
    if let Some(Value::Object(matches)) = spec.get_mut("matchConstraints") {
        match_defaults(matches);
    }
}

/// Sets the defaults of a binding of either sort.
pub(super) fn binding_defaults(binding: &mut Value) {
    let Some(Value::Object(spec)) = binding.get_mut("spec") else { return };
    if let Some(Value::Object(matches)) = spec.get_mut("matchResources") {
        match_defaults(matches);
    }
}

/// Checks what policies of both sorts have: failure policy, parameters, what they match and variables.
pub(super) fn policy(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    one_of(&path.child("failurePolicy"), text(spec, "failurePolicy"), &["Fail", "Ignore"], errors);
    if spec["paramKind"].is_object() {
        let (path, kind) = (path.child("paramKind"), &spec["paramKind"]);
        if let Some(version) = required(&path, kind, "apiVersion", errors)
            && version.matches('/').count() > 1
        {
            let words = format!("unexpected GroupVersion string: {version}");
            errors.push(FieldError::invalid(&path.child("apiVersion"), version, words));
        }
        required(&path, kind, "kind", errors);
    }
    let at = path.child("matchConstraints");
    if spec["matchConstraints"].is_object() {
        match_resources(&at, &spec["matchConstraints"], errors);
        if list(&spec["matchConstraints"], "resourceRules").is_empty() {
            errors.push(FieldError::required(&at.child("resourceRules"), ""));
        }
    } else {
        errors.push(FieldError::required(&at, ""));
    }
    match_conditions(&path.child("matchConditions"), list(spec, "matchConditions"), errors);
    variables(&path.child("variables"), list(spec, "variables"), errors);
}

/// Checks what bindings of both sorts have: the policy, parameters and what they match.
pub(super) fn policy_binding(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    if let Some(name) = required(path, spec, "policyName", errors) {
        dns_subdomain(&path.child("policyName"), name, errors);
    }
    if spec["paramRef"].is_object() {
        parameter_reference(&path.child("paramRef"), &spec["paramRef"], errors);
    }
    if spec["matchResources"].is_object() {
        match_resources(&path.child("matchResources"), &spec["matchResources"], errors);
    }
}

fn variables(path: &Path, variables: &[Value], errors: &mut Vec<FieldError>) {
    for (at, variable) in variables.iter().enumerate() {
        let path = path.index(at);
        let name = text(variable, "name");
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), "name is not specified"));
        } else if !starts || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            errors.push(FieldError::invalid(&path.child("name"), name, "name is not a valid CEL identifier"));
        }
        if text(variable, "expression").trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
        }
        if variables[..at].iter().any(|other| other["name"] == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
}

fn parameter_reference(path: &Path, reference: &Value, errors: &mut Vec<FieldError>) {
    let name = text(reference, "name");
    if !name.is_empty() && !reference["selector"].is_null() {
        let words = "name and selector are mutually exclusive";
        errors.push(FieldError::forbidden(&path.child("name"), words));
    } else if name.is_empty() && reference["selector"].is_null() {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    label_selector(&path.child("selector"), &reference["selector"], errors);
    match reference["parameterNotFoundAction"].as_str() {
        None => {
            errors.push(FieldError::required(&path.child("parameterNotFoundAction"), ""));
        }
        Some(action) => {
            one_of(&path.child("parameterNotFoundAction"), action, &["Allow", "Deny"], errors);
        }
    }
}
