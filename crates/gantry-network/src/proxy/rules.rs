//! What Services and pods add to the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{
    Place,
    base::{
        ENDPOINTS, HAIRPIN, HOST_ADDRESS_PORTS, HOST_PORTS, LOCAL_ENDPOINTS, NODE_PORTS, REJECT, SERVICES,
        goto,
    },
    endpoints::Endpoints,
    service::{Port, Service},
};
use crate::{
    lease::Lease,
    nft::{Action, Data, Family, Field, Match, Rule, Ruleset, Set, Type, Value, Verdict},
    protocol::Protocol,
};

/// Where UDP packets arrive for a Service: an address, or a port of every node.
pub type Frontend = (Option<IpAddr>, u16);

/// What a Service or a pod adds in one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Its part of the table.
    pub ruleset: Ruleset,
    /// Where its UDP packets may go. Flows that go elsewhere are not to go on.
    pub udp: Udp,
}

/// For each place where UDP packets arrive, where they may go.
pub type Udp = BTreeMap<Frontend, BTreeSet<SocketAddr>>;

/// What `service` with endpoints in `slices` adds to the table of its family.
pub fn service(service: &Service, slices: &[&EndpointSlice], place: &Place) -> Part {
    let mut rules = Part::default();
    for port in &service.ports {
        let endpoints = Endpoints::choose(service, port, slices, place);
        Writer { service, port, endpoints: &endpoints, place, rules: &mut rules }.write();
    }
    rules
}

/// What an attached pod adds in one family.
pub fn pod(lease: &Lease, family: Family) -> Part {
    let mut part = Part::default();
    let rules = &mut part.ruleset;
    for address in lease.addresses.iter().filter(|a| Family::of(**a) == family) {
        rules.element(HAIRPIN, [Value::Address(*address), Value::Address(*address)], Data::None);
    }
    for port in &lease.host_ports {
        let Some(target) = lease.target(port, family == Family::Ipv6) else { continue };
        let key = [Value::Protocol(port.protocol), Value::Port(port.host_port)];
        let host_ip = port.host_ip.filter(|ip| !ip.is_unspecified());
        match host_ip {
            None => rules.element(HOST_PORTS, key, Data::Destination(target)),
            Some(ip) if Family::of(ip) == family => {
                let key = [&[Value::Address(ip)], &key[..]].concat();
                rules.element(HOST_ADDRESS_PORTS, key, Data::Destination(target));
            }
            Some(_) => continue,
        }
        if port.protocol == Protocol::Udp {
            part.udp.insert((host_ip, port.host_port), [target].into());
        }
    }
    part
}

struct Writer<'a> {
    service: &'a Service,
    port: &'a Port,
    endpoints: &'a Endpoints,
    place: &'a Place,
    rules: &'a mut Part,
}

