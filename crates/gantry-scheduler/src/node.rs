//! A node as scheduling sees it, with what its pods take of it.

use std::sync::Arc;

use gantry_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{HostPort, PodInfo};
use crate::requirement::Labels;
use crate::resources::Resources;

/// The node.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: Labels,
    /// Taints.
    pub taints: Vec<Taint>,
    /// Whether it is cordoned.
    pub unschedulable: bool,
    /// What pods may take together.
    pub allocatable: Resources,
    /// How many pods it may have.
    pub max_pods: usize,
    /// What its pods request together.
    pub requested: Resources,
    /// As `requested`, with defaults for what is not asked for.
    pub scoring_requested: Resources,
    /// Its pods.
    pub pods: Vec<Arc<PodInfo>>,
    /// Ports its pods have on it.
    pub ports: Vec<HostPort>,
    /// Whether the Node object exists (pods may be seen before it, and outlive it).
    pub known: bool,
}

impl NodeInfo {
    /// Takes over the facts of `node`, keeping the pods.
    pub fn update(&mut self, node: &Node) {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        self.name = node.metadata.name.clone().unwrap_or_default();
        self.labels = node.metadata.labels.clone().unwrap_or_default();
        self.taints = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        self.unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
        self.allocatable = Resources::from_list(allocatable);
        let pods = allocatable.and_then(|list| list.get("pods"));
        self.max_pods = pods
            .and_then(|quantity| quantity.0.parse::<Quantity>().ok())
            .map_or(0, |quantity| usize::try_from(quantity.value()).unwrap_or_default());
        self.known = true;
    }

    /// Puts `pod` on the node.
    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scoring_requested.add(&pod.scoring_requests);
        self.ports.extend(pod.host_ports.iter().cloned());
        self.pods.push(pod);
    }

    /// Takes the pod with `uid` off the node.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let at = self.pods.iter().position(|pod| pod.uid == uid)?;
        let pod = self.pods.swap_remove(at);
        self.requested.subtract(&pod.requests);
        self.scoring_requested.subtract(&pod.scoring_requests);
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|other| other == port) {
                self.ports.swap_remove(at);
            }
        }
        Some(pod)
    }
}
