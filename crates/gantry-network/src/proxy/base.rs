//! The part of the table that all Services and pods share.
//!
//! A new connection is looked up by address, protocol and port, at prerouting if it comes from a pod or
//! from outside, at output if this machine makes it; that leads to a Service's chain. What goes to an
//! address of this machine is looked up among host ports and node ports instead. At postrouting it is
//! masqueraded where its answers would not come back otherwise: if a chain has asked for it, if a pod
//! talks to itself through a Service, and if a pod talks to somebody outside of the cluster.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Place;
use crate::{
    nft::{Action, Chain, DataType, Family, Field, Hook, Match, Point, Rule, Ruleset, Set, Type, Verdict},
    protocol::Protocol,
};

/// Map of addresses, protocols and ports of Services to verdicts.
pub const SERVICES: &str = "services";
/// Map of protocols and ports of all nodes to verdicts.
pub const NODE_PORTS: &str = "node-ports";
/// Map of protocols and ports of this host to destinations.
pub const HOST_PORTS: &str = "host-ports";
/// Map of addresses, protocols and ports of this host to destinations.
pub const HOST_ADDRESS_PORTS: &str = "host-address-ports";
/// Map of addresses, protocols and ports of Services, with a number, to endpoints.
pub const ENDPOINTS: &str = "endpoints";
/// The same for endpoints of this node only.
pub const LOCAL_ENDPOINTS: &str = "local-endpoints";
/// Set of the addresses of this node's pods, each twice: who talks to itself.
pub const HAIRPIN: &str = "hairpin";
/// Chain that answers that nobody listens.
pub const REJECT: &str = "reject";

const LOCAL_PORTS: &str = "local-ports";
const LOOPBACK_PORTS: &str = "loopback-ports";
const LEAVING: &str = "leaving";
const TRANSLATE_DESTINATION: i32 = -100;
const TRANSLATE_SOURCE: i32 = 100;
const FILTER: i32 = 0;
/// Before connection tracking knows of a packet.
const RAW: i32 = -300;

/// A rule that leads on to a chain.
pub fn goto(matches: impl Into<Vec<Match>>, chain: impl Into<String>) -> Rule {
    Rule::new(matches, Action::Verdict(Verdict::Goto(chain.into())))
}

/// The shared part for one family.
pub fn base(family: Family, place: &Place) -> Ruleset {
    let mut base = Ruleset::default();
    let address_port = vec![Type::Address, Type::Protocol, Type::Port];
    let port = vec![Type::Protocol, Type::Port];
    let numbered = [&address_port[..], &[Type::Number]].concat();
    for (name, key, data) in [
        (SERVICES, address_port.clone(), Some(DataType::Verdict)),
        (NODE_PORTS, port.clone(), Some(DataType::Verdict)),
        (HOST_PORTS, port, Some(DataType::Destination)),
        (HOST_ADDRESS_PORTS, address_port, Some(DataType::Destination)),
        (ENDPOINTS, numbered.clone(), Some(DataType::Destination)),
        (LOCAL_ENDPOINTS, numbered, Some(DataType::Destination)),
        (HAIRPIN, vec![Type::Address, Type::Address], None),
    ] {
        base.sets.insert(name.into(), Set { key, data, dynamic: false });
    }
    base.chain(
        REJECT,
        vec![Rule::new([Match::Protocol(Protocol::Tcp)], Action::Reset), Rule::new([], Action::Unreachable)],
    );
    base.chain(LOCAL_PORTS, local_ports());
    base.chain(LEAVING, leaving(family, place));
    let entry = entry(family, place);
    base.chains
        .insert("prerouting".into(), hooked(true, Point::Prerouting, TRANSLATE_DESTINATION, entry.clone()));
    let mut output = entry;
    if family == Family::Ipv4 {
        base.chain(LOOPBACK_PORTS, local_ports()[..2].to_vec());
        output.push(goto([Match::Destination(loopback(family))], LOOPBACK_PORTS));
        base.chains.insert("strangers".into(), hooked(false, Point::Prerouting, RAW, strangers(family)));
    }
    base.chains.insert("output".into(), hooked(true, Point::Output, TRANSLATE_DESTINATION, output));
    let masquerade = masquerade(family, place);
    base.chains.insert("postrouting".into(), hooked(true, Point::Postrouting, TRANSLATE_SOURCE, masquerade));
    let unknown = place.services(family).map(|net| goto([Match::Destination(net)], REJECT));
    let unknown: Vec<Rule> = own(family, place).chain(unknown).collect();
    // Packets that conntrack makes no sense of are not translated back: the other end would see a
    // stranger's packet and reset the connection.
    let nonsense = place
        .cluster(family)
        .map(|net| Rule::new([Match::Invalid, Match::Source(net)], Action::Verdict(Verdict::Drop)));
    let forward = nonsense.chain(unknown.clone()).collect();
    base.chains.insert("forward".into(), hooked(false, Point::Forward, FILTER, forward));
    base.chains.insert("filter-output".into(), hooked(false, Point::Output, FILTER, unknown));
    base
}

