//! From JSON to protobuf, in one pass over the JSON's bytes.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gantry_json::Value;

use super::json::{Number, Text};
use super::layout::{Layout, Message, MessageId, Shape, Slot};
use super::time;
use super::wire::{self, FIXED64};
use super::{Error, envelope};
use crate::schema::DefinitionId;

/// The message of an object in `json`, whose kind is the definition `id`: what stands in its [`document`], or
/// as an item in a list.
pub fn message(id: DefinitionId, json: &[u8]) -> Result<Vec<u8>, Error> {
    let layout = Layout::builtin();
    let message = layout.of(id).ok_or_else(|| Error::Json("the kind has no such form".into()))?;
    let mut out = Vec::with_capacity(json.len());
    whole(layout, message, json, &mut out)?;
    Ok(out)
}

/// The message of an object of which the metadata in `json` is shown alone.
pub fn partial(json: &[u8]) -> Result<Vec<u8>, Error> {
    let layout = Layout::builtin();
    let mut out = Vec::with_capacity(json.len());
    field(layout, layout.partial(), "metadata", json, &mut out)?;
    Ok(out)
}

/// The document of an object whose message is given.
pub fn document(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut document = envelope::head(api_version, kind, message.len());
    document.extend_from_slice(message);
    document
}

/// The document of an object that says which kind it is.
pub fn value(object: &Value) -> Result<Vec<u8>, Error> {
    let layout = Layout::builtin();
    let text = |name: &str| object[name].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let mut out = Vec::new();
    whole(layout, layout.by_kind(api_version, kind)?, object.to_string().as_bytes(), &mut out)?;
    Ok(document(api_version, kind, &out))
}

/// The document of a list, whose items are written before what goes before them, which tells their length.
#[derive(Debug, Clone, Copy)]
pub struct List<'a> {
    api_version: &'a str,
    kind: &'a str,
    message: MessageId,
    items: u32,
}

impl<'a> List<'a> {
    /// A list of this kind.
    pub fn of(api_version: &'a str, kind: &'a str) -> Result<Self, Error> {
        let layout = Layout::builtin();
        let message = layout.by_kind(api_version, kind)?;
        let items = layout.get(message).slot(b"items").and_then(|slot| slot.path.last().copied());
        Ok(Self { api_version, kind, message, items: items.unwrap_or(2) })
    }

    /// Adds an item, whose message is given.
    pub fn item(&self, out: &mut Vec<u8>, message: &[u8]) {
        wire::put_bytes(out, self.items, message);
    }

    /// What goes before the items, which take `length` bytes.
    pub fn head(&self, metadata: &Value, length: usize) -> Result<Vec<u8>, Error> {
        let mut meta = Vec::new();
        field(Layout::builtin(), self.message, "metadata", metadata.to_string().as_bytes(), &mut meta)?;
        let mut head = envelope::head(self.api_version, self.kind, meta.len() + length);
        head.append(&mut meta);
        Ok(head)
    }
}

/// A watch event's frame: its length in four bytes, then the event with the object's document.
pub fn event(out: &mut Vec<u8>, name: &str, document: &[u8]) {
    let object = wire::field_len(1, document.len());
    let length = wire::field_len(1, name.len()) + wire::field_len(2, object);
    out.reserve(4 + length);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    wire::put_bytes(out, 1, name.as_bytes());
    wire::put_key(out, 2, wire::BYTES);
    wire::put_varint(out, object as u64);
    wire::put_bytes(out, 1, document);
}

fn whole(layout: &'static Layout, id: MessageId, json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut encoder = Encoder { layout, text: Text::new(json)?, out };
    encoder.fields(layout.get(id))?;
    encoder.text.end()
}

/// Writes the field `name` of a message, whose value is in `json`.
fn field(
    layout: &'static Layout,
    id: MessageId,
    name: &str,
    json: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let Some(slot) = layout.get(id).slot(name.as_bytes()) else { return Ok(()) };
    let mut encoder = Encoder { layout, text: Text::new(json)?, out };
    encoder.field(slot)?;
    encoder.text.end()
}

