//! Scheduling plugins: filters say on which nodes a pod may run, scores which of those is best.

pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources;
pub mod node_unschedulable;
pub mod taint_toleration;
pub mod topology_spread;

use std::borrow::Cow;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// The best score a plugin gives, before its weight.
pub const MAX_SCORE: i64 = 100;

/// Why a node does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The words in the event, such as `Insufficient cpu`.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether ending other pods on the node could make it fit.
    pub resolvable: bool,
}

impl Rejection {
    /// A rejection that ending pods cannot undo.
    pub fn permanent(reason: &'static str) -> Self {
        Self { reasons: vec![reason.into()], resolvable: false }
    }

    /// A rejection that ending pods could undo.
    pub fn resolvable(reason: &'static str) -> Self {
        Self { reasons: vec![reason.into()], resolvable: true }
    }
}

/// Says whether a node fits a pod. Made once per pod, so that what depends on the whole cluster
/// is computed once.
pub trait Filter {
    /// `Ok` where the pod may run on `node`.
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection>;
}

/// Says how well the nodes that fit suit a pod.
pub trait Score {
    /// How much the plugin's scores count.
    fn weight(&self) -> i64;

    /// A score for each of `nodes`, 0 to [`MAX_SCORE`].
    fn score(&self, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64>;
}

/// The filters for `pod`, cheapest and most selective first, in upstream's order.
pub fn filters(pod: &PodInfo, cluster: &Cluster) -> Vec<Box<dyn Filter>> {
    let mut filters: Vec<Box<dyn Filter>> = vec![
        Box::new(node_unschedulable::NodeUnschedulable),
        Box::new(node_name::NodeName),
        Box::new(taint_toleration::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(node_ports::NodePorts),
        Box::new(node_resources::Fit),
    ];
    filters.extend(topology_spread::filter(pod, cluster));
    filters.extend(inter_pod_affinity::filter(pod, cluster));
    filters
}

/// The scores for `pod`, with upstream's default weights.
pub fn scores(pod: &PodInfo, cluster: &Cluster) -> Vec<Box<dyn Score>> {
    let mut scores: Vec<Box<dyn Score>> = vec![
        Box::new(taint_toleration::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(node_resources::Fit),
        Box::new(node_resources::Balanced),
    ];
    scores.push(Box::new(topology_spread::Spreading::new(pod, cluster)));
    scores.extend(inter_pod_affinity::score(pod, cluster));
    scores
}

/// Scales raw scores linearly so that the highest becomes [`MAX_SCORE`]; with `reverse`, so
/// that the lowest raw score is best.
pub fn normalize(raw: &mut [i64], reverse: bool) {
    let highest = raw.iter().copied().max().unwrap_or_default();
    for score in raw.iter_mut() {
        let scaled = if highest == 0 { 0 } else { *score * MAX_SCORE / highest };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
