//! Defaults: they stand in for fields that are absent, and for nulls where none are allowed.

pub(crate) mod validate;

use gantry_json::Value;

use super::node::Node;

/// Sets the defaults in a value. Idempotent.
pub(crate) fn default(value: &mut Value, node: &Node) {
    if !node.has.defaults {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, below) in node.properties() {
                if let Some(default) = &below.default
                    && fields.get(name).is_none_or(|value| below.refuses_null(value))
                {
                    fields.insert(name.into(), (**default).clone());
                }
            }
            for (name, value) in fields.iter_mut() {
                if let Some(below) = node.property(name) {
                    default(value, below);
                } else if let Some(below) = node.additional_node() {
                    replace_null(value, below);
                    default(value, below);
                }
            }
        }
        Value::Array(items) => {
            let Some(below) = &node.items else { return };
            for item in items {
                replace_null(item, below);
                default(item, below);
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, node: &Node) {
    if let Some(default) = &node.default
        && node.refuses_null(value)
    {
        *value = (**default).clone();
    }
}
