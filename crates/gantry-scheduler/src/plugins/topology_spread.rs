//! Topology spread: hard constraints filter, soft ones score. Pods without constraints are
//! spread over hosts and zones by default, as upstream's system defaults do, by the labels they
//! share with the pods already there.

use super::{Filter, MAX_SCORE, Plugin, Rejection, Score, taint_toleration};
use crate::cluster::{Cluster, Group, HOST, Topology, ZONE};
use crate::node::NodeInfo;
use crate::requirement::Labels;
use crate::shape::{Shape, Spread};

/// Labels in which the replicas of one controller differ.
const REPLICA_LABELS: [&str; 4] = [
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
];

/// How many pods that `counts` are on the node in each slot.
fn count(shape: &Shape, cluster: &Cluster, counts: impl Fn(&Labels) -> bool) -> Vec<i64> {
    let mut found = vec![0; cluster.slots().len()];
    let groups = cluster.groups().of(&shape.namespace);
    for group in groups.filter(|group: &&Group| !group.terminating && counts(&group.shape.labels)) {
        for (slot, count) in &group.nodes {
            found[*slot] += count;
        }
    }
    found
}

/// Whether pods on `node` are counted.
fn included(shape: &Shape, spread: &Spread, node: &NodeInfo) -> bool {
    node.known
        && (!spread.honor_affinity || shape.wants_node(&node.facts.name, &node.facts.labels))
        && (!spread.honor_taints || taint_toleration::stands(shape, &node.facts.taints))
}

/// A hard constraint with the pods of each domain.
struct Hard<'a> {
    spread: &'a Spread,
    topology: Option<&'a Topology>,
    /// `None` for a domain without an included node.
    domains: Vec<Option<i64>>,
    least: i64,
    /// One where the pod itself will be counted.
    own: i64,
}

impl<'a> Hard<'a> {
    fn new(shape: &'a Shape, spread: &'a Spread, cluster: &'a Cluster) -> Self {
        let topology = cluster.topology(&spread.topology_key);
        let own = i64::from(spread.selector.matches(&shape.labels));
        let mut hard = Self { spread, topology, domains: Vec::new(), least: 0, own };
        let Some(topology) = topology else { return hard };
        hard.domains.resize(topology.len(), None);
        let keys: Vec<_> =
            shape.hard_spread.iter().map(|each| cluster.topology(&each.topology_key)).collect();
        let complete =
            |node: &NodeInfo| keys.iter().all(|key| key.is_some_and(|key| key.domain(node.slot).is_some()));
        let counts = count(shape, cluster, |labels| spread.selector.matches(labels));
        for node in cluster.nodes().filter(|node| included(shape, spread, node) && complete(node)) {
            if let Some(domain) = topology.domain(node.slot) {
                *hard.domains[domain].get_or_insert(0) += counts[node.slot];
            }
        }
        let there = hard.domains.iter().flatten();
        if there.clone().count() as i64 >= spread.min_domains {
            hard.least = there.copied().min().unwrap_or_default();
        }
        hard
    }
}

/// The filter for a pod, where it has hard constraints.
pub fn filter<'a>(shape: &'a Shape, cluster: &'a Cluster) -> Option<Box<dyn Filter + 'a>> {
    if shape.hard_spread.is_empty() {
        return None;
    }
    let hard: Vec<_> = shape.hard_spread.iter().map(|spread| Hard::new(shape, spread, cluster)).collect();
    Some(Box::new(hard))
}

impl Filter for Vec<Hard<'_>> {
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection> {
        for hard in self {
            let Some(domain) = hard.topology.and_then(|topology| topology.domain(node.slot)) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Rejection::permanent(Plugin::PodTopologySpread, reason));
            };
            let there = hard.domains[domain].unwrap_or_default();
            if there + hard.own - hard.least > hard.spread.max_skew {
                let reason = "node(s) didn't match pod topology spread constraints";
                return Err(Rejection::resolvable(Plugin::PodTopologySpread, reason));
            }
        }
        Ok(())
    }
}

/// A soft constraint with the pods on each node.
struct Soft<'a> {
    key: &'a str,
    max_skew: i64,
    topology: Option<&'a Topology>,
    /// By slot for hosts, else by domain.
    counts: Vec<i64>,
}

