//! What is said about objects that are accepted all the same.

use std::collections::BTreeSet;

use gantry_json::Value;

use super::checks::is_checked;
use super::node::Kind;
use crate::rules::common::{list, qualified_name_faults, text};

/// What is said about the finalizers of a custom resource; in an update, about those it did not have.
pub fn of_instance(new: &Value, old: Option<&Value>) -> Vec<String> {
    let finalizers = |object: &Value| -> BTreeSet<String> {
        let all = list(&object["metadata"], "finalizers").iter().filter_map(Value::as_str);
        all.map(String::from).collect()
    };
    let before = old.map(finalizers).unwrap_or_default();
    let mut warnings = Vec::new();
    for name in finalizers(new).difference(&before) {
        let mut warn = |words: &str| warnings.push(format!("metadata.finalizers: {name:?}: {words}"));
        qualified_name_faults(name).iter().for_each(|fault| warn(fault));
        if !name.contains('/') && !matches!(name.as_str(), "kubernetes" | "orphan" | "foregroundDeletion") {
            warn(
                "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers",
            );
        }
    }
    warnings
}

/// What is said about the schemas of a definition: which formats nothing is checked by. In an update,
/// about those that it did not name.
pub fn of_definition(new: &Value, old: Option<&Value>) -> Vec<String> {
    let formats = |definition: &Value| {
        let mut found = BTreeSet::new();
        for version in list(&definition["spec"], "versions") {
            unchecked(&version["schema"]["openAPIV3Schema"], &mut found);
        }
        found
    };
    let before = old.map(formats).unwrap_or_default();
    let found = formats(new);
    found.difference(&before).map(|format| format!("unrecognized format {format:?}")).collect()
}

fn unchecked(schema: &Value, found: &mut BTreeSet<String>) {
    let format = text(schema, "format");
    if !format.is_empty() && !is_checked(format, Kind::read(schema)) {
        found.insert(format.to_owned());
    }
    let properties = schema["properties"].as_object().into_iter().flat_map(|all| all.values());
    let single = ["additionalProperties", "items", "not"].into_iter().map(|key| &schema[key]);
    let parts = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|key| list(schema, key));
    let below = properties.chain(single).chain(parts);
    below.filter(|schema| schema.is_object()).for_each(|schema| unchecked(schema, found));
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn finalizers() {
        let with = |names: &[&str]| json!({"metadata": {"finalizers": names}});
        assert_eq!(of_instance(&with(&["a.b/c", "orphan"]), None), Vec::<String>::new());
        let words = "metadata.finalizers: \"mine\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers";
        assert_eq!(of_instance(&with(&["mine"]), None), [words]);
        assert_eq!(of_instance(&with(&["mine", "a.b/c"]), Some(&with(&["mine"]))), Vec::<String>::new());
        let odd = of_instance(&with(&["a.b/"]), None);
        assert!(odd[0].starts_with("metadata.finalizers: \"a.b/\": name part must be non-empty"), "{odd:?}");
    }

    #[test]
    fn formats() {
        let with = |schema: Value| json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}});
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "string", "format": "date-time"}, "b": {"type": "integer", "format": "int64"},
            "c": {"type": "string", "format": "int64"}, "d": {"x-kubernetes-int-or-string": true, "format": "int32"},
            "e": {"type": "array", "items": {"type": "number", "format": "double"}},
            "f": {"type": "object", "additionalProperties": {"type": "string", "format": "mine"}}}});
        let warned = of_definition(&with(schema.clone()), None);
        assert_eq!(
            warned,
            [
                "unrecognized format \"int32\"",
                "unrecognized format \"int64\"",
                "unrecognized format \"mine\""
            ]
        );
        assert_eq!(of_definition(&with(schema.clone()), Some(&with(schema))), Vec::<String>::new());
    }
}
