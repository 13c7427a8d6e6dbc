//! Properties: the order of changes does not matter, every Service resolves, nothing else does.

use std::collections::BTreeMap;

use futures::FutureExt;
use gantry_json::json;
use hickory_proto::rr::{Name, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;

use crate::update::Update;
use crate::{Answer, Index};

/// A change to a small cluster, so that changes meet.
#[derive(Clone, Debug)]
enum Step {
    Namespace(u8, bool),
    Service(u8, u8, Option<Kind>),
    Slice { namespace: u8, name: u8, service: u8, endpoints: Option<Vec<(u8, bool, bool)>> },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Address(u8),
    Headless,
    External,
}

fn step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![(1..4u8).prop_map(Kind::Address), Just(Kind::Headless), Just(Kind::External)];
    let endpoints = proptest::collection::vec((1..5u8, any::<bool>(), any::<bool>()), 0..4);
    prop_oneof![
        (0..2u8, any::<bool>()).prop_map(|(name, exists)| Step::Namespace(name, exists)),
        (0..2u8, 0..3u8, proptest::option::of(kind))
            .prop_map(|(namespace, name, kind)| { Step::Service(namespace, name, kind) }),
        (0..2u8, 0..3u8, 0..3u8, proptest::option::of(endpoints)).prop_map(
            |(namespace, name, service, endpoints)| { Step::Slice { namespace, name, service, endpoints } }
        ),
    ]
}

fn service(namespace: u8, name: u8, kind: Kind) -> Service {
    let spec = match kind {
        Kind::Address(last) => {
            json!({"clusterIP": format!("10.43.0.{last}"), "ports": [{"name": "a", "port": 1}]})
        }
        Kind::Headless => json!({"clusterIP": "None"}),
        Kind::External => json!({"type": "ExternalName", "externalName": "example.com"}),
    };
    let metadata = json!({"namespace": format!("n{namespace}"), "name": format!("s{name}")});
    gantry_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
}

fn slice(namespace: u8, name: u8, service: u8, endpoints: &[(u8, bool, bool)]) -> EndpointSlice {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(last, ready, named)| {
            let hostname = named.then(|| format!("h{last}"));
            json!({"addresses": [format!("10.42.0.{last}")], "hostname": hostname, "conditions": {"ready": ready}})
        })
        .collect();
    gantry_json::from_value(json!({
        "metadata": {
            "namespace": format!("n{namespace}"), "name": format!("slice{name}"),
            "labels": {"kubernetes.io/service-name": format!("s{service}")},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "a", "port": 1}],
    }))
    .unwrap()
}

/// The objects that exist after `steps`, and the index that followed them.
#[derive(Default)]
struct World {
    namespaces: BTreeMap<u8, ()>,
    services: BTreeMap<(u8, u8), Service>,
    slices: BTreeMap<(u8, u8), EndpointSlice>,
}

