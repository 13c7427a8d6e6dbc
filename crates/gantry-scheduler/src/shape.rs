//! What placing a pod depends on. The replicas of one controller share it, so that what was
//! found out for one serves the next.

use crate::requirement::{Labels, Namespaces, NodeTerm, Requirement, Selector};
use crate::resources::Resources;

mod compile;

/// A port on the node's own addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The address, `0.0.0.0` for all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |ip: &str| ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || any(&self.ip) || any(&other.ip))
    }
}

/// A toleration.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// The taint's key; empty for every key.
    pub key: String,
    /// `Exists`, or `Equal`.
    pub operator: String,
    /// The taint's value, for `Equal`.
    pub value: String,
    /// The taint's effect; empty for every effect.
    pub effect: String,
}

/// A term of pod affinity or anti-affinity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AffinityTerm {
    /// Namespaces it looks into.
    pub namespaces: Vec<String>,
    /// Chooses more namespaces by their labels.
    pub namespace_selector: Selector,
    /// The pods it looks for.
    pub selector: Selector,
    /// The node label whose value makes a domain.
    pub topology_key: String,
    /// For preferred terms 1 to 100.
    pub weight: i64,
}

impl AffinityTerm {
    /// Whether the term is about a pod of this shape.
    pub fn selects(&self, shape: &Shape, namespaces: &Namespaces) -> bool {
        self.selector.matches(&shape.labels)
            && (self.namespaces.contains(&shape.namespace)
                || match namespaces.get(&shape.namespace) {
                    Some(labels) => self.namespace_selector.matches(labels),
                    None => self.namespace_selector.matches(&Labels::new()),
                })
    }
}

/// A topology spread constraint.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spread {
    /// How much fuller than the emptiest a domain may be.
    pub max_skew: i64,
    /// Fewer domains than this count as one empty one.
    pub min_domains: i64,
    /// The node label whose value makes a domain.
    pub topology_key: String,
    /// The pods that are counted.
    pub selector: Selector,
    /// Whether nodes that the pod's node affinity excludes are left out.
    pub honor_affinity: bool,
    /// Whether nodes whose taints the pod does not tolerate are left out.
    pub honor_taints: bool,
}

/// What placing a pod depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Shape {
    /// The pod's namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Higher goes first.
    pub priority: i32,
    /// Whether it may push others out.
    pub preempts: bool,
    /// What it needs of a node.
    pub requests: Resources,
    /// As `requests`, with defaults for what is not asked for: only for comparing nodes.
    pub scoring_requests: Resources,
    /// Its ports on the node.
    pub host_ports: Vec<HostPort>,
    /// Images of its containers, with their tags.
    pub images: Vec<String>,
    /// Labels its node must have.
    pub node_selector: Vec<Requirement>,
    /// One of these terms must match its node, where there are any.
    pub node_terms: Option<Vec<NodeTerm>>,
    /// Terms that make a node better.
    pub preferred_node_terms: Vec<(i64, NodeTerm)>,
    /// Taints it stands.
    pub tolerations: Vec<Toleration>,
    /// Spread constraints that must hold.
    pub hard_spread: Vec<Spread>,
    /// Spread constraints that should hold.
    pub soft_spread: Vec<Spread>,
    /// Pods it must be with.
    pub affinity: Vec<AffinityTerm>,
    /// Pods it must not be with.
    pub anti_affinity: Vec<AffinityTerm>,
    /// Pods it wants to be with, or (negative weight) not.
    pub preferred_affinity: Vec<AffinityTerm>,
}

impl Shape {
    /// Whether the node of this `name` and these `labels` meets the pod's node selector and
    /// required node affinity.
    pub fn wants_node(&self, name: &str, labels: &Labels) -> bool {
        self.node_selector.iter().all(|each| each.matches(labels))
            && self
                .node_terms
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }

    /// Whether other pods' places depend on where this one is.
    pub fn has_terms(&self) -> bool {
        !(self.affinity.is_empty() && self.anti_affinity.is_empty() && self.preferred_affinity.is_empty())
    }

    /// The node labels that make this pod's domains.
    pub fn topology_keys(&self) -> impl Iterator<Item = &str> {
        let terms = self.affinity.iter().chain(&self.anti_affinity).chain(&self.preferred_affinity);
        let spreads = self.hard_spread.iter().chain(&self.soft_spread);
        terms.map(|term| &*term.topology_key).chain(spreads.map(|spread| &*spread.topology_key))
    }
}
