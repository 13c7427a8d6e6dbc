//! StorageVersionMigration: a resource whose objects are to be written again.

use super::common::{dns_1035, dns_subdomain, drop_status, immutable, keep_status, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |migration| {
        let mut errors = Vec::new();
        let (path, resource) = (Path::new("spec").child("resource"), &migration["spec"]["resource"]);
        match text(resource, "resource") {
            "" => errors.push(FieldError::required(&path.child("resource"), "resource is required")),
            name => dns_1035(&path.child("resource"), name, &mut errors),
        }
        match text(resource, "group") {
            "" => {}
            group => dns_subdomain(&path.child("group"), group, &mut errors),
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("spec"), &new["spec"], &old["spec"], &mut errors);
        errors
    },
    validate_status: |new, old, _| {
        let mut errors = Vec::new();
        let path = Path::new("status").child("resourceVersion");
        let (after, before) =
            (text(&new["status"], "resourceVersion"), text(&old["status"], "resourceVersion"));
        if !after.is_empty() && (!after.bytes().all(|byte| byte.is_ascii_digit()) || after.starts_with('0')) {
            let words = format!("resource version is not well formed: {after}");
            errors.push(FieldError::invalid(&path, after, words));
        }
        if !before.is_empty() && before != after {
            errors.push(FieldError::invalid(&path, after, "field is immutable"));
        }
        errors
    },
    ..Rules::NONE
};
