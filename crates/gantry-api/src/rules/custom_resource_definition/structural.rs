//! Whether a schema is structural: every value has a type, and what stands under `allOf` and the like
//! only narrows it (KEP-1458).

use serde_json::Value;

use crate::field::{FieldError, Path};
use crate::rules::common::{list, one_of, text};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const PRESERVES: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";

/// Where a schema stands, for what may be missing from it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
}

/// Checks the schema of a version.
pub(super) fn validate(path: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    check(path, schema, Place::Root, errors);
    let kind = text(schema, "type");
    if !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(&path.child("type"), kind, "must be object at the root"));
    }
    if schema["nullable"] == true {
        errors.push(FieldError::forbidden(&path.child("nullable"), "nullable cannot be true at the root"));
    }
}

fn check(path: &Path, schema: &Value, place: Place, errors: &mut Vec<FieldError>) {
    typed(path, schema, place, errors);
    for key in
        ["$ref", "$schema", "id", "patternProperties", "definitions", "additionalItems", "dependencies"]
    {
        if !schema[key].is_null() {
            let words = if key == "$ref" {
                "$ref is not supported".to_owned()
            } else {
                format!("{key} is not supported")
            };
            errors.push(FieldError::forbidden(&path.child(key), words));
        }
    }
    if schema["uniqueItems"] == true {
        let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&path.child("uniqueItems"), words));
    }
    let additional = &schema["additionalProperties"];
    if *additional == false {
        let words = "additionalProperties cannot be set to false";
        errors.push(FieldError::forbidden(&path.child("additionalProperties"), words));
    }
    let properties = schema["properties"].as_object();
    if additional.is_object() || *additional == true {
        if properties.is_some_and(|properties| !properties.is_empty()) {
            let words = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(&path.child("additionalProperties"), words));
        }
        if place == Place::Root {
            errors.push(FieldError::forbidden(
                &path.child("additionalProperties"),
                "must not be used at the root",
            ));
        }
    }
    lists(path, schema, errors);
    for (name, property) in properties.into_iter().flatten() {
        check(&path.child("properties").key(name), property, Place::Field, errors);
    }
    if additional.is_object() {
        check(&path.child("additionalProperties"), additional, Place::Field, errors);
    }
    if schema["items"].is_object() {
        check(&path.child("items"), &schema["items"], Place::Item, errors);
    }
    let mixed = schema[INT_OR_STRING] == true;
    for key in ["allOf", "anyOf", "oneOf"] {
        // Of an integer or a string, one alternative may name each type.
        if mixed && key != "oneOf" && names_both(schema) {
            continue;
        }
        for (at, part) in list(schema, key).iter().enumerate() {
            narrow(&path.child(key).index(at), part, errors);
        }
    }
    if schema["not"].is_object() {
        narrow(&path.child("not"), &schema["not"], errors);
    }
}

fn names_both(schema: &Value) -> bool {
    let both = |schema: &Value| {
        let kinds: Vec<&str> = list(schema, "anyOf").iter().map(|each| text(each, "type")).collect();
        kinds == ["integer", "string"]
    };
    both(schema) || list(schema, "allOf").first().is_some_and(both)
}

fn typed(path: &Path, schema: &Value, place: Place, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "type");
    let (mixed, preserves) = (schema[INT_OR_STRING] == true, schema[PRESERVES] == true);
    let at = path.child("type");
    match (kind, place) {
        ("", Place::Root) => errors.push(FieldError::required(&at, "must not be empty at the root")),
        ("", _) if mixed || preserves => {}
        ("", Place::Field) => {
            errors.push(FieldError::required(&at, "must not be empty for specified object fields"));
        }
        ("", Place::Item) => {
            errors.push(FieldError::required(&at, "must not be empty for specified array items"));
        }
        ("null", _) => {
            let words = "type cannot be set to null, use nullable as an alternative";
            errors.push(FieldError::forbidden(&at, words));
        }
        (kind, _) => one_of(&at, kind, TYPES, errors),
    }
    if mixed && !kind.is_empty() {
        let words = "must be empty if x-kubernetes-int-or-string is true";
        errors.push(FieldError::forbidden(&at, words));
    }
    if schema[EMBEDDED] == true {
        if kind != "object" {
            let words = "must be object if x-kubernetes-embedded-resource is true";
            errors.push(FieldError::invalid(&at, kind, words));
        }
        if schema["properties"].is_null() && !preserves {
            let words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(&path.child("properties"), words));
        }
    }
    if schema[PRESERVES] == false {
        errors.push(FieldError::invalid(&path.child(PRESERVES), false, "must be true or undefined"));
    }
}

