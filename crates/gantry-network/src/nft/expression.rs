//! Rules as the kernel's expressions: loads into registers, comparisons, look-ups, actions.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::model::*;
use crate::{
    netlink::{message::Attributes, route::octets},
    protocol::Protocol,
};

const ELEMENT: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;
const VERDICT: u16 = 2;

/// The register that holds the verdict.
const VERDICT_REGISTER: u32 = 0;
/// The first of the registers of four bytes; a value takes as many as it needs.
const FIRST: u32 = 8;

const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const META_MARK: u32 = 3;
const META_IIF: u32 = 4;
/// The loopback interface's index in every network namespace.
const LOOPBACK: u32 = 1;
const META_L4PROTO: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const FIB_ADDRESS_TYPE: u32 = 3;
const FIB_SOURCE: u32 = 1;
const FIB_DESTINATION: u32 = 2;
const ROUTE_LOCAL: u32 = 2;
const STATE_INVALID: u32 = 1;
const FULLY_RANDOM: u32 = 16;

/// Writes the expressions of a rule.
pub fn write(rule: &Rule, family: Family, to: &mut Attributes<'_>) {
    let mut writer = Writer { family, to };
    for condition in &rule.matches {
        writer.condition(condition);
    }
    for action in &rule.actions {
        writer.action(action);
    }
}

/// Writes a verdict as the data of an expression or element.
pub fn verdict(verdict: &Verdict, to: &mut Attributes<'_>) {
    const CODE: u16 = 1;
    const CHAIN: u16 = 2;
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    to.nest(VERDICT, |a| {
        a.network(CODE, code as u32);
        if let Some(chain) = chain {
            a.text(CHAIN, chain);
        }
    });
}

/// The bytes of a part of a key or of data, filled up to whole registers.
pub fn value(value: &Value) -> Vec<u8> {
    match value {
        Value::Address(address) => octets(*address),
        Value::Protocol(protocol) => vec![protocol.number(), 0, 0, 0],
        Value::Port(port) => [port.to_be_bytes(), [0; 2]].concat(),
        Value::Number(number) => number.to_ne_bytes().to_vec(),
    }
}

/// The bytes of a destination in a map.
pub fn destination(to: SocketAddr) -> Vec<u8> {
    [value(&Value::Address(to.ip())), value(&Value::Port(to.port()))].concat()
}

struct Writer<'a, 'b> {
    family: Family,
    to: &'a mut Attributes<'b>,
}

impl Writer<'_, '_> {
    fn expression(&mut self, name: &str, inner: impl FnOnce(&mut Attributes<'_>)) {
        self.to.nest(ELEMENT, |a| {
            a.text(NAME, name);
            a.nest(DATA, inner);
        });
    }

    fn condition(&mut self, condition: &Match) {
        match condition {
            Match::Source(net) => self.net(Field::Source, *net, EQUAL),
            Match::NotSource(net) => self.net(Field::Source, *net, NOT_EQUAL),
            Match::Destination(net) => self.net(Field::Destination, *net, EQUAL),
            Match::NotDestination(net) => self.net(Field::Destination, *net, NOT_EQUAL),
            Match::SourceLocal => self.local(FIB_SOURCE),
            Match::DestinationLocal => self.local(FIB_DESTINATION),
            Match::NotLoopback => {
                self.meta(META_IIF, FIRST);
                self.compare(NOT_EQUAL, &LOOPBACK.to_ne_bytes());
            }
            Match::Protocol(protocol) => self.protocol(*protocol),
            Match::Invalid => self.state(STATE_INVALID),
            Match::Marked => {
                self.meta(META_MARK, FIRST);
                self.bits(MASQUERADE_MARK, 0);
                self.compare(NOT_EQUAL, &0u32.to_ne_bytes());
            }
            Match::OneIn(count) => {
                self.random(*count, FIRST);
                self.compare(EQUAL, &0u32.to_ne_bytes());
            }
            Match::In(fields, set) => {
                self.fields(fields);
                self.look_up(set, None);
            }
        }
    }

    fn action(&mut self, action: &Action) {
        match action {
            Action::Verdict(to) => self.immediate(VERDICT_REGISTER, |a| verdict(to, a)),
            Action::VerdictOf(fields, map) => {
                self.fields(fields);
                self.look_up(map, Some(VERDICT_REGISTER));
            }
            Action::Translate(to) => {
                let bytes = destination(*to);
                let (address, port) = bytes.split_at(self.address_length() as usize);
                self.immediate(FIRST, |a| a.bytes(VALUE, address));
                let register = self.port_register();
                self.immediate(register, |a| a.bytes(VALUE, &port[..2]));
                self.translate();
            }
            Action::TranslateOneOf(key, count, map) => {
                let mut register = FIRST;
                for part in key {
                    let bytes = value(part);
                    self.immediate(register, |a| a.bytes(VALUE, &bytes));
                    register += bytes.len() as u32 / 4;
                }
                self.random(*count, register);
                self.look_up(map, Some(FIRST));
                self.translate();
            }
            Action::TranslateTo(fields, map) => {
                self.fields(fields);
                self.look_up(map, Some(FIRST));
                self.translate();
            }
            Action::Mark => self.set_mark(!MASQUERADE_MARK, MASQUERADE_MARK),
            Action::Unmark => self.set_mark(!MASQUERADE_MARK, 0),
            Action::Masquerade => self.expression("masq", |a| a.network(1, FULLY_RANDOM)),
            Action::Reset => self.reject(1, 0),
            Action::Unreachable => {
                let code = if self.family == Family::Ipv4 { 3 } else { 4 };
                self.reject(0, code);
            }
            Action::Remember(set, seconds) => self.remember(set, *seconds),
        }
    }

    fn address_length(&self) -> u32 {
        if self.family == Family::Ipv4 { 4 } else { 16 }
    }

    fn port_register(&self) -> u32 {
        FIRST + self.address_length() / 4
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) {
        self.expression("payload", |a| {
            a.network(1, register);
            a.network(2, base);
            a.network(3, offset);
            a.network(4, length);
        });
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |a| {
            a.network(1, register);
            a.network(2, key);
        });
    }

