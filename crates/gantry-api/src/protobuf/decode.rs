//! From protobuf to the JSON that upstream would show for the same object.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gantry_json::{Map, Number, Value};

use super::layout::{Layout, Message, MessageId, Numbers, Shape, Slot, Target};
use super::wire::{BYTES, FIXED64, Reader, VARINT};
use super::{Envelope, Error, MAGIC};
use crate::quantity::Quantity;
use crate::schema::DefinitionId;

/// Messages may stand in each other this deep.
const DEPTH: usize = 100;

/// Reads a document as an object of the kind that its envelope names; where it names none, of the
/// definition `expected`.
pub fn decode(document: &[u8], expected: Option<DefinitionId>) -> Result<Value, Error> {
    let layout = Layout::builtin();
    let envelope = Envelope::open(document)?;
    let unnamed = envelope.api_version.is_empty() && envelope.kind.is_empty();
    let message = match expected.and_then(|id| layout.of(id)) {
        Some(message) if unnamed => message,
        _ => layout.by_kind(envelope.api_version, envelope.kind)?,
    };
    Decoder { layout }.object(message, &envelope, 0)
}

struct Decoder<'l> {
    layout: &'l Layout,
}

impl Decoder<'_> {
    fn document(&self, document: &[u8], depth: usize) -> Result<Value, Error> {
        let envelope = Envelope::open(document)?;
        let message = self.layout.by_kind(envelope.api_version, envelope.kind)?;
        self.object(message, &envelope, depth)
    }

    fn object(&self, message: MessageId, envelope: &Envelope<'_>, depth: usize) -> Result<Value, Error> {
        let mut object = Map::new();
        let message = self.layout.get(message);
        self.fields(&mut object, message, &message.numbers, envelope.raw, depth)?;
        for (name, text) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
            if !text.is_empty() {
                object.insert(name.into(), text.into());
            }
        }
        Ok(Value::Object(object))
    }

    /// Reads a message's fields into what is there already: a field that comes again is merged.
    fn fields(
        &self,
        into: &mut Map,
        message: &Message,
        numbers: &Numbers,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(), Error> {
        if depth > DEPTH {
            return Err(Error::TooDeep);
        }
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.key()? {
            match numbers.find(number) {
                None => reader.skip(wire)?,
                Some(Target::Inline(inner)) => {
                    let bytes = bytes_of(&mut reader, wire, "an embedded message")?;
                    self.fields(into, message, inner, bytes, depth + 1)?;
                }
                Some(Target::Slot(at)) => self.slot(into, &message.slots[*at], wire, &mut reader, depth)?,
            }
        }
        Ok(())
    }

    fn slot(
        &self,
        into: &mut Map,
        slot: &Slot,
        wire: u8,
        reader: &mut Reader<'_>,
        depth: usize,
    ) -> Result<(), Error> {
        let name = &*slot.name;
        match &slot.shape {
            Shape::List(item) => {
                let list = into.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(list) = list else { return Ok(()) };
                let numbers = matches!(**item, Shape::Int32 | Shape::Int64 | Shape::Bool);
                if numbers && wire == BYTES {
                    let mut packed = Reader::new(reader.bytes()?);
                    while !packed.is_empty() {
                        list.extend(self.value(item, VARINT, &mut packed, name, depth)?);
                    }
                } else {
                    list.push(self.value(item, wire, reader, name, depth)?.unwrap_or_default());
                }
            }
            Shape::Map(item) => {
                let bytes = bytes_of(reader, wire, name)?;
                let map = into.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    let (key, value) = self.entry(item, bytes, name, depth)?;
                    map.insert(key.into(), value);
                }
            }
            Shape::Message(id) => {
                let bytes = bytes_of(reader, wire, name)?;
                let message = self.layout.get(*id);
                if let Some(Value::Object(present)) = into.get_mut(name) {
                    return self.fields(present, message, &message.numbers, bytes, depth + 1);
                }
                let mut object = Map::new();
                self.fields(&mut object, message, &message.numbers, bytes, depth + 1)?;
                if !(slot.zero_left_out && object.is_empty()) {
                    into.insert(name.into(), Value::Object(object));
                }
            }
            shape => match self.value(shape, wire, reader, name, depth)? {
                Some(value) if !(slot.zero_left_out && is_zero(&value)) => {
                    into.insert(name.into(), value);
                }
                _ => {
                    into.remove(name);
                }
            },
        }
        Ok(())
    }

    /// A map's entry: a message of a key and a value.
    fn entry(&self, item: &Shape, bytes: &[u8], name: &str, depth: usize) -> Result<(String, Value), Error> {
        let mut key = String::new();
        let mut value = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.key()? {
            match number {
                1 => key = text(bytes_of(&mut reader, wire, name)?, name)?.to_owned(),
                2 => value = self.value(item, wire, &mut reader, name, depth)?,
                _ => reader.skip(wire)?,
            }
        }
        Ok((key, value.unwrap_or_else(|| zero(item))))
    }

    /// One value; `None` where upstream's JSON says null.
    fn value(
        &self,
        shape: &Shape,
        wire: u8,
        reader: &mut Reader<'_>,
        name: &str,
        depth: usize,
    ) -> Result<Option<Value>, Error> {
        let expected = match shape {
            Shape::Int32 | Shape::Int64 | Shape::Bool => VARINT,
            Shape::Double => FIXED64,
            _ => BYTES,
        };
        if wire != expected {
            return Err(Error::WireType { field: name.into(), wire });
        }
        match shape {
            // Upstream reads the lower bits of whatever number there is.
            Shape::Int32 => return Ok(Some((reader.varint()? as i32).into())),
            Shape::Int64 => return Ok(Some((reader.varint()? as i64).into())),
            Shape::Bool => return Ok(Some((reader.varint()? != 0).into())),
            Shape::Double => return double(f64::from_bits(reader.fixed64()?), name).map(Some),
            _ => {}
        }
        let bytes = reader.bytes()?;
        Ok(match shape {
            Shape::String => Some(text(bytes, name)?.into()),
            Shape::Bytes => Some(BASE64_STANDARD.encode(bytes).into()),
            Shape::IntOrString => Some(int_or_string(bytes, name)?),
            Shape::Quantity => Some(quantity(bytes, name)?),
            Shape::Time { micros } => time(bytes, *micros, name)?,
            Shape::Raw => self.raw(bytes, name, depth)?,
            Shape::Wrapped => Some(strings(bytes, 1, name)?.into()),
            Shape::Message(id) => {
                let message = self.layout.get(*id);
                let mut object = Map::new();
                self.fields(&mut object, message, &message.numbers, bytes, depth + 1)?;
                Some(Value::Object(object))
            }
            Shape::Schemas | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
                self.alternative(shape, bytes, name, depth)?
            }
            _ => None,
        })
    }

    /// A schema, or what may stand in its place.
    fn alternative(
        &self,
        shape: &Shape,
        bytes: &[u8],
        name: &str,
        depth: usize,
    ) -> Result<Option<Value>, Error> {
        let schema = Shape::Message(self.layout.schema);
        let (mut one, mut many, mut allows) = (None, Vec::new(), false);
        // A truth value comes first, everywhere else the schema does.
        let schema_number = if *shape == Shape::SchemaOrBool { 2 } else { 1 };
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.key()? {
            match (number, shape) {
                (1, Shape::SchemaOrBool) if wire == VARINT => allows = reader.varint()? != 0,
                (2, Shape::Schemas) => many.extend(self.value(&schema, wire, &mut reader, name, depth)?),
                (2, Shape::SchemaOrStrings) => {
                    many.push(text(bytes_of(&mut reader, wire, name)?, name)?.into());
                }
                (number, _) if number == schema_number => {
                    one = self.value(&schema, wire, &mut reader, name, depth)?;
                }
                _ => reader.skip(wire)?,
            }
        }
        Ok(match shape {
            _ if !many.is_empty() => Some(Value::Array(many)),
            Shape::SchemaOrBool if one.is_none() => Some(allows.into()),
            _ => one,
        })
    }

    /// JSON, or a document in the place of JSON.
    fn raw(&self, bytes: &[u8], name: &str, depth: usize) -> Result<Option<Value>, Error> {
        let mut raw: &[u8] = &[];
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.key()? {
            match number {
                1 => raw = bytes_of(&mut reader, wire, name)?,
                _ => reader.skip(wire)?,
            }
        }
        if raw.is_empty() {
            return Ok(None);
        }
        if raw.starts_with(&MAGIC) {
            if depth >= DEPTH {
                return Err(Error::TooDeep);
            }
            return self.document(raw, depth + 1).map(Some);
        }
        match gantry_json::from_slice(raw) {
            Ok(Value::Null) => Ok(None),
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(wrong(name, &error)),
        }
    }
}

