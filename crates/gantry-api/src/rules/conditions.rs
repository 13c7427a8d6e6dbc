//! Conditions of the form that kinds share: type, status, reason, message, time.

use gantry_json::Value;

use super::common::{list, one_of, qualified_name, text};
use crate::field::{FieldError, Path};

/// The longest reason and the longest message, in bytes.
const LONGEST_REASON: usize = 1 << 10;
const LONGEST_MESSAGE: usize = 32 << 10;
const REASON: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";

/// Checks the conditions of an object's status.
pub(super) fn of_status(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate(&Path::new("status").child("conditions"), list(&object["status"], "conditions"), &mut errors);
    errors
}

/// Checks conditions.
pub(super) fn validate(path: &Path, conditions: &[Value], errors: &mut Vec<FieldError>) {
    for (at, condition) in conditions.iter().enumerate() {
        let (path, kind) = (path.index(at), text(condition, "type"));
        if conditions[..at].iter().any(|other| text(other, "type") == kind) {
            errors.push(FieldError::duplicate(&path.child("type"), kind));
        }
        qualified_name(&path.child("type"), kind, errors);
        one_of(&path.child("status"), text(condition, "status"), &["False", "True", "Unknown"], errors);
        let generation = &condition["observedGeneration"];
        if generation.as_i64().is_some_and(|generation| generation < 0) {
            let words = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(&path.child("observedGeneration"), generation.clone(), words));
        }
        if text(condition, "lastTransitionTime").is_empty() {
            errors.push(FieldError::required(&path.child("lastTransitionTime"), "must be set"));
        }
        let (at, reason) = (path.child("reason"), text(condition, "reason"));
        if reason.is_empty() {
            errors.push(FieldError::required(&at, "must be set"));
        } else if !is_reason(reason) {
            errors.push(FieldError::invalid(&at, reason, REASON));
        }
        if reason.len() > LONGEST_REASON {
            errors.push(FieldError::too_long(&at, LONGEST_REASON));
        }
        if text(condition, "message").len() > LONGEST_MESSAGE {
            errors.push(FieldError::too_long(&path.child("message"), LONGEST_MESSAGE));
        }
    }
}

fn is_reason(reason: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ':');
    reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.chars().all(inner)
        && !reason.ends_with([',', ':'])
}
