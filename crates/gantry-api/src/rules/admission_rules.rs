//! What webhooks and admission policies have in common: which requests they are for.

use gantry_json::{Map, Value, json};

use super::common::{
    CEL_RESERVED, default, default_absent, dns_1035_faults, dns_subdomain, label_selector, list, object,
    one_of, path_segment, qualified_name, required, subdomain_faults, text,
};
use crate::field::{FieldError, Path};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// The most conditions of a match.
const MOST_CONDITIONS: usize = 64;

/// Sets the defaults of a rule.
pub(super) fn rule_defaults(rule: &mut Map) {
    default_absent(rule, "scope", "*");
}

/// Sets the defaults of what a policy or a binding matches.
pub(super) fn match_defaults(matches: &mut Map) {
    default_absent(matches, "matchPolicy", "Equivalent");
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
            let names = list(rule, "resourceNames");
            for (index, name) in names.iter().enumerate() {
                let path = path.child("resourceNames").index(index);
                path_segment(&path, name.as_str().unwrap_or_default(), errors);
                if names[..index].contains(name) {
                    errors.push(FieldError::duplicate(&path, name.clone()));
                }
            }
            resource_rule(&path, rule, errors);
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
            continue;
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
        let name = text(condition, "name");
        if !name.is_empty() && conditions[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
}

/// Sets the defaults of a policy of either sort.
pub(super) fn policy_defaults(policy: &mut Value) {
    let Some(policy) = policy.as_object_mut() else { return };
    let spec = object(policy, "spec");
    default_absent(spec, "failurePolicy", "Fail");
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
        parameter_kind(&path.child("paramKind"), &spec["paramKind"], errors);
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
        // Upstream spells it like that.
        match_resources(&path.child("matchResouces"), &spec["matchResources"], errors);
    }
}

fn parameter_kind(path: &Path, kind: &Value, errors: &mut Vec<FieldError>) {
    if let Some(given) = required(path, kind, "apiVersion", errors) {
        let path = path.child("apiVersion");
        let (group, version) = match given {
            "/" => ("", ""),
            given => given.split_once('/').unwrap_or(("", given)),
        };
        if version.contains('/') {
            let words = format!("unexpected GroupVersion string: {given}");
            errors.push(FieldError::invalid(&path, given, words));
        } else {
            let faults = if group.is_empty() { Vec::new() } else { subdomain_faults(group) };
            if !faults.is_empty() {
                errors.push(FieldError::invalid(&path, group, faults.join(",")));
            }
            if version.is_empty() {
                errors.push(FieldError::invalid(&path, given, "version must be specified"));
            } else if let faults = dns_1035_faults(version)
                && !faults.is_empty()
            {
                errors.push(FieldError::invalid(&path, version, faults.join(",")));
            }
        }
    }
    if let Some(kind) = required(path, kind, "kind", errors) {
        let faults = dns_1035_faults(&kind.to_lowercase());
        if !faults.is_empty() {
            let words = format!("may have mixed case, but should otherwise match: {}", faults.join(","));
            errors.push(FieldError::invalid(&path.child("kind"), kind, words));
        }
    }
}

fn variables(path: &Path, variables: &[Value], errors: &mut Vec<FieldError>) {
    for (at, variable) in variables.iter().enumerate() {
        let path = path.index(at);
        let name = text(variable, "name");
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let fine = starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if name.trim().is_empty() {
            errors.push(FieldError::required(&path.child("name"), "name is not specified"));
        } else if !fine || CEL_RESERVED.contains(&name) {
            errors.push(FieldError::invalid(&path.child("name"), name, "name is not a valid CEL identifier"));
        }
        if text(variable, "expression").trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
        }
    }
}

fn parameter_reference(path: &Path, reference: &Value, errors: &mut Vec<FieldError>) {
    let name = text(reference, "name");
    let selected = reference["selector"].is_object();
    let exclusive = "name and selector are mutually exclusive";
    if !name.is_empty() {
        path_segment(&path.child("name"), name, errors);
        if selected {
            errors.push(FieldError::forbidden(&path.child("name"), exclusive));
        }
    }
    if selected {
        label_selector(&path.child("selector"), &reference["selector"], errors);
        if !name.is_empty() {
            errors.push(FieldError::forbidden(&path.child("selector"), exclusive));
        }
    }
    if name.is_empty() && !selected {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    match reference["parameterNotFoundAction"].as_str() {
        None | Some("") => {
            errors.push(FieldError::required(&path.child("parameterNotFoundAction"), ""));
        }
        Some(action) => {
            one_of(&path.child("parameterNotFoundAction"), action, &["Allow", "Deny"], errors);
        }
    }
}
