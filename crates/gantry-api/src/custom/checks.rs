//! What a schema asks of values beyond their structure.

use std::sync::Arc;

use gantry_json::Value;

use super::formats;
use super::node::{Kind, Node};
use super::pattern::Pattern;
use crate::rules::common::{list, text};

/// The checks of one place.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// As the schema spells it, where it is one that is checked.
    pub format: Option<Box<str>>,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Arc<Pattern>>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<Box<str>>,
    pub values: Vec<Value>,
    pub all_of: Vec<Node>,
    pub any_of: Vec<Node>,
    pub one_of: Vec<Node>,
    pub not: Option<Box<Node>>,
    /// Whether unnamed fields are refused, which only parts of junctors say.
    pub closed: bool,
}

impl Checks {
    /// The checks in `schema` but for the pattern and the junctors.
    pub fn read(schema: &Value, kind: Kind) -> Self {
        let number = |key: &str| schema[key].as_f64();
        let whole = |key: &str| schema[key].as_i64();
        Self {
            format: Some(text(schema, "format")).filter(|format| is_checked(format, kind)).map(Box::from),
            maximum: number("maximum"),
            exclusive_maximum: schema["exclusiveMaximum"] == true,
            minimum: number("minimum"),
            exclusive_minimum: schema["exclusiveMinimum"] == true,
            multiple_of: number("multipleOf"),
            max_length: whole("maxLength"),
            min_length: whole("minLength"),
            max_items: whole("maxItems"),
            min_items: whole("minItems"),
            unique_items: schema["uniqueItems"] == true,
            max_properties: whole("maxProperties"),
            min_properties: whole("minProperties"),
            required: list(schema, "required")
                .iter()
                .filter_map(|name| name.as_str().map(Box::from))
                .collect(),
            values: list(schema, "enum").to_vec(),
            closed: schema["additionalProperties"] == false,
            ..Self::default()
        }
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.format.is_none()
            && self.maximum.is_none()
            && self.minimum.is_none()
            && self.multiple_of.is_none()
            && self.max_length.is_none()
            && self.min_length.is_none()
            && self.pattern.is_none()
            && self.max_items.is_none()
            && self.min_items.is_none()
            && !self.unique_items
            && self.max_properties.is_none()
            && self.min_properties.is_none()
            && self.required.is_empty()
            && self.values.is_empty()
            && self.all_of.is_empty()
            && self.any_of.is_empty()
            && self.one_of.is_empty()
            && self.not.is_none()
            && !self.closed
    }
}

/// Whether a format is one that values of the kind are checked by; others are notes for people.
pub(crate) fn is_checked(format: &str, kind: Kind) -> bool {
    match kind {
        Kind::Any | Kind::String | Kind::IntOrString => formats::check_of(format).is_some(),
        Kind::Integer => matches!(format, "int32" | "int64"),
        Kind::Number => matches!(format, "float" | "double"),
        _ => false,
    }
}
