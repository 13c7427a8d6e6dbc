//! Metadata, alike for all kinds but for what a name may be.

use std::borrow::Cow;

use gantry_json::Value;

use super::common::{
    dns_1035, dns_label, dns_subdomain, labels, list, path_segment, qualified_name, qualified_name_faults,
    text,
};
use super::secret;
use crate::field::{self, FieldError, Path};
use crate::registry::Kind;

/// The largest sum of annotations, in bytes.
const MAX_ANNOTATION_BYTES: usize = 256 << 10;
/// The finalizer of an object that is to go without its dependents.
const ORPHAN: &str = "orphan";
/// The finalizer of an object that is to go after its dependents.
const FOREGROUND: &str = "foregroundDeletion";
/// The longest name of a field manager, in bytes.
const MAX_MANAGER_BYTES: usize = 128;

/// Checks the metadata of an object of `kind`.
pub fn validate(kind: &Kind, object: &Value) -> Vec<FieldError> {
    field::find(|| of(kind, object))
}

fn of(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, metadata) = (Path::new("metadata"), &object["metadata"]);
    let base = text(metadata, "generateName");
    if !base.is_empty() {
        let first = errors.len();
        name(kind, &path.child("generateName"), &masked(base), &mut errors);
        errors[first..].iter_mut().for_each(|error| error.value = base.into());
    }
    match text(metadata, "name") {
        "" => errors.push(FieldError::required(&path.child("name"), "name or generateName is required")),
        given => name(kind, &path.child("name"), given, &mut errors),
    }
    let namespace = text(metadata, "namespace");
    if kind.namespaced && !namespace.is_empty() {
        dns_label(&path.child("namespace"), namespace, &mut errors);
    }
    labels(&path.child("labels"), &metadata["labels"], &mut errors);
    annotations(&path.child("annotations"), &metadata["annotations"], &mut errors);
    owners(&path.child("ownerReferences"), list(metadata, "ownerReferences"), &mut errors);
    finalizers(builtin(kind), &path.child("finalizers"), list(metadata, "finalizers"), &mut errors);
    managers(&path.child("managedFields"), list(metadata, "managedFields"), &mut errors);
    errors
}

/// Checks the metadata of an object within another, which may be without a name.
pub fn validate_embedded(path: &Path, metadata: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let base = text(metadata, "generateName");
    if !base.is_empty() {
        path_segment(&path.child("generateName"), &masked(base), &mut errors);
    }
    if !text(metadata, "name").is_empty() {
        path_segment(&path.child("name"), text(metadata, "name"), &mut errors);
    }
    if !text(metadata, "namespace").is_empty() {
        dns_label(&path.child("namespace"), text(metadata, "namespace"), &mut errors);
    }
    labels(&path.child("labels"), &metadata["labels"], &mut errors);
    annotations(&path.child("annotations"), &metadata["annotations"], &mut errors);
    owners(&path.child("ownerReferences"), list(metadata, "ownerReferences"), &mut errors);
    finalizers(false, &path.child("finalizers"), list(metadata, "finalizers"), &mut errors);
    managers(&path.child("managedFields"), list(metadata, "managedFields"), &mut errors);
    errors
}

/// Checks the metadata of a changed object beside the old one's.
pub fn validate_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (&object["metadata"], &old["metadata"]);
    if old["deletionTimestamp"].is_null() {
        return Vec::new();
    }
    let before = list(old, "finalizers");
    let added = list(new, "finalizers").iter().filter(|each| !before.contains(each));
    let mut added: Vec<&str> = added.filter_map(Value::as_str).collect();
    if added.is_empty() {
        return Vec::new();
    }
    added.sort_unstable();
    added.dedup();
    let added: Vec<String> = added.iter().map(|each| format!("{each:?}")).collect();
    let path = Path::new("metadata").child("finalizers");
    let words = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        added.join(", ")
    );
    vec![FieldError::forbidden(&path, words)]
}

/// Checks annotations.
pub(super) fn annotations(path: &Path, annotations: &Value, errors: &mut Vec<FieldError>) {
    let mut bytes = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        // The rule is a label's, but that capitals may stand in the prefix as well.
        let faults = qualified_name_faults(&key.to_lowercase()).into_iter();
        errors.extend(faults.map(|fault| FieldError::invalid(path, key.as_str(), fault)));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > MAX_ANNOTATION_BYTES {
        errors.push(FieldError::too_long(path, MAX_ANNOTATION_BYTES));
    }
}

