//! Differences lead where a table written as a whole would be, in any order of changes: as a model, and
//! in the kernel.

use std::{collections::BTreeMap, process::Command};

use gantry_json::{Value as Json, json};
use k8s_openapi::api::{core::v1::Service as Object, discovery::v1::EndpointSlice};
use proptest::{collection::vec, prelude::*};

use super::support::on_host;
use crate::{
    netlink::Socket,
    nft::{
        Action, Chain, Change, Data, Family, Match, Merged, Owner, Rule, Ruleset, Verdict, diff,
        encode::{Batch, TABLE},
    },
    proxy::{Place, base::base, rules, service::Service},
};

/// A table as the kernel keeps it: it refuses what leads nowhere, and what is in use stays.
#[derive(Default)]
struct Model(Ruleset);

impl Model {
    fn change(&mut self, change: Change) {
        match change {
            Change::AddChain(name, hook) => {
                let old = self.0.chains.insert(name, Chain { hook, rules: vec![] });
                assert_eq!(old, None);
            }
            Change::DeleteChain(name) => {
                let chain = self.0.chains.remove(&name).expect("a chain to delete");
                assert!(chain.rules.is_empty(), "{name} has rules");
                assert!(!self.chains_in_use().any(|used| used == name), "{name} is in use");
            }
            Change::Flush(name) => self.0.chains.get_mut(&name).expect("a chain").rules.clear(),
            Change::AddRule(name, rule) => {
                for chain in leads_to(&rule) {
                    assert!(self.0.chains.contains_key(chain), "{chain} is not there");
                }
                for set in looks_in(&rule) {
                    assert!(self.0.sets.contains_key(set), "{set} is not there");
                }
                self.0.chains.get_mut(&name).expect("a chain").rules.push(rule);
            }
            Change::AddSet(name, set) => assert_eq!(self.0.sets.insert(name, set), None),
            Change::DeleteSet(name) => {
                self.0.sets.remove(&name).expect("a set to delete");
                let mut used = self.0.chains.values().flat_map(|c| &c.rules).flat_map(looks_in);
                assert!(!used.any(|set| set == name), "{name} is in use");
                self.0.elements.retain(|(set, _), _| *set != name);
            }
            Change::AddElement(key, data) => {
                assert!(self.0.sets.contains_key(&key.0));
                if let Data::Verdict(Verdict::Goto(chain)) = &data {
                    assert!(self.0.chains.contains_key(chain), "{chain} is not there");
                }
                assert_eq!(self.0.elements.insert(key, data), None);
            }
            Change::DeleteElement(key, data) => assert_eq!(self.0.elements.remove(&key), Some(data)),
        }
    }

    fn chains_in_use(&self) -> impl Iterator<Item = &str> {
        let rules = self.0.chains.values().flat_map(|c| &c.rules).flat_map(leads_to);
        rules.chain(self.0.elements.values().filter_map(|data| match data {
            Data::Verdict(Verdict::Goto(chain)) => Some(chain.as_str()),
            _ => None,
        }))
    }
}

fn leads_to(rule: &Rule) -> Vec<&str> {
    let chains = rule.actions.iter().filter_map(|action| match action {
        Action::Verdict(Verdict::Goto(chain)) => Some(chain.as_str()),
        _ => None,
    });
    chains.collect()
}

fn looks_in(rule: &Rule) -> Vec<&str> {
    let matches = rule.matches.iter().filter_map(|m| match m {
        Match::In(_, set) => Some(set.as_str()),
        _ => None,
    });
    let actions = rule.actions.iter().filter_map(|a| match a {
        Action::VerdictOf(_, set)
        | Action::TranslateTo(_, set)
        | Action::TranslateOneOf(_, _, set)
        | Action::Remember(set, _) => Some(set.as_str()),
        _ => None,
    });
    matches.chain(actions).collect()
}