fn wrong(field: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Value { field: field.into(), why: why.to_string().into() }
}

fn bytes_of<'a>(reader: &mut Reader<'a>, wire: u8, name: &str) -> Result<&'a [u8], Error> {
    if wire == BYTES { reader.bytes() } else { Err(Error::WireType { field: name.into(), wire }) }
}

fn text<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|error| wrong(name, &error))
}

/// The texts in the field `number` of a message.
fn strings(bytes: &[u8], wanted: u32, name: &str) -> Result<Vec<Value>, Error> {
    let mut list = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.key()? {
        if number == wanted {
            list.push(text(bytes_of(&mut reader, wire, name)?, name)?.into());
        } else {
            reader.skip(wire)?;
        }
    }
    Ok(list)
}

/// The numbers in the fields 1 and 2 of a message, and the text in its last field.
fn scalars<'a>(bytes: &'a [u8], name: &str) -> Result<(u64, u64, &'a str), Error> {
    let (mut first, mut second, mut last) = (0, 0, "");
    let mut reader = Reader::new(bytes);
    while let Some((number, wire)) = reader.key()? {
        match (number, wire) {
            (1, VARINT) => first = reader.varint()?,
            (2, VARINT) => second = reader.varint()?,
            (1 | 3, BYTES) => last = text(reader.bytes()?, name)?,
            (1..=3, _) => return Err(Error::WireType { field: name.into(), wire }),
            _ => reader.skip(wire)?,
        }
    }
    Ok((first, second, last))
}

