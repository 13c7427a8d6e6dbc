//! The names of a kind.

use gantry_json::Value;

use super::joined;
use crate::field::{FieldError, Path};
use crate::rules::common::{dns_1035, list, text};

/// Checks that the names are there that a specification needs.
pub(super) fn required(path: &Path, names: &Value, errors: &mut Vec<FieldError>) {
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(names, key).is_empty() {
            errors.push(FieldError::required(&path.child(key), ""));
        }
    }
}

/// Checks the names that are there.
pub(super) fn validate(path: &Path, names: &Value, errors: &mut Vec<FieldError>) {
    for key in ["plural", "singular", "kind", "listKind"] {
        let (path, name) = (path.child(key), text(names, key));
        let mixed = matches!(key, "kind" | "listKind");
        let checked = if mixed { name.to_lowercase() } else { name.to_owned() };
        if let Some(faults) = joined(|faults| dns_1035(&path, &checked, faults))
            && !name.is_empty()
        {
            let words = match mixed {
                true => format!("may have mixed case, but should otherwise match: {faults}"),
                false => faults,
            };
            errors.push(FieldError::invalid(&path, name, words));
        }
    }
    let labels = |key: &str, errors: &mut Vec<FieldError>| {
        for (at, name) in list(names, key).iter().enumerate() {
            let (path, name) = (path.child(key).index(at), name.as_str().unwrap_or_default());
            if let Some(faults) = joined(|faults| dns_1035(&path, name, faults)) {
                errors.push(FieldError::invalid(&path, name, faults));
            }
        }
    };
    labels("shortNames", errors);
    let kind = text(names, "kind");
    if !kind.is_empty() && names["listKind"] == kind {
        let words = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&path.child("listKind"), kind, words));
    }
    labels("categories", errors);
}