/// A Service in some state, or its absence. Several may want the same addresses and ports.
fn service() -> impl Strategy<Value = (u8, Option<Json>, Vec<Json>)> {
    let policy = || prop_oneof![Just("Cluster"), Just("Local")];
    let spec =
        (1..4u8, any::<bool>(), prop::option::of(1..3u16), policy(), policy(), any::<bool>(), any::<bool>());
    let spec = spec.prop_map(|(ip, affinity, node_port, internal, external, ip_outside, ranges)| {
        json!({
            "clusterIP": format!("10.43.0.{ip}"),
            "sessionAffinity": if affinity { "ClientIP" } else { "None" },
            "internalTrafficPolicy": internal,
            "externalTrafficPolicy": external,
            "externalIPs": if ip_outside { json!(["203.0.113.1"]) } else { json!([]) },
            "loadBalancerSourceRanges": if ranges { json!(["192.0.2.0/24"]) } else { json!([]) },
            "ports": [
                {"name": "a", "port": 80, "nodePort": node_port.map_or(0, |p| 30000 + p)},
                {"name": "a", "port": 53, "protocol": "UDP"},
            ],
        })
    });
    let endpoint =
        (1..6u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(ip, ready, serving, local)| {
            json!({
                "addresses": [format!("10.42.0.{ip}")],
                "nodeName": if local { "here" } else { "there" },
                "conditions": {"ready": ready, "serving": ready || serving, "terminating": !ready},
            })
        });
    (0..4u8, prop::option::weighted(0.8, spec), vec(endpoint, 0..5))
}

fn place() -> Place {
    Place {
        node: "here".into(),
        zone: None,
        cluster_cidrs: vec!["10.42.0.0/16".parse().unwrap()],
        service_cidrs: vec!["10.43.0.0/16".parse().unwrap()],
    }
}

fn part(name: u8, spec: Option<Json>, endpoints: Vec<Json>) -> (Owner, Option<Ruleset>) {
    let name = format!("s{name}");
    let owner = Owner::Service("default".into(), name.clone());
    match spec {
        Some(spec) => (owner, Some(part_of(&name, spec, endpoints))),
        None => (owner, None),
    }
}

fn part_of(name: &str, spec: Json, endpoints: Vec<Json>) -> Ruleset {
    let object: Object = gantry_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.2"}]}},
    }))
    .unwrap();
    let slice: EndpointSlice = gantry_json::from_value(json!({
        "metadata": {"name": "x"},
        "addressType": "IPv4",
        "ports": [{"name": "a", "port": 8080}, {"name": "a", "port": 5353, "protocol": "UDP"}],
        "endpoints": endpoints,
    }))
    .unwrap();
    let service = Service::read(&object, Family::Ipv4).unwrap();
    rules::service(&service, &[&slice], &place()).ruleset
}

type Steps = Vec<Vec<(u8, Option<Json>, Vec<Json>)>>;

/// Goes through the steps; `each` gets what changes and what the whole is then.
fn walk(steps: Steps, mut each: impl FnMut(Vec<Change>, &Ruleset)) {
    let mut merged = Merged::new(base(Family::Ipv4, &place()));
    each(diff(&Ruleset::default(), &merged.whole()), &merged.whole());
    let mut all = BTreeMap::new();
    for step in steps {
        let parts: BTreeMap<_, _> =
            step.into_iter().map(|(name, spec, ends)| part(name, spec, ends)).collect();
        all.extend(parts.clone());
        let changes = merged.replace(parts);
        let mut built = Merged::new(base(Family::Ipv4, &place()));
        built.replace(all.clone());
        assert_eq!(merged.whole(), built.whole(), "what came before does not matter");
        each(changes, &built.whole());
    }
}

proptest! {
    #[test]
    fn in_the_model(steps in vec(vec(service(), 1..3), 1..8)) {
        let mut model = Model::default();
        walk(steps, |changes, whole| {
            changes.into_iter().for_each(|change| model.change(change));
            assert_eq!(&model.0, whole);
        });
    }
}

