//! Objects read without `metadata.managedFields`, which is often half of their bytes and which only
//! the API server itself uses.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Reads an object and leaves its managed fields out. The format must describe itself, as JSON does.
pub fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(Place::Object.wrap(deserializer))
}

/// Reads an object from JSON and leaves its managed fields out.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> gantry_json::Result<T> {
    let mut json = gantry_json::Deserializer::from_slice(bytes);
    let object = deserialize(&mut json)?;
    json.end()?;
    Ok(object)
}

/// What is being read.
#[derive(Clone, Copy)]
enum Place {
    Object,
    Metadata,
}

impl Place {
    fn wrap<T>(self, inner: T) -> Wrap<T> {
        Wrap { place: self, inner }
    }
}

/// A part of serde's conversation about an object or its metadata.
struct Wrap<T> {
    place: Place,
    inner: T,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Wrap<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(self.place.wrap(visitor))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_option(self.place.wrap(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_newtype_struct(name, self.place.wrap(visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Wrap<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Fields { fields: self.place.wrap(map), metadata_next: false })
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(self.place.wrap(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(self.place.wrap(deserializer))
    }

    // What is no object passes as it is; most of it is an error to the visitor.

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<V::Value, E> {
        self.inner.visit_bool(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<V::Value, E> {
        self.inner.visit_i64(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.inner.visit_u64(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<V::Value, E> {
        self.inner.visit_f64(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<V::Value, E> {
        self.inner.visit_str(value)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<V::Value, E> {
        self.inner.visit_borrowed_str(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(sequence)
    }
}

/// The fields of an object or of its metadata.
struct Fields<A> {
    fields: Wrap<A>,
    metadata_next: bool,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            let Some(Name(name)) = self.fields.inner.next_key()? else { return Ok(None) };
            match self.fields.place {
                Place::Metadata if name == "managedFields" => {
                    self.fields.inner.next_value::<IgnoredAny>()?;
                    continue;
                }
                Place::Object => self.metadata_next = name == "metadata",
                Place::Metadata => {}
            }
            return match name {
                Cow::Borrowed(name) => seed.deserialize(BorrowedStrDeserializer::new(name)),
                Cow::Owned(name) => seed.deserialize(StrDeserializer::new(&name)),
            }
            .map(Some);
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        if self.metadata_next {
            return self.fields.inner.next_value_seed(Place::Metadata.wrap(seed));
        }
        self.fields.inner.next_value_seed(seed)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Wrap<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.place.wrap(deserializer))
    }
}

/// A field's name.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<'a>(PhantomData<&'a str>);

        impl<'de> Visitor<'de> for Text<'de> {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a field")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Text(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};

    use super::*;

    #[test]
    fn only_the_managed_fields_are_missing() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "Pod", "managedFields": [1],
            "metadata": {"name": "a\"\\b", "labels": {"managedFields": "x"}, "managedFields": [
                {"manager": "m", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}}]},
            "spec": {"containers": [{"name": "c"}], "priority": 3, "hostNetwork": true},
            "status": {"metadata": {"managedFields": 1.5}},
        });
        let text = object.to_string();
        let pod: Pod = from_slice(text.as_bytes()).unwrap();
        assert_eq!(pod.metadata.managed_fields, None);
        let mut whole: Pod = gantry_json::from_str(&text).unwrap();
        whole.metadata.managed_fields = None;
        assert_eq!(pod, whole);
        let value: Value = from_slice(text.as_bytes()).unwrap();
        object["metadata"].as_object_mut().unwrap().remove("managedFields");
        assert_eq!(value, object);
    }

    #[test]
    fn what_is_no_object_is_as_ever() {
        for text in ["null", "3", "-3", "1.5", "\"a\"", "[{\"metadata\": {\"managedFields\": 1}}]", "true"] {
            let value: Value = from_slice(text.as_bytes()).unwrap();
            assert_eq!(value, gantry_json::from_str::<Value>(text).unwrap());
            assert!(from_slice::<ConfigMap>(text.as_bytes()).is_err(), "{text}");
        }
        assert!(from_slice::<Value>(b"{} {}").is_err());
        assert!(from_slice::<Value>(b"{\"metadata\":{\"managedFields\":[}}").is_err());
        assert_eq!(from_slice::<ConfigMap>(b"{\"metadata\":null}").unwrap(), ConfigMap::default());
    }
}
