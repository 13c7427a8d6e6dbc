//! Metadata, alike for all kinds but for what a name may be.

use serde_json::Value;

use super::common::{dns_1035, dns_label, dns_subdomain, labels, list, path_segment, qualified_name, text};
use crate::field::{FieldError, Path};
use crate::registry::Kind;

/// The largest sum of annotations, in bytes.
const MAX_ANNOTATION_BYTES: usize = 256 << 10;

/// Checks the metadata of an object of `kind`.
pub fn validate(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, metadata) = (Path::new("metadata"), &object["metadata"]);
    name(kind, &path.child("name"), text(metadata, "name"), &mut errors);
    labels(&path.child("labels"), &metadata["labels"], &mut errors);
    let mut bytes = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        qualified_name(&path.child("annotations"), &key.to_lowercase(), &mut errors);
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > MAX_ANNOTATION_BYTES {
        errors.push(FieldError::too_long(&path.child("annotations"), MAX_ANNOTATION_BYTES));
    }
    for (at, finalizer) in list(metadata, "finalizers").iter().enumerate() {
        let path = path.child("finalizers").index(at);
        qualified_name(&path, finalizer.as_str().unwrap_or_default(), &mut errors);
    }
    for (at, owner) in list(metadata, "ownerReferences").iter().enumerate() {
        let path = path.child("ownerReferences").index(at);
        for (key, words) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, key).is_empty() {
                errors.push(FieldError::invalid(&path.child(key), "", words));
            }
        }
    }
    errors
}

fn name(kind: &Kind, path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    match kind.kind {
        "Namespace" => dns_label(path, name, errors),
        "Service" => dns_1035(path, name, errors),
        "StatefulSet" => dns_label(path, name, errors),
        // RBAC names are path segments: colons and capitals are allowed.
        _ if kind.group == "rbac.authorization.k8s.io" => path_segment(path, name, errors),
        // Whatever fits into a path.
        "CertificateSigningRequest" => {}
        _ => dns_subdomain(path, name, errors),
    }
}
