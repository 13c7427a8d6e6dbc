//! Tables of decisions, and the property that no node is ever promised more than it has.

use std::collections::BTreeMap;

use gantry_json::{Value, json};
use k8s_openapi::api::core::v1::Node;
use proptest::prelude::*;

use super::*;
use crate::watched::Pod;

fn node(name: &str, cpu: &str, extra: Value) -> Node {
    let mut value = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": "4Gi", "pods": "10"}}});
    merge(&mut value, extra);
    gantry_json::from_value(value).expect("a node")
}

fn pod(name: &str, extra: Value) -> Arc<PodInfo> {
    let mut value = json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}});
    merge(&mut value, extra);
    Arc::new(PodInfo::new(&gantry_json::from_value::<Pod>(value).expect("a pod")))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn cluster(nodes: &[Node]) -> Cluster {
    let mut cluster = Cluster::default();
    for node in nodes {
        cluster.set_node(node);
    }
    cluster
}

fn decide(pod: &PodInfo, cluster: &mut Cluster) -> Decision {
    cluster.watch_topologies(&pod.shape);
    Searcher::default().decide(pod, cluster)
}

fn check(nodes: &[Node], placed: &[(&str, Value)], wanted: Value, expected: &str) {
    let mut cluster = cluster(nodes);
    for (number, (node, extra)) in placed.iter().enumerate() {
        cluster.place(pod(&format!("placed-{number}"), extra.clone()), node);
    }
    let found = match decide(&pod("p", wanted), &mut cluster) {
        Decision::Node(name) => name,
        Decision::Unschedulable(failure) => failure.reasons(),
    };
    assert_eq!(found, expected);
}

#[test]
fn no_nodes() {
    check(&[], &[], json!({}), "no nodes available to schedule pods");
}

#[test]
fn room_and_taints_are_counted_by_reason() {
    let taint = |key: &str| json!({"spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}});
    let nodes = [node("a", "200m", json!({})), node("b", "4", taint("x")), node("c", "4", taint("y"))];
    check(
        &nodes,
        &[],
        json!({}),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).",
    );
    let tolerates = json!({"spec": {"tolerations": [{"key": "y", "operator": "Exists"}]}});
    check(&nodes, &[], tolerates, "c");
}

#[test]
fn the_emptier_node_wins() {
    let nodes = [node("a", "4", json!({})), node("b", "4", json!({}))];
    check(&nodes, &[("a", json!({}))], json!({}), "b");
    check(&nodes, &[("b", json!({}))], json!({}), "a");
}

#[test]
fn selectors_and_affinity() {
    let nodes = [node("a", "4", json!({})), node("b", "4", json!({"metadata": {"labels": {"disk": "ssd"}}}))];
    check(&nodes, &[], json!({"spec": {"nodeSelector": {"disk": "ssd"}}}), "b");
    let none = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
    check(&nodes, &[], json!({"spec": {"nodeSelector": {"disk": "hdd"}}}), none);
    let prefers = json!({"spec": {"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
        [{"weight": 50, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}]}}}});
    check(&nodes, &[], prefers, "b");
}

#[test]
fn ports_are_taken_once() {
    let port =
        json!({"spec": {"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]}});
    let nodes = [node("a", "4", json!({}))];
    let none = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    check(&nodes, &[("a", port.clone())], port.clone(), none);
    check(&nodes, &[], port, "a");
}

#[test]
fn hard_spread_keeps_the_skew() {
    let nodes = [node("a", "4", json!({})), node("b", "1", json!({"spec": {"unschedulable": true}}))];
    let spread = json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule",
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}]}});
    check(&nodes, &[], spread.clone(), "a");
    let none = "0/2 nodes are available: 1 node(s) didn't match pod topology spread constraints, \
                1 node(s) were unschedulable.";
    check(&nodes, &[("a", json!({}))], spread, none);
}

#[test]
fn anti_affinity_works_both_ways() {
    let apart = json!({"spec": {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}]}}}});
    let nodes = [node("a", "8", json!({})), node("b", "1", json!({}))];
    check(&nodes, &[("a", json!({}))], apart.clone(), "b");
    check(&nodes, &[("a", apart.clone())], json!({}), "b");
    let one = [node("a", "8", json!({}))];
    let none = "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.";
    check(&one, &[("a", apart)], json!({}), none);
}

#[test]
fn the_first_pod_of_an_affinity_group_may_start_it() {
    let together = json!({"spec": {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}]}}}});
    let nodes = [node("a", "2", json!({})), node("b", "8", json!({}))];
    check(&nodes, &[("a", json!({}))], together.clone(), "a");
    check(&nodes, &[], together, "b");
}

#[test]
fn deleted_pods_give_their_room_back() {
    let mut cluster = cluster(&[node("a", "1", json!({}))]);
    for round in 0..5 {
        let next = pod(&format!("p{round}"), json!({}));
        assert_eq!(decide(&next, &mut cluster), Decision::Node("a".into()));
        cluster.place(next, "a");
        cluster.displace(&format!("p{round}"));
    }
    assert_eq!(cluster.node("a").map(|node| node.requested.milli_cpu), Some(0));
}

proptest! {
    #[test]
    fn no_node_is_overcommitted(
        sizes in proptest::collection::vec(1u32..8, 1..12),
        requests in proptest::collection::vec(100u32..3000, 1..60),
        leaving in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let nodes: Vec<_> = sizes.iter().enumerate()
            .map(|(at, size)| node(&format!("n{at}"), &size.to_string(), json!({}))).collect();
        let mut cluster = cluster(&nodes);
        let mut searcher = Searcher::default();
        for (at, request) in requests.iter().enumerate() {
            let wanted = pod(&format!("p{at}"), json!({"spec": {"containers": [
                {"name": "c", "resources": {"requests": {"cpu": format!("{request}m"), "memory": "100Mi"}}}]}}));
            if let Decision::Node(name) = searcher.decide(&wanted, &cluster) {
                cluster.place(wanted, &name);
            }
            if let Some(gone) = leaving.get(at) {
                cluster.displace(&format!("p{}", gone.index(at + 1)));
            }
            let mut used = BTreeMap::new();
            for node in cluster.nodes() {
                used.insert(&node.facts.name, node.pods.iter().map(|pod| pod.requests.milli_cpu).sum::<i64>());
                prop_assert_eq!(used[&node.facts.name], node.requested.milli_cpu);
                prop_assert!(node.requested.milli_cpu <= node.facts.allocatable.milli_cpu);
                prop_assert!(node.pods.len() <= node.facts.max_pods);
            }
        }
    }
}
