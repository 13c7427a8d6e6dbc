//! A pod as scheduling sees it: the fields it decides on, compiled once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    Pod, PodAffinityTerm, PreferredSchedulingTerm, Toleration, TopologySpreadConstraint,
    WeightedPodAffinityTerm,
};

use crate::requirement::{Labels, NodeTerm, Requirement, Selector};
use crate::resources::{Resources, pod_requests};

/// A port on the node's own addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// A term of pod affinity or anti-affinity.
#[derive(Debug, Clone)]
pub struct AffinityTerm {
    /// The namespaces it looks into; `None`: all.
    pub namespaces: Option<Vec<String>>,
    /// The pods it looks for.
    pub selector: Selector,
    /// The node label whose value makes a domain.
    pub topology_key: String,
    /// For preferred terms 1 to 100.
    pub weight: i64,
}

impl AffinityTerm {
    /// Whether the term is about `pod`.
    pub fn selects(&self, pod: &PodInfo) -> bool {
        self.namespaces.as_ref().is_none_or(|list| list.contains(&pod.namespace))
            && self.selector.matches(&pod.labels)
    }
}

/// A topology spread constraint.
#[derive(Debug, Clone)]
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

/// The pod.
#[derive(Debug, Clone, Default)]
pub struct PodInfo {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity of this incarnation.
    pub uid: String,
    /// The revision this was read at.
    pub resource_version: String,
    /// Labels.
    pub labels: Labels,
    /// The node it is bound to.
    pub node_name: Option<String>,
    /// Higher goes first.
    pub priority: i32,
    /// Whether it may push others out.
    pub preempts: bool,
    /// Since when it exists, seconds since the epoch.
    pub created: i64,
    /// Which scheduler it is for.
    pub scheduler_name: String,
    /// Names of gates that hold it back.
    pub gates: Vec<String>,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it has ended.
    pub finished: bool,
    /// What it needs of a node.
    pub requests: Resources,
    /// As `requests`, with defaults for what is not asked for: only for comparing nodes.
    pub scoring_requests: Resources,
    /// Its ports on the node.
    pub host_ports: Vec<HostPort>,
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

impl PodInfo {
    /// The facts of `pod`.
    pub fn new(pod: &Pod) -> Arc<Self> {
        let meta = &pod.metadata;
        let namespace = meta.namespace.clone().unwrap_or_default();
        let labels = meta.labels.clone().unwrap_or_default();
        let mut info = Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
            terminating: meta.deletion_timestamp.is_some(),
            requests: pod_requests(pod, false),
            scoring_requests: pod_requests(pod, true),
            ..Self::default()
        };
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        info.finished = matches!(phase, Some("Succeeded" | "Failed"));
        if let Some(spec) = &pod.spec {
            info.node_name = spec.node_name.clone().filter(|name| !name.is_empty());
            info.priority = spec.priority.unwrap_or_default();
            info.preempts = spec.preemption_policy.as_deref() != Some("Never");
            info.scheduler_name = spec.scheduler_name.clone().unwrap_or_default();
            info.gates = spec.scheduling_gates.iter().flatten().map(|gate| gate.name.clone()).collect();
            info.node_selector = spec
                .node_selector
                .iter()
                .flatten()
                .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
                .collect();
            info.tolerations = spec.tolerations.clone().unwrap_or_default();
            let host_network = spec.host_network == Some(true);
            let sidecars = spec
                .init_containers
                .iter()
                .flatten()
                .filter(|container| container.restart_policy.as_deref() == Some("Always"));
            for port in spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten()) {
                let number = port.host_port.unwrap_or(if host_network { port.container_port } else { 0 });
                if number > 0 {
                    let ip = port.host_ip.clone().filter(|ip| !ip.is_empty());
                    info.host_ports.push(HostPort {
                        ip: ip.unwrap_or_else(|| "0.0.0.0".into()),
                        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                        port: number,
                    });
                }
            }
            for constraint in spec.topology_spread_constraints.iter().flatten() {
                let spread = spread(constraint, &labels);
                match constraint.when_unsatisfiable.as_str() {
                    "ScheduleAnyway" => info.soft_spread.push(spread),
                    _ => info.hard_spread.push(spread),
                }
            }
            if let Some(affinity) = &spec.affinity {
                info.take_affinity(affinity, &namespace, &labels);
            }
        }
        info.namespace = namespace;
        info.labels = labels;
        Arc::new(info)
    }

    fn take_affinity(
        &mut self,
        affinity: &k8s_openapi::api::core::v1::Affinity,
        namespace: &str,
        labels: &Labels,
    ) {
        let required = |terms: &Option<Vec<PodAffinityTerm>>| {
            terms.iter().flatten().map(|term| affinity_term(term, 0, namespace, labels)).collect()
        };
        let preferred = |terms: &Option<Vec<WeightedPodAffinityTerm>>, sign: i64| {
            terms
                .iter()
                .flatten()
                .map(|term| {
                    affinity_term(&term.pod_affinity_term, sign * i64::from(term.weight), namespace, labels)
                })
                .collect::<Vec<_>>()
        };
        if let Some(node) = &affinity.node_affinity {
            self.node_terms = node
                .required_during_scheduling_ignored_during_execution
                .as_ref()
                .map(|selector| selector.node_selector_terms.iter().map(NodeTerm::new).collect());
            self.preferred_node_terms = node
                .preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
                .map(|PreferredSchedulingTerm { weight, preference }| {
                    (i64::from(*weight), NodeTerm::new(preference))
                })
                .collect();
        }
        if let Some(pods) = &affinity.pod_affinity {
            self.affinity = required(&pods.required_during_scheduling_ignored_during_execution);
            self.preferred_affinity =
                preferred(&pods.preferred_during_scheduling_ignored_during_execution, 1);
        }
        if let Some(pods) = &affinity.pod_anti_affinity {
            self.anti_affinity = required(&pods.required_during_scheduling_ignored_during_execution);
            let mut avoided = preferred(&pods.preferred_during_scheduling_ignored_during_execution, -1);
            self.preferred_affinity.append(&mut avoided);
        }
    }

    /// Whether the node of this `name` and these `labels` meets the pod's node selector and
    /// required node affinity.
    pub fn wants_node(&self, name: &str, labels: &Labels) -> bool {
        self.node_selector.iter().all(|each| each.matches(labels))
            && self
                .node_terms
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }

    /// `namespace/name`.
    pub fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn spread(constraint: &TopologySpreadConstraint, labels: &Labels) -> Spread {
    let mut selector = Selector::new(constraint.label_selector.as_ref());
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = labels.get(key) {
            selector = selector.and(Requirement::In(key.clone(), vec![value.clone()]));
        }
    }
    Spread {
        max_skew: constraint.max_skew.into(),
        min_domains: constraint.min_domains.unwrap_or(1).into(),
        topology_key: constraint.topology_key.clone(),
        selector,
        honor_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
        honor_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
    }
}

fn affinity_term(term: &PodAffinityTerm, weight: i64, namespace: &str, labels: &Labels) -> AffinityTerm {
    let mut selector = Selector::new(term.label_selector.as_ref());
    for key in term.match_label_keys.iter().flatten() {
        if let Some(value) = labels.get(key) {
            selector = selector.and(Requirement::In(key.clone(), vec![value.clone()]));
        }
    }
    for key in term.mismatch_label_keys.iter().flatten() {
        if let Some(value) = labels.get(key) {
            selector = selector.and(Requirement::NotIn(key.clone(), vec![value.clone()]));
        }
    }
    let listed = term.namespaces.clone().unwrap_or_default();
    // An empty namespace selector selects all namespaces; one with requirements is resolved by
    // the API server's namespaces, which the model does not hold: it falls back to all.
    let namespaces = match (&term.namespace_selector, listed.is_empty()) {
        (Some(_), _) => None,
        (None, true) => Some(vec![namespace.to_owned()]),
        (None, false) => Some(listed),
    };
    AffinityTerm { namespaces, selector, topology_key: term.topology_key.clone(), weight }
}
