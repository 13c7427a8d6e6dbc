//! The encoding as serde's data model has it, field by field: what the encoder is held against.

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gantry_json::RawValue;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::layout::{Layout, Message, Shape, Slot};
use super::super::wire::{self, FIXED64};
use crate::schema::DefinitionId;

/// The message of an object in `json`.
pub fn message(id: DefinitionId, json: &[u8]) -> Result<Vec<u8>, gantry_json::Error> {
    let layout = Layout::builtin();
    let mut out = Vec::new();
    let mut deserializer = gantry_json::Deserializer::from_slice(json);
    let message = layout.get(layout.of(id).expect("a kind with messages"));
    Fields { layout, out: &mut out, message }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(out)
}

/// Writes an object's fields.
struct Fields<'a> {
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
    message: &'a Message,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { layout, out, message } = self;
        while let Some(slot) = entries.next_key_seed(Key { message })? {
            match slot {
                Some(slot) => entries.next_value_seed(Field { layout, out: &mut *out, slot })?,
                None => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds the field of a name.
struct Key<'a> {
    message: &'a Message,
}

impl<'de, 'a> DeserializeSeed<'de> for Key<'a> {
    type Value = Option<&'a Slot>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'a> Visitor<'_> for Key<'a> {
    type Value = Option<&'a Slot>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.message.slot(name.as_bytes()))
    }
}

/// Writes a field within the messages that it stands in.
struct Field<'a> {
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
    slot: &'a Slot,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let Self { layout, out, slot } = self;
        let before = out.len();
        let Some((number, outer)) = slot.path.split_last() else { return Ok(()) };
        if outer.is_empty() {
            let seed = Element { layout, out: &mut *out, shape: &slot.shape, number: *number };
            if !seed.deserialize(from)? {
                out.truncate(before);
            }
            return Ok(());
        }
        let starts: Vec<usize> = outer.iter().map(|number| open(out, *number)).collect();
        let seed = Element { layout, out: &mut *out, shape: &slot.shape, number: *number };
        if seed.deserialize(from)? {
            starts.into_iter().rev().for_each(|start| close(out, start));
        } else {
            out.truncate(before);
        }
        Ok(())
    }
}

/// Writes a value under a number. `false` for null, which is not written.
struct Element<'a> {
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
    shape: &'a Shape,
    number: u32,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        if *self.shape != Shape::Raw {
            return from.deserialize_any(self);
        }
        let raw = <Option<Box<RawValue>> as serde::Deserialize>::deserialize(from)?;
        if let Some(raw) = &raw {
            let start = open(self.out, self.number);
            wire::put_bytes(self.out, 1, raw.get().as_bytes());
            close(self.out, start);
        }
        Ok(raw.is_some())
    }
}

