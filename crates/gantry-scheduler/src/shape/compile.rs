//! A shape from a Pod.

use gantry_api::selector::Requirement;
use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, PreferredSchedulingTerm, TopologySpreadConstraint, WeightedPodAffinityTerm,
};

use super::{AffinityTerm, HostPort, Shape, Spread, Toleration};
use crate::requirement::{Labels, NodeTerm, Selector};
use crate::resources::pod_requests;
use crate::watched::{Container, Pod, PodSpec};

impl Shape {
    /// The shape of `pod`.
    pub fn new(pod: &Pod) -> Self {
        let meta = &pod.metadata;
        let mut shape = Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            requests: pod_requests(pod, false),
            scoring_requests: pod_requests(pod, true),
            ..Self::default()
        };
        let Some(spec) = &pod.spec else { return shape };
        shape.priority = spec.priority.unwrap_or_default();
        shape.preempts = spec.preemption_policy.as_deref() != Some("Never");
        shape.node_selector = spec
            .node_selector
            .iter()
            .flatten()
            .map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()]))
            .collect();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        shape.tolerations = spec
            .tolerations
            .iter()
            .flatten()
            .map(|each| Toleration {
                key: text(&each.key),
                operator: text(&each.operator),
                value: text(&each.value),
                effect: text(&each.effect),
            })
            .collect();
        shape.host_ports = host_ports(spec);
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        shape.images = containers.filter_map(|each| each.image.as_deref()).map(tagged).collect();
        for constraint in spec.topology_spread_constraints.iter().flatten() {
            let spread = spread(constraint, &shape.labels);
            match constraint.when_unsatisfiable.as_str() {
                "ScheduleAnyway" => shape.soft_spread.push(spread),
                _ => shape.hard_spread.push(spread),
            }
        }
        if let Some(affinity) = &spec.affinity {
            shape.take_affinity(affinity);
        }
        shape
    }

    fn take_affinity(&mut self, affinity: &Affinity) {
        let term =
            |term: &PodAffinityTerm, weight| affinity_term(term, weight, &self.namespace, &self.labels);
        let required = |terms: &Option<Vec<PodAffinityTerm>>| -> Vec<_> {
            terms.iter().flatten().map(|each| term(each, 0)).collect()
        };
        let preferred = |terms: &Option<Vec<WeightedPodAffinityTerm>>, sign: i64| -> Vec<_> {
            let terms = terms.iter().flatten();
            terms.map(|each| term(&each.pod_affinity_term, sign * i64::from(each.weight))).collect()
        };
        let (mut with, mut apart, mut rather) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(pods) = &affinity.pod_affinity {
            with = required(&pods.required_during_scheduling_ignored_during_execution);
            rather = preferred(&pods.preferred_during_scheduling_ignored_during_execution, 1);
        }
        if let Some(pods) = &affinity.pod_anti_affinity {
            apart = required(&pods.required_during_scheduling_ignored_during_execution);
            rather.extend(preferred(&pods.preferred_during_scheduling_ignored_during_execution, -1));
        }
        (self.affinity, self.anti_affinity, self.preferred_affinity) = (with, apart, rather);
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
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let host_network = spec.host_network == Some(true);
    let sidecar = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.unwrap_or(if host_network { port.container_port } else { 0 });
            let ip = port.host_ip.clone().filter(|ip| !ip.is_empty());
            (number > 0).then(|| HostPort {
                ip: ip.unwrap_or_else(|| "0.0.0.0".into()),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: number,
            })
        })
        .collect()
}

/// An image name with the tag that is meant where none is given.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
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
    let mut namespaces = term.namespaces.clone().unwrap_or_default();
    if namespaces.is_empty() && term.namespace_selector.is_none() {
        namespaces.push(namespace.to_owned());
    }
    AffinityTerm {
        namespaces,
        namespace_selector: Selector::new(term.namespace_selector.as_ref()),
        selector,
        topology_key: term.topology_key.clone(),
        weight,
    }
}
