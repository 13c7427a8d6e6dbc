//! Node selector and node affinity.

use super::{Filter, Rejection, Score, normalize};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The plugin.
pub struct NodeAffinity;

impl Filter for NodeAffinity {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if pod.wants_node(&node.name, &node.labels) {
            return Ok(());
        }
        Err(Rejection::permanent("node(s) didn't match Pod's node affinity/selector"))
    }
}

impl Score for NodeAffinity {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
        let mut raw: Vec<i64> = nodes
            .iter()
            .map(|node| {
                let matching = pod
                    .preferred_node_terms
                    .iter()
                    .filter(|(_, term)| term.matches(&node.name, &node.labels));
                matching.map(|(weight, _)| weight).sum()
            })
            .collect();
        normalize(&mut raw, false);
        raw
    }
}