impl Element<'_> {
    fn mismatch<E: serde::de::Error>(&self, found: &str) -> E {
        E::custom(format_args!("{found} where {:?} is expected", self.shape))
    }

    fn bytes(self, bytes: &[u8]) -> bool {
        wire::put_bytes(self.out, self.number, bytes);
        true
    }

    /// A message that `write` fills.
    fn message<E>(self, write: impl FnOnce(&Layout, &mut Vec<u8>) -> Result<(), E>) -> Result<bool, E> {
        let start = open(self.out, self.number);
        write(self.layout, self.out)?;
        close(self.out, start);
        Ok(true)
    }

    fn number(self, number: i64) -> bool {
        wire::put_number(self.out, self.number, number as u64);
        true
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: serde::de::Error>(self, truth: bool) -> Result<bool, E> {
        match self.shape {
            Shape::Bool => Ok(self.number(truth.into())),
            Shape::SchemaOrBool => self.message(|_, out| {
                wire::put_number(out, 1, truth.into());
                Ok(())
            }),
            _ => Err(self.mismatch("a truth value")),
        }
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<bool, E> {
        match self.shape {
            Shape::Int32 | Shape::Int64 => Ok(self.number(number)),
            Shape::Double => self.visit_f64(number as f64),
            Shape::IntOrString => self.message(|_, out| {
                wire::put_number(out, 1, 0);
                wire::put_number(out, 2, number as u64);
                Ok(())
            }),
            Shape::Quantity => self.visit_str(&number.to_string()),
            _ => Err(self.mismatch("a number")),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<bool, E> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => self.visit_f64(number as f64),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<bool, E> {
        match self.shape {
            Shape::Double => {
                wire::put_key(self.out, self.number, FIXED64);
                self.out.extend_from_slice(&number.to_bits().to_le_bytes());
                Ok(true)
            }
            Shape::Quantity => self.visit_str(&number.to_string()),
            _ => Err(self.mismatch("a number")),
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        match self.shape {
            Shape::String => Ok(self.bytes(text.as_bytes())),
            Shape::Bytes => {
                let bytes = base64(text).ok_or_else(|| self.mismatch("a text that is not base64"))?;
                Ok(self.bytes(&bytes))
            }
            Shape::IntOrString => self.message(|_, out| {
                wire::put_number(out, 1, 1);
                wire::put_bytes(out, 3, text.as_bytes());
                Ok(())
            }),
            Shape::Quantity => self.message(|_, out| {
                wire::put_bytes(out, 1, text.as_bytes());
                Ok(())
            }),
            Shape::Time { .. } => {
                let time: jiff::Timestamp = text.parse().map_err(E::custom)?;
                // Seconds before the epoch are rounded down: nanoseconds never count backwards.
                let (seconds, nanos) = match (time.as_second(), time.subsec_nanosecond()) {
                    (seconds, nanos @ ..0) => (seconds - 1, nanos + 1_000_000_000),
                    both => both,
                };
                self.message(|_, out| {
                    wire::put_number(out, 1, seconds as u64);
                    wire::put_number(out, 2, i64::from(nanos) as u64);
                    Ok(())
                })
            }
            _ => Err(self.mismatch("a text")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        let (layout, out, number) = (self.layout, self.out, self.number);
        let (shape, number, start) = match self.shape {
            Shape::List(item) => (&**item, number, None),
            Shape::Wrapped => (&Shape::String, 1, Some(open(out, number))),
            Shape::SchemaOrStrings => (&Shape::String, 2, Some(open(out, number))),
            Shape::Schemas => {
                let start = open(out, number);
                while items.next_element_seed(Schema { layout, out: &mut *out, number: 2 })?.is_some() {}
                close(out, start);
                return Ok(true);
            }
            other => return Err(A::Error::custom(format_args!("a list where {other:?} is expected"))),
        };
        while let Some(written) =
            items.next_element_seed(Element { layout, out: &mut *out, shape, number })?
        {
            if !written {
                // The item counts though it is nothing.
                match shape {
                    Shape::Int32 | Shape::Int64 | Shape::Bool => wire::put_number(out, number, 0),
                    _ => wire::put_bytes(out, number, &[]),
                }
            }
        }
        if let Some(start) = start {
            close(out, start);
        }
        Ok(true)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<bool, A::Error> {
        let (layout, out, number) = (self.layout, self.out, self.number);
        match self.shape {
            Shape::Map(item) => {
                while let Some(key) = entries.next_key::<String>()? {
                    let start = open(out, number);
                    wire::put_bytes(out, 1, key.as_bytes());
                    entries.next_value_seed(Element { layout, out: &mut *out, shape: item, number: 2 })?;
                    close(out, start);
                }
            }
            Shape::Message(id) => {
                let start = open(out, number);
                Fields { layout, out: &mut *out, message: layout.get(*id) }.visit_map(entries)?;
                close(out, start);
            }
            Shape::Schemas | Shape::SchemaOrBool | Shape::SchemaOrStrings => {
                let start = open(out, number);
                let mut number = 1;
                if *self.shape == Shape::SchemaOrBool {
                    wire::put_number(out, 1, 1);
                    number = 2;
                }
                let inner = open(out, number);
                Fields { layout, out: &mut *out, message: layout.get(layout.schema) }.visit_map(entries)?;
                close(out, inner);
                close(out, start);
            }
            other => return Err(A::Error::custom(format_args!("an object where {other:?} is expected"))),
        }
        Ok(true)
    }
}

/// Writes a schema under a number.
struct Schema<'a> {
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
    number: u32,
}

impl<'de> DeserializeSeed<'de> for Schema<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        let shape = Shape::Message(self.layout.schema);
        Element { layout: self.layout, out: self.out, shape: &shape, number: self.number }.deserialize(from)
    }
}

/// The bytes of a text in base64, which may have line breaks.
fn base64(text: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
            .with_decode_allow_trailing_bits(true),
    );
    if text.contains(['\r', '\n']) {
        return ENGINE.decode(text.replace(['\r', '\n'], "")).ok();
    }
    ENGINE.decode(text).ok()
}

fn open(out: &mut Vec<u8>, number: u32) -> usize {
    wire::put_key(out, number, wire::BYTES);
    out.push(0);
    out.len()
}

fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[start - 1] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    wire::put_varint(&mut prefix, length as u64);
    out.splice(start - 1..start, prefix);
}
