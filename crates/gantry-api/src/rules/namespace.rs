//! Namespace.

use serde_json::{Value, json};

use super::common::{keep_status, text};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |namespace| {
        // Every namespace carries its name as a label, so that selectors can name it.
        let name = text(&namespace["metadata"], "name").to_owned();
        if !name.is_empty() {
            namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
        }
    },
    prepare_create: |namespace| {
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
    selectable: |namespace| vec![("status.phase", text(&namespace["status"], "phase").into())],
    ..Rules::NONE
};
