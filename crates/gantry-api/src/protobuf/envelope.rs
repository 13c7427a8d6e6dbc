//! What an object's bytes travel in: `runtime.Unknown` behind four bytes that name the encoding.

use super::Error;
use super::wire::{self, BYTES, Reader};

/// The first bytes of every document.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// An object with its API version and kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The API version; may be empty.
    pub api_version: &'a str,
    /// The kind; may be empty.
    pub kind: &'a str,
    /// The object.
    pub raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens a document.
    pub fn open(document: &'a [u8]) -> Result<Self, Error> {
        let body = document.strip_prefix(&MAGIC).ok_or(Error::NotProtobuf)?;
        let mut envelope = Self::default();
        let mut reader = Reader::new(body);
        while let Some((number, wire)) = reader.key()? {
            match (number, wire) {
                (1, BYTES) => envelope.type_meta(reader.bytes()?)?,
                (2, BYTES) => envelope.raw = reader.bytes()?,
                // How the object is encoded and of which type: it is this encoding, uncompressed.
                _ => reader.skip(wire)?,
            }
        }
        Ok(envelope)
    }

    fn type_meta(&mut self, bytes: &'a [u8]) -> Result<(), Error> {
        let mut reader = Reader::new(bytes);
        while let Some((number, wire)) = reader.key()? {
            match (number, wire) {
                (1, BYTES) => self.api_version = text("apiVersion", reader.bytes()?)?,
                (2, BYTES) => self.kind = text("kind", reader.bytes()?)?,
                _ => reader.skip(wire)?,
            }
        }
        Ok(())
    }
}

fn text<'a>(field: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes)
        .map_err(|error| Error::Value { field: field.into(), why: error.to_string().into() })
}

/// The bytes that go before an object of `length` bytes.
pub(super) fn head(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + api_version.len() + kind.len() + length);
    out.extend_from_slice(&MAGIC);
    let meta = wire::open(&mut out, 1);
    wire::put_bytes(&mut out, 1, api_version.as_bytes());
    wire::put_bytes(&mut out, 2, kind.as_bytes());
    wire::close(&mut out, meta);
    wire::put_key(&mut out, 2, BYTES);
    wire::put_varint(&mut out, length as u64);
    out
}
