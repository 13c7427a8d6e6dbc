//! The protobuf form of the documents: the messages of the packages `openapi.v2` and `openapi.v3`,
//! written from the same JSON values as the JSON form.
//!
//! What a message looks like is data: [`Shape`] says under which number each JSON member is written,
//! and as what. The tables are facts from the two `.proto` files.

mod v2;
mod v3;

use gantry_json::{Key, Value};

use crate::protobuf::wire::{self, put_bytes, put_key, put_varint};

/// How a JSON value is written.
pub(super) enum Shape {
    /// As a string.
    Text,
    /// As a bool.
    Flag,
    /// As an int64.
    Whole,
    /// As a double.
    Number,
    /// As a message `Any` with the value in YAML.
    Any,
    /// As one field for each item of a list, or for the value itself where it is no list.
    Each(&'static Shape),
    /// As a message that has the value under one number.
    Within(u32, &'static Shape),
    /// As a message with a number for each member; members that begin with `x-` have a common one.
    Object(&'static [Member], u32),
    /// As a message of named values, with the members that have a number of their own, the others'
    /// number and shape, and the number of those that begin with `x-`.
    Named(&'static [Member], u32, &'static Shape, u32),
    /// As a message with one of several values.
    OneOf(fn(&Value) -> (u32, &'static Shape)),
}

/// A member's name, number and shape.
type Member = (&'static str, u32, &'static Shape);

/// No members have this number.
const NONE: u32 = 0;

type Entry = (Key, Value);

/// The version 2 document of its head, paths and definitions.
pub(super) fn v2(
    head: &Value,
    paths: impl Iterator<Item = Entry>,
    definitions: impl Iterator<Item = Entry>,
) -> Vec<u8> {
    let mut out = Vec::new();
    content(&mut out, &v2::DOCUMENT, head);
    section(&mut out, v2::PATHS, v2::PATH, paths, &v2::PATH_ITEM);
    section(&mut out, v2::DEFINITIONS, 1, definitions, &v2::SCHEMA);
    out
}

/// The version 3 document of its head, paths and components.
pub(super) fn v3(
    head: &Value,
    paths: impl Iterator<Item = Entry>,
    schemas: impl Iterator<Item = Entry>,
    security_schemes: &Value,
) -> Vec<u8> {
    let mut out = Vec::new();
    content(&mut out, &v3::DOCUMENT, head);
    section(&mut out, v3::PATHS, v3::PATH, paths, &v3::PATH_ITEM);
    let mut components = Vec::new();
    section(&mut components, v3::SCHEMAS, 1, schemas, &v3::SCHEMA_OR_REFERENCE);
    field(&mut components, v3::SECURITY_SCHEMES.0, v3::SECURITY_SCHEMES.1, security_schemes);
    put_bytes(&mut out, v3::COMPONENTS, &components);
    out
}

/// A field that is a message of named values.
fn section(
    out: &mut Vec<u8>,
    number: u32,
    each: u32,
    entries: impl Iterator<Item = Entry>,
    shape: &'static Shape,
) {
    let mut inner = Vec::new();
    for (name, value) in entries {
        entry(&mut inner, each, &name, shape, &value);
    }
    put_bytes(out, number, &inner);
}

/// A field that is a message of a name and a value.
fn entry(out: &mut Vec<u8>, number: u32, name: &str, shape: &'static Shape, value: &Value) {
    message(out, number, |out| {
        put_bytes(out, 1, name.as_bytes());
        field(out, 2, shape, value);
    });
}

fn message(out: &mut Vec<u8>, number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    put_bytes(out, number, &inner);
}

/// A field with the value. A value that is not of its shape is left out.
fn field(out: &mut Vec<u8>, number: u32, shape: &'static Shape, value: &Value) {
    match (shape, value) {
        (Shape::Text, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
        (Shape::Flag, Value::Bool(flag)) => {
            put_key(out, number, wire::VARINT);
            put_varint(out, u64::from(*flag));
        }
        (Shape::Whole, Value::Number(whole)) => {
            if let Some(whole) = whole.as_i64() {
                put_key(out, number, wire::VARINT);
                put_varint(out, whole.cast_unsigned());
            }
        }
        (Shape::Number, Value::Number(value)) => {
            if let Some(value) = value.as_f64() {
                put_key(out, number, wire::FIXED64);
                out.extend_from_slice(&value.to_le_bytes());
            }
        }
        (Shape::Text | Shape::Flag | Shape::Whole | Shape::Number, _) => {}
        (Shape::Each(shape), Value::Array(items)) => {
            items.iter().for_each(|item| field(out, number, shape, item));
        }
        (Shape::Each(shape), value) => field(out, number, shape, value),
        (shape, value) => message(out, number, |out| content(out, shape, value)),
    }
}

/// The fields of a message.
fn content(out: &mut Vec<u8>, shape: &'static Shape, value: &Value) {
    match shape {
        Shape::Any => {
            let yaml = serde_yaml_ng::to_string(value).unwrap_or_default();
            put_bytes(out, 2, yaml.as_bytes());
        }
        Shape::Within(number, shape) => field(out, *number, shape, value),
        Shape::OneOf(choose) => {
            let (number, shape) = choose(value);
            field(out, number, shape, value);
        }
        Shape::Object(members, extensions) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                known(out, members, *extensions, name, value);
            }
        }
        Shape::Named(members, number, shape, extensions) => {
            for (name, value) in value.as_object().into_iter().flatten() {
                if !known(out, members, *extensions, name, value) {
                    entry(out, *number, name, shape, value);
                }
            }
        }
        Shape::Text | Shape::Flag | Shape::Whole | Shape::Number | Shape::Each(_) => {}
    }
}

/// Writes a member that has a number; whether it has.
fn known(out: &mut Vec<u8>, members: &'static [Member], extensions: u32, name: &str, value: &Value) -> bool {
    if extensions != NONE && name.starts_with("x-") {
        entry(out, extensions, name, &Shape::Any, value);
        return true;
    }
    let found = members.iter().find(|(known, ..)| *known == name);
    if let Some((_, number, shape)) = found {
        field(out, *number, shape, value);
    }
    found.is_some()
}
