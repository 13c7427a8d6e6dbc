//! How a value at some place merges, read from its type and its field's marks.

use std::borrow::Cow;
use std::sync::LazyLock;

use gantry_json::{Key, Text, Value};

use crate::custom::node::{Additional, Kind, Node};
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
    /// A custom resource: metadata, and what its schema says.
    Resource(&'a Node),
    /// An object that a custom kind's schema describes.
    Node(&'a Node),
    /// A list of a custom kind whose items are found by the values of keys.
    NodeList(&'a Node),
}

const ANY: Type = Type::Any;
static PROTOCOL: Value = Value::String(Text::new_static("TCP"));
static NO_TEXT: Value = Value::String(Text::new_static(""));

/// What stands for a key that an item of a built-in kind's list does not have.
pub(super) fn builtin_key(item: &Type, key: &str) -> Option<&'static Value> {
    static NUMBER: LazyLock<Value> = LazyLock::new(|| 0.into());
    static FLAG: Value = Value::Bool(false);
    let Type::Object(id) = item else { return None };
    let definition = Schemas::builtin().get(*id);
    if key == "protocol" {
        return Some(&PROTOCOL);
    }
    let field = definition.field(key)?;
    // Upstream publishes the zero of a field that every object has as its default, and that of one other.
    if !field.required && definition.short_name() != "LocalObjectReference" {
        return None;
    }
    match field.kind {
        Type::String => Some(&NO_TEXT),
        Type::Int32 | Type::Int64 => Some(&NUMBER),
        Type::Bool => Some(&FLAG),
        _ => None,
    }
}

/// The keys in the order of their names.
pub(super) fn sorted(keys: &[Box<str>]) -> Cow<'_, [Box<str>]> {
    if keys.is_sorted() {
        return Cow::Borrowed(keys);
    }
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    Cow::Owned(keys)
}

fn path_element(text: &[u8]) -> Key {
    str::from_utf8(text).expect("JSON is text").into()
}

impl<'a> Layout<'a> {
    pub fn root(schemas: &'a Schemas, id: DefinitionId) -> Self {
        Self::Object(schemas.get(id))
    }

    /// Whether it merges field by field or entry by entry.
    pub fn is_object(self) -> bool {
        matches!(self, Self::Object(_) | Self::Map(_) | Self::Free | Self::Resource(_) | Self::Node(_))
    }

    /// Whether it is a list that merges item by item.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Set | Self::ListMap(..) | Self::NodeList(_))
    }

    fn of_node(node: &'a Node) -> Self {
        match node.kind {
            Kind::Object if node.atomic => Self::Leaf,
            Kind::Object if node.embedded => Self::Resource(node),
            Kind::Object if node.has_properties() || node.additional.is_some() => Self::Node(node),
            Kind::Object | Kind::Any => Self::Free,
            Kind::Array => match (node.list, &node.items) {
                (ListType::Set, _) => Self::Set,
                (ListType::Map, Some(_)) if !node.keys.is_empty() => Self::NodeList(node),
                _ => Self::Leaf,
            },
            Kind::String | Kind::Integer | Kind::Number | Kind::Boolean | Kind::IntOrString => Self::Leaf,
        }
    }

    /// The layout of a field of what a custom kind's schema describes.
    fn node_child(node: &'a Node, name: &str) -> (Self, bool) {
        match (node.property(name), &node.additional) {
            (Some(below), _) => (Self::of_node(below), true),
            (None, Some(Additional::Node(below))) => (Self::of_node(below), false),
            (None, _) => (Self::Free, false),
        }
    }

    fn field(schemas: &'a Schemas, field: &'a Field) -> Self {
        if field.atomic {
            return Self::Leaf;
        }
        match (&field.kind, field.list) {
            (Type::List(_), ListType::Set) => Self::Set,
            (Type::List(item), ListType::Map) if !field.keys.is_empty() => Self::ListMap(item, &field.keys),
            (Type::Object(id), _) if field.granular => Self::Object(schemas.get(*id)),
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
            Self::Resource(node) => match name {
                "metadata" => (Self::root(schemas, Schemas::object_meta()), true),
                "apiVersion" | "kind" => (Self::Leaf, true),
                _ => Self::node_child(node, name),
            },
            Self::Node(node) => Self::node_child(node, name),
            _ => (Self::of(schemas, &ANY), false),
        }
    }

    /// The layout of the list's items.
    pub fn item(self, schemas: &'a Schemas) -> Self {
        match self {
            Self::ListMap(inner, _) => Self::of(schemas, inner),
            Self::NodeList(node) => node.items.as_deref().map_or(Self::Leaf, Self::of_node),
            _ => Self::Leaf,
        }
    }

    /// What stands for a key that an item does not have.
    fn default_key(self, key: &str) -> Option<&'a Value> {
        match self {
            Self::NodeList(node) => node.items.as_ref()?.property(key)?.default.as_deref(),
            Self::ListMap(item, _) => builtin_key(item, key),
            _ => None,
        }
    }

    /// The path element of a list item, as `fieldsV1` spells it.
    pub fn element(self, item: &Value) -> Key {
        match self {
            Self::ListMap(..) | Self::NodeList(_) => {
                let keys: &[Box<str>] = match self {
                    Self::ListMap(_, keys) => keys,
                    Self::NodeList(node) => &node.keys,
                    _ => &[],
                };
                let mut text = Vec::with_capacity(64);
                text.extend_from_slice(b"k:{");
                for key in sorted(keys).iter() {
                    let given = item.get(&**key).filter(|value| !value.is_null());
                    let Some(value) = given.or_else(|| self.default_key(key)) else { continue };
                    if !text.ends_with(b"{") {
                        text.push(b',');
                    }
                    text.push(b'"');
                    text.extend_from_slice(key.as_bytes());
                    text.extend_from_slice(b"\":");
                    value.write(&mut text);
                }
                text.push(b'}');
                path_element(&text)
            }
            _ => {
                let mut text = b"v:".to_vec();
                item.write(&mut text);
                path_element(&text)
            }
        }
    }
}
