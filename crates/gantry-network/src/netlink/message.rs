//! Encoding of netlink messages and attributes, and reading of attributes.

const HEADER: usize = 16;
const NESTED: u16 = 0x8000;

/// The answer to a request was asked for (`NLM_F_ACK`).
pub const ACK: u16 = 0x4;
/// Marks a request (`NLM_F_REQUEST`); set on every message.
pub const REQUEST: u16 = 0x1;
/// Everything there is (`NLM_F_DUMP`).
pub const DUMP: u16 = 0x300;
/// Made if it is not there (`NLM_F_CREATE`).
pub const CREATE: u16 = 0x400;
/// An error if it is there (`NLM_F_EXCL`).
pub const EXCLUSIVE: u16 = 0x200;
/// Replaces what is there (`NLM_F_REPLACE`).
pub const REPLACE: u16 = 0x100;
/// Put behind what is there (`NLM_F_APPEND`).
pub const APPEND: u16 = 0x800;

/// Messages, one after the other, as one send takes them.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    sequence: u32,
    start_of_last: usize,
    awaited: Option<u32>,
}

impl Messages {
    /// Appends a message; `fixed` is the family's fixed header, `attributes` adds what follows.
    pub fn push(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.sequence += 1;
        self.start_of_last = start;
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        attributes(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Asks for an answer to the last message so far, to be the one that is waited for.
    pub fn acknowledge_last(&mut self) {
        if let Some(flags) = self.bytes.get_mut(self.start_of_last + 6) {
            *flags |= ACK as u8;
            self.awaited = Some(self.sequence);
        }
    }

    /// Sequence number of the message whose answer is the last one.
    pub fn awaited(&self) -> u32 {
        self.awaited.unwrap_or(self.sequence)
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Writes attributes to the end of a message.
pub struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// An attribute with these bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = (4 + value.len()) as u16;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        pad(self.0);
    }

    /// Attributes in an attribute.
    pub fn nest(&mut self, kind: u16, inner: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        inner(&mut Attributes(self.0));
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0[start + 2..start + 4].copy_from_slice(&(kind | NESTED).to_ne_bytes());
    }

    /// Bytes without an attribute header: the fixed header of a nested message.
    pub fn raw(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
        pad(self.0);
    }

    /// A string that ends with a zero byte.
    pub fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// A number in the host's order, as routing takes it.
    pub fn native(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in network order, as netfilter takes it.
    pub fn network(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }
}

/// The attributes in `bytes`, each as its kind and its value; what is malformed ends the list.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of this kind.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// A message read from a socket.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its kind.
    pub kind: u16,
    /// What it answers.
    pub sequence: u32,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The messages in what one receive returned.
pub fn received(bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(rest.get(8..12)?.try_into().ok()?);
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Received { kind, sequence, body })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_attributes_are_read_back() {
        let mut messages = Messages::default();
        messages.push(16, ACK, &[1, 2, 3, 4], |a| {
            a.text(1, "eth0");
            a.nest(2, |a| {
                a.network(3, 7);
                a.native(4, 8);
            });
        });
        messages.push(17, 0, &[], |_| {});
        let all: Vec<_> = received(messages.bytes()).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].sequence, &all[0].body[..4]), (16, 1, &[1u8, 2, 3, 4][..]));
        let inside = &all[0].body[4..];
        assert_eq!(attribute(inside, 1), Some(&b"eth0\0"[..]));
        let nested: Vec<_> = attributes(attribute(inside, 2).unwrap()).collect();
        assert_eq!(nested, [(3, &7u32.to_be_bytes()[..]), (4, &8u32.to_ne_bytes()[..])]);
        assert_eq!(all[1], Received { kind: 17, sequence: 2, body: &[] });
    }

    #[test]
    fn malformed_attributes_end_the_list() {
        assert_eq!(attributes(&[9, 0, 1, 0, 1]).count(), 0);
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[]).count(), 0);
    }
}
