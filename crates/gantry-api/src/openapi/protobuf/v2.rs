//! The messages of the package `openapi.v2`, as far as documents here have them.

use gantry_json::Value;

use super::Shape::{Any, Each, Flag, Named, Number, Object, OneOf, Text, Whole, Within};
use super::{NONE, Shape};

/// The numbers of the large parts of a document.
pub(super) const PATHS: u32 = 8;
pub(super) const DEFINITIONS: u32 = 9;
/// The number of a path in `Paths`.
pub(super) const PATH: u32 = 2;

static TEXTS: Shape = Each(&Text);

/// A document, but for its paths and definitions.
pub(super) static DOCUMENT: Shape = Object(
    &[
        ("swagger", 1, &Text),
        ("info", 2, &INFO),
        ("security", 12, &Each(&SECURITY_REQUIREMENT)),
        ("securityDefinitions", 13, &Named(&[], 1, &SECURITY_DEFINITION, NONE)),
    ],
    16,
);

static INFO: Shape = Object(&[("title", 1, &Text), ("version", 2, &Text), ("description", 3, &Text)], 7);

static SECURITY_REQUIREMENT: Shape = Named(&[], 1, &Within(1, &TEXTS), NONE);

/// Only keys in a header are used.
static SECURITY_DEFINITION: Shape = Within(
    2,
    &Object(&[("type", 1, &Text), ("name", 2, &Text), ("in", 3, &Text), ("description", 4, &Text)], 5),
);

pub(super) static PATH_ITEM: Shape = Object(
    &[
        ("$ref", 1, &Text),
        ("get", 2, &OPERATION),
        ("put", 3, &OPERATION),
        ("post", 4, &OPERATION),
        ("delete", 5, &OPERATION),
        ("options", 6, &OPERATION),
        ("head", 7, &OPERATION),
        ("patch", 8, &OPERATION),
        ("parameters", 9, &Each(&PARAMETERS_ITEM)),
    ],
    10,
);

static OPERATION: Shape = Object(
    &[
        ("tags", 1, &TEXTS),
        ("summary", 2, &Text),
        ("description", 3, &Text),
        ("operationId", 5, &Text),
        ("produces", 6, &TEXTS),
        ("consumes", 7, &TEXTS),
        ("parameters", 8, &Each(&PARAMETERS_ITEM)),
        ("responses", 9, &Named(&[], 1, &Within(1, &RESPONSE), 2)),
        ("schemes", 10, &TEXTS),
        ("deprecated", 11, &Flag),
        ("security", 12, &Each(&SECURITY_REQUIREMENT)),
    ],
    13,
);

static PARAMETERS_ITEM: Shape = Within(1, &PARAMETER);

static PARAMETER: Shape = OneOf(|value| match value["in"].as_str() {
    Some("body") => (1, &BODY_PARAMETER),
    _ => (2, &NON_BODY_PARAMETER),
});

static BODY_PARAMETER: Shape = Object(
    &[
        ("description", 1, &Text),
        ("name", 2, &Text),
        ("in", 3, &Text),
        ("required", 4, &Flag),
        ("schema", 5, &SCHEMA),
    ],
    6,
);

static NON_BODY_PARAMETER: Shape = OneOf(|value| match value["in"].as_str() {
    Some("path") => (4, &PATH_PARAMETER),
    _ => (3, &QUERY_PARAMETER),
});

static QUERY_PARAMETER: Shape = Object(
    &[
        ("required", 1, &Flag),
        ("in", 2, &Text),
        ("description", 3, &Text),
        ("name", 4, &Text),
        ("type", 6, &Text),
        ("format", 7, &Text),
        ("uniqueItems", 20, &Flag),
    ],
    23,
);

static PATH_PARAMETER: Shape = Object(
    &[
        ("required", 1, &Flag),
        ("in", 2, &Text),
        ("description", 3, &Text),
        ("name", 4, &Text),
        ("type", 5, &Text),
        ("format", 6, &Text),
        ("uniqueItems", 19, &Flag),
    ],
    22,
);

static RESPONSE: Shape = Object(&[("description", 1, &Text), ("schema", 2, &Within(1, &SCHEMA))], 5);

pub(super) static SCHEMA: Shape = Object(
    &[
        ("$ref", 1, &Text),
        ("format", 2, &Text),
        ("title", 3, &Text),
        ("description", 4, &Text),
        ("default", 5, &Any),
        ("multipleOf", 6, &Number),
        ("maximum", 7, &Number),
        ("exclusiveMaximum", 8, &Flag),
        ("minimum", 9, &Number),
        ("exclusiveMinimum", 10, &Flag),
        ("maxLength", 11, &Whole),
        ("minLength", 12, &Whole),
        ("pattern", 13, &Text),
        ("maxItems", 14, &Whole),
        ("minItems", 15, &Whole),
        ("uniqueItems", 16, &Flag),
        ("maxProperties", 17, &Whole),
        ("minProperties", 18, &Whole),
        ("required", 19, &TEXTS),
        ("enum", 20, &Each(&Any)),
        ("additionalProperties", 21, &OneOf(additional_properties)),
        ("type", 22, &Within(1, &TEXTS)),
        ("items", 23, &Within(1, &Each(&SCHEMA))),
        ("allOf", 24, &Each(&SCHEMA)),
        ("properties", 25, &Named(&[], 1, &SCHEMA, NONE)),
        ("discriminator", 26, &Text),
        ("readOnly", 27, &Flag),
        ("example", 30, &Any),
    ],
    31,
);

fn additional_properties(value: &Value) -> (u32, &'static Shape) {
    if value.is_boolean() { (2, &Flag) } else { (1, &SCHEMA) }
}
