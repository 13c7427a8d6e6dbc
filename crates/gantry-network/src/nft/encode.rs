//! Changes as one batch of netlink messages, which the kernel takes as a whole or not at all.

use std::io;

use super::{
    diff::Change,
    expression::{self, address_length},
    model::*,
};
use crate::netlink::{
    Socket,
    message::{APPEND, Attributes, CREATE, EXCLUSIVE, Messages, attribute},
};

pub use super::expression::family_number;

/// Name of our table in each family.
pub const TABLE: &str = "gantry";

const SUBSYSTEM: u16 = 10;
const BEGIN: u16 = 16;
const END: u16 = 17;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DELETE_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;

const SET_MAP: u32 = 0x8;
const SET_TIMEOUT: u32 = 0x10;
const SET_EVALUATED: u32 = 0x20;

const TYPE_VERDICT: u32 = 0xffff_ff00;
const TYPE_BITS: u32 = 6;

/// Elements in one message, which may have 64 KiB.
const CHUNK: usize = 256;
/// How many clients a Service can remember.
const REMEMBERED: u32 = 65_536;

/// Whether a message from the kernel says that one of our tables was deleted.
pub fn is_deleted_table(kind: u16, body: &[u8]) -> bool {
    let name = body.get(4..).and_then(|rest| attribute(rest, 1));
    kind == (SUBSYSTEM << 8) | DELETE_TABLE
        && name.and_then(|name| name.strip_suffix(b"\0")) == Some(TABLE.as_bytes())
}

/// Whether the kernel has our table.
pub fn has_table(socket: &Socket, family: Family) -> io::Result<bool> {
    const GET_TABLE: u16 = 1;
    let asked = socket.ask((SUBSYSTEM << 8) | GET_TABLE, 0, &header(family), |a| a.text(1, TABLE), |_| {});
    match asked {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        other => other.map(|()| true),
    }
}

/// A batch being written.
pub struct Batch {
    messages: Messages,
    last_set: u32,
}

impl Default for Batch {
    fn default() -> Self {
        let mut messages = Messages::default();
        messages.push(BEGIN, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| {});
        Self { messages, last_set: 0 }
    }
}

impl Batch {
    /// Removes our table, whether there is one or not.
    pub fn delete_table(&mut self, family: Family) {
        self.push(family, NEW_TABLE, CREATE, |a| a.text(1, TABLE));
        self.push(family, DELETE_TABLE, 0, |a| a.text(1, TABLE));
    }

    /// Makes our table, which is not there.
    pub fn add_table(&mut self, family: Family) {
        self.push(family, NEW_TABLE, CREATE | EXCLUSIVE, |a| a.text(1, TABLE));
    }

    /// Changes our table.
    pub fn change(&mut self, family: Family, changes: &[Change]) {
        let mut rest = changes;
        while let Some(change) = rest.first() {
            let mut taken = 1;
            match change {
                Change::AddChain(name, hook) => self.add_chain(family, name, *hook),
                Change::DeleteChain(name) => self.named(family, DELETE_CHAIN, 3, name),
                Change::Flush(name) => self.named(family, DELETE_RULE, 2, name),
                Change::AddRule(chain, rule) => self.add_rule(family, chain, rule),
                Change::AddSet(name, set) => self.add_set(family, name, set),
                Change::DeleteSet(name) => self.named(family, DELETE_SET, 2, name),
                Change::AddElement((set, _), _) => {
                    taken = self.elements(family, NEW_ELEMENT, set, rest, |change| match change {
                        Change::AddElement(key, data) => Some((key, data)),
                        _ => None,
                    });
                }
                Change::DeleteElement((set, _), _) => {
                    taken = self.elements(family, DELETE_ELEMENT, set, rest, |change| match change {
                        Change::DeleteElement(key, data) => Some((key, data)),
                        _ => None,
                    });
                }
            }
            rest = &rest[taken..];
        }
    }

    /// The batch, ready to be sent.
    pub fn finish(mut self) -> Messages {
        self.messages.acknowledge_last();
        self.messages.push(END, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| {});
        self.messages
    }

    fn push(&mut self, family: Family, kind: u16, flags: u16, attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.messages.push((SUBSYSTEM << 8) | kind, flags, &header(family), attributes);
    }

    fn named(&mut self, family: Family, kind: u16, attribute: u16, name: &str) {
        self.push(family, kind, 0, |a| {
            a.text(1, TABLE);
            a.text(attribute, name);
        });
    }

