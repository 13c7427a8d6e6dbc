//! Values as text, by the shortest way: into memory, without a serializer between.
//!
//! Guarantee: the same bytes as serde_json writes.

use std::fmt;

use crate::{Map, Number, Value};

/// The bytes of text that are looked at together.
const WORD: usize = size_of::<u64>();
const LOW: u64 = u64::from_ne_bytes([0x01; WORD]);
const HIGH: u64 = u64::from_ne_bytes([0x80; WORD]);

/// Appends `text` with its quotes, escaped as JSON has it.
// Not inlined: whoever writes many texts would be mostly copies of this, and wait for them from the next cache.
#[inline(never)]
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut rest = bytes;
    while let Some(at) = special(rest) {
        out.extend_from_slice(&rest[..at]);
        escape(out, rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Where the first byte is that cannot stand for itself.
fn special(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<WORD>();
    let found = |at: usize, word: [u8; WORD]| {
        let found = specials(u64::from_le_bytes(word));
        (found != 0).then(|| at + found.trailing_zeros() as usize / 8)
    };
    for (at, word) in words.iter().enumerate() {
        if let Some(at) = found(at * WORD, *word) {
            return Some(at);
        }
    }
    match bytes.last_chunk::<WORD>() {
        // Nothing is in those of its bytes that were looked at already.
        Some(last) if !rest.is_empty() => found(bytes.len() - WORD, *last),
        Some(_) => None,
        None => rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)),
    }
}

/// The high bit of each byte that is a quote, a backslash or below a space. A carry may set it for a byte
/// after the first of them as well, so that only the lowest counts.
fn specials(word: u64) -> u64 {
    let zero = |word: u64| word.wrapping_sub(LOW) & !word;
    let control = word.wrapping_sub(LOW * 0x20) & !word;
    (control | zero(word ^ (LOW * u64::from(b'"'))) | zero(word ^ (LOW * u64::from(b'\\')))) & HIGH
}

fn escape(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        b'"' | b'\\' => byte,
        _ => {
            let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

impl Value {
    /// Appends the value's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(number) => write_number(out, number),
            Self::String(text) => write_text(out, text),
            Self::Array(list) => {
                out.push(b'[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    value.write(out);
                }
                out.push(b']');
            }
            Self::Object(map) => map.write(out),
        }
    }

    /// The value's text.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.write(&mut out);
        out
    }
}

impl Map {
    /// Appends the object's text.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (key, value)) in self.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_text(out, key);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }
}

fn write_number(out: &mut Vec<u8>, number: &Number) {
    // What is written into memory does not fail.
    let _ = serde_json::to_writer(out, number);
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(&serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?);
        }
        f.write_str(&String::from_utf8(self.to_vec()).map_err(|_| fmt::Error)?)
    }
}