/// Writes what it reads. Lengths are filled in behind.
struct Encoder<'a> {
    layout: &'static Layout,
    text: Text<'a>,
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    fn mismatch(&self, found: &str, shape: &Shape) -> Error {
        self.text.error(format_args!("{found} where {shape:?} is expected"))
    }

    /// A value that begins otherwise than its shape does.
    fn unexpected(&mut self, shape: &Shape) -> Error {
        let found = match self.text.peek() {
            Ok(b'"') => "a text",
            Ok(b'{') => "an object",
            Ok(b'[') => "a list",
            Ok(b't' | b'f') => "a truth value",
            Ok(b'-' | b'0'..=b'9') => "a number",
            Ok(_) => "no value",
            Err(error) => return error,
        };
        self.mismatch(found, shape)
    }

    /// An object's fields; those that the message does not have are left out.
    fn fields(&mut self, message: &Message) -> Result<(), Error> {
        if self.text.peek()? != b'{' {
            return Err(self.text.error("no object"));
        }
        let mut more = self.text.enter(b'}')?;
        while more {
            match message.slot(&self.text.key()?) {
                Some(slot) => self.field(slot)?,
                None => drop(self.text.value()?),
            }
            more = self.text.more(b'}')?;
        }
        Ok(())
    }

    /// A field within the messages that it stands in.
    fn field(&mut self, slot: &Slot) -> Result<(), Error> {
        if self.text.null()? {
            return Ok(());
        }
        self.within(&slot.path, &slot.shape)
    }

    fn within(&mut self, path: &[u32], shape: &Shape) -> Result<(), Error> {
        match path {
            [] => self.text.value().map(drop),
            [number] => self.element(shape, *number),
            [outer, inner @ ..] => self.message(*outer, |encoder| encoder.within(inner, shape)),
        }
    }

    /// A short message that `write` fills.
    fn message(
        &mut self,
        number: u32,
        write: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let open = wire::open(self.out, number);
        write(self)?;
        wire::close(self.out, open);
        Ok(())
    }

    /// A value that is not null, under a number.
    fn element(&mut self, shape: &Shape, number: u32) -> Result<(), Error> {
        match (shape, self.text.peek()?) {
            (Shape::String, b'"') => wire::put_bytes(self.out, number, &self.text.string()?),
            (Shape::Bytes, b'"') => {
                let text = self.text.string()?;
                let bytes = base64(&text).ok_or_else(|| self.mismatch("a text that is not base64", shape))?;
                wire::put_bytes(self.out, number, &bytes);
            }
            (Shape::Bool, b't' | b'f') => wire::put_number(self.out, number, self.text.truth()?.into()),
            (Shape::Time { .. }, b'"') => {
                let text = self.text.string()?;
                let (seconds, nanos) = time::read(&text).map_err(|error| self.text.error(error))?;
                self.message(number, |encoder| {
                    wire::put_number(encoder.out, 1, seconds as u64);
                    wire::put_number(encoder.out, 2, u64::from(nanos));
                    Ok(())
                })?;
            }
            (Shape::IntOrString, b'"') => self.message(number, |encoder| {
                wire::put_number(encoder.out, 1, 1);
                wire::put_bytes(encoder.out, 3, &encoder.text.string()?);
                Ok(())
            })?,
            (Shape::Quantity, b'"') => self.message(number, |encoder| {
                wire::put_bytes(encoder.out, 1, &encoder.text.string()?);
                Ok(())
            })?,
            (_, b'-' | b'0'..=b'9') if *shape != Shape::Raw => {
                let read = self.text.number()?;
                self.number(shape, number, read)?;
            }
            (Shape::Raw, _) => {
                let text = self.text.value()?;
                wire::put_key(self.out, number, wire::BYTES);
                wire::put_varint(self.out, wire::field_len(1, text.len()) as u64);
                wire::put_bytes(self.out, 1, text);
            }
            (Shape::Message(id), b'{') => {
                let open = wire::open_long(self.out, number);
                self.fields(self.layout.get(*id))?;
                wire::close(self.out, open);
            }
            (Shape::List(item), b'[') => self.items(item, number)?,
            (Shape::Wrapped, b'[') => self.message(number, |encoder| encoder.items(&Shape::String, 1))?,
            (Shape::Map(item), b'{') => self.entries(item, number)?,
            (Shape::Schemas | Shape::SchemaOrBool | Shape::SchemaOrStrings, _) => {
                self.schema(shape, number)?
            }
            _ => return Err(self.unexpected(shape)),
        }
        Ok(())
    }

    fn number(&mut self, shape: &Shape, number: u32, read: Number<'_>) -> Result<(), Error> {
        match (shape, read.integer()) {
            (Shape::Int32 | Shape::Int64, Some(integer)) => {
                wire::put_number(self.out, number, integer as u64);
            }
            (Shape::IntOrString, Some(integer)) => self.message(number, |encoder| {
                wire::put_number(encoder.out, 1, 0);
                wire::put_number(encoder.out, 2, integer as u64);
                Ok(())
            })?,
            (Shape::Quantity, integer) => {
                let double = || read.double().map(|double| double.to_string());
                let text = integer.map(|integer| integer.to_string()).or_else(double).unwrap_or_default();
                self.message(number, |encoder| {
                    wire::put_bytes(encoder.out, 1, text.as_bytes());
                    Ok(())
                })?;
            }
            (Shape::Double, _) => {
                let double = read.double().ok_or_else(|| self.text.error("number out of range"))?;
                wire::put_key(self.out, number, FIXED64);
                self.out.extend_from_slice(&double.to_bits().to_le_bytes());
            }
            _ => return Err(self.mismatch("a number", shape)),
        }
        Ok(())
    }

    /// A list's items, each under the number.
    fn items(&mut self, item: &Shape, number: u32) -> Result<(), Error> {
        let mut more = self.text.enter(b']')?;
        while more {
            if !self.text.null()? {
                self.element(item, number)?;
            } else if matches!(item, Shape::Int32 | Shape::Int64 | Shape::Bool) {
                // The item counts though it is nothing.
                wire::put_number(self.out, number, 0);
            } else {
                wire::put_bytes(self.out, number, &[]);
            }
            more = self.text.more(b']')?;
        }
        Ok(())
    }

    /// A map's entries, each a message of a key and a value.
    fn entries(&mut self, item: &Shape, number: u32) -> Result<(), Error> {
        let mut more = self.text.enter(b'}')?;
        while more {
            let key = self.text.key()?;
            self.message(number, |encoder| {
                wire::put_bytes(encoder.out, 1, &key);
                if encoder.text.null()? { Ok(()) } else { encoder.element(item, 2) }
            })?;
            more = self.text.more(b'}')?;
        }
        Ok(())
    }

    /// A schema, or what may stand in its place.
    fn schema(&mut self, shape: &Shape, number: u32) -> Result<(), Error> {
        let one = Shape::Message(self.layout.schema);
        match (shape, self.text.peek()?) {
            (Shape::Schemas | Shape::SchemaOrStrings, b'{') => {
                self.message(number, |encoder| encoder.element(&one, 1))
            }
            (Shape::SchemaOrBool, b'{') => self.message(number, |encoder| {
                wire::put_number(encoder.out, 1, 1);
                encoder.element(&one, 2)
            }),
            (Shape::SchemaOrBool, b't' | b'f') => self.message(number, |encoder| {
                wire::put_number(encoder.out, 1, encoder.text.truth()?.into());
                Ok(())
            }),
            (Shape::Schemas, b'[') => self.message(number, |encoder| encoder.items(&one, 2)),
            (Shape::SchemaOrStrings, b'[') => {
                self.message(number, |encoder| encoder.items(&Shape::String, 2))
            }
            _ => Err(self.unexpected(shape)),
        }
    }
}

/// The bytes of a text in base64, which may have line breaks.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
            .with_decode_allow_trailing_bits(true),
    );
    let is_break = |byte: &u8| matches!(byte, b'\r' | b'\n');
    if text.iter().any(is_break) {
        let text: Vec<u8> = text.iter().copied().filter(|byte| !is_break(byte)).collect();
        return ENGINE.decode(text).ok();
    }
    ENGINE.decode(text).ok()
}
