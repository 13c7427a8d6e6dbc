//! Merging without ownership: the apply configurations of admission policies.

use gantry_json::Value;

use super::{Structure, merge};
use crate::patch::layout::Layout;
use crate::schema::Schemas;

/// `live` with `configuration` merged into it as an apply would. An error where the configuration has a
/// part that would replace the live one as a whole: whoever wrote it meant its fields.
pub fn merge_configuration(
    structure: Structure<'_>,
    live: &Value,
    configuration: &Value,
) -> Result<Value, String> {
    let schemas = Schemas::builtin();
    let mut found = Vec::new();
    atomics(schemas, structure.root, configuration, "", &mut found);
    match found.is_empty() {
        true => Ok(merge::merge(schemas, structure.root, live, configuration)),
        false => Err(format!("may not mutate atomic arrays, maps or structs: {}", found.join(", "))),
    }
}

/// The paths of the atomic lists and objects in `value`.
fn atomics(schemas: &Schemas, layout: Layout<'_>, value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) if layout.is_object() => {
            for (name, value) in fields {
                // What is not a field with a structure of its own merges entry by entry.
                if let (below, true) = layout.child(schemas, name) {
                    atomics(schemas, below, value, &format!("{path}.{name}"), found);
                }
            }
        }
        Value::Array(items) if layout.is_list() => {
            let below = layout.item(schemas);
            for (at, item) in items.iter().enumerate() {
                atomics(schemas, below, item, &format!("{path}[{at}]"), found);
            }
        }
        Value::Object(_) | Value::Array(_) => found.push(path.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn merged(live: Value, configuration: Value) -> Result<Value, String> {
        let id = Schemas::builtin().by_kind("apps", "v1", "Deployment").expect("Deployment");
        merge_configuration(Structure::builtin(id), &live, &configuration)
    }

    fn with_pod(spec: Value) -> Value {
        json!({"spec": {"template": {"spec": spec}}})
    }

    #[test]
    fn fields_entries_and_items() {
        let live = with_pod(json!({"volumes": [{"name": "x"}], "containers": [{"name": "c", "image": "i",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}));
        let wanted = with_pod(json!({"volumes": [{"name": "y"}], "containers": [
            {"name": "c", "env": [{"name": "A", "value": "3"}]}, {"name": "side", "image": "s"}]}));
        let expect = with_pod(json!({"volumes": [{"name": "x"}, {"name": "y"}], "containers": [
            {"name": "c", "image": "i", "env": [{"name": "A", "value": "3"}, {"name": "B", "value": "2"}]},
            {"name": "side", "image": "s"}]}));
        assert_eq!(merged(live, wanted), Ok(expect));
        let live = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"replicas": 1}});
        let wanted = json!({"metadata": {"labels": {"b": "3", "c": "4"}}, "spec": {"replicas": 2}});
        let expect = json!({"metadata": {"labels": {"a": "1", "b": "3", "c": "4"}}, "spec": {"replicas": 2}});
        assert_eq!(merged(live, wanted), Ok(expect));
    }

    #[test]
    fn atomic_parts_are_refused() {
        let check = |configuration: Value, path: &str| {
            let error = merged(json!({}), configuration).expect_err(path);
            assert_eq!(error, format!("may not mutate atomic arrays, maps or structs: {path}"));
        };
        check(json!({"spec": {"selector": {"matchLabels": {"l": "v"}}}}), ".spec.selector");
        check(
            with_pod(json!({"containers": [{"name": "c", "args": ["a"], "command": ["b"]}]})),
            ".spec.template.spec.containers[0].args, .spec.template.spec.containers[0].command",
        );
        check(with_pod(json!({"nodeSelector": {"a": "b"}})), ".spec.template.spec.nodeSelector");
    }
}
