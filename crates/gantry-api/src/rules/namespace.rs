//! Namespace.

use gantry_json::{Value, json};

use super::common::{default, keep_status, list, object, text};
use super::metadata;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |namespace| {
        label(namespace);
        if let Some(namespace) = namespace.as_object_mut() {
            default(object(namespace, "status"), "phase", "Active");
        }
    },
    prepare_create: |namespace| {
        // A generated name has come since.
        label(namespace);
        namespace["status"] = json!({"phase": "Active"});
        if namespace["spec"]["finalizers"].as_array().is_none_or(|list| !list.contains(&"kubernetes".into()))
        {
            let mut finalizers = namespace["spec"]["finalizers"].as_array().cloned().unwrap_or_default();
            finalizers.push("kubernetes".into());
            namespace["spec"]["finalizers"] = Value::Array(finalizers);
        }
    },
    prepare_update: |namespace, old| {
        namespace["spec"] = old["spec"].clone();
        keep_status(namespace, old);
    },
    validate: |namespace| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("finalizers");
        for name in list(&namespace["spec"], "finalizers").iter().filter_map(Value::as_str) {
            metadata::finalizer(&path, &path, name, &mut errors);
        }
        errors
    },
    validate_status: |namespace, _, part| {
        let mut errors = Vec::new();
        if part == "finalize" {
            let path = Path::new("spec").child("finalizers");
            let names = list(&namespace["spec"], "finalizers").iter().filter_map(Value::as_str);
            for (at, name) in names.enumerate() {
                metadata::finalizer(&path.index(at), &path.index(at), name, &mut errors);
            }
            return errors;
        }
        let (phase, going) =
            (text(&namespace["status"], "phase"), !namespace["metadata"]["deletionTimestamp"].is_null());
        let words = match going {
            false if phase != "Active" => "may only be 'Active' if `deletionTimestamp` is empty",
            true if phase != "Terminating" => "may only be 'Terminating' if `deletionTimestamp` is not empty",
            _ => return errors,
        };
        errors.push(FieldError::invalid(&Path::new("status").child("Phase"), phase, words));
        errors
    },
    selectable: |namespace| vec![("status.phase", text(&namespace["status"], "phase").into())],
    ..Rules::NONE
};

/// Every namespace carries its name as a label, so that selectors can name it.
fn label(namespace: &mut Value) {
    let name = text(&namespace["metadata"], "name").to_owned();
    if !name.is_empty() {
        namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
    }
}
