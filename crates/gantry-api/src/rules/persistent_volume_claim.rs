//! PersistentVolumeClaim, and claims in templates.

use gantry_json::{Map, Value, json};

use super::common::{
    IMMUTABLE, default, dns_label, dns_subdomain, immutable, keep_status, label_selector, list, object,
    one_of, qualified_name, required, restore, text,
};
use super::persistent_volume::basic_resource;
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
        prepare_sources(&mut claim["spec"], true, true);
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        let (source, reference) = (&old["spec"]["dataSource"], &old["spec"]["dataSourceRef"]);
        prepare_sources(&mut new["spec"], source.is_null(), reference.is_null());
    },
    validate: |claim| {
        let mut errors = Vec::new();
        validate_spec(&Path::new("spec"), &claim["spec"], &mut errors);
        errors
    },
    validate_update,
    validate_status: |new, _, _| validate_status(&new["status"]),
    warn: super::volume_warnings::of_claim,
    ..Rules::NONE
};

/// Sets the defaults of a claim.
pub(super) fn set_defaults(claim: &mut Map) {
    default(object(claim, "status"), "phase", "Pending");
    set_spec_defaults(object(claim, "spec"));
}

/// Sets the defaults of a claim's spec.
pub(super) fn set_spec_defaults(spec: &mut Map) {
    default(spec, "volumeMode", "Filesystem");
}

