//! One scheduling decision: which node for this pod in this cluster. A function of both, of
//! where the last search ended and of what was found out before; nothing else.

use std::sync::Arc;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugins::{self, Filter, LOCAL_SCORES, PluginSet, Rejection};
use crate::pod::PodInfo;

mod memo;
mod message;

use memo::{Memos, Verdict};
pub use message::{Failure, NO_VICTIMS, NOT_HELPFUL, counted};

/// With fewer nodes than this, all are looked at.
const SMALL_CLUSTER: usize = 100;

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The pod goes to this node.
    Node(String),
    /// No node fits.
    Unschedulable(Arc<Failure>),
}

/// Decides, and remembers what it found out about nodes that have not changed since.
#[derive(Debug, Default)]
pub struct Searcher {
    /// The slot where the next search starts, so that every node has its turn in a large cluster.
    start: usize,
    memos: Memos,
}

impl Searcher {
    /// The slot where the next search starts.
    pub fn turn(&self) -> usize {
        self.start
    }

    /// Decides on a node for `pod`.
    pub fn decide(&mut self, pod: &PodInfo, cluster: &Cluster) -> Decision {
        let filters = plugins::filters(&pod.shape, cluster);
        if let Some(node) = cluster.nomination(&pod.uid).filter(|node| node.known)
            && fits(pod, node, &filters).is_ok()
        {
            return Decision::Node(node.facts.name.clone());
        }
        let nominated = cluster.nomination(&pod.uid).is_some();
        let memo = self.memos.of(&pod.shape, cluster);
        // What is nominated for the pod itself leaves the room to it and to no other of its shape.
        if !nominated && let Some(failure) = memo.failure(cluster) {
            return Decision::Unschedulable(failure);
        }
        let total = cluster.slots().len();
        let enough = enough_nodes(cluster.known());
        let mut feasible: Vec<(&NodeInfo, [i32; LOCAL_SCORES.len()])> = Vec::with_capacity(enough);
        let mut rejections = Vec::new();
        let mut visited = 0;
        while visited < total && feasible.len() < enough {
            let node = &cluster.slots()[(self.start + visited) % total];
            visited += 1;
            if !node.known {
                continue;
            }
            let checked = match memo.verdict(node, cluster) {
                Verdict::Fits(raw) => beside_nominated(pod, node)
                    .and_then(|()| filters.iter().try_for_each(|filter| filter.filter(node)))
                    .map(|()| raw)
                    .map_err(Arc::new),
                Verdict::Rejected(rejection) => Err(rejection),
            };
            match checked {
                Ok(raw) => feasible.push((node, raw)),
                Err(rejection) => rejections.push((node.slot, rejection)),
            }
        }
        let turn = self.start;
        self.start = (self.start + visited) % total.max(1);
        if let Some(node) = best(pod, cluster, &feasible, turn) {
            return Decision::Node(node.facts.name.clone());
        }
        let failure = Arc::new(Failure { total: cluster.known(), rejections });
        if !nominated {
            memo.fail(cluster, failure.clone());
        }
        Decision::Unschedulable(failure)
    }
}

/// Whether `node` fits `pod`, also when those come that others were pushed off it for.
pub fn fits(pod: &PodInfo, node: &NodeInfo, filters: &[Box<dyn Filter + '_>]) -> Result<(), Rejection> {
    plugins::filter(&pod.shape, node)?;
    beside_nominated(pod, node)?;
    filters.iter().try_for_each(|filter| filter.filter(node))
}

/// Whether `pod` fits beside the pods that are nominated for `node` and as important.
fn beside_nominated(pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
    let ahead = |other: &&Arc<PodInfo>| other.priority >= pod.priority && other.uid != pod.uid;
    if !node.nominated.iter().any(|other| ahead(&other)) {
        return Ok(());
    }
    let mut later = node.clone();
    for other in node.nominated.iter().filter(ahead) {
        later.add(other.clone());
    }
    plugins::filter(&pod.shape, &later)
}

/// How many nodes that fit are enough to choose from: all in a small cluster, else a share that
/// falls from 50 % to 5 % as the cluster grows, and never fewer than 100 (upstream's rule).
fn enough_nodes(total: usize) -> usize {
    if total < SMALL_CLUSTER {
        return total;
    }
    let percentage = 50usize.saturating_sub(total / 125).max(5);
    (total * percentage / 100).max(SMALL_CLUSTER)
}

fn best<'a>(
    pod: &PodInfo,
    cluster: &Cluster,
    feasible: &[(&'a NodeInfo, [i32; LOCAL_SCORES.len()])],
    turn: usize,
) -> Option<&'a NodeInfo> {
    if feasible.len() < 2 {
        return feasible.first().map(|(node, _)| *node);
    }
    let mut totals = vec![0; feasible.len()];
    for (at, score) in LOCAL_SCORES.iter().enumerate() {
        plugins::add_scaled(&mut totals, score.scale, score.weight, feasible.iter().map(|(_, raw)| raw[at]));
    }
    let nodes: Vec<&NodeInfo> = feasible.iter().map(|(node, _)| *node).collect();
    for plugin in plugins::scores(&pod.shape, cluster) {
        for (total, score) in totals.iter_mut().zip(plugin.score(&nodes)) {
            *total += score * plugin.weight();
        }
    }
    let highest = totals.iter().copied().max()?;
    let equal: Vec<_> = (0..nodes.len()).filter(|at| totals[*at] == highest).collect();
    // Among equals take turns: upstream draws one at random.
    equal.get(turn % equal.len()).map(|at| nodes[*at])
}

/// The plugins that rejected the pod somewhere.
pub fn rejectors(failure: &Failure) -> PluginSet {
    failure.rejections.iter().fold(PluginSet::default(), |set, (_, rejection)| set.with(rejection.plugin))
}

#[cfg(test)]
mod tests;
