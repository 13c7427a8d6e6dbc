//! Expressions in objects that are written: what is wrong with them is refused as invalid.

use gantry_api::field::FieldError;
use gantry_api::registry::Kind;
use gantry_cel::validate_stored;
use gantry_json::Value;

/// Adds to `errors` what is wrong with the expressions of an object, beside `old` in an update. The
/// rules of a definition are looked at only if nothing else is wrong with it: they need its schema.
pub(super) fn validate(kind: &Kind, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if errors.is_empty() || &*kind.group != "apiextensions.k8s.io" {
        errors.extend(validate_stored(&kind.group, &kind.kind, object, old));
    }
}
