//! ValidatingAdmissionPolicy and its bindings. Expressions are compiled by gantry-cel when they are written.

use gantry_json::Value;

use super::admission_rules::{binding_defaults, policy, policy_binding, policy_defaults};
use super::common::{drop_status, keep_status, list, one_of, qualified_name, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The most audit annotations.
const MOST_ANNOTATIONS: usize = 20;
/// The longest expression of an annotation, in bytes.
const LONGEST_EXPRESSION: usize = 5 << 10;

/// The rules of ValidatingAdmissionPolicy.
pub const RULES: Rules = Rules {
    default: policy_defaults,
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        let path = Path::new("status").child("typeChecking").child("expressionWarnings");
        let warnings = list(&new["status"]["typeChecking"], "expressionWarnings");
        for (at, warning) in warnings.iter().enumerate() {
            for field in ["warning", "fieldRef"] {
                if text(warning, field).trim().is_empty() {
                    errors.push(FieldError::required(&path.index(at).child(field), ""));
                }
            }
        }
        errors.extend(super::conditions::of_status(new));
        errors
    },
    validate: |policy| {
        let mut errors = Vec::new();
        let name = text(&policy["metadata"], "name");
        validate(&Path::new("spec"), name, &policy["spec"], &mut errors);
        errors
    },
    ..Rules::NONE
};

/// The rules of ValidatingAdmissionPolicyBinding.
pub const BINDING: Rules = Rules {
    default: binding_defaults,
    validate: |binding| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &binding["spec"]);
        policy_binding(&path, spec, &mut errors);
        actions(&path.child("validationActions"), spec, &mut errors);
        errors
    },
    ..Rules::NONE
};

fn validate(path: &Path, name: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    policy(path, spec, errors);
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let words = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(&path.child("validations"), words));
        errors.push(FieldError::required(&path.child("auditAnnotations"), words));
    }
    for (at, each) in validations.iter().enumerate() {
        validation(&path.child("validations").index(at), each, errors);
    }
    audit_annotations(&path.child("auditAnnotations"), name, annotations, errors);
}

fn validation(path: &Path, validation: &Value, errors: &mut Vec<FieldError>) {
    if text(validation, "expression").trim().is_empty() {
        errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
    }
    let composed = text(validation, "messageExpression");
    if !composed.is_empty() && composed.trim().is_empty() {
        let words = "must be non-empty if specified";
        errors.push(FieldError::invalid(&path.child("messageExpression"), composed, words));
    }
    let (message, trimmed) = (text(validation, "message"), text(validation, "message").trim());
    if !message.is_empty() && trimmed.is_empty() {
        let words = "message must be non-empty if specified";
        errors.push(FieldError::invalid(&path.child("message"), message, words));
    } else if trimmed.contains(['\n', '\r']) {
        let words = "message must not contain line breaks";
        errors.push(FieldError::invalid(&path.child("message"), message, words));
    }
    if let Some(reason) = validation["reason"].as_str() {
        let known = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        one_of(&path.child("reason"), reason, &known, errors);
    }
}

fn audit_annotations(path: &Path, policy: &str, annotations: &[Value], errors: &mut Vec<FieldError>) {
    if annotations.len() > MOST_ANNOTATIONS {
        let words = format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(path, annotations.to_vec(), words));
    }
    for (at, annotation) in annotations.iter().enumerate() {
        let path = path.index(at);
        let key = text(annotation, "key");
        match policy {
            "" => {
                let words = "requires metadata.name be non-empty";
                errors.push(FieldError::invalid(&path.child("key"), key, words));
            }
            policy => qualified_name(&path.child("key"), &format!("{policy}/{key}"), errors),
        }
        let expression = text(annotation, "valueExpression").trim();
        if expression.is_empty() {
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

fn actions(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let actions: Vec<&str> = list(spec, "validationActions").iter().filter_map(Value::as_str).collect();
    for (at, action) in actions.iter().enumerate() {
        one_of(&path.index(at), action, &["Audit", "Deny", "Warn"], errors);
        if actions[..at].contains(action) {
            errors.push(FieldError::duplicate(&path.index(at), *action));
        }
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        errors.push(FieldError::invalid(
            path,
            spec["validationActions"].clone(),
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ));
    }
    if actions.is_empty() {
        errors.push(FieldError::required(path, "at least one validation action is required"));
    }
}
