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

/// A message that is being written, whose length is known at its end.
pub(super) struct Open {
    start: usize,
    /// How many bytes its length has for now.
    room: usize,
}

/// Begins a message in the field `number`, of less than 128 bytes mostly.
pub(super) fn open(out: &mut Vec<u8>, number: u32) -> Open {
    put_key(out, number, BYTES);
    out.push(0);
    Open { start: out.len(), room: 1 }
}

/// Begins a message in the field `number`, of less than 16 KiB and more than 128 bytes mostly.
pub(super) fn open_long(out: &mut Vec<u8>, number: u32) -> Open {
    put_key(out, number, BYTES);
    out.extend_from_slice(&[0; 2]);
    Open { start: out.len(), room: 2 }
}

/// Ends a message: its length goes before it.
pub(super) fn close(out: &mut Vec<u8>, open: Open) {
    let Open { start, room } = open;
    let length = out.len() - start;
    let needed = varint_len(length as u64);
    let first = start - room;
    if needed > room {
        out.resize(out.len() + needed - room, 0);
    }
    if needed != room {
        out.copy_within(start..start + length, first + needed);
        out.truncate(first + needed + length);
    }
    let mut rest = length;
    for byte in &mut out[first..first + needed - 1] {
        *byte = rest as u8 | 0x80;
        rest >>= 7;
    }
    out[first + needed - 1] = rest as u8;
}

/// How many bytes a number takes.
pub(super) fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// How many bytes a field of that many bytes takes.
pub(super) fn field_len(number: u32, length: usize) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(length as u64) + length
}
