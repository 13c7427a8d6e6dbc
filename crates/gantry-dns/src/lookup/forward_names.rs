//! Names in the cluster's domain.

use std::collections::HashSet;
use std::net::IpAddr;

use hickory_proto::rr::rdata::{CNAME, NS, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{Answer, ENDPOINT_TTL, SCHEMA_VERSION, SERVICE_TTL, address_records};
use crate::Index;
use crate::index::{Entry, Port, ServiceFacts, Shape};

impl Index {
    pub(super) fn inside(&self, name: &Name, record_type: RecordType) -> Answer {
        let depth = usize::from(name.num_labels() - self.zone().num_labels());
        let mut labels = Vec::with_capacity(depth);
        for label in name.iter().take(depth) {
            let Ok(label) = std::str::from_utf8(label) else { return Answer::NoName };
            labels.push(label.to_ascii_lowercase());
        }
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => self.apex(name, record_type),
            ["dns-version"] => match record_type {
                RecordType::TXT | RecordType::ANY => {
                    let text = RData::TXT(TXT::new(vec![SCHEMA_VERSION.to_owned()]));
                    Answer::records(vec![Record::from_rdata(name.clone(), SERVICE_TTL, text)])
                }
                _ => Answer::NoData,
            },
            ["svc" | "pod" | "dns"] => Answer::NoData,
            ["ns", "dns"] => self.name_server_address(name, record_type),
            [namespace, "svc" | "pod"] => self.namespace(namespace),
            [label, namespace, "pod"] => self.pod(name, record_type, label, namespace),
            [service, namespace, "svc"] => match self.service(namespace, service) {
                Some((facts, entry)) => {
                    self.service_name(name, record_type, (namespace, service), facts, entry)
                }
                None => Answer::NoName,
            },
            [label, service, namespace, "svc"] => match self.service(namespace, service) {
                Some((facts, _)) if label.starts_with('_') => protocol(facts, &label[1..]),
                Some((_, entry)) => endpoint(name, record_type, entry, label),
                None => Answer::NoName,
            },
            [port, protocol, service, namespace, "svc"] => {
                let known = self.service(namespace, service);
                match (known, port.strip_prefix('_'), protocol.strip_prefix('_')) {
                    (Some((facts, entry)), Some(port), Some(protocol)) => {
                        let wanted = |one: &Port| one.name == port && one.protocol == protocol;
                        self.port(name, record_type, (namespace, service), facts, entry, wanted)
                    }
                    _ => Answer::NoName,
                }
            }
            _ => Answer::NoName,
        }
    }

    fn apex(&self, name: &Name, record_type: RecordType) -> Answer {
        let server = || {
            let known = self.service("kube-system", "kube-dns").is_some();
            let labels: &[&str] = if known { &["kube-dns", "kube-system", "svc"] } else { &["ns", "dns"] };
            let server = RData::NS(NS(self.name(labels)?));
            Some(Record::from_rdata(name.clone(), SERVICE_TTL, server))
        };
        match record_type {
            RecordType::SOA => Answer::records(vec![self.soa()]),
            RecordType::NS => Answer::records(server().into_iter().collect()),
            RecordType::ANY => Answer::records(std::iter::once(self.soa()).chain(server()).collect()),
            _ => Answer::NoData,
        }
    }

    /// The zone's name server is the Service in front of cluster DNS.
    fn name_server_address(&self, name: &Name, record_type: RecordType) -> Answer {
        let service = self.service("kube-system", "kube-dns");
        let addresses = service.into_iter().flat_map(|(facts, _)| facts.cluster_addresses());
        Answer::records(address_records(name, SERVICE_TTL, record_type, addresses))
    }

    fn namespace(&self, namespace: &str) -> Answer {
        if self.has_namespace(namespace) { Answer::NoData } else { Answer::NoName }
    }

    /// `10-42-0-7.default.pod`: the address that the label spells, in any namespace that exists.
    fn pod(&self, name: &Name, record_type: RecordType, label: &str, namespace: &str) -> Answer {
        let four = label.replace('-', ".").parse::<std::net::Ipv4Addr>().map(IpAddr::V4);
        let six = || label.replace('-', ":").parse::<std::net::Ipv6Addr>().map(IpAddr::V6);
        match four.or_else(|_| six()) {
            Ok(address) if self.has_namespace(namespace) => {
                Answer::records(address_records(name, SERVICE_TTL, record_type, [address]))
            }
            _ => Answer::NoName,
        }
    }

    fn service_name(
        &self,
        name: &Name,
        record_type: RecordType,
        key: (&str, &str),
        facts: &ServiceFacts,
        entry: &Entry,
    ) -> Answer {
        if record_type == RecordType::SRV && !matches!(facts.shape, Shape::External(_)) {
            return match self.port(name, record_type, key, facts, entry, |_| true) {
                Answer::NoName if matches!(facts.shape, Shape::Cluster(_)) => Answer::NoData,
                answer => answer,
            };
        }
        match &facts.shape {
            Shape::Cluster(addresses) => {
                Answer::records(address_records(name, SERVICE_TTL, record_type, addresses.iter().copied()))
            }
            Shape::Headless => {
                let addresses: Vec<IpAddr> =
                    entry.shown().flat_map(|(_, endpoint)| endpoint.addresses.iter().copied()).collect();
                if addresses.is_empty() {
                    return Answer::NoName;
                }
                Answer::records(address_records(name, ENDPOINT_TTL, record_type, addresses))
            }
            Shape::External(None) => Answer::NoData,
            Shape::External(Some(target)) => {
                let alias =
                    Record::from_rdata(name.clone(), SERVICE_TTL, RData::CNAME(CNAME(target.clone())));
                match record_type {
                    RecordType::CNAME | RecordType::ANY => Answer::records(vec![alias]),
                    _ => Answer::Alias { alias: Box::new(alias), target: target.clone() },
                }
            }
        }
    }

    /// SRV records of the ports that are `wanted`, with the addresses of their targets.
    fn port(
        &self,
        name: &Name,
        record_type: RecordType,
        (namespace, service): (&str, &str),
        facts: &ServiceFacts,
        entry: &Entry,
        wanted: impl Fn(&Port) -> bool,
    ) -> Answer {
        let mut targets: Vec<(u16, Name)> = Vec::new();
        let mut additionals = Vec::new();
        match &facts.shape {
            Shape::External(_) => {}
            Shape::Cluster(addresses) => {
                let Some(target) = self.name(&[service, namespace, "svc"]) else { return Answer::NoName };
                targets.extend(
                    facts.ports.iter().filter(|port| wanted(port)).map(|port| (port.number, target.clone())),
                );
                additionals =
                    address_records(&target, SERVICE_TTL, RecordType::ANY, addresses.iter().copied());
            }
            Shape::Headless => {
                let (mut seen_targets, mut seen_addresses) = (HashSet::new(), HashSet::new());
                for (slice, endpoint) in entry.shown() {
                    for address in &endpoint.addresses {
                        let label = endpoint.label(*address);
                        let Some(target) = self.name(&[&label, service, namespace, "svc"]) else { continue };
                        for port in slice.ports.iter().filter(|port| wanted(port)) {
                            if seen_targets.insert((port.number, label.clone())) {
                                targets.push((port.number, target.clone()));
                            }
                        }
                        if seen_addresses.insert((*address, label)) {
                            additionals.extend(address_records(
                                &target,
                                ENDPOINT_TTL,
                                RecordType::ANY,
                                [*address],
                            ));
                        }
                    }
                }
            }
        }
        if targets.is_empty() {
            return Answer::NoName;
        }
        if !matches!(record_type, RecordType::SRV | RecordType::ANY) {
            return Answer::NoData;
        }
        let weight = u16::try_from(100 / targets.len()).unwrap_or(100).max(1);
        let ttl = if matches!(facts.shape, Shape::Headless) { ENDPOINT_TTL } else { SERVICE_TTL };
        let record = |(port, target)| {
            Record::from_rdata(name.clone(), ttl, RData::SRV(SRV::new(0, weight, port, target)))
        };
        Answer::Records { answers: targets.into_iter().map(record).collect(), additionals }
    }
}

/// `_tcp.SERVICE`: a name between others, without records.
fn protocol(facts: &ServiceFacts, protocol: &str) -> Answer {
    let some = facts.ports.iter().any(|port| port.protocol == protocol);
    if some && !matches!(facts.shape, Shape::External(_)) { Answer::NoData } else { Answer::NoName }
}

/// The addresses of the endpoints called `label`.
fn endpoint(name: &Name, record_type: RecordType, entry: &Entry, label: &str) -> Answer {
    let mut addresses = Vec::new();
    for (_, endpoint) in entry.shown() {
        addresses
            .extend(endpoint.addresses.iter().copied().filter(|address| endpoint.is_called(label, *address)));
    }
    if addresses.is_empty() {
        return Answer::NoName;
    }
    Answer::records(address_records(name, ENDPOINT_TTL, record_type, addresses))
}
