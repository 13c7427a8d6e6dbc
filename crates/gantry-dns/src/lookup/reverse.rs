//! Names of addresses: `10.0.43.10.in-addr.arpa` and the like under `ip6.arpa`.

use std::net::IpAddr;

use hickory_proto::rr::rdata::PTR;
use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::{Answer, ENDPOINT_TTL, SERVICE_TTL};
use crate::Index;
use crate::index::Shape;

impl Index {
    /// Addresses of Services and of headless Services' endpoints have names; all others are
    /// elsewhere.
    pub(super) fn reverse(&self, name: &Name, record_type: RecordType) -> Answer {
        let Some(address) = address_of(name) else { return Answer::Elsewhere };
        let (mut targets, mut ttl) = (self.cluster_targets(address), SERVICE_TTL);
        if targets.is_empty() {
            (targets, ttl) = (self.endpoint_targets(address), ENDPOINT_TTL);
        }
        if targets.is_empty() {
            return Answer::Elsewhere;
        }
        if !matches!(record_type, RecordType::PTR | RecordType::ANY) {
            return Answer::NoData;
        }
        let record = |target| Record::from_rdata(name.clone(), ttl, RData::PTR(PTR(target)));
        Answer::records(targets.into_iter().map(record).collect())
    }

    fn cluster_targets(&self, address: IpAddr) -> Vec<Name> {
        let services = self.with_cluster_address(address);
        services.filter_map(|(namespace, name)| self.name(&[name, namespace, "svc"])).collect()
    }

    /// Where an endpoint has a hostname anywhere, only such names are given.
    fn endpoint_targets(&self, address: IpAddr) -> Vec<Name> {
        let (mut hostnames, mut derived) = (Vec::new(), Vec::new());
        for (namespace, service) in self.with_endpoint(address) {
            let Some((facts, entry)) = self.service(namespace, service) else { continue };
            if facts.shape != Shape::Headless {
                continue;
            }
            for (_, endpoint) in entry.shown().filter(|(_, endpoint)| endpoint.addresses.contains(&address)) {
                let Some(target) = self.name(&[&endpoint.label(address), service, namespace, "svc"]) else {
                    continue;
                };
                let targets = if endpoint.hostname.is_some() { &mut hostnames } else { &mut derived };
                if !targets.contains(&target) {
                    targets.push(target);
                }
            }
        }
        if hostnames.is_empty() { derived } else { hostnames }
    }
}

/// The address that a whole reverse name spells.
fn address_of(name: &Name) -> Option<IpAddr> {
    // Names off the wire are absolute; one made from text may lack the final dot.
    let mut name = name.clone();
    name.set_fqdn(true);
    let net = name.parse_arpa_name().ok()?;
    (net.prefix_len() == net.max_prefix_len()).then(|| net.addr())
}
