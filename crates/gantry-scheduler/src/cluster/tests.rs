//! What a cluster knows, in a form that can be compared, and slots that are used again.

use std::collections::BTreeMap;

use gantry_json::json;

use super::*;

impl Cluster {
    /// Everything that decisions depend on, without slots and generations.
    pub(crate) fn summary(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for node in self.nodes.iter().filter(|node| node.known || !node.pods.is_empty()) {
            let mut pods: Vec<_> = node.pods.iter().map(|pod| (&pod.uid, pod.terminating)).collect();
            pods.sort();
            let mut ports = node.ports.clone();
            ports.sort();
            let mut requested = node.requested.clone();
            requested.others.retain(|_, amount| *amount != 0);
            let images: BTreeMap<_, _> = node.facts.images.iter().collect();
            let domains: Vec<_> = ["rack", HOST, ZONE]
                .map(|key| {
                    (
                        key,
                        self.topologies.get(key).is_none_or(|all| {
                            self.nodes.iter().all(|other| {
                                let same = node.facts.labels.get(key) == other.facts.labels.get(key);
                                (all.domain(node.slot) == all.domain(other.slot)) == same
                            })
                        }),
                    )
                })
                .into();
            let facts = &node.facts;
            lines.push(format!(
                "{} {} {pods:?} {ports:?} {requested:?} {images:?} {domains:?} {:?} {:?} {:?}",
                facts.name, node.known, facts.labels, facts.allocatable, node.scoring_requested.milli_cpu
            ));
        }
        for group in self.groups.all() {
            let terms = self.groups.with_terms().any(|other| Arc::ptr_eq(&other.shape, &group.shape));
            for (slot, count) in &group.nodes {
                let node = &self.nodes[*slot].facts.name;
                let (shape, going) = (&group.shape, group.terminating);
                lines.push(format!("{node} {} {:?} {going} {terms} {count}", shape.namespace, shape.labels));
            }
        }
        lines.extend(self.images.iter().map(|(image, count)| format!("{image} on {count}")));
        lines.push(format!(
            "{} nodes, {} placed, {} nominated",
            self.known,
            self.placed.len(),
            self.nominated.len()
        ));
        lines.sort();
        lines
    }
}

fn node(name: &str) -> Node {
    gantry_json::from_value(json!({"metadata": {"name": name}})).expect("a node")
}

#[test]
fn slots_are_used_again_under_new_generations() {
    let mut cluster = Cluster::default();
    cluster.set_node(&node("a"));
    let first = cluster.node("a").map(|node| (node.slot, node.generation)).expect("there");
    assert!(!cluster.set_node(&node("a")), "nothing changed");
    cluster.remove_node("a");
    cluster.set_node(&node("b"));
    let second = cluster.node("b").map(|node| (node.slot, node.generation)).expect("there");
    assert!(first.0 == second.0 && first.1 < second.1);
    assert_eq!(cluster.known(), 1);
}
