//! The schema of a version: that it is structural, that its defaults are valid, and that what it says
//! about lists, maps and rules goes together.

mod extensions;

use gantry_json::Value;

use super::structural;
use crate::custom::validate_defaults;
use crate::field::{FieldError, Path};
use crate::rules::common::{list, text};

const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// What may stand at the root of a schema whose status is a subresource, as upstream lists it.
const AT_ROOT: &str = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations]";
/// What may not.
const NOT_AT_ROOT: &[&str] = &[
    "id",
    "$schema",
    "$ref",
    "nullable",
    "default",
    "enum",
    "maxProperties",
    "minProperties",
    "allOf",
    "oneOf",
    "anyOf",
    "not",
    "additionalProperties",
    "patternProperties",
    "dependencies",
    "additionalItems",
    "definitions",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];

/// Checks the `schema` of a version, or of all; `status` says whether the status is a subresource.
pub(super) fn validate(path: &Path, validation: &Value, status: bool, errors: &mut Vec<FieldError>) {
    let schema = &validation["openAPIV3Schema"];
    if !schema.is_object() {
        return;
    }
    let at = path.child("openAPIV3Schema");
    if status {
        root_of_status(&at, schema, errors);
    }
    if schema["nullable"] == true {
        errors.push(FieldError::forbidden(&at.child("nullable"), "nullable cannot be true at the root"));
    }
    if structural::is_readable(schema) {
        let faults = structural::faults(&at, schema);
        match faults.is_empty() {
            true => errors.extend(validate_defaults(&at, schema)),
            false => errors.extend(faults),
        }
    }
    let whole = Within { forbidden_defaults: None, metadata: false, root: true };
    place(&at, schema, &whole, errors);
}

fn root_of_status(at: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "type");
    if !kind.is_empty() && kind != "object" {
        let words = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(FieldError::invalid(&at.child("type"), kind, words));
        return;
    }
    let says = |key: &&&str| match &schema[**key] {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) | Value::Bool(true) | Value::Number(_) => true,
    };
    if NOT_AT_ROOT.iter().any(|key| says(&key)) {
        let words = format!(
            "only {AT_ROOT} fields are allowed at the root of the schema if the status subresource is enabled"
        );
        errors.push(FieldError::invalid(at, schema.clone(), words));
    }
}

/// What surrounds a place.
#[derive(Clone)]
struct Within {
    /// Why no default may stand here.
    forbidden_defaults: Option<String>,
    /// Whether it is the metadata of a resource, or what its kind is.
    metadata: bool,
    root: bool,
}

fn place(path: &Path, schema: &Value, within: &Within, errors: &mut Vec<FieldError>) {
    if !schema.is_object() {
        return;
    }
    supported(path, schema, within, errors);
    if schema["uniqueItems"] == true {
        let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(&path.child("uniqueItems"), words));
    }
    let below = Within { root: false, ..within.clone() };
    let properties = schema["properties"].as_object().filter(|properties| !properties.is_empty());
    let additional = &schema["additionalProperties"];
    if !additional.is_null() {
        let at = path.child("additionalProperties");
        if properties.is_some() && *additional != true {
            let words = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(&at, words));
        }
        let mut below = below.clone();
        if below.metadata {
            let why = "inside additionalProperties applying to object metadata";
            below.forbidden_defaults = Some(why.to_owned());
        }
        place(&at, additional, &below, errors);
    }
    let resource = within.root || schema["x-kubernetes-embedded-resource"] == true;
    for (name, property) in properties.into_iter().flatten() {
        let mut below = below.clone();
        if resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
            below.metadata = true;
            if within.root {
                below.forbidden_defaults = Some(format!("in top-level {name}"));
            }
        }
        place(&path.child("properties").key(name), property, &below, errors);
    }
    place(&path.child("not"), &schema["not"], &below, errors);
    for key in ["allOf", "oneOf", "anyOf"] {
        for (at, part) in list(schema, key).iter().enumerate() {
            place(&path.child(key).index(at), part, &below, errors);
        }
    }
    place(&path.child("items"), &schema["items"], &below, errors);
    extensions::validate(path, schema, errors);
}

/// Checks for what schemas of custom kinds may not say.
fn supported(path: &Path, schema: &Value, within: &Within, errors: &mut Vec<FieldError>) {
    let kind = text(schema, "type");
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(&path.child("type"), kind, TYPES));
    }
    if let (Some(why), false) = (&within.forbidden_defaults, schema["default"].is_null()) {
        errors.push(FieldError::forbidden(&path.child("default"), format!("must not be set {why}")));
    }
    for key in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        let empty = match &schema[key] {
            Value::Null => true,
            Value::String(text) => text.is_empty() && key == "id",
            Value::Object(entries) => {
                entries.is_empty() && matches!(key, "patternProperties" | "definitions")
            }
            _ => false,
        };
        if !empty {
            errors.push(FieldError::forbidden(&path.child(key), format!("{key} is not supported")));
        }
    }
    if kind == "null" {
        let words = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(&path.child("type"), words));
    }
    if schema["items"].as_array().is_some_and(|items| !items.is_empty()) {
        let words = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(&path.child("items"), words));
    }
    if within.metadata && schema["x-kubernetes-embedded-resource"] == true {
        let words = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(&path.child("x-kubernetes-embedded-resource"), words));
    }
}
