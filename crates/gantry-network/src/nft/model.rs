//! What a table of rules consists of.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::protocol::Protocol;

/// The bit of a packet's mark that asks for masquerading; other bits are left alone.
pub const MASQUERADE_MARK: u32 = 0x4000;

/// Which packets a table is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

/// The contents of a table, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// Sets and maps by name.
    pub sets: BTreeMap<String, Set>,
    /// Elements of sets and maps. Those of dynamic sets are the kernel's own.
    pub elements: BTreeMap<ElementKey, Data>,
}

/// A place in a set or map.
pub type ElementKey = (String, Vec<Value>);

/// A list of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Where packets enter; `None` if only other chains lead here. Never changes.
    pub hook: Option<Hook>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Where packets enter a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Whether it sees new connections only and may translate addresses.
    pub translates: bool,
    /// The place on a packet's way.
    pub point: Point,
    /// Lower ones come first.
    pub priority: i32,
}

/// A place on a packet's way, with the kernel's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Before it is known where a packet goes.
    Prerouting = 0,
    /// On the way through.
    Forward = 2,
    /// Made by this machine.
    Output = 3,
    /// On the way out.
    Postrouting = 4,
}

/// What is done with packets that match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them must hold.
    pub matches: Vec<Match>,
    /// Done in this order.
    pub actions: Vec<Action>,
}

impl Rule {
    /// A rule with one action.
    pub fn new(matches: impl Into<Vec<Match>>, action: Action) -> Self {
        Self { matches: matches.into(), actions: vec![action] }
    }
}

/// A condition on a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It comes from there.
    Source(IpNet),
    /// It does not come from there.
    NotSource(IpNet),
    /// It goes there.
    Destination(IpNet),
    /// It does not go there.
    NotDestination(IpNet),
    /// It comes from an address of this machine.
    SourceLocal,
    /// It goes to an address of this machine.
    DestinationLocal,
    /// It came in by another interface than the loopback interface.
    NotLoopback,
    /// It is of this protocol.
    Protocol(Protocol),
    /// It belongs to no connection that makes sense.
    Invalid,
    /// It carries [`MASQUERADE_MARK`].
    Marked,
    /// What these fields say is in the set.
    In(Vec<Field>, String),
    /// It is one of so many, at random.
    OneIn(u32),
}

/// Something done with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The way it goes on.
    Verdict(Verdict),
    /// The way a map says for these fields; nothing if the map does not know them.
    VerdictOf(Vec<Field>, String),
    /// To this destination.
    Translate(SocketAddr),
    /// To the destination a map says for this key with one of so many numbers behind it, at random;
    /// nothing if the map does not know them.
    TranslateOneOf(Vec<Value>, u32, String),
    /// To the destination a map says for these fields; nothing if the map does not know them.
    TranslateTo(Vec<Field>, String),
    /// Gets [`MASQUERADE_MARK`].
    Mark,
    /// Loses [`MASQUERADE_MARK`].
    Unmark,
    /// From this machine's address, with a port chosen at random.
    Masquerade,
    /// Answered with a TCP reset.
    Reset,
    /// Answered with ICMP's port unreachable.
    Unreachable,
    /// Its source is in this dynamic set for so many seconds from now.
    Remember(String, u32),
}

/// The way of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// On in a chain, not coming back.
    Goto(String),
    /// No further.
    Drop,
    /// Back to the chain that led here.
    Return,
}

/// A field of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Address it comes from.
    Source,
    /// Address it goes to.
    Destination,
    /// Its transport protocol.
    Protocol,
    /// Port it goes to.
    Port,
}

/// A named set, or a map if there is data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What the keys consist of.
    pub key: Vec<Type>,
    /// What is stored with each key.
    pub data: Option<DataType>,
    /// Whether rules add elements, which end after some time.
    pub dynamic: bool,
}

/// Type of a part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// An address of the table's family.
    Address,
    /// A transport protocol.
    Protocol,
    /// A port.
    Port,
    /// A number.
    Number,
}

/// Type of what is stored with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// A verdict.
    Verdict,
    /// An address and a port.
    Destination,
}

/// A part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An address.
    Address(IpAddr),
    /// A transport protocol.
    Protocol(Protocol),
    /// A port.
    Port(u16),
    /// A number.
    Number(u32),
}

/// What is stored with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing: the key is in a set.
    None,
    /// A verdict.
    Verdict(Verdict),
    /// An address and a port.
    Destination(SocketAddr),
}

impl Ruleset {
    /// Adds a chain that other chains lead to.
    pub fn chain(&mut self, name: impl Into<String>, rules: Vec<Rule>) {
        self.chains.insert(name.into(), Chain { hook: None, rules });
    }

    /// Adds an element.
    pub fn element(&mut self, set: &str, key: impl Into<Vec<Value>>, data: Data) {
        self.elements.insert((set.to_owned(), key.into()), data);
    }
}