fn lists(path: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    if text(schema, "type") == "array" {
        match &schema["items"] {
            Value::Null => errors.push(FieldError::required(&path.child("items"), "must be specified")),
            Value::Array(_) => {
                let words = "items must be a schema object and not an array";
                errors.push(FieldError::forbidden(&path.child("items"), words));
            }
            _ => {}
        }
    }
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let Some(kind) = schema["x-kubernetes-list-type"].as_str() else {
        if !keys.is_empty() {
            let at = path.child("x-kubernetes-list-type");
            errors.push(FieldError::required(&at, "must be map if x-kubernetes-list-map-keys is non-empty"));
        }
        return;
    };
    let at = path.child("x-kubernetes-list-type");
    one_of(&at, kind, &["atomic", "map", "set"], errors);
    if text(schema, "type") != "array" {
        let words = "must be array if x-kubernetes-list-type is specified";
        errors.push(FieldError::invalid(&path.child("type"), text(schema, "type"), words));
    }
    match kind {
        "map" => {
            let at = path.child("x-kubernetes-list-map-keys");
            if keys.is_empty() {
                let words = "must not be empty if x-kubernetes-list-type is map";
                errors.push(FieldError::required(&at, words));
            }
            let items = &schema["items"];
            if text(items, "type") != "object" {
                let words = "must be object if parent array's x-kubernetes-list-type is map";
                errors.push(FieldError::invalid(
                    &path.child("items").child("type"),
                    text(items, "type"),
                    words,
                ));
            }
            for (index, key) in keys.iter().enumerate() {
                let key = key.as_str().unwrap_or_default();
                if items["properties"][key].is_null() {
                    let words = "entries must all be names of item properties";
                    errors.push(FieldError::invalid(&at.index(index), key, words));
                } else if list(items, "required").iter().all(|name| name != key)
                    && items["properties"][key]["default"].is_null()
                {
                    let words = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    let at = path.child("items").child("properties").key(key).child("default");
                    errors.push(FieldError::required(&at, words));
                }
            }
        }
        "set"
            if text(&schema["items"], "type") == "array"
                && schema["items"]["x-kubernetes-list-type"] != "atomic" =>
        {
            let words = "must be atomic as item of a list with x-kubernetes-list-type=set";
            let at = path.child("items").child("x-kubernetes-list-type");
            errors.push(FieldError::forbidden(&at, words));
        }
        _ => {}
    }
}

/// What stands under `allOf` and the like may not say what a value is, only which ones are fine.
fn narrow(path: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    const WORDS: &str = "must be empty to be structural";
    for key in ["type", "title", "description"] {
        if !text(schema, key).is_empty() {
            errors.push(FieldError::forbidden(&path.child(key), WORDS));
        }
    }
    for key in ["default", "additionalProperties", "nullable"] {
        if !schema[key].is_null() && schema[key] != false {
            errors.push(FieldError::forbidden(&path.child(key), "must be undefined to be structural"));
        }
    }
    for key in [PRESERVES, EMBEDDED, INT_OR_STRING] {
        if schema[key] == true {
            errors.push(FieldError::forbidden(&path.child(key), "must be false to be structural"));
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        narrow(&path.child("properties").key(name), property, errors);
    }
    if schema["items"].is_object() {
        narrow(&path.child("items"), &schema["items"], errors);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (at, part) in list(schema, key).iter().enumerate() {
            narrow(&path.child(key).index(at), part, errors);
        }
    }
    if schema["not"].is_object() {
        narrow(&path.child("not"), &schema["not"], errors);
    }
}