/// The score.
struct Spreading<'a> {
    soft: Vec<Soft<'a>>,
    /// Whether nodes without every label score nothing; not so for the defaults.
    strict: bool,
}

/// The score for a pod, where constraints or defaults spread it.
pub fn score<'a>(shape: &'a Shape, cluster: &'a Cluster) -> Option<Box<dyn Score + 'a>> {
    if shape.soft_spread.is_empty() && !shape.hard_spread.is_empty() {
        return None;
    }
    if shape.soft_spread.is_empty() {
        return spread_by_default(shape, cluster);
    }
    let soft = shape.soft_spread.iter().map(|spread| {
        let by_slot = count(shape, cluster, |labels| spread.selector.matches(labels));
        let include = |node: &NodeInfo| included(shape, spread, node);
        Soft::new(&spread.topology_key, spread.max_skew, cluster, by_slot, include)
    });
    Some(Box::new(Spreading { soft: soft.collect(), strict: true }))
}

fn spread_by_default<'a>(shape: &'a Shape, cluster: &'a Cluster) -> Option<Box<dyn Score + 'a>> {
    fn own(labels: &Labels) -> impl Iterator<Item = (&String, &String)> {
        labels.iter().filter(|(key, _)| !REPLICA_LABELS.contains(&key.as_str()))
    }
    if shape.labels.is_empty() {
        return None;
    }
    let alike = count(shape, cluster, |labels| own(labels).eq(own(&shape.labels)));
    let include = |node: &NodeInfo| shape.wants_node(&node.facts.name, &node.facts.labels);
    let zones = Soft::new(ZONE, 5, cluster, alike.clone(), include);
    let hosts = Soft::new(HOST, 3, cluster, alike, include);
    Some(Box::new(Spreading { soft: vec![hosts, zones], strict: false }))
}

impl<'a> Soft<'a> {
    fn new(
        key: &'a str,
        max_skew: i64,
        cluster: &'a Cluster,
        by_slot: Vec<i64>,
        include: impl Fn(&NodeInfo) -> bool,
    ) -> Self {
        let topology = cluster.topology(key);
        let mut soft = Self { key, max_skew, topology, counts: by_slot };
        if let Some(topology) = topology
            && key != HOST
        {
            let by_slot = std::mem::replace(&mut soft.counts, vec![0; topology.len()]);
            for node in cluster.nodes().filter(|node| by_slot[node.slot] > 0 && include(node)) {
                if let Some(domain) = topology.domain(node.slot) {
                    soft.counts[domain] += by_slot[node.slot];
                }
            }
        }
        soft
    }

    /// How many domains `nodes` are in.
    fn size(&self, nodes: &[&NodeInfo]) -> usize {
        let Some(topology) = self.topology else { return 0 };
        if self.key == HOST {
            return nodes.len();
        }
        let mut seen = vec![false; topology.len()];
        nodes.iter().filter_map(|node| topology.domain(node.slot)).for_each(|domain| seen[domain] = true);
        seen.into_iter().filter(|seen| *seen).count()
    }

    fn there(&self, node: &NodeInfo) -> Option<i64> {
        let domain = self.topology?.domain(node.slot)?;
        Some(self.counts[if self.key == HOST { node.slot } else { domain }])
    }
}

impl Score for Spreading<'_> {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, nodes: &[&NodeInfo]) -> Vec<i64> {
        let weights: Vec<f64> = self.soft.iter().map(|soft| ((soft.size(nodes) + 2) as f64).ln()).collect();
        let fullness = |node: &&NodeInfo| {
            let mut sum = 0.0;
            for (soft, weight) in self.soft.iter().zip(&weights) {
                match soft.there(node) {
                    Some(there) => sum += there as f64 * weight + (soft.max_skew - 1) as f64,
                    None if self.strict => return None,
                    None => {}
                }
            }
            Some(sum.round() as i64)
        };
        let fullness: Vec<Option<i64>> = nodes.iter().map(fullness).collect();
        let most = fullness.iter().flatten().copied().max().unwrap_or_default();
        let least = fullness.iter().flatten().copied().min().unwrap_or_default();
        fullness
            .into_iter()
            .map(|full| match full {
                None => 0,
                Some(_) if most == 0 => MAX_SCORE,
                Some(full) => MAX_SCORE * (most + least - full) / most,
            })
            .collect()
    }
}
