//! PersistentVolumeClaim, and claims in templates.

use serde_json::{Map, Value, json};

use super::common::{
    default, dns_subdomain, keep_status, label_selector, list, object, one_of, required, text,
};
use crate::diff::diff;
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;
use crate::registry::Rules;

/// How volumes can be accessed.
pub(super) const ACCESS_MODES: &[&str] =
    &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// The rules.
pub const RULES: Rules = Rules {
    default: |claim| {
        if let Some(claim) = claim.as_object_mut() {
            set_defaults(claim);
        }
    },
    prepare_create: |claim| {
        claim["status"] = json!({"phase": "Pending"});
        normalize_sources(&mut claim["spec"]);
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        if old["spec"]["dataSource"].is_null() && old["spec"]["dataSourceRef"].is_null() {
            normalize_sources(&mut new["spec"]);
        }
    },
    validate: |claim| {
        let mut errors = Vec::new();
        validate_spec(&Path::new("spec"), &claim["spec"], &mut errors);
        errors
    },
    validate_update,
    ..Rules::NONE
};

/// Sets the defaults of a claim.
pub(super) fn set_defaults(claim: &mut Map<String, Value>) {
    default(object(claim, "status"), "phase", "Pending");
    set_spec_defaults(object(claim, "spec"));
}

/// Sets the defaults of a claim's spec.
pub(super) fn set_spec_defaults(spec: &mut Map<String, Value>) {
    default(spec, "volumeMode", "Filesystem");
}

/// The two fields for the same source follow each other.
fn normalize_sources(spec: &mut Value) {
    let (source, reference) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if source.is_object() && reference.is_null() {
        spec["dataSourceRef"] = source;
    } else if source.is_null() && reference.is_object() && text(&reference, "namespace").is_empty() {
        spec["dataSource"] = reference;
    }
    if let Some(spec) = spec.as_object_mut() {
        spec.retain(|_, value| !value.is_null());
    }
}

/// The amount in a text.
pub(super) fn quantity(value: &Value) -> Option<Quantity> {
    value.as_str()?.parse().ok()
}

/// Checks that an amount is above zero.
pub(super) fn above_zero(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if quantity(value).is_some_and(|amount| amount.is_negative() || amount.is_zero()) {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than zero"));
    }
}

/// Checks access modes.
pub(super) fn access_modes(path: &Path, modes: &[Value], errors: &mut Vec<FieldError>) {
    if modes.is_empty() {
        errors.push(FieldError::required(path, "at least 1 access mode is required"));
    }
    for mode in modes {
        one_of(path, mode.as_str().unwrap_or_default(), ACCESS_MODES, errors);
    }
    if modes.iter().any(|mode| mode == "ReadWriteOncePod")
        && modes.iter().any(|mode| mode != "ReadWriteOncePod")
    {
        let words = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(path, words));
    }
}

/// Checks a claim's spec.
pub(super) fn validate_spec(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    access_modes(&path.child("accessModes"), list(spec, "accessModes"), errors);
    label_selector(&path.child("selector"), &spec["selector"], errors);
    let (at, storage) = (path.child("resources").key("storage"), &spec["resources"]["requests"]["storage"]);
    match storage {
        Value::Null => errors.push(FieldError::required(&at, "")),
        amount => above_zero(&at, amount, errors),
    }
    for key in ["storageClassName", "volumeAttributesClassName"] {
        if !text(spec, key).is_empty() {
            dns_subdomain(&path.child(key), text(spec, key), errors);
        }
    }
    if !spec["volumeMode"].is_null() {
        one_of(&path.child("volumeMode"), text(spec, "volumeMode"), &["Block", "Filesystem"], errors);
    }
    for key in ["dataSource", "dataSourceRef"] {
        if spec[key].is_object() {
            source(&path.child(key), &spec[key], errors);
        }
    }
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    let same = |key: &str| text(source, key) == text(reference, key);
    if source.is_object() && reference.is_object() && !["apiGroup", "kind", "name"].into_iter().all(same) {
        let words = "must match dataSourceRef";
        errors.push(FieldError::invalid(path, "", words));
    }
}

fn source(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    required(path, source, "name", errors);
    let kind = required(path, source, "kind", errors);
    let group = text(source, "apiGroup");
    if group.is_empty() && kind.is_some_and(|kind| kind != "PersistentVolumeClaim") {
        errors.push(FieldError::invalid(
            path,
            text(source, "kind"),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ));
    }
    if !group.is_empty() {
        dns_subdomain(&path.child("apiGroup"), group, errors);
    }
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let bound = new["status"]["phase"] == "Bound";
    let (spec, before) = (&new["spec"], &old["spec"]);
    let mut allowed = spec.clone();
    let mut free = Vec::new();
    // The binder names the volume and the class that turned out to be the default.
    if text(before, "volumeName").is_empty() {
        free.push("volumeName");
    }
    if before["storageClassName"].is_null() {
        free.push("storageClassName");
    }
    if bound {
        free.extend(["resources", "volumeAttributesClassName"]);
    } else if before["volumeAttributesClassName"].is_null() {
        free.push("volumeAttributesClassName");
    }
    for field in free {
        super::common::restore(&mut allowed, before, field);
    }
    if allowed != *before {
        let words = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.push(FieldError::forbidden(&path, format!("{words}\n{}", diff(before, &allowed))));
    }
    let storage = |spec: &Value| quantity(&spec["resources"]["requests"]["storage"]);
    if let (Some(size), Some(earlier)) = (storage(spec), storage(before))
        && size < earlier
    {
        let actual = quantity(&old["status"]["capacity"]["storage"]);
        if actual.is_none_or(|actual| actual.is_zero() || size <= actual) {
            errors.push(FieldError::forbidden(
                &path.child("resources").child("requests").child("storage"),
                "field can not be less than status.capacity",
            ));
        }
    }
    super::common::immutable(
        &path.child("volumeMode"),
        &spec["volumeMode"],
        &before["volumeMode"],
        &mut errors,
    );
    errors
}
