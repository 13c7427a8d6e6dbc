//! ValidatingAdmissionPolicy and its bindings. Expressions are compiled by gantry-cel when they are written.

use serde_json::Value;

use super::admission_rules::{match_conditions, match_defaults, match_resources};
use super::common::{
    default, dns_subdomain, drop_status, keep_status, label_selector, list, object, one_of, qualified_name,
    required, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The most audit annotations.
const MOST_ANNOTATIONS: usize = 20;
/// The longest expression of an annotation, in bytes.
const LONGEST_EXPRESSION: usize = 5 << 10;

/// The rules of ValidatingAdmissionPolicy.
pub const RULES: Rules = Rules {
    default: |policy| {
        let Some(policy) = policy.as_object_mut() else { return };
        let spec = object(policy, "spec");
        default(spec, "failurePolicy", "Fail");
        if let Some(Value::Object(matches)) = spec.get_mut("matchConstraints") {
            match_defaults(matches);
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |policy| {
        let mut errors = Vec::new();
        validate(&Path::new("spec"), &policy["spec"], &mut errors);
        errors
    },
    ..Rules::NONE
};

/// The rules of ValidatingAdmissionPolicyBinding.
pub const BINDING: Rules = Rules {
    default: |binding| {
        let Some(Value::Object(spec)) = binding.get_mut("spec") else { return };
        if let Some(Value::Object(matches)) = spec.get_mut("matchResources") {
            match_defaults(matches);
        }
    },
    validate: |binding| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &binding["spec"]);
        if let Some(name) = required(&path, spec, "policyName", &mut errors) {
            dns_subdomain(&path.child("policyName"), name, &mut errors);
        }
        if spec["paramRef"].is_object() {
            parameter_reference(&path.child("paramRef"), &spec["paramRef"], &mut errors);
        }
        if spec["matchResources"].is_object() {
            match_resources(&path.child("matchResources"), &spec["matchResources"], &mut errors);
        }
        actions(&path.child("validationActions"), spec, &mut errors);
        errors
    },
    ..Rules::NONE
};

fn validate(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
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
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let words = "validations or auditAnnotations must be specified";
        errors.push(FieldError::required(&path.child("validations"), words));
        errors.push(FieldError::required(&path.child("auditAnnotations"), words));
    }
    for (at, each) in validations.iter().enumerate() {
        validation(&path.child("validations").index(at), each, errors);
    }
    audit_annotations(&path.child("auditAnnotations"), annotations, errors);
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

fn validation(path: &Path, validation: &Value, errors: &mut Vec<FieldError>) {
    if text(validation, "expression").trim().is_empty() {
        errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
    }
    let (message, trimmed) = (text(validation, "message"), text(validation, "message").trim());
    if !message.is_empty() && trimmed.is_empty() {
        let words = "message must be non-empty if specified";
        errors.push(FieldError::invalid(&path.child("message"), message, words));
    } else if trimmed.contains('\n') {
        let words = "message must not contain line breaks";
        errors.push(FieldError::invalid(&path.child("message"), message, words));
    } else if trimmed.is_empty()
        && text(validation, "expression").contains('\n')
        && validation["messageExpression"].is_null()
    {
        let words = "message must be specified if expression contains line breaks";
        errors.push(FieldError::required(&path.child("message"), words));
    }
    if let Some(reason) = validation["reason"].as_str() {
        let known = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        one_of(&path.child("reason"), reason, &known, errors);
    }
}

fn audit_annotations(path: &Path, annotations: &[Value], errors: &mut Vec<FieldError>) {
    if annotations.len() > MOST_ANNOTATIONS {
        let words = format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(path, annotations.to_vec(), words));
    }
    for (at, annotation) in annotations.iter().enumerate() {
        let path = path.index(at);
        match text(annotation, "key") {
            "" => errors.push(FieldError::required(&path.child("key"), "")),
            key => qualified_name(&path.child("key"), key, errors),
        }
        let expression = text(annotation, "valueExpression");
        if expression.trim().is_empty() {
            let words = "valueExpression is not specified";
            errors.push(FieldError::required(&path.child("valueExpression"), words));
        } else if expression.len() > LONGEST_EXPRESSION {
            let words = format!("must not exceed {LONGEST_EXPRESSION} bytes in length");
            errors.push(FieldError::required(&path.child("valueExpression"), words));
        }
        if annotations[..at].iter().any(|other| other["key"] == annotation["key"]) {
            errors.push(FieldError::duplicate(&path.child("key"), annotation["key"].clone()));
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

fn actions(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let actions: Vec<&str> = list(spec, "validationActions").iter().filter_map(Value::as_str).collect();
    if actions.is_empty() {
        errors.push(FieldError::required(path, "at least one validation action is required"));
    }
    for (at, action) in actions.iter().enumerate() {
        one_of(path, action, &["Audit", "Deny", "Warn"], errors);
        if actions[..at].contains(action) {
            errors.push(FieldError::duplicate(path, *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        errors.push(FieldError::invalid(
            path,
            spec["validationActions"].clone(),
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ));
    }
}
