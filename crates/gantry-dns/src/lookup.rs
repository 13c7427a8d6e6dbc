//! A question answered from the index.

mod forward_names;
mod reverse;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use hickory_proto::rr::rdata::{A, AAAA, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::Index;

/// Seconds that answers about Services hold: their addresses do not change while they live.
pub(crate) const SERVICE_TTL: u32 = 30;
/// Seconds that answers about endpoints hold, and denials.
pub(crate) const ENDPOINT_TTL: u32 = 5;
/// The version of the specification, as told by `dns-version`.
pub(crate) const SCHEMA_VERSION: &str = "1.1.0";

/// What the cluster says to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// These records.
    Records {
        /// What was asked for.
        answers: Vec<Record>,
        /// Addresses that the asker will want next.
        additionals: Vec<Record>,
    },
    /// The name stands for another one, which has to be looked up in turn.
    Alias {
        /// The CNAME.
        alias: Box<Record>,
        /// Where it points.
        target: Name,
    },
    /// The name exists and has no record of that type.
    NoData,
    /// The name does not exist.
    NoName,
    /// The cluster knows nothing of such names.
    Elsewhere,
}

impl Answer {
    fn records(answers: Vec<Record>) -> Self {
        if answers.is_empty() { Self::NoData } else { Self::Records { answers, additionals: Vec::new() } }
    }
}

impl Index {
    /// Answers a question of class IN. Names are compared without regard to case; the answer
    /// repeats the name as it was asked.
    pub fn lookup(&self, name: &Name, record_type: RecordType) -> Answer {
        if self.zone().zone_of(name) {
            self.inside(name, record_type)
        } else {
            self.reverse(name, record_type)
        }
    }

    /// The zone's SOA, which goes with every denial.
    pub fn soa(&self) -> Record {
        let below = |labels: &[&str]| self.name(labels).unwrap_or_else(|| self.zone().clone());
        let soa = SOA::new(
            below(&["ns", "dns"]),
            below(&["hostmaster"]),
            self.serial(),
            7200,
            1800,
            86400,
            ENDPOINT_TTL,
        );
        Record::from_rdata(self.zone().clone(), ENDPOINT_TTL, RData::SOA(soa))
    }

    /// A name in the zone; `None` if it would be too long.
    fn name(&self, labels: &[&str]) -> Option<Name> {
        Name::from_labels(labels.iter().map(|label| label.as_bytes())).ok()?.append_domain(self.zone()).ok()
    }
}

/// The record of an address, if `record_type` asks for its family.
fn address_record(name: &Name, ttl: u32, record_type: RecordType, address: IpAddr) -> Option<Record> {
    let data = match (address, record_type) {
        (IpAddr::V4(address), RecordType::A | RecordType::ANY) => RData::A(A(address)),
        (IpAddr::V6(address), RecordType::AAAA | RecordType::ANY) => RData::AAAA(AAAA(address)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), ttl, data))
}

/// The records of several addresses, each once, in their order.
fn address_records(
    name: &Name,
    ttl: u32,
    record_type: RecordType,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Vec<Record> {
    let mut seen = std::collections::HashSet::new();
    let addresses = addresses.into_iter().filter(|address| seen.insert(*address));
    addresses.filter_map(|address| address_record(name, ttl, record_type, address)).collect()
}