fn follow(steps: &[Step]) -> (World, Index) {
    let (mut world, mut index) = (World::default(), Index::new("cluster.local").unwrap());
    for step in steps {
        match step {
            Step::Namespace(name, true) => {
                world.namespaces.insert(*name, ());
                index.apply_namespace(&format!("n{name}"));
            }
            Step::Namespace(name, false) => {
                world.namespaces.remove(name);
                index.remove_namespace(&format!("n{name}"));
            }
            Step::Service(namespace, name, Some(kind)) => {
                let service = service(*namespace, *name, *kind);
                index.apply_service(&service);
                world.services.insert((*namespace, *name), service);
            }
            Step::Service(namespace, name, None) => {
                if let Some(last) = world.services.remove(&(*namespace, *name)) {
                    index.remove_service(&last);
                }
            }
            Step::Slice { namespace, name, service, endpoints: Some(endpoints) } => {
                let slice = slice(*namespace, *name, *service, endpoints);
                index.apply_slice(&slice);
                world.slices.insert((*namespace, *name), slice);
            }
            Step::Slice { namespace, name, endpoints: None, .. } => {
                if let Some(last) = world.slices.remove(&(*namespace, *name)) {
                    index.remove_slice(&last);
                }
            }
        }
    }
    (world, index)
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

proptest! {
    #[test]
    fn an_index_depends_on_what_exists_only(steps in proptest::collection::vec(step(), 0..40)) {
        let (world, index) = follow(&steps);
        let mut fresh = Index::new("cluster.local").unwrap();
        world.slices.values().rev().for_each(|slice| fresh.apply_slice(slice));
        world.services.values().rev().for_each(|service| fresh.apply_service(service));
        world.namespaces.keys().for_each(|name| fresh.apply_namespace(&format!("n{name}")));
        prop_assert_eq!(index, fresh);
    }

    #[test]
    fn what_is_told_is_answered_the_same(steps in proptest::collection::vec(step(), 0..40)) {
        let (world, index) = follow(&steps);
        let mut updates: Vec<_> = world.services.values().map(Update::service).collect();
        updates.extend(world.slices.values().map(Update::slice));
        updates.extend(world.namespaces.keys().map(|name| Update::Namespace { name: format!("n{name}"), exists: true }));
        let mut bytes = Vec::new();
        updates.iter().for_each(|update| update.write(&mut bytes).unwrap());
        let (mut told, mut bytes, mut buffer) = (Index::new("cluster.local").unwrap(), &bytes[..], Vec::new());
        while let Some(update) = Update::read(&mut bytes, &mut buffer).now_or_never().unwrap().unwrap() {
            told.apply(update);
        }
        for (namespace, service) in (0..3).flat_map(|namespace| (0..4).map(move |service| (namespace, service))) {
            let asked = name(&format!("s{service}.n{namespace}.svc.cluster.local."));
            for record_type in [RecordType::A, RecordType::SRV, RecordType::CNAME] {
                prop_assert_eq!(told.lookup(&asked, record_type), index.lookup(&asked, record_type));
            }
        }
        prop_assert_eq!(told, index);
    }

    #[test]
    fn every_service_resolves_and_no_other(steps in proptest::collection::vec(step(), 0..40)) {
        let (world, index) = follow(&steps);
        for namespace in 0..2 {
            for service in 0..3 {
                let asked = name(&format!("s{service}.n{namespace}.svc.cluster.local."));
                let answer = index.lookup(&asked, RecordType::A);
                let Some(object) = world.services.get(&(namespace, service)) else {
                    prop_assert_eq!(answer, Answer::NoName);
                    continue;
                };
                let spec = object.spec.as_ref().unwrap();
                match (spec.cluster_ip.as_deref(), answer) {
                    (None, answer) => prop_assert!(matches!(answer, Answer::Alias { .. }), "{answer:?}"),
                    (Some("None"), Answer::NoName) => {}
                    (Some("None"), Answer::Records { answers, .. }) => prop_assert!(!answers.is_empty()),
                    (Some(address), Answer::Records { answers, .. }) => {
                        prop_assert_eq!(answers.len(), 1);
                        prop_assert_eq!(answers[0].data.to_string(), address);
                        let reverse = name(&format!("{}.0.43.10.in-addr.arpa.", address.rsplit('.').next().unwrap()));
                        let Answer::Records { answers, .. } = index.lookup(&reverse, RecordType::PTR) else {
                            panic!("{address} has no name");
                        };
                        prop_assert!(answers.iter().any(|record| record.data.to_string() == asked.to_string()));
                    }
                    (Some(address), answer) => prop_assert!(false, "{asked} at {address}: {answer:?}"),
                }
            }
        }
    }

    #[test]
    fn names_outside_the_domain_are_elsewhere(labels in proptest::collection::vec("[a-z0-9_][a-z0-9]{0,11}", 0..6)) {
        let (_, index) = follow(&[Step::Service(0, 0, Some(Kind::Address(1)))]);
        let asked = name(format!("{}.example.", labels.join(".")).trim_start_matches('.'));
        prop_assert_eq!(index.lookup(&asked, RecordType::A), Answer::Elsewhere);
        let asked = name(format!("{}.cluster.local.", labels.join(".")).trim_start_matches('.'));
        prop_assert_ne!(index.lookup(&asked, RecordType::A), Answer::Elsewhere);
    }
}
