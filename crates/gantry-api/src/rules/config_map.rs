//! ConfigMap.

use gantry_json::Value;

use super::common::immutable;
use super::secret;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    validate: |map| {
        let mut errors = Vec::new();
        for field in ["data", "binaryData"] {
            secret::keys(&Path::new(field), &map[field], &mut errors);
        }
        for key in map["binaryData"].as_object().into_iter().flatten().map(|(key, _)| key) {
            if map["data"].get(key).is_some() {
                let path = Path::new("data").key(key);
                errors.push(FieldError::invalid(
                    &path,
                    key.as_str(),
                    "duplicate of key present in binaryData",
                ));
            }
        }
        secret::size(&Path::new(""), &["data", "binaryData"].map(|field| &map[field]), &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        if old["immutable"] == true {
            if new["immutable"] != true {
                errors.push(FieldError::forbidden(
                    &Path::new("immutable"),
                    "field is immutable when `immutable` is set",
                ));
            }
            for field in ["data", "binaryData"] {
                frozen(&Path::new(field), &new[field], &old[field], &mut errors);
            }
        }
        errors
    },
    ..Rules::NONE
};

/// Checks that a field of an immutable object did not change.
pub(super) fn frozen(path: &Path, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    immutable(path, new, old, errors);
    if errors.len() > before {
        errors.truncate(before);
        errors.push(FieldError::forbidden(path, "field is immutable when `immutable` is set"));
    }
}
