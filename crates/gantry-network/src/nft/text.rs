//! Rules as text, much as `nft list` prints them: for tests and logs.

use std::fmt::{self, Display, Formatter};

use super::model::*;

struct List<'a, T>(&'a [T], &'a str);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, item) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { self.1 };
            write!(f, "{between}{item}")?;
        }
        Ok(())
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "saddr",
            Self::Destination => "daddr",
            Self::Protocol => "l4proto",
            Self::Port => "dport",
        })
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Protocol(protocol) => protocol.fmt(f),
            Self::Port(port) => port.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
        }
    }
}

impl Display for Match {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(net) => write!(f, "saddr {net}"),
            Self::NotSource(net) => write!(f, "saddr != {net}"),
            Self::Destination(net) => write!(f, "daddr {net}"),
            Self::NotDestination(net) => write!(f, "daddr != {net}"),
            Self::SourceLocal => f.write_str("fib saddr type local"),
            Self::DestinationLocal => f.write_str("fib daddr type local"),
            Self::NotLoopback => f.write_str("iif != lo"),
            Self::Protocol(protocol) => write!(f, "l4proto {protocol}"),
            Self::Invalid => f.write_str("ct state invalid"),
            Self::Marked => f.write_str("marked"),
            Self::OneIn(count) => write!(f, "one in {count}"),
            Self::In(fields, set) => write!(f, "{} @{set}", List(fields, " . ")),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(verdict) => verdict.fmt(f),
            Self::VerdictOf(fields, map) => write!(f, "{} vmap @{map}", List(fields, " . ")),
            Self::Translate(to) => write!(f, "dnat to {to}"),
            Self::TranslateOneOf(key, count, map) => {
                write!(f, "dnat to {} . random {count} map @{map}", List(key, " . "))
            }
            Self::TranslateTo(fields, map) => write!(f, "dnat to {} map @{map}", List(fields, " . ")),
            Self::Mark => f.write_str("mark"),
            Self::Unmark => f.write_str("unmark"),
            Self::Masquerade => f.write_str("masquerade"),
            Self::Reset => f.write_str("reject with tcp reset"),
            Self::Unreachable => f.write_str("reject"),
            Self::Remember(set, seconds) => write!(f, "update @{set} {{ saddr timeout {seconds}s }}"),
        }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let between = if self.matches.is_empty() { "" } else { " " };
        write!(f, "{}{between}{}", List(&self.matches, " "), List(&self.actions, " "))
    }
}

impl Display for Data {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Verdict(verdict) => write!(f, " : {verdict}"),
            Self::Destination(to) => write!(f, " : {to}"),
        }
    }
}

impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, chain) in &self.chains {
            writeln!(f, "chain {name}")?;
            for rule in &chain.rules {
                writeln!(f, "  {rule}")?;
            }
        }
        for ((set, key), data) in &self.elements {
            writeln!(f, "@{set} {}{data}", List(key, " . "))?;
        }
        Ok(())
    }
}
