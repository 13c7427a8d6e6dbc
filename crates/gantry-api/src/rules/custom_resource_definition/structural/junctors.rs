//! What stands under `allOf`, `anyOf`, `oneOf` and `not`: it may not say what a value is, only
//! which ones are fine.

use gantry_json::Value;

use super::{EMBEDDED, INT_OR_STRING, PRESERVES};
use crate::custom::pattern;
use crate::field::{FieldError, Path};
use crate::rules::common::{list, text};

/// Checks the junctors of a schema, and its pattern; those that say that a value is an integer or a
/// text are left out where that is meant.
pub(super) fn validate(
    path: &Path,
    schema: &Value,
    skip_any: bool,
    skip_first: bool,
    errors: &mut Vec<FieldError>,
) {
    for key in ["anyOf", "allOf", "oneOf"] {
        if key == "anyOf" && skip_any {
            continue;
        }
        for (at, part) in list(schema, key).iter().enumerate() {
            let skip = key == "allOf" && at == 0 && skip_first;
            narrow(&path.child(key).index(at), part, skip, errors);
        }
    }
    if schema["not"].is_object() {
        narrow(&path.child("not"), &schema["not"], false, errors);
    }
    let text = text(schema, "pattern");
    if !text.is_empty()
        && let Err(fault) = pattern::compile(text)
    {
        let words = format!("must be a valid regular expression, but isn't: {fault}");
        errors.push(FieldError::invalid(&path.child("pattern"), text, words));
    }
}

fn narrow(path: &Path, schema: &Value, skip_any: bool, errors: &mut Vec<FieldError>) {
    validate(path, schema, skip_any, false, errors);
    if schema["items"].is_object() {
        narrow(&path.child("items"), &schema["items"], false, errors);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        narrow(&path.child("properties").key(name), property, false, errors);
    }
    let mut forbid = |key: &str, how: &str| {
        let words = format!("must be {how} to be structural");
        errors.push(FieldError::forbidden(&path.child(key), words));
    };
    for key in ["type", "title", "description"] {
        if !text(schema, key).is_empty() {
            forbid(key, "empty");
        }
    }
    for key in ["additionalProperties", "default", "externalDocs"] {
        if !schema[key].is_null() {
            forbid(key, "undefined");
        }
    }
    for key in ["nullable", PRESERVES, EMBEDDED, INT_OR_STRING] {
        if schema[key] == true {
            forbid(key, "false");
        }
    }
    for key in ["x-kubernetes-list-map-keys", "x-kubernetes-validations"] {
        if !list(schema, key).is_empty() {
            forbid(key, "empty");
        }
    }
    for key in ["x-kubernetes-list-type", "x-kubernetes-map-type"] {
        if !schema[key].is_null() {
            forbid(key, "undefined");
        }
    }
    if schema["properties"]["metadata"].is_object() {
        let at = path.child("properties").key("metadata");
        errors.push(FieldError::forbidden(&at, "must not be specified in a nested context"));
    }
}

/// Checks that every field that a junctor of `part` at `within` speaks of is one of the schema at
/// `path`.
pub(super) fn complete(
    path: &Path,
    within: &Path,
    schema: &Value,
    part: &Value,
    errors: &mut Vec<FieldError>,
) {
    if part["not"].is_object() {
        complete_part(path, &within.child("not"), schema, &part["not"], errors);
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (at, each) in list(part, key).iter().enumerate() {
            complete_part(path, &within.child(key).index(at), schema, each, errors);
        }
    }
}

fn complete_part(path: &Path, within: &Path, schema: &Value, part: &Value, errors: &mut Vec<FieldError>) {
    complete(path, within, schema, part, errors);
    let missing =
        |path: Path, within: &Path| FieldError::required(&path, format!("because it is defined in {within}"));
    if part["items"].is_object() {
        let (path, within) = (path.child("items"), within.child("items"));
        match schema["items"].is_object() {
            true => complete_part(&path, &within, &schema["items"], &part["items"], errors),
            false => errors.push(missing(path, &within)),
        }
    }
    for (name, property) in part["properties"].as_object().into_iter().flatten() {
        let path = path.child("properties").key(name);
        let within = within.child("properties").key(name);
        match &schema["properties"][name] {
            Value::Null => errors.push(missing(path, &within)),
            below => complete_part(&path, &within, below, property, errors),
        }
    }
}
