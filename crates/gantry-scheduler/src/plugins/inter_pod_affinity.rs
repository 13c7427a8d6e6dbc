//! Affinity and anti-affinity between pods, of the pod to be placed and of those that are.

use std::collections::HashMap;

use super::{Filter, MAX_SCORE, Plugin, Rejection, Score};
use crate::cluster::{Cluster, Group, Topology};
use crate::node::NodeInfo;
use crate::shape::{AffinityTerm, Shape};

/// Domains of one label that something is true of.
struct Marked<'a> {
    topology: &'a Topology,
    marks: Vec<bool>,
}

impl<'a> Marked<'a> {
    fn new(topology: &'a Topology) -> Self {
        Self { topology, marks: vec![false; topology.len()] }
    }

    fn mark(&mut self, group: &Group) {
        for slot in group.nodes.keys() {
            if let Some(domain) = self.topology.domain(*slot) {
                self.marks[domain] = true;
            }
        }
    }

    fn has(&self, node: &NodeInfo) -> bool {
        self.topology.domain(node.slot).is_some_and(|domain| self.marks[domain])
    }
}

struct Required<'a> {
    /// Per affinity term of the pod: domains that hold a pod matching every term.
    wanted: Vec<Option<Marked<'a>>>,
    /// Whether the pod is the first of its group: no pod matches, but it would itself.
    first_of_group: bool,
    /// Per anti-affinity term of the pod: domains that hold a pod it must not be with.
    avoided: Vec<Marked<'a>>,
    /// Per label: domains whose pods must not be with this one.
    closed: HashMap<&'a str, Marked<'a>>,
}

/// The filter for a pod, where it or a placed pod has terms.
pub fn filter<'a>(shape: &'a Shape, cluster: &'a Cluster) -> Option<Box<dyn Filter + 'a>> {
    let namespaces = cluster.namespaces();
    let mut closed: HashMap<&str, Marked<'_>> = HashMap::new();
    for group in cluster.groups().with_terms() {
        for term in group.shape.anti_affinity.iter().filter(|term| term.selects(shape, namespaces)) {
            if let Some(topology) = cluster.topology(&term.topology_key) {
                closed.entry(&term.topology_key).or_insert_with(|| Marked::new(topology)).mark(group);
            }
        }
    }
    if shape.affinity.is_empty() && shape.anti_affinity.is_empty() && closed.is_empty() {
        return None;
    }
    let marked = |term: &AffinityTerm| cluster.topology(&term.topology_key).map(Marked::new);
    let mut wanted: Vec<_> = shape.affinity.iter().map(marked).collect();
    let mut first_of_group = true;
    if !wanted.is_empty() {
        for group in groups(cluster, &shape.affinity) {
            if shape.affinity.iter().all(|term| term.selects(&group.shape, namespaces)) {
                wanted.iter_mut().flatten().for_each(|wanted| wanted.mark(group));
            }
        }
        let none = |marked: &Marked<'_>| !marked.marks.contains(&true);
        first_of_group = wanted.iter().flatten().all(none)
            && shape.affinity.iter().all(|term| term.selects(shape, namespaces));
    }
    let mut avoided = Vec::new();
    for term in &shape.anti_affinity {
        let Some(mut marked) = marked(term) else { continue };
        groups(cluster, std::slice::from_ref(term))
            .filter(|group| term.selects(&group.shape, namespaces))
            .for_each(|group| marked.mark(group));
        avoided.push(marked);
    }
    Some(Box::new(Required { wanted, first_of_group, avoided, closed }))
}

/// The groups that may be in the namespaces of the first of `terms`.
fn groups<'a>(cluster: &'a Cluster, terms: &'a [AffinityTerm]) -> Box<dyn Iterator<Item = &'a Group> + 'a> {
    match terms.first() {
        Some(term) if term.namespace_selector.is_absent() => {
            Box::new(term.namespaces.iter().flat_map(|namespace| cluster.groups().of(namespace)))
        }
        _ => Box::new(cluster.groups().all()),
    }
}

impl Filter for Required<'_> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        for wanted in &self.wanted {
            let (labelled, there) = match wanted {
                Some(marked) => (marked.topology.domain(node.slot).is_some(), marked.has(node)),
                None => (false, false),
            };
            if !(there || self.first_of_group && labelled) {
                let reason = "node(s) didn't match pod affinity rules";
                return Err(Rejection::permanent(Plugin::InterPodAffinity, reason));
            }
        }
        let resolvable = |reason| Err(Rejection::resolvable(Plugin::InterPodAffinity, reason));
        if self.avoided.iter().any(|marked| marked.has(node)) {
            return resolvable("node(s) didn't match pod anti-affinity rules");
        }
        if self.closed.values().any(|marked| marked.has(node)) {
            return resolvable("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Ok(())
    }
}

/// Per label: what each domain is worth.
struct Preferred<'a>(HashMap<&'a str, (&'a Topology, Vec<i64>)>);

impl<'a> Preferred<'a> {
    fn add(&mut self, cluster: &'a Cluster, term: &'a AffinityTerm, weight: i64, group: &Group) {
        let Some(topology) = cluster.topology(&term.topology_key) else { return };
        let entry = self.0.entry(&term.topology_key).or_insert_with(|| (topology, vec![0; topology.len()]));
        for (slot, count) in &group.nodes {
            if let Some(domain) = topology.domain(*slot) {
                entry.1[domain] += weight * count;
            }
        }
    }
}

/// The score for a pod, where it or a placed pod prefers anything.
pub fn score<'a>(shape: &'a Shape, cluster: &'a Cluster) -> Option<Box<dyn Score + 'a>> {
    let namespaces = cluster.namespaces();
    let mut preferred = Preferred(HashMap::new());
    for term in &shape.preferred_affinity {
        for group in groups(cluster, std::slice::from_ref(term)) {
            if term.selects(&group.shape, namespaces) {
                preferred.add(cluster, term, term.weight, group);
            }
        }
    }
    for group in cluster.groups().with_terms() {
        for term in group.shape.preferred_affinity.iter().filter(|term| term.selects(shape, namespaces)) {
            preferred.add(cluster, term, term.weight, group);
        }
        // A pod that must be with this one attracts it, with upstream's hard weight of 1.
        for term in group.shape.affinity.iter().filter(|term| term.selects(shape, namespaces)) {
            preferred.add(cluster, term, 1, group);
        }
    }
    (!preferred.0.is_empty()).then(|| Box::new(preferred) as Box<dyn Score + 'a>)
}

impl Score for Preferred<'_> {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, nodes: &[&NodeInfo]) -> Vec<i64> {
        let worth = |node: &&NodeInfo| -> i64 {
            let of = |(topology, worth): &(&Topology, Vec<i64>)| Some(worth[topology.domain(node.slot)?]);
            self.0.values().filter_map(of).sum()
        };
        let raw: Vec<i64> = nodes.iter().map(worth).collect();
        let most = raw.iter().copied().max().unwrap_or_default();
        let least = raw.iter().copied().min().unwrap_or_default();
        raw.into_iter()
            .map(|score| if most == least { 0 } else { (score - least) * MAX_SCORE / (most - least) })
            .collect()
    }
}
