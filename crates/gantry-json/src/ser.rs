//! Values as text, and types as values.

use std::fmt::Display;

use serde::ser::{self, Error as _, Impossible, Serialize, SerializeMap, Serializer};

use crate::{Error, Key, Map, Result, Value};

/// By this name serde_json hands text over that is JSON already.
const RAW: &str = "$serde_json::private::RawValue";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => to.serialize_unit(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Number(number) => number.serialize(to),
            Self::String(text) => to.serialize_str(text),
            Self::Array(list) => list.serialize(to),
            Self::Object(map) => map.serialize(to),
        }
    }
}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut fields = to.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            fields.serialize_entry(key.as_str(), value)?;
        }
        fields.end()
    }
}

/// What `value` looks like in JSON; an error where it does not fit, such as a map whose names are no text.
pub fn to_value(value: impl Serialize) -> Result<Value> {
    value.serialize(ToValue)
}

/// What `value` looks like in JSON. Panics where [`to_value`] is an error: for what is written into `json!`.
pub fn value_of(value: &(impl Serialize + ?Sized)) -> Value {
    match value.serialize(ToValue) {
        Ok(value) => value,
        Err(error) => panic!("{} is no JSON: {error}", std::any::type_name_of_val(value)),
    }
}

struct ToValue;

impl Serializer for ToValue {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    fn serialize_bool(self, value: bool) -> Result<Value> {
        Ok(value.into())
    }

    fn serialize_i8(self, number: i8) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_u8(self, number: u8) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_f32(self, number: f32) -> Result<Value> {
        Ok(f64::from(number).into())
    }

    fn serialize_f64(self, number: f64) -> Result<Value> {
        Ok(number.into())
    }

    fn serialize_char(self, letter: char) -> Result<Value> {
        Ok(letter.to_string().into())
    }

    fn serialize_str(self, text: &str) -> Result<Value> {
        Ok(text.into())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value> {
        Ok(bytes.into())
    }

    fn serialize_none(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value> {
        Ok(of_variant(Some(variant), value.serialize(self)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items> {
        Ok(Items { variant: None, list: Vec::with_capacity(length.unwrap_or_default()) })
    }

    fn serialize_tuple(self, length: usize) -> Result<Items> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Items> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items> {
        Ok(Items { variant: Some(variant), list: Vec::with_capacity(length) })
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Fields> {
        Ok(Fields::new(None, length.unwrap_or_default()))
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Fields> {
        Ok(Fields { is_raw: name == RAW, ..Fields::new(None, length) })
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Fields> {
        Ok(Fields::new(Some(variant), length))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<Value> {
        Ok(value.to_string().into())
    }
}

/// A variant that holds something is an object of one field.
fn of_variant(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Value::Object(Map::from_iter([(variant, value)])),
        None => value,
    }
}

struct Items {
    variant: Option<&'static str>,
    list: Vec<Value>,
}

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<()> {
        self.list.push(item.serialize(ToValue)?);
        Ok(())
    }

    fn finish(self) -> Result<Value> {
        Ok(of_variant(self.variant, Value::Array(self.list)))
    }
}

macro_rules! items {
    ($($kind:ident $push:ident),*) => {$(
        impl ser::$kind for Items {
            type Ok = Value;
            type Error = Error;

            fn $push<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<()> {
                self.push(item)
            }

            fn end(self) -> Result<Value> {
                self.finish()
            }
        }
    )*};
}

items!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

struct Fields {
    variant: Option<&'static str>,
    /// Whether the only field's text is the value.
    is_raw: bool,
    key: Option<Key>,
    map: Map,
    raw: Value,
}

impl Fields {
    fn new(variant: Option<&'static str>, length: usize) -> Self {
        Self { variant, is_raw: false, key: None, map: Map::with_capacity(length), raw: Value::Null }
    }

    fn put<T: Serialize + ?Sized>(&mut self, key: Key, value: &T) -> Result<()> {
        let value = value.serialize(ToValue)?;
        match (self.is_raw, &value) {
            (true, Value::String(text)) => self.raw = text.parse()?,
            _ => drop(self.map.insert(key, value)),
        }
        Ok(())
    }

    fn finish(self) -> Result<Value> {
        match self.is_raw {
            true => Ok(self.raw),
            false => Ok(of_variant(self.variant, Value::Object(self.map))),
        }
    }
}

impl SerializeMap for Fields {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        self.key = Some(key.serialize(ToKey)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let key = self.key.take().ok_or_else(|| Error::custom("a value without a name"))?;
        self.put(key, value)
    }

    fn end(self) -> Result<Value> {
        self.finish()
    }
}

macro_rules! fields {
    ($($kind:ident),*) => {$(
        impl ser::$kind for Fields {
            type Ok = Value;
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<()> {
                self.put(Key::new_static(key), value)
            }

            fn end(self) -> Result<Value> {
                self.finish()
            }
        }
    )*};
}

fields!(SerializeStruct, SerializeStructVariant);

/// A field's name: text, or a number as text.
struct ToKey;

macro_rules! named_by {
    ($($name:ident $kind:ty),*) => {$(
        fn $name(self, value: $kind) -> Result<Key> {
            Ok(smol_str::ToSmolStr::to_smolstr(&value))
        }
    )*};
}

macro_rules! no_name {
    ($($name:ident ($($kind:ty),*) $([$length:ty])?),*) => {$(
        fn $name(self, $(_: $kind),*) -> Result<Key> {
            Err(not_text())
        }
    )*};
}

fn not_text() -> Error {
    Error::custom("key must be a string")
}

impl Serializer for ToKey {
    type Ok = Key;
    type Error = Error;
    type SerializeSeq = Impossible<Key, Error>;
    type SerializeTuple = Impossible<Key, Error>;
    type SerializeTupleStruct = Impossible<Key, Error>;
    type SerializeTupleVariant = Impossible<Key, Error>;
    type SerializeMap = Impossible<Key, Error>;
    type SerializeStruct = Impossible<Key, Error>;
    type SerializeStructVariant = Impossible<Key, Error>;

    named_by!(
        serialize_bool bool, serialize_i8 i8, serialize_i16 i16, serialize_i32 i32, serialize_i64 i64,
        serialize_u8 u8, serialize_u16 u16, serialize_u32 u32, serialize_u64 u64, serialize_char char,
        serialize_str &str
    );

    no_name!(
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_bytes(&[u8]),
        serialize_none(),
        serialize_unit(),
        serialize_unit_struct(&'static str)
    );

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Key> {
        Ok(Key::new_static(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Key> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Key> {
        Err(not_text())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Key> {
        Err(not_text())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq> {
        Err(not_text())
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple> {
        Err(not_text())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct> {
        Err(not_text())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        Err(not_text())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap> {
        Err(not_text())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct> {
        Err(not_text())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant> {
        Err(not_text())
    }
}