fn int_or_string(bytes: &[u8], name: &str) -> Result<Value, Error> {
    Ok(match scalars(bytes, name)? {
        (0, number, _) => (number as i32).into(),
        (1, _, text) => text.into(),
        (kind, ..) => return Err(wrong(name, &format!("impossible IntOrString.Type {kind}"))),
    })
}

fn quantity(bytes: &[u8], name: &str) -> Result<Value, Error> {
    let (_, _, text) = scalars(bytes, name)?;
    if text.is_empty() {
        return Ok("0".into());
    }
    let quantity: Quantity = text.parse().map_err(|error| wrong(name, &error))?;
    Ok(quantity.to_string().into())
}

/// A time; `None` for the zero time, which has no bytes.
fn time(bytes: &[u8], micros: bool, name: &str) -> Result<Option<Value>, Error> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (seconds, nanos, _) = scalars(bytes, name)?;
    let nanos = if micros { nanos as i32 } else { 0 };
    let time = jiff::Timestamp::new(seconds as i64, nanos).map_err(|error| wrong(name, &error))?;
    let precision = if micros { 6 } else { 0 };
    Ok(Some(format!("{time:.precision$}").into()))
}

/// A floating-point number; a whole one without a fraction, as Go writes it.
fn double(number: f64, name: &str) -> Result<Value, Error> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Ok((number as i64).into());
    }
    let number = Number::from_f64(number).ok_or_else(|| wrong(name, &"unsupported value"))?;
    Ok(Value::Number(number))
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// A map's value that was left out.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => "".into(),
        Shape::Int32 | Shape::Int64 | Shape::Double | Shape::IntOrString => 0.into(),
        Shape::Bool => false.into(),
        Shape::Quantity => "0".into(),
        Shape::Message(_) => Value::Object(Map::new()),
        Shape::Wrapped => Value::Array(Vec::new()),
        _ => Value::Null,
    }
}
