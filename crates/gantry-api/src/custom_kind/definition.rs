//! What a CustomResourceDefinition says of itself.

use gantry_json::Value;

/// The finalizer that keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether a condition of the definition is true.
pub fn has(definition: &Value, condition: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|each| each["type"] == condition && each["status"] == "True")
}

/// Whether its kinds are served: its names are its own, or were once.
pub fn is_served(definition: &Value) -> bool {
    has(definition, "Established") || has(definition, "NamesAccepted")
}
