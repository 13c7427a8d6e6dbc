//! How a value at some place merges, read from its type and its field's marks.

use serde_json::Value;

use crate::schema::{Definition, DefinitionId, Field, ListType, Schemas, Type};

/// How a value merges in server-side apply.
#[derive(Clone, Copy)]
pub(super) enum Layout<'a> {
    /// As one value.
    Leaf,
    /// Field by field.
    Object(&'a Definition),
    /// Entry by entry.
    Map(&'a Type),
    /// A list whose items are scalars that occur once.
    Set,
    /// A list whose items are found by the values of keys.
    ListMap(&'a Type, &'a [Box<str>]),
    /// Objects entry by entry, all else as one value.
    Free,
}

const ANY: Type = Type::Any;

impl<'a> Layout<'a> {
    pub fn root(schemas: &'a Schemas, id: DefinitionId) -> Self {
        Self::Object(schemas.get(id))
    }

    fn field(schemas: &'a Schemas, field: &'a Field) -> Self {
        if field.atomic {
            return Self::Leaf;
        }
        match (&field.kind, field.list) {
            (Type::List(_), ListType::Set) => Self::Set,
            (Type::List(item), ListType::Map) if !field.keys.is_empty() => Self::ListMap(item, &field.keys),
            (kind, _) => Self::of(schemas, kind),
        }
    }

    fn of(schemas: &'a Schemas, kind: &'a Type) -> Self {
        match kind {
            Type::Object(id) => {
                let definition = schemas.get(*id);
                match (definition.atomic, definition.fields.is_empty()) {
                    (true, _) => Self::Leaf,
                    (_, true) => Self::Free,
                    _ => Self::Object(definition),
                }
            }
            Type::Map(inner) => Self::Map(inner),
            Type::Any => Self::Free,
            _ => Self::Leaf,
        }
    }

    /// The layout of the field or entry `name`, and whether it is a field that the structure names.
    pub fn child(self, schemas: &'a Schemas, name: &str) -> (Self, bool) {
        match self {
            Self::Object(definition) => match definition.field(name) {
                Some(field) => (Self::field(schemas, field), true),
                None => (Self::of(schemas, &ANY), false),
            },
            Self::Map(inner) => (Self::of(schemas, inner), false),
            _ => (Self::of(schemas, &ANY), false),
        }
    }

    /// The layout of the list's items.
    pub fn item(self, schemas: &'a Schemas) -> Self {
        match self {
            Self::ListMap(inner, _) => Self::of(schemas, inner),
            _ => Self::Leaf,
        }
    }

    /// The path element of a list item, as `fieldsV1` spells it.
    pub fn element(self, item: &Value) -> String {
        match self {
            Self::ListMap(_, keys) => {
                let mut text = String::from("k:{");
                let mut first = true;
                let mut sorted: Vec<&str> = keys.iter().map(|key| &**key).collect();
                sorted.sort_unstable();
                for key in sorted {
                    let value = match item.get(key) {
                        Some(value) if !value.is_null() => value.to_string(),
                        // The one key that has a default.
                        _ if key == "protocol" => "\"TCP\"".to_owned(),
                        _ => continue,
                    };
                    if !first {
                        text.push(',');
                    }
                    first = false;
                    text.push('"');
                    text.push_str(key);
                    text.push_str("\":");
                    text.push_str(&value);
                }
                text.push('}');
                text
            }
            _ => format!("v:{item}"),
        }
    }
}