/// Checks the name of a finalizer of a built-in kind; that it is a known one is told at `known`.
pub(super) fn finalizer(path: &Path, known: &Path, name: &str, errors: &mut Vec<FieldError>) {
    qualified_name(path, name, errors);
    if !name.contains('/') && !matches!(name, ORPHAN | FOREGROUND | "kubernetes") {
        let words = "name is neither a standard finalizer name nor is it fully qualified";
        errors.push(FieldError::invalid(known, name, words));
    }
}

fn finalizers(builtin: bool, path: &Path, finalizers: &[Value], errors: &mut Vec<FieldError>) {
    for (at, name) in finalizers.iter().filter_map(Value::as_str).enumerate() {
        match builtin {
            true => finalizer(path, &path.index(at), name, errors),
            false => qualified_name(path, name, errors),
        }
    }
    if [ORPHAN, FOREGROUND].iter().all(|each| finalizers.iter().any(|finalizer| finalizer == each)) {
        let words = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.push(FieldError::invalid(path, finalizers.to_vec(), words));
    }
}

/// Whether the kind is one of those whose finalizers' names are held to more.
fn builtin(kind: &Kind) -> bool {
    const GROUPS: [&str; 11] = [
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    ];
    !kind.group.contains('.') || GROUPS.contains(&&*kind.group)
}

fn owners(path: &Path, owners: &[Value], errors: &mut Vec<FieldError>) {
    let mut controller: Option<String> = None;
    for owner in owners {
        let api_version = text(owner, "apiVersion");
        if api_version.rsplit('/').next().unwrap_or_default().is_empty() {
            errors.push(FieldError::invalid(
                &path.child("apiVersion"),
                api_version,
                "version must not be empty",
            ));
        }
        for key in ["kind", "name", "uid"].into_iter().filter(|key| text(owner, key).is_empty()) {
            errors.push(FieldError::invalid(&path.child(key), "", "must not be empty"));
        }
        if (api_version, text(owner, "kind")) == ("v1", "Event") {
            let words = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path, owner.clone(), words));
        }
        if owner["controller"] == true {
            let name = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            match &controller {
                Some(first) => {
                    let words = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for \
                         {first} and {name}"
                    );
                    errors.push(FieldError::invalid(path, owners.to_vec(), words));
                }
                None => controller = Some(name),
            }
        }
    }
}

fn managers(path: &Path, managers: &[Value], errors: &mut Vec<FieldError>) {
    for (at, entry) in managers.iter().enumerate() {
        let path = path.index(at);
        let operation = text(entry, "operation");
        if !matches!(operation, "Apply" | "Update") {
            errors.push(FieldError::invalid(
                &path.child("operation"),
                operation,
                "must be `Apply` or `Update`",
            ));
        }
        let kind = text(entry, "fieldsType");
        if !matches!(kind, "" | "FieldsV1") {
            errors.push(FieldError::invalid(&path.child("fieldsType"), kind, "must be `FieldsV1`"));
        }
        field_manager(&path.child("manager"), text(entry, "manager"), errors);
        if text(entry, "subresource").len() > 256 {
            errors.push(FieldError::too_long(&path.child("subresource"), 256));
        }
    }
}

/// Checks the name of a field manager.
pub fn field_manager(path: &Path, manager: &str, errors: &mut Vec<FieldError>) {
    if manager.len() > MAX_MANAGER_BYTES {
        errors.push(FieldError::too_long(path, MAX_MANAGER_BYTES));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let words = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
        errors.push(FieldError::invalid(path, manager, words));
    }
}

/// The start of a name, with a letter for a dash at its end.
fn masked(base: &str) -> Cow<'_, str> {
    match base.strip_suffix('-') {
        Some(start) if !start.is_empty() => Cow::Owned(format!("{start}a")),
        _ => Cow::Borrowed(base),
    }
}

fn name(kind: &Kind, path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if kind.as_custom().is_some() {
        return dns_subdomain(path, name, errors);
    }
    match &*kind.kind {
        "Namespace" => dns_label(path, name, errors),
        // Events of the core group are named after anything that has a name.
        "Event" if kind.group.is_empty() => path_segment(path, name, errors),
        "LeaseCandidate" => secret::key(path, name, errors),
        "Service" => dns_1035(path, name, errors),
        "StatefulSet" => dns_label(path, name, errors),
        // RBAC names are path segments: colons and capitals are allowed.
        _ if kind.group == "rbac.authorization.k8s.io" => path_segment(path, name, errors),
        "APIService" => path_segment(path, name, errors),
        // It is an address, which its rules check.
        "IPAddress" => {}
        // Whatever fits into a path.
        "CertificateSigningRequest" => {}
        _ => dns_subdomain(path, name, errors),
    }
}
