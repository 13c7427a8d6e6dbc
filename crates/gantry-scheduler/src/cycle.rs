//! One scheduling decision: which node for this pod in this cluster. A function of both and of
//! where the last search ended; nothing else.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugins::{self, Rejection};
use crate::pod::PodInfo;

/// With fewer nodes than this, all are looked at.
const SMALL_CLUSTER: usize = 100;

/// What was decided.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// The pod goes to this node.
    Node(String),
    /// No node fits; the text is the event's and the condition's.
    Unschedulable(String),
}

/// Decides, starting the search at place `start`; also returns where the next one starts, so
/// that every node has its turn in a large cluster.
pub fn decide(pod: &PodInfo, cluster: &Cluster, start: usize) -> (Decision, usize) {
    let total = cluster.nodes().count();
    if total == 0 {
        return (Decision::Unschedulable("no nodes available to schedule pods".into()), start);
    }
    let enough = enough_nodes(total);
    let filters = plugins::filters(pod, cluster);
    let mut feasible: Vec<&NodeInfo> = Vec::new();
    let mut rejections = Vec::new();
    let mut visited = 0;
    while visited < cluster.places() && feasible.len() < enough {
        let node = cluster.node_at(start + visited);
        visited += 1;
        let Some(node) = node.filter(|node| node.known) else { continue };
        match filters.iter().try_for_each(|filter| filter.filter(pod, node)) {
            Ok(()) => feasible.push(node),
            Err(rejection) => rejections.push(rejection),
        }
    }
    let next = (start + visited) % cluster.places().max(1);
    match best(pod, cluster, &feasible, start) {
        Some(node) => (Decision::Node(node.name.clone()), next),
        None => (Decision::Unschedulable(message(pod, total, &rejections)), next),
    }
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
    feasible: &[&'a NodeInfo],
    turn: usize,
) -> Option<&'a NodeInfo> {
    if feasible.len() < 2 {
        return feasible.first().copied();
    }
    let mut totals = vec![0; feasible.len()];
    for plugin in plugins::scores(pod, cluster) {
        for (total, score) in totals.iter_mut().zip(plugin.score(pod, feasible)) {
            *total += score * plugin.weight();
        }
    }
    let highest = totals.iter().copied().max()?;
    let equal: Vec<_> = (0..feasible.len()).filter(|at| totals[*at] == highest).collect();
    // Among equals take turns: upstream draws one at random.
    equal.get(turn % equal.len()).map(|at| feasible[*at])
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) ... preemption: ...`.
fn message(pod: &PodInfo, total: usize, rejections: &[Rejection]) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in rejections.iter().flat_map(|rejection| &rejection.reasons) {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut text = format!("0/{total} nodes are available: {}.", counted(&reasons));
    if !pod.preempts {
        text.push_str(" preemption: not eligible due to preemptionPolicy=Never.");
        return text;
    }
    let mut helpful: BTreeMap<&str, usize> = BTreeMap::new();
    for rejection in rejections {
        let why = if rejection.resolvable {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        };
        *helpful.entry(why).or_default() += 1;
    }
    let _ = write!(
        text,
        " no new claims to deallocate, preemption: 0/{total} nodes are available: {}.",
        counted(&helpful)
    );
    text
}

fn counted(reasons: &BTreeMap<&str, usize>) -> String {
    let mut parts: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    parts.join(", ")
}

#[cfg(test)]
mod tests;
