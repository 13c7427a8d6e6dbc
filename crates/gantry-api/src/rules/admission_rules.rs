//! What webhooks and admission policies have in common: which requests they are for.

use serde_json::{Map, Value, json};

use super::common::{default, label_selector, list, one_of, qualified_name, text};
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
    if all.contains(&"*/*") && all.len() > 1 {
        let words = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, shown.clone(), words));
        return;
    }
    for (at, resource) in all.iter().enumerate() {
        let path = path.index(at);
        match resource.split_once('/') {
            _ if resource.is_empty() => errors.push(FieldError::required(&path, "")),
            Some((_, part))
                if part != "*"
                    && !resource.starts_with("*/")
                    && all.contains(&format!("*/{part}").as_str()) =>
            {
                let words = format!("if '*/{part}' is present, must not specify {resource}");
                errors.push(FieldError::invalid(&path, *resource, words));
            }
            None if *resource != "*" && all.contains(&"*") => {
                let words = "if '*' is present, must not specify other resources without subresources";
                errors.push(FieldError::invalid(&path, *resource, words));
            }
            _ => {}
        }
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