    fn add_chain(&mut self, family: Family, name: &str, hook: Option<Hook>) {
        const HOOK: u16 = 4;
        const KIND: u16 = 7;
        self.push(family, NEW_CHAIN, CREATE | EXCLUSIVE, |a| {
            a.text(1, TABLE);
            a.text(3, name);
            if let Some(hook) = hook {
                a.nest(HOOK, |a| {
                    a.network(1, hook.point as u32);
                    a.network(2, hook.priority as u32);
                });
                a.text(KIND, if hook.translates { "nat" } else { "filter" });
            }
        });
    }

    fn add_rule(&mut self, family: Family, chain: &str, rule: &Rule) {
        self.push(family, NEW_RULE, CREATE | APPEND, |a| {
            a.text(1, TABLE);
            a.text(2, chain);
            a.nest(4, |a| expression::write(rule, family, a));
        });
    }

    fn add_set(&mut self, family: Family, name: &str, set: &Set) {
        const DESCRIPTION: u16 = 9;
        let words = |length: u32| length.next_multiple_of(4);
        let (mut kind, mut length) = (0, 0);
        for part in &set.key {
            let (part, bytes) = type_of(*part, family);
            kind = (kind << TYPE_BITS) | part;
            length = words(length) + bytes;
        }
        if set.key.len() > 1 {
            length = words(length);
        }
        let mut flags = 0;
        if set.data.is_some() {
            flags |= SET_MAP;
        }
        if set.dynamic {
            flags |= SET_TIMEOUT | SET_EVALUATED;
        }
        self.last_set += 1;
        let id = self.last_set;
        self.push(family, NEW_SET, CREATE | EXCLUSIVE, |a| {
            a.text(1, TABLE);
            a.text(2, name);
            a.network(3, flags);
            a.network(4, kind);
            a.network(5, length);
            match set.data {
                Some(DataType::Verdict) => {
                    a.network(6, TYPE_VERDICT);
                    a.network(7, 0);
                }
                Some(DataType::Destination) => {
                    let (address, bytes) = type_of(Type::Address, family);
                    a.network(6, (address << TYPE_BITS) | type_of(Type::Port, family).0);
                    a.network(7, bytes + 4);
                }
                None => {}
            }
            if set.dynamic {
                a.nest(DESCRIPTION, |a| a.network(1, REMEMBERED));
            }
            a.network(10, id);
        });
    }

    /// Writes the elements at the start of `changes` that go into the same set; returns how many.
    fn elements<'a>(
        &mut self,
        family: Family,
        kind: u16,
        set: &str,
        changes: &'a [Change],
        pick: impl Fn(&'a Change) -> Option<(&'a ElementKey, &'a Data)>,
    ) -> usize {
        let same = changes.iter().map_while(pick).take_while(|(key, _)| key.0 == set).take(CHUNK);
        let same: Vec<_> = same.collect();
        let adding = kind == NEW_ELEMENT;
        self.push(family, kind, if adding { CREATE | EXCLUSIVE } else { 0 }, |a| {
            a.text(1, TABLE);
            a.text(2, set);
            a.nest(3, |a| {
                for (key, data) in &same {
                    element(a, &key_bytes(&key.1), data, adding);
                }
            });
        });
        same.len()
    }
}

fn key_bytes(key: &[Value]) -> Vec<u8> {
    let bytes: Vec<u8> = key.iter().flat_map(expression::value).collect();
    match key {
        // Only keys of several parts are filled up.
        [Value::Protocol(_)] => bytes[..1].to_vec(),
        [Value::Port(_)] => bytes[..2].to_vec(),
        _ => bytes,
    }
}

fn element(a: &mut Attributes<'_>, key: &[u8], data: &Data, with_data: bool) {
    const ELEMENT: u16 = 1;
    const KEY: u16 = 1;
    const DATA: u16 = 2;
    const VALUE: u16 = 1;
    a.nest(ELEMENT, |a| {
        a.nest(KEY, |a| a.bytes(VALUE, key));
        match data {
            _ if !with_data => {}
            Data::None => {}
            Data::Verdict(verdict) => a.nest(DATA, |a| expression::verdict(verdict, a)),
            Data::Destination(to) => a.nest(DATA, |a| a.bytes(VALUE, &expression::destination(*to))),
        }
    });
}

/// The number by which the `nft` program knows a type, and how many bytes it has.
fn type_of(kind: Type, family: Family) -> (u32, u32) {
    match (kind, family) {
        (Type::Address, Family::Ipv4) => (7, address_length(family)),
        (Type::Address, Family::Ipv6) => (8, address_length(family)),
        (Type::Protocol, _) => (12, 1),
        (Type::Port, _) => (13, 2),
        (Type::Number, _) => (19, 4),
    }
}

fn header(family: Family) -> [u8; 4] {
    [family_number(family), 0, 0, 0]
}
