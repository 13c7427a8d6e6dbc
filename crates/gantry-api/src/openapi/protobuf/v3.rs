//! The messages of the package `openapi.v3`, as far as documents here have them.

use gantry_json::Value;

use super::Shape::{Any, Each, Flag, Named, Number, Object, OneOf, Text, Whole, Within};
use super::{NONE, Shape};

/// The numbers of the large parts of a document.
pub(super) const PATHS: u32 = 4;
pub(super) const COMPONENTS: u32 = 5;
/// The number of a path in `Paths`.
pub(super) const PATH: u32 = 1;
/// The numbers of parts of `Components`.
pub(super) const SCHEMAS: u32 = 1;
pub(super) const SECURITY_SCHEMES: (u32, &Shape) = (7, &Named(&[], 1, &Within(1, &SECURITY_SCHEME), NONE));

static TEXTS: Shape = Each(&Text);

/// A document, but for its paths and components.
pub(super) static DOCUMENT: Shape = Object(&[("openapi", 1, &Text), ("info", 2, &INFO)], 9);

static INFO: Shape = Object(&[("title", 1, &Text), ("description", 2, &Text), ("version", 6, &Text)], 7);

static SECURITY_SCHEME: Shape =
    Object(&[("type", 1, &Text), ("description", 2, &Text), ("name", 3, &Text), ("in", 4, &Text)], 9);

pub(super) static PATH_ITEM: Shape = Object(
    &[
        ("$ref", 1, &Text),
        ("summary", 2, &Text),
        ("description", 3, &Text),
        ("get", 4, &OPERATION),
        ("put", 5, &OPERATION),
        ("post", 6, &OPERATION),
        ("delete", 7, &OPERATION),
        ("options", 8, &OPERATION),
        ("head", 9, &OPERATION),
        ("patch", 10, &OPERATION),
        ("parameters", 13, &Each(&PARAMETER_OR_REFERENCE)),
    ],
    14,
);

static OPERATION: Shape = Object(
    &[
        ("tags", 1, &TEXTS),
        ("summary", 2, &Text),
        ("description", 3, &Text),
        ("operationId", 5, &Text),
        ("parameters", 6, &Each(&PARAMETER_OR_REFERENCE)),
        ("requestBody", 7, &Within(1, &REQUEST_BODY)),
        ("responses", 8, &Named(&[("default", 1, &RESPONSE_OR_REFERENCE)], 2, &RESPONSE_OR_REFERENCE, 3)),
        ("deprecated", 10, &Flag),
    ],
    13,
);

static PARAMETER_OR_REFERENCE: Shape = Within(1, &PARAMETER);

static PARAMETER: Shape = Object(
    &[
        ("name", 1, &Text),
        ("in", 2, &Text),
        ("description", 3, &Text),
        ("required", 4, &Flag),
        ("deprecated", 5, &Flag),
        ("schema", 10, &SCHEMA_OR_REFERENCE),
    ],
    14,
);

static REQUEST_BODY: Shape =
    Object(&[("description", 1, &Text), ("content", 2, &MEDIA_TYPES), ("required", 3, &Flag)], 4);

static RESPONSE_OR_REFERENCE: Shape =
    Within(1, &Object(&[("description", 1, &Text), ("content", 3, &MEDIA_TYPES)], 5));

static MEDIA_TYPES: Shape = Named(&[], 1, &Object(&[("schema", 1, &SCHEMA_OR_REFERENCE)], 5), NONE);

pub(super) static SCHEMA_OR_REFERENCE: Shape = OneOf(|value| match value.get("$ref") {
    Some(_) => (2, &REFERENCE),
    None => (1, &SCHEMA),
});

static REFERENCE: Shape =
    Object(&[("$ref", 1, &Text), ("summary", 2, &Text), ("description", 3, &Text)], NONE);

static SCHEMA: Shape = Object(
    &[
        ("nullable", 1, &Flag),
        ("readOnly", 3, &Flag),
        ("writeOnly", 4, &Flag),
        ("example", 7, &Any),
        ("deprecated", 8, &Flag),
        ("title", 9, &Text),
        ("multipleOf", 10, &Number),
        ("maximum", 11, &Number),
        ("exclusiveMaximum", 12, &Flag),
        ("minimum", 13, &Number),
        ("exclusiveMinimum", 14, &Flag),
        ("maxLength", 15, &Whole),
        ("minLength", 16, &Whole),
        ("pattern", 17, &Text),
        ("maxItems", 18, &Whole),
        ("minItems", 19, &Whole),
        ("uniqueItems", 20, &Flag),
        ("maxProperties", 21, &Whole),
        ("minProperties", 22, &Whole),
        ("required", 23, &TEXTS),
        ("enum", 24, &Each(&Any)),
        ("type", 25, &Text),
        ("allOf", 26, &Each(&SCHEMA_OR_REFERENCE)),
        ("oneOf", 27, &Each(&SCHEMA_OR_REFERENCE)),
        ("anyOf", 28, &Each(&SCHEMA_OR_REFERENCE)),
        ("not", 29, &SCHEMA),
        ("items", 30, &Within(1, &Each(&SCHEMA_OR_REFERENCE))),
        ("properties", 31, &Named(&[], 1, &SCHEMA_OR_REFERENCE, NONE)),
        ("additionalProperties", 32, &OneOf(additional_properties)),
        ("default", 33, &OneOf(default)),
        ("description", 34, &Text),
        ("format", 35, &Text),
    ],
    36,
);

fn additional_properties(value: &Value) -> (u32, &'static Shape) {
    if value.is_boolean() { (2, &Flag) } else { (1, &SCHEMA_OR_REFERENCE) }
}

fn default(value: &Value) -> (u32, &'static Shape) {
    match value {
        Value::Number(_) => (1, &Number),
        Value::Bool(_) => (2, &Flag),
        _ => (3, &Text),
    }
}