impl Writer<'_> {
    fn write(mut self) {
        let Self { service, port, .. } = self;
        let internal = if service.internal_local { self.local() } else { self.cluster() };
        self.element(service.cluster_ip, internal);
        let outside =
            !service.external_ips.is_empty() || !service.balancer_ips.is_empty() || port.node_port.is_some();
        if outside {
            let external = self.external();
            for ip in &service.external_ips {
                self.element(*ip, external.clone());
            }
            if !service.balancer_ips.is_empty() {
                let balancer = self.balancer(external.clone());
                for ip in &service.balancer_ips {
                    self.element(*ip, balancer.clone());
                }
            }
            if let Some(node_port) = port.node_port {
                let key = [Value::Protocol(port.protocol), Value::Port(node_port)];
                self.rules.ruleset.element(NODE_PORTS, key, Data::Verdict(external));
                self.udp((None, node_port));
            }
        }
        self.chains(outside);
    }

    fn name(&self, kind: &str) -> String {
        let Self { service, port, .. } = self;
        format!("{kind}-{}/{}/{}/{}", service.namespace, service.name, port.protocol, port.port)
    }

    fn element(&mut self, address: IpAddr, verdict: Verdict) {
        let key = [Value::Address(address), Value::Protocol(self.port.protocol), Value::Port(self.port.port)];
        self.rules.ruleset.element(SERVICES, key, Data::Verdict(verdict));
        self.udp((Some(address), self.port.port));
    }

    fn udp(&mut self, frontend: Frontend) {
        if self.port.protocol == Protocol::Udp {
            self.rules.udp.entry(frontend).or_default().extend(&self.endpoints.serving);
        }
    }

    /// Where connections go that may go to any node.
    fn cluster(&self) -> Verdict {
        Verdict::Goto(if self.endpoints.cluster.is_empty() { REJECT.into() } else { self.name("service") })
    }

    /// Where connections go that have to stay on this node. They are dropped if they could be served
    /// elsewhere, so that whoever sent them here tries there.
    fn local(&self) -> Verdict {
        match (self.endpoints.local.is_empty(), self.endpoints.cluster.is_empty()) {
            (false, _) => Verdict::Goto(self.name("local")),
            (true, false) => Verdict::Drop,
            (true, true) => Verdict::Goto(REJECT.into()),
        }
    }

    /// Where connections from outside go.
    fn external(&self) -> Verdict {
        let nobody = self.endpoints.cluster.is_empty() && self.endpoints.local.is_empty();
        Verdict::Goto(if nobody { REJECT.into() } else { self.name("external") })
    }

    /// Where connections to the load balancer's addresses go.
    fn balancer(&mut self, external: Verdict) -> Verdict {
        if self.service.source_ranges.is_empty() {
            return external;
        }
        let ranges = self.service.source_ranges.iter();
        let mut rules: Vec<Rule> =
            ranges.map(|net| Rule::new([Match::Source(*net)], Action::Verdict(external.clone()))).collect();
        rules.push(Rule::new([], Action::Verdict(Verdict::Drop)));
        let name = self.name("firewall");
        self.rules.ruleset.chain(name.clone(), rules);
        Verdict::Goto(name)
    }

    fn chains(&mut self, outside: bool) {
        let Self { service, endpoints, place, .. } = *self;
        let has_cluster = !endpoints.cluster.is_empty();
        let external_local = outside && service.external_local;
        if has_cluster && (!service.internal_local || outside) {
            let rules = self.balance(&endpoints.cluster, ENDPOINTS);
            self.rules.ruleset.chain(self.name("service"), rules);
        }
        if !endpoints.local.is_empty() && (service.internal_local || external_local) {
            let rules = self.balance(&endpoints.local, LOCAL_ENDPOINTS);
            self.rules.ruleset.chain(self.name("local"), rules);
        }
        if let (true, Verdict::Goto(name)) = (outside, self.external())
            && name != REJECT
        {
            let mut rules = Vec::new();
            if service.external_local {
                if has_cluster {
                    // From the cluster's own pods and from here every endpoint can be reached as well.
                    rules.extend(
                        place
                            .cluster(service.family)
                            .map(|net| goto([Match::Source(net)], self.name("service"))),
                    );
                    let mark = Action::Mark;
                    let go = Action::Verdict(self.cluster());
                    rules.push(Rule { matches: vec![Match::SourceLocal], actions: vec![mark, go] });
                }
                rules.push(Rule::new([], Action::Verdict(self.local())));
            } else {
                let go = Action::Verdict(self.cluster());
                rules.push(Rule { matches: vec![], actions: vec![Action::Mark, go] });
            }
            self.rules.ruleset.chain(name, rules);
        }
    }

    /// Rules that choose one of these endpoints, which are put into `map`, or into chains of their own
    /// where clients are remembered.
    ///
    /// A packet that is under way in a chain while it gets other rules goes on by the old ones, but may
    /// not find in the map any more what they look for. So the last rule does without.
    fn balance(&mut self, to: &[SocketAddr], map: &str) -> Vec<Rule> {
        let Some(seconds) = self.service.affinity_seconds else { return self.numbered(to, map) };
        let mut rules = Vec::new();
        let mut chains = Vec::new();
        for endpoint in to {
            let place = format!("{}/{}", endpoint.ip().to_string().replace(':', "."), endpoint.port());
            let chain = format!("{}/{place}", self.name("endpoint"));
            let clients = format!("{}/{place}", self.name("clients"));
            let set = Set { key: vec![Type::Address], data: None, dynamic: true };
            self.rules.ruleset.sets.insert(clients.clone(), set);
            rules.push(goto([Match::In(vec![Field::Source], clients.clone())], chain.clone()));
            let remember = Rule::new([], Action::Remember(clients, seconds));
            let go = Rule::new([], Action::Translate(*endpoint));
            self.rules.ruleset.chain(chain.clone(), vec![remember, go]);
            chains.push(chain);
        }
        for (left, chain) in (1..=to.len() as u32).rev().zip(chains) {
            let chance = (left > 1).then_some(Match::OneIn(left));
            rules.push(goto(chance.into_iter().collect::<Vec<_>>(), chain));
        }
        rules
    }

    fn numbered(&mut self, to: &[SocketAddr], map: &str) -> Vec<Rule> {
        let key = [
            Value::Address(self.service.cluster_ip),
            Value::Protocol(self.port.protocol),
            Value::Port(self.port.port),
        ];
        let last = to.first().map(|first| Rule::new([], Action::Translate(*first)));
        if to.len() < 2 {
            return last.into_iter().collect();
        }
        for (number, endpoint) in (0..).zip(to) {
            let key = [&key[..], &[Value::Number(number)]].concat();
            self.rules.ruleset.element(map, key, Data::Destination(*endpoint));
        }
        let any = Action::TranslateOneOf(key.to_vec(), to.len() as u32, map.to_owned());
        [Rule::new([], any)].into_iter().chain(last).collect()
    }
}

#[cfg(test)]
mod tests;
