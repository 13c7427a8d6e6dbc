//! ControllerRevision.

use super::common::{immutable, not_negative};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    validate: |revision| {
        let mut errors = Vec::new();
        if revision["data"].is_null() {
            errors.push(FieldError::required(&Path::new("data"), "data is mandatory"));
        }
        not_negative(&Path::new("revision"), &revision["revision"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("data"), &new["data"], &old["data"], &mut errors);
        errors
    },
    ..Rules::NONE
};
