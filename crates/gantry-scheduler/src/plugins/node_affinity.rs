//! Node selector and node affinity.

use super::{Plugin, Rejection};
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::shape::Shape;

/// Whether the pod wants the node.
pub fn filter(shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
    if shape.wants_node(&node.facts.name, &node.facts.labels) {
        return Ok(());
    }
    Err(Rejection::permanent(Plugin::NodeAffinity, "node(s) didn't match Pod's node affinity/selector"))
}

/// The weights of the preferred terms that match.
pub fn score(shape: &Shape, node: &NodeInfo, _: &Cluster) -> i32 {
    let terms = shape.preferred_node_terms.iter();
    let matching = terms.filter(|(_, term)| term.matches(&node.facts.name, &node.facts.labels));
    matching.map(|(weight, _)| *weight as i32).sum()
}
