//! Whether a schema is structural: every value has a type, and what stands under `allOf` and the like
//! only narrows it (KEP-1458).

mod junctors;

use gantry_json::{Value, json};

use crate::field::{FieldError, Path};
use crate::rules::common::{list, text};

pub(super) const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
pub(super) const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
pub(super) const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// Where a schema stands, for what may be missing from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
}

/// Whether a schema says nothing that none may say: only of such a one it is asked whether it is
/// structural.
pub(super) fn is_readable(schema: &Value) -> bool {
    let Some(keys) = schema.as_object() else { return true };
    let unreadable = keys.iter().any(|(key, value)| match key.as_str() {
        "id" | "$schema" | "$ref" => value.as_str().is_some_and(|text| !text.is_empty()),
        "patternProperties" | "definitions" | "dependencies" => {
            value.as_object().is_some_and(|entries| !entries.is_empty())
        }
        "additionalItems" => !value.is_null(),
        "items" => value.is_array(),
        _ => false,
    });
    !unreadable && children(schema).all(is_readable)
}

/// The schemas directly in a schema.
fn children(schema: &Value) -> impl Iterator<Item = &Value> {
    let properties = schema["properties"].as_object().into_iter().flat_map(|all| all.values());
    let single = ["additionalProperties", "items", "not"].into_iter().map(|key| &schema[key]);
    let parts = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|key| list(schema, key));
    properties.chain(single).chain(parts).filter(|schema| schema.is_object())
}

/// Why the schema of a version at `path` is not structural, in the order of the words.
pub fn faults(path: &Path, schema: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(path, schema, Place::Root, &mut errors);
    junctors::complete(path, path, schema, schema, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn check(path: &Path, schema: &Value, place: Place, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "type");
    let is = |key: &str| schema[key] == true;
    let items = &schema["items"];
    if kind == "array" && items.is_null() {
        errors.push(FieldError::required(&path.child("items"), "must be specified"));
    }
    if items.is_object() {
        check(&path.child("items"), items, Place::Item, errors);
    }
    let properties = schema["properties"].as_object();
    for (name, property) in properties.into_iter().flatten() {
        check(&path.child("properties").key(name), property, Place::Field, errors);
    }
    let additional = &schema["additionalProperties"];
    if !additional.is_null() {
        let at = path.child("additionalProperties");
        if place == Place::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if additional.is_object() {
            check(&at, additional, Place::Field, errors);
        }
        if is(EMBEDDED) {
            let words = "must not be used if x-kubernetes-embedded-resource is set";
            errors.push(FieldError::forbidden(&at, words));
        }
    }
    for key in [PRESERVES, EMBEDDED].into_iter().filter(|key| is(INT_OR_STRING) && is(key)) {
        let words = "must be false if x-kubernetes-int-or-string is true";
        errors.push(FieldError::invalid(&path.child(key), true, words));
    }
    junctors::validate(path, schema, says_both(schema), first_says_both(schema), errors);
    typed(path, schema, place, errors);
    metadata(path, schema, place, errors);
    if is(EMBEDDED) && !is(PRESERVES) && properties.is_none_or(gantry_json::Map::is_empty) {
        let words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(&path.child("properties"), words));
    }
}

/// An integer or a text may be said to be either, in just these words.
fn says_both(schema: &Value) -> bool {
    schema["anyOf"] == json!([{"type": "integer"}, {"type": "string"}])
}

fn first_says_both(schema: &Value) -> bool {
    list(schema, "allOf").first().is_some_and(says_both)
}

fn typed(path: &Path, schema: &Value, place: Place, errors: &mut Vec<FieldError>) {
    let (kind, at) = (text(schema, "type"), path.child("type"));
    if schema[EMBEDDED] == true && kind != "object" {
        let words = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match kind {
            "" => FieldError::required(&at, words),
            kind => FieldError::invalid(&at, kind, words),
        });
    } else if kind.is_empty() && schema[INT_OR_STRING] != true && schema[PRESERVES] != true {
        let words = match place {
            Place::Root => "must not be empty at the root",
            Place::Item => "must not be empty for specified array items",
            Place::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&at, words));
    }
    if place == Place::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(&at, kind, "must be object at the root"));
    }
}

/// What every resource has is known; a schema may only restrict a resource's name.
fn metadata(path: &Path, schema: &Value, place: Place, errors: &mut Vec<FieldError>) {
    let resource = place == Place::Root || schema[EMBEDDED] == true;
    let at = |name: &str| path.child("properties").key(name);
    for (name, wanted) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let property = &schema["properties"][name];
        if resource && property.is_object() && text(property, "type") != wanted {
            let words = format!("must be {wanted}");
            errors.push(FieldError::invalid(&at(name).child("type"), text(property, "type"), words));
        }
    }
    let metadata = &schema["properties"]["metadata"];
    if place != Place::Root || !metadata.is_object() {
        return;
    }
    let names_only = metadata["properties"].as_object().is_none_or(|properties| {
        properties.keys().all(|name| matches!(name.as_str(), "name" | "generateName"))
    });
    let mut keys = metadata.as_object().into_iter().flatten();
    let bare = keys.all(|(key, value)| match key.as_str() {
        "type" | "default" | "properties" | "example" => true,
        _ => match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        },
    });
    if !names_only || !bare {
        let words = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(&at("metadata"), words));
    }
}
