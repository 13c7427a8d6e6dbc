//! Protobuf's wire format: keys, varints, length-prefixed bytes.

use super::Error;

/// A number in up to ten bytes.
pub(crate) const VARINT: u8 = 0;
/// Eight bytes.
pub(crate) const FIXED64: u8 = 1;
/// A length and as many bytes.
pub(crate) const BYTES: u8 = 2;
/// The start of a group, which older writers know.
const GROUP: u8 = 3;
/// The end of a group.
const GROUP_END: u8 = 4;
/// Four bytes.
const FIXED32: u8 = 5;

/// Groups may stand in each other this deep.
const GROUPS: usize = 32;

/// Reads a message's fields.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field's number and wire type; `None` at the end.
    pub fn key(&mut self) -> Result<Option<(u32, u8)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let (number, wire) = (key >> 3, (key & 7) as u8);
        match u32::try_from(number) {
            Ok(number) if number > 0 && wire <= FIXED32 && wire != GROUP_END => Ok(Some((number, wire))),
            _ => Err(Error::Tag { number, wire }),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for (at, byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                if at == 9 && *byte > 1 {
                    return Err(Error::Overflow);
                }
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { Error::Truncated } else { Error::Overflow })
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.varint()?).map_err(|_| Error::Truncated)?;
        self.take(length)
    }

    pub fn fixed64(&mut self) -> Result<u64, Error> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Passes over a field that is not known.
    pub fn skip(&mut self, wire: u8) -> Result<(), Error> {
        self.skip_within(wire, 0)
    }

    fn skip_within(&mut self, wire: u8, depth: usize) -> Result<(), Error> {
        match wire {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            BYTES => self.bytes().map(drop),
            GROUP if depth == GROUPS => Err(Error::TooDeep),
            GROUP => loop {
                let key = self.varint()?;
                match (key & 7) as u8 {
                    GROUP_END => return Ok(()),
                    wire => self.skip_within(wire, depth + 1)?,
                }
            },
            FIXED32 => self.take(4).map(drop),
            _ => Err(Error::Tag { number: 0, wire }),
        }
    }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_key(out: &mut Vec<u8>, number: u32, wire: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire));
}

/// A field of bytes or text.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_key(out, number, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A field of a number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: u64) {
    put_key(out, number, VARINT);
    put_varint(out, value);
}

/// Begins a message in the field `number`. What [`close`] needs to end it.
pub(super) fn open(out: &mut Vec<u8>, number: u32) -> usize {
    put_key(out, number, BYTES);
    out.push(0);
    out.len()
}

/// Ends a message: its length goes before it.
pub(super) fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[start - 1] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    put_varint(&mut prefix, length as u64);
    out.splice(start - 1..start, prefix);
}