    /// Loads fields one behind the other.
    fn fields(&mut self, fields: &[Field]) {
        let mut register = FIRST;
        for field in fields {
            register += self.field(*field, register);
        }
    }

    /// Loads a field; returns how many registers it takes.
    fn field(&mut self, field: Field, register: u32) -> u32 {
        let length = self.address_length();
        let (source, destination) = if self.family == Family::Ipv4 { (12, 16) } else { (8, 24) };
        match field {
            Field::Source => self.payload(NETWORK_HEADER, source, length, register),
            Field::Destination => self.payload(NETWORK_HEADER, destination, length, register),
            Field::Protocol => self.meta(META_L4PROTO, register),
            Field::Port => self.payload(TRANSPORT_HEADER, 2, 2, register),
        }
        if matches!(field, Field::Source | Field::Destination) { length / 4 } else { 1 }
    }

    fn net(&mut self, field: Field, net: IpNet, operation: u32) {
        self.field(field, FIRST);
        let (mask, address) = (octets(net.netmask()), octets(net.network()));
        if net.prefix_len() < net.max_prefix_len() {
            let zero = vec![0; mask.len()];
            self.bitwise(&mask, &zero);
        }
        self.compare(operation, &address);
    }

    fn local(&mut self, of: u32) {
        self.expression("fib", |a| {
            a.network(1, FIRST);
            a.network(2, FIB_ADDRESS_TYPE);
            a.network(3, of);
        });
        self.compare(EQUAL, &ROUTE_LOCAL.to_ne_bytes());
    }

    fn protocol(&mut self, protocol: Protocol) {
        self.meta(META_L4PROTO, FIRST);
        self.compare(EQUAL, &[protocol.number()]);
    }

    fn state(&mut self, state: u32) {
        self.expression("ct", |a| {
            a.network(1, FIRST);
            a.network(2, 0);
        });
        self.bits(state, 0);
        self.compare(NOT_EQUAL, &0u32.to_ne_bytes());
    }

    fn set_mark(&mut self, mask: u32, or: u32) {
        self.meta(META_MARK, FIRST);
        self.bits(mask, or);
        self.expression("meta", |a| {
            a.network(2, META_MARK);
            a.network(3, FIRST);
        });
    }

    fn bits(&mut self, mask: u32, xor: u32) {
        self.bitwise(&mask.to_ne_bytes(), &xor.to_ne_bytes());
    }

    fn bitwise(&mut self, mask: &[u8], xor: &[u8]) {
        self.expression("bitwise", |a| {
            a.network(1, FIRST);
            a.network(2, FIRST);
            a.network(3, mask.len() as u32);
            a.nest(4, |a| a.bytes(VALUE, mask));
            a.nest(5, |a| a.bytes(VALUE, xor));
        });
    }

    fn compare(&mut self, operation: u32, with: &[u8]) {
        self.expression("cmp", |a| {
            a.network(1, FIRST);
            a.network(2, operation);
            a.nest(3, |a| a.bytes(VALUE, with));
        });
    }

    fn immediate(&mut self, register: u32, data: impl FnOnce(&mut Attributes<'_>)) {
        self.expression("immediate", |a| {
            a.network(1, register);
            a.nest(2, data);
        });
    }

    fn look_up(&mut self, set: &str, result: Option<u32>) {
        self.expression("lookup", |a| {
            a.text(1, set);
            a.network(2, FIRST);
            if let Some(register) = result {
                a.network(3, register);
            }
        });
    }

    fn random(&mut self, among: u32, register: u32) {
        const RANDOM: u32 = 1;
        self.expression("numgen", |a| {
            a.network(1, register);
            a.network(2, among);
            a.network(3, RANDOM);
            a.network(4, 0);
        });
    }

    fn translate(&mut self) {
        const DESTINATION: u32 = 1;
        let family = family_number(self.family);
        let port = self.port_register();
        self.expression("nat", |a| {
            a.network(1, DESTINATION);
            a.network(2, u32::from(family));
            a.network(3, FIRST);
            a.network(5, port);
        });
    }

    fn reject(&mut self, kind: u32, code: u8) {
        self.expression("reject", |a| {
            a.network(1, kind);
            a.bytes(2, &[code]);
        });
    }

    fn remember(&mut self, set: &str, seconds: u32) {
        const UPDATE: u32 = 1;
        self.field(Field::Source, FIRST);
        self.expression("dynset", |a| {
            a.text(1, set);
            a.network(3, UPDATE);
            a.network(4, FIRST);
            a.bytes(6, &(u64::from(seconds) * 1000).to_be_bytes());
        });
    }
}

/// The kernel's number for a family.
pub fn family_number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    }
}

/// How many bytes an address of the family has.
pub fn address_length(family: Family) -> u32 {
    octets(match family {
        Family::Ipv4 => IpAddr::from([0; 4]),
        Family::Ipv6 => IpAddr::from([0; 16]),
    })
    .len() as u32
}