/// Drops sources that are not taken, where the claim had none before, and lets the two fields for the same
/// source follow each other.
fn prepare_sources(spec: &mut Value, new_source: bool, new_reference: bool) {
    let Some(spec) = spec.as_object_mut() else { return };
    let far = |reference: &Value| !text(reference, "namespace").is_empty();
    if new_reference && spec.get("dataSourceRef").is_some_and(far) {
        spec.remove("dataSourceRef");
    }
    let known = |source: &Value| {
        matches!(
            (text(source, "apiGroup"), text(source, "kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    // From other kinds a claim is made by the newer field alone.
    if new_source && spec.get("dataSource").is_some_and(|source| !known(source)) {
        spec.remove("dataSource");
    }
    match (spec.get("dataSource").cloned(), spec.get("dataSourceRef").cloned()) {
        (Some(source), None) => drop(spec.insert("dataSourceRef".into(), source)),
        (None, Some(reference)) if !far(&reference) => drop(spec.insert("dataSource".into(), reference)),
        _ => {}
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

/// Checks access modes; `needed` are the words for none at all.
pub(super) fn access_modes(path: &Path, modes: &[Value], needed: &str, errors: &mut Vec<FieldError>) {
    if modes.is_empty() {
        errors.push(FieldError::required(path, needed));
    }
    for mode in modes {
        one_of(path, mode.as_str().unwrap_or_default(), ACCESS_MODES, errors);
    }
    if modes.iter().any(|mode| mode == "ReadWriteOncePod")
        && modes
            .iter()
            .any(|mode| mode != "ReadWriteOncePod" && ACCESS_MODES.iter().any(|known| mode == known))
    {
        let words = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(path, words));
    }
}

/// Checks a claim in a template: its metadata may have labels and annotations only.
pub(super) fn validate_template(path: &Path, template: &Value, errors: &mut Vec<FieldError>) {
    let (at, metadata) = (path.child("metadata"), &template["metadata"]);
    super::metadata::annotations(&at.child("annotations"), &metadata["annotations"], errors);
    super::common::labels(&at.child("labels"), &metadata["labels"], errors);
    for (field, value) in metadata.as_object().into_iter().flatten() {
        if !matches!(field.as_str(), "annotations" | "labels") && !value.is_null() {
            errors.push(FieldError::forbidden(&at.child(field), "cannot be set"));
        }
    }
    validate_spec(&path.child("spec"), &template["spec"], errors);
}

/// Checks a claim's spec.
pub(super) fn validate_spec(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let modes = list(spec, "accessModes");
    if modes.is_empty() {
        let words = "at least 1 access mode is required";
        errors.push(FieldError::required(&path.child("accessModes"), words));
    }
    label_selector(&path.child("selector"), &spec["selector"], errors);
    if !modes.is_empty() {
        access_modes(&path.child("accessModes"), modes, "", errors);
    }
    let (at, storage) = (path.child("resources").key("storage"), &spec["resources"]["requests"]["storage"]);
    match quantity(storage) {
        None => errors.push(FieldError::required(&at, "")),
        Some(_) => above_zero(&at, storage, errors),
    }
    if !text(spec, "storageClassName").is_empty() {
        dns_subdomain(&path.child("storageClassName"), text(spec, "storageClassName"), errors);
    }
    if !spec["volumeMode"].is_null() {
        one_of(&path.child("volumeMode"), text(spec, "volumeMode"), &["Block", "Filesystem"], errors);
    }
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    for (key, value) in [("dataSource", source), ("dataSourceRef", reference)] {
        if value.is_object() {
            validate_source(&path.child(key), value, errors);
        }
    }
    let namespace = text(reference, "namespace");
    if !namespace.is_empty() {
        dns_label(&path.child("dataSourceRef").child("namespace"), namespace, errors);
    }
    let same = |key: &str| source[key] == reference[key];
    let both = source.is_object() && reference.is_object();
    // The value that is told of these is the path of the older field, as upstream does.
    let told = path.child("dataSource").to_string();
    if both && !namespace.is_empty() {
        let words = "may not be specified when dataSourceRef.namespace is specified";
        errors.push(FieldError::invalid(path, told, words));
    } else if both && !["apiGroup", "kind", "name"].into_iter().all(same) {
        errors.push(FieldError::invalid(path, told, "must match dataSourceRef"));
    }
    if !text(spec, "volumeAttributesClassName").is_empty() {
        let at = path.child("volumeAttributesClassName");
        dns_subdomain(&at, text(spec, "volumeAttributesClassName"), errors);
    }
}

fn validate_source(path: &Path, source: &Value, errors: &mut Vec<FieldError>) {
    required(path, source, "name", errors);
    required(path, source, "kind", errors);
    let group = text(source, "apiGroup");
    if group.is_empty() && text(source, "kind") != "PersistentVolumeClaim" {
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

/// The annotation that named the class before there was a field for it.
pub(super) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const ATTRIBUTES: &str = "volumeAttributesClassName";

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let (spec, before) = (&new["spec"], &old["spec"]);
    let mut allowed = spec.clone();
    // The binder names the volume.
    if text(before, "volumeName").is_empty() {
        restore(&mut allowed, before, "volumeName");
    }
    class_update(new, old, &mut allowed, &mut errors);
    if new["status"]["phase"] == "Bound" {
        if allowed["resources"]["requests"].is_object() {
            restore(&mut allowed["resources"]["requests"], &before["resources"]["requests"], "storage");
        }
        if !allowed[ATTRIBUTES].is_null() || may_return(old) {
            restore(&mut allowed, before, ATTRIBUTES);
        }
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
        if actual.is_some_and(|actual| size <= actual) {
            errors.push(FieldError::forbidden(
                &path.child("resources").child("requests").child("storage"),
                "field can not be less than status.capacity",
            ));
        }
    }
    let (mode, earlier) = (&spec["volumeMode"], &before["volumeMode"]);
    immutable(&Path::new("volumeMode"), mode, earlier, &mut errors);
    if !before[ATTRIBUTES].is_null() && spec[ATTRIBUTES] != before[ATTRIBUTES] && !may_return(old) {
        let words = match spec[ATTRIBUTES].as_str() {
            None => "update from non-nil value to nil is forbidden",
            Some("") => "update from non-nil value to an empty string is forbidden",
            Some(_) => return errors,
        };
        errors.push(FieldError::forbidden(&path.child(ATTRIBUTES), words));
    }
    errors
}

/// Whether the claim may give up a class of attributes that its volume never got.
fn may_return(old: &Value) -> bool {
    text(&old["status"], "currentVolumeAttributesClassName").is_empty()
        && !text(&old["spec"], ATTRIBUTES).is_empty()
}

/// Lets a class be named once: that of the annotation, or the default one.
fn class_update(new: &Value, old: &Value, allowed: &mut Value, errors: &mut Vec<FieldError>) {
    let (class, before) = (&new["spec"]["storageClassName"], &old["spec"]["storageClassName"]);
    let annotation = |claim: &Value| claim["metadata"]["annotations"][CLASS_ANNOTATION].clone();
    let (now, earlier) = (annotation(new), annotation(old));
    let named = before.is_null() && !class.is_null();
    if named && *class == earlier && (now.is_null() || now == earlier) {
        return restore(allowed, &old["spec"], "storageClassName");
    }
    if now.as_str().unwrap_or_default() != earlier.as_str().unwrap_or_default() {
        let at = Path::new("metadata").child("annotations").child(CLASS_ANNOTATION);
        errors.push(FieldError::invalid(&at, now.as_str().unwrap_or_default(), IMMUTABLE));
    }
    if named && (earlier.is_null() || *class == earlier) {
        restore(allowed, &old["spec"], "storageClassName");
    }
}

/// What can be said of a claim's size that changes.
const RESIZING: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

fn validate_status(status: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("status");
    let each = |key: &str| status[key].as_object().into_iter().flatten();
    for (name, amount) in each("capacity") {
        basic_resource(&path.child("capacity").key(name), amount, &mut errors);
    }
    let at = path.child("allocatedResourceStatus");
    for (name, state) in each("allocatedResourceStatuses") {
        resource_key(&at, name, &mut errors);
        if !RESIZING.iter().any(|known| state == known) {
            errors.push(FieldError::not_supported(&at, name.as_str(), RESIZING));
        }
    }
    let at = path.child("allocatedResources");
    for (name, amount) in each("allocatedResources") {
        let before = errors.len();
        resource_key(&at, name, &mut errors);
        if errors.len() == before {
            basic_resource(&at.key(name), amount, &mut errors);
        }
    }
    errors
}

/// Checks the name of what is allocated: of Kubernetes' own, storage only.
fn resource_key(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    let before = errors.len();
    qualified_name(path, name, errors);
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    if errors.len() == before && native && name != "storage" {
        errors.push(FieldError::not_supported(path, name, &["storage"]));
    }
}