fn hooked(translates: bool, point: Point, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { hook: Some(Hook { translates, point, priority }), rules }
}

/// What goes to a ClusterIP that this node has itself, as that of the cluster's DNS, stays here.
fn own(family: Family, place: &Place) -> impl Iterator<Item = Rule> {
    let here = |net| [Match::Destination(net), Match::DestinationLocal];
    place.services(family).map(move |net| Rule::new(here(net), Action::Verdict(Verdict::Return)))
}

fn entry(family: Family, place: &Place) -> Vec<Rule> {
    let mut rules: Vec<Rule> = own(family, place).collect();
    // Whoever is not a pod may have an address that endpoints do not answer to through this node.
    rules.extend(place.services(family).map(|net| {
        let mut matches = vec![Match::Destination(net)];
        matches.extend(place.cluster(family).map(Match::NotSource));
        Rule::new(matches, Action::Mark)
    }));
    let fields = vec![Field::Destination, Field::Protocol, Field::Port];
    rules.push(Rule::new([], Action::VerdictOf(fields, SERVICES.into())));
    rules.push(goto([Match::DestinationLocal, Match::NotDestination(loopback(family))], LOCAL_PORTS));
    rules
}

fn local_ports() -> Vec<Rule> {
    let port = vec![Field::Protocol, Field::Port];
    let address_port = vec![Field::Destination, Field::Protocol, Field::Port];
    vec![
        Rule::new([], Action::TranslateTo(address_port, HOST_ADDRESS_PORTS.into())),
        Rule::new([], Action::TranslateTo(port.clone(), HOST_PORTS.into())),
        Rule::new([], Action::VerdictOf(port, NODE_PORTS.into())),
    ]
}

/// Pods with host ports answer to the loopback address, for which the kernel has to let such packets
/// through their interfaces: nobody else may use that.
fn strangers(family: Family) -> Vec<Rule> {
    let drop = |to: Match| Rule::new([Match::NotLoopback, to], Action::Verdict(Verdict::Drop));
    vec![drop(Match::Destination(loopback(family))), drop(Match::Source(loopback(family)))]
}

fn masquerade(family: Family, place: &Place) -> Vec<Rule> {
    // The mark would stay on a packet that is put into another one for the overlay.
    let marked = Rule { matches: vec![Match::Marked], actions: vec![Action::Unmark, Action::Masquerade] };
    let both = vec![Field::Source, Field::Destination];
    let itself = Rule::new([Match::In(both, HAIRPIN.into())], Action::Masquerade);
    // What this machine asks of a host port at its loopback address.
    let here = place
        .cluster(family)
        .filter(|_| family == Family::Ipv4)
        .map(|net| Rule::new([Match::Source(loopback(family)), Match::Destination(net)], Action::Masquerade));
    let pods = place.cluster(family).map(|net| goto([Match::Source(net)], LEAVING));
    [marked, itself].into_iter().chain(here).chain(pods).collect()
}

fn leaving(family: Family, place: &Place) -> Vec<Rule> {
    let stays = place.cluster(family).chain([multicast(family)]);
    let stays = stays.map(|net| Rule::new([Match::Destination(net)], Action::Verdict(Verdict::Return)));
    stays.chain([Rule::new([], Action::Masquerade)]).collect()
}

fn loopback(family: Family) -> IpNet {
    net(family, [127, 0, 0, 0], 8, 1, 128)
}

fn multicast(family: Family) -> IpNet {
    net(family, [224, 0, 0, 0], 4, 0xff << 120, 8)
}

fn net(family: Family, ipv4: [u8; 4], length: u8, ipv6: u128, length6: u8) -> IpNet {
    match family {
        Family::Ipv4 => IpNet::new_assert(IpAddr::from(ipv4), length),
        Family::Ipv6 => IpNet::new_assert(IpAddr::from(ipv6.to_be_bytes()), length6),
    }
}
