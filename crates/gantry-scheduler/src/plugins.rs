//! Scheduling plugins: filters say on which nodes a pod may run, scores which of those is best.
//!
//! Some look at one node alone; what they find stays true until the node changes and is
//! remembered per shape. The others, made anew for each pod, count over the whole cluster. The
//! set and the weights are upstream's defaults but for volumes and resource claims. Of the rest
//! of upstream's set, the queue keeps gated pods back and pods that name their node never come.

pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_ports;
pub mod node_resources;
pub mod node_unschedulable;
pub mod taint_toleration;
pub mod topology_spread;

use std::borrow::Cow;

use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::shape::Shape;

/// The best score a plugin gives, before its weight.
pub const MAX_SCORE: i64 = 100;

/// A plugin that rejects nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// Cordoned nodes.
    NodeUnschedulable,
    /// Taints.
    TaintToleration,
    /// Node selector and affinity.
    NodeAffinity,
    /// Ports of the node.
    NodePorts,
    /// Requests.
    NodeResourcesFit,
    /// Topology spread constraints.
    PodTopologySpread,
    /// Affinity between pods.
    InterPodAffinity,
}

/// Plugins that rejected a pod somewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginSet(u8);

impl PluginSet {
    /// The set with `plugin`.
    pub fn with(self, plugin: Plugin) -> Self {
        Self(self.0 | 1 << plugin as u8)
    }

    /// The plugins of both sets.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `plugin` is in it.
    pub fn has(self, plugin: Plugin) -> bool {
        self.0 & 1 << plugin as u8 != 0
    }

    /// Whether no plugin is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Why a node does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Whose rejection it is.
    pub plugin: Plugin,
    /// The words in the event, such as `Insufficient cpu`.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether ending other pods on the node could make it fit.
    pub resolvable: bool,
}

impl Rejection {
    /// A rejection that ending pods cannot undo.
    pub fn permanent(plugin: Plugin, reason: &'static str) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: false }
    }

    /// A rejection that ending pods could undo.
    pub fn resolvable(plugin: Plugin, reason: &'static str) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: true }
    }
}

/// Says whether a node, seen alone, fits.
type LocalFilter = fn(&Shape, &NodeInfo) -> Result<(), Rejection>;

/// The filters that look at one node alone, cheapest first, in upstream's order.
const LOCAL_FILTERS: [LocalFilter; 5] = [
    node_unschedulable::filter,
    taint_toleration::filter,
    node_affinity::filter,
    node_ports::filter,
    node_resources::filter,
];

/// Whether `node`, seen alone, fits.
pub fn filter(shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
    LOCAL_FILTERS.iter().try_for_each(|filter| filter(shape, node))
}

/// How raw scores of nodes are made comparable with other plugins'.
#[derive(Debug, Clone, Copy)]
pub enum Scale {
    /// They are.
    None,
    /// In proportion to the highest, which is best.
    Up,
    /// In proportion to the highest, which is worst.
    Down,
}

/// A score that looks at one node alone.
pub struct LocalScore {
    /// How much it counts.
    pub weight: i64,
    /// How the raw scores are scaled.
    pub scale: Scale,
    /// The raw score.
    pub raw: fn(&Shape, &NodeInfo, &Cluster) -> i32,
}

/// The scores that look at one node alone.
pub const LOCAL_SCORES: [LocalScore; 5] = [
    LocalScore { weight: 3, scale: Scale::Down, raw: taint_toleration::score },
    LocalScore { weight: 2, scale: Scale::Up, raw: node_affinity::score },
    LocalScore { weight: 1, scale: Scale::None, raw: node_resources::least_allocated },
    LocalScore { weight: 1, scale: Scale::None, raw: node_resources::balanced },
    LocalScore { weight: 1, scale: Scale::None, raw: image_locality::score },
];

/// Says whether a node fits a pod among all others.
pub trait Filter {
    /// `Ok` where the pod may run on `node`.
    fn filter(&self, node: &NodeInfo) -> Result<(), Rejection>;
}

/// Says how well the nodes that fit suit a pod among all others.
pub trait Score {
    /// How much the plugin's scores count.
    fn weight(&self) -> i64;

    /// A score for each of `nodes`, 0 to [`MAX_SCORE`].
    fn score(&self, nodes: &[&NodeInfo]) -> Vec<i64>;
}

/// The filters for a pod that count over the whole cluster.
pub fn filters<'a>(shape: &'a Shape, cluster: &'a Cluster) -> Vec<Box<dyn Filter + 'a>> {
    let mut filters: Vec<Box<dyn Filter + 'a>> = Vec::new();
    filters.extend(topology_spread::filter(shape, cluster));
    filters.extend(inter_pod_affinity::filter(shape, cluster));
    filters
}

/// The scores for a pod that count over the whole cluster.
pub fn scores<'a>(shape: &'a Shape, cluster: &'a Cluster) -> Vec<Box<dyn Score + 'a>> {
    let mut scores: Vec<Box<dyn Score + 'a>> = Vec::new();
    scores.extend(topology_spread::score(shape, cluster));
    scores.extend(inter_pod_affinity::score(shape, cluster));
    scores
}

/// Adds raw scores, scaled and weighed, to `totals`.
pub fn add_scaled(totals: &mut [i64], scale: Scale, weight: i64, raw: impl Iterator<Item = i32> + Clone) {
    let highest = i64::from(raw.clone().max().unwrap_or_default());
    for (total, score) in totals.iter_mut().zip(raw) {
        let up = |score: i64| if highest == 0 { 0 } else { score * MAX_SCORE / highest };
        *total += weight
            * match scale {
                Scale::None => score.into(),
                Scale::Up => up(score.into()),
                Scale::Down => MAX_SCORE - up(score.into()),
            };
    }
}
