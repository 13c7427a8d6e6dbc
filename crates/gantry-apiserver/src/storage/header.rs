//! What selectors look at, parsed once for each stored object and kept beside its bytes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use gantry_api::registry::Kind;
use gantry_api::selector::Labels;
use gantry_json::{Map, Value};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{kind, kind_of};

/// What selectors look at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Header {
    labels: Box<[(Box<str>, Box<str>)]>,
    /// The values of the fields that its kind can be selected by.
    fields: Box<[(&'static str, Box<str>)]>,
}

impl Header {
    /// The value of a field that the kind can be selected by; `None` where it is empty, too.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| &**value)
    }

    fn new(object: &Value) -> Self {
        let text = |value: &Value| Box::from(value.as_str().unwrap_or_default());
        let metadata = &object["metadata"];
        let labels = metadata["labels"].as_object().into_iter().flatten();
        let own = kind_of(object).map(|kind| kind.selectable(object)).unwrap_or_default();
        let own = own.into_iter().map(|(name, value)| (name, value.into_boxed_str()));
        let common = [("metadata.name", "name"), ("metadata.namespace", "namespace")];
        let fields = own.chain(common.map(|(field, name)| (field, text(&metadata[name]))));
        Self {
            labels: labels.map(|(key, value)| (key.as_str().into(), text(value))).collect(),
            fields: fields.filter(|(_, value)| !value.is_empty()).collect(),
        }
    }
}

impl Labels for Header {
    fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| **label == *key).map(|(_, value)| &**value)
    }
}

/// Makes the header of a stored value.
pub fn header(_key: &str, value: &Bytes) -> Arc<dyn Any + Send + Sync> {
    let object = selected_parts(value).or_else(|_| gantry_json::from_slice(value)).unwrap_or_default();
    Arc::new(Header::new(&object))
}

/// The object with no more than what it can be selected by. Bytes are stored with kind and version in
/// front, which tell what that is; nothing else becomes a value.
fn selected_parts(value: &[u8]) -> gantry_json::Result<Value> {
    gantry_json::Deserializer::from_slice(value).deserialize_map(Object)
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        let mut known: Option<&'static Kind> = None;
        while let Some(name) = map.next_key::<&str>()? {
            let value = match name {
                "kind" | "apiVersion" => map.next_value()?,
                "metadata" => map.next_value_seed(Part { name, fields: &["name", "namespace", "labels"] })?,
                _ => {
                    known = known.or_else(|| {
                        let text = |name| object.get(name).and_then(Value::as_str);
                        kind(text("apiVersion")?, text("kind")?)
                    });
                    let fields = known.map_or(&[][..], |kind| kind.selected_from);
                    if fields.contains(&name) {
                        map.next_value()?
                    } else if fields.iter().any(|field| below(field, name).is_some()) {
                        map.next_value_seed(Part { name, fields })?
                    } else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                }
            };
            object.insert(name.into(), value);
        }
        Ok(Value::Object(object))
    }
}

/// The rest of a field's path below `name`.
fn below<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    field.strip_prefix(name)?.strip_prefix('.')
}

/// A part of the object of which only some fields are read.
struct Part<'a> {
    name: &'a str,
    /// Their names, or their paths in the object.
    fields: &'static [&'static str],
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let wanted = |name: &str| {
            self.fields.iter().any(|field| *field == name || below(field, self.name) == Some(name))
        };
        let mut part = Map::new();
        while let Some(name) = map.next_key::<&str>()? {
            if wanted(name) {
                part.insert(name.into(), map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Value::Object(part))
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::registry::Registry;
    use gantry_json::json;

    use super::*;
    use crate::storage::encode;

    /// Sets the text at a path.
    fn set(object: &mut Value, path: &str, text: &str) {
        let mut place = object;
        for name in path.split('.') {
            place = &mut place[name];
        }
        *place = text.into();
    }

    #[test]
    fn every_kind_keeps_what_it_is_selected_by() {
        for kind in Registry::known().iter().filter(|kind| kind.stored.is_none()) {
            let mut object = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "other": {"a": [1]},
                "metadata": {"name": "a", "namespace": "n", "labels": {"x": "y"}, "managedFields": [{}]}});
            for field in &kind.selectable_fields {
                set(&mut object, field, "text");
            }
            if kind.kind == "Pod" {
                object["status"]["podIPs"] = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
            }
            if kind.kind == "Event" {
                object["source"] = json!({"component": "c"});
            }
            let parts = selected_parts(&encode(&object)).unwrap();
            assert!(parts.get("other").is_none());
            assert!(parts["metadata"].get("managedFields").is_none());
            let header = Header::new(&parts);
            assert_eq!(header, Header::new(&object), "{}", kind.kind);
            assert_eq!(header.label("x"), Some("y"));
            assert_eq!(header.field("metadata.namespace"), Some("n"));
        }
    }

    #[test]
    fn odd_objects_have_headers_too() {
        let check = |text: &'static str, expect: Option<&str>| {
            let header = header("", &Bytes::from_static(text.as_bytes()));
            assert_eq!(header.downcast_ref::<Header>().unwrap().field("metadata.name"), expect, "{text}");
        };
        check(r#"{"metadata":{"name":"a"},"spec":null,"kind":"Pod","apiVersion":"v1"}"#, Some("a"));
        check(r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"spec":null}"#, Some("a"));
        check(r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"},"\u0073pec":{}}"#, Some("a"));
        check("null", None);
        check("", None);
    }
}