#[test]
fn a_change_is_as_small_among_many_services() {
    let endpoint = |ip: u32| json!({"addresses": [format!("10.42.0.{ip}")], "nodeName": "there"});
    let endpoints = |count| (1..=count).map(endpoint).collect::<Vec<_>>();
    let spec =
        |name: u8| json!({"clusterIP": format!("10.43.0.{name}"), "ports": [{"name": "a", "port": 80}]});
    let size = |changes: &[Change]| {
        let mut batch = Batch::default();
        batch.change(Family::Ipv4, changes);
        batch.finish().bytes().len()
    };
    let change = |services: u8| {
        let mut merged = Merged::new(base(Family::Ipv4, &place()));
        merged.replace((1..=services).map(|name| part(name, Some(spec(name)), endpoints(10))));
        assert_eq!(merged.replace([part(1, Some(spec(1)), endpoints(10))]), []);
        size(&merged.replace([part(1, Some(spec(1)), endpoints(9))]))
    };
    assert_eq!(change(1), change(200));
    assert!(change(1) < 2048, "{} bytes", change(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_the_kernel(steps in vec(vec(service(), 1..3), 1..6)) {
        on_host(async |_| {
            let socket = Socket::netfilter().unwrap();
            let write = |anew: bool, changes: &[Change]| {
                let mut batch = Batch::default();
                if anew {
                    batch.delete_table(Family::Ipv4);
                    batch.add_table(Family::Ipv4);
                }
                batch.change(Family::Ipv4, changes);
                socket.exchange(&batch.finish(), |_| {}).unwrap();
                listed()
            };
            let mut first = true;
            let mut last = None;
            walk(steps, |changes, whole| {
                let listed = write(std::mem::take(&mut first), &changes);
                last = Some((listed, whole.clone()));
            });
            let (listed, whole) = last.unwrap();
            assert_eq!(listed, write(true, &diff(&Ruleset::default(), &whole)));
        });
    }
}

/// The table as `nft` lists it, its chains and sets in the order of their names.
fn listed() -> Vec<String> {
    let listed = Command::new("nft").args(["-s", "list", "table", "ip", TABLE]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let text = String::from_utf8(listed.stdout).unwrap();
    let (_, text) = text.split_once('\n').unwrap();
    let mut blocks: Vec<String> = text.split("\n\t}\n").map(|block| block.trim_start().to_owned()).collect();
    blocks.sort();
    blocks
}

#[test]
fn a_thousand_services_are_written_at_once() {
    on_host(async |_| {
        let endpoint = |ip: u32| json!({"addresses": [format!("10.42.0.{ip}")], "nodeName": "there"});
        let endpoints = (1..=10).map(endpoint).collect::<Vec<_>>();
        let service = |number: u16, endpoints: &[Json]| {
            let ip = std::net::Ipv4Addr::from(0x0a2b_0000 + u32::from(number));
            let spec = json!({"clusterIP": ip.to_string(), "ports": [{"name": "a", "port": 80}]});
            let name = format!("s{number}");
            let rules = part_of(&name, spec, endpoints.to_vec());
            (Owner::Service("default".into(), name), Some(rules))
        };
        let mut merged = Merged::new(base(Family::Ipv4, &place()));
        merged.replace((0..1000).map(|number| service(number, &endpoints)));
        let socket = Socket::netfilter().unwrap();
        let write = |batch: Batch| socket.exchange(&batch.finish(), |_| {}).unwrap();
        let mut batch = Batch::default();
        batch.add_table(Family::Ipv4);
        batch.change(Family::Ipv4, &diff(&Ruleset::default(), &merged.whole()));
        write(batch);
        let mut batch = Batch::default();
        batch.change(Family::Ipv4, &merged.replace([service(7, &endpoints[1..])]));
        write(batch);
        let all = listed();
        let chains = all.iter().filter(|block| block.starts_with("chain service-default/")).count();
        assert_eq!(chains, 1000);
        let changed = all.iter().find(|block| block.starts_with("chain service-default/s7/tcp/80 ")).unwrap();
        assert!(changed.contains("numgen random mod 9 map @endpoints"), "{changed}");
    });
}
