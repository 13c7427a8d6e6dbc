//! A node as scheduling sees it, with what its pods take of it.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::PodInfo;
use crate::requirement::Labels;
use crate::resources::Resources;
use crate::shape::HostPort;

/// The node.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// Its place in the cluster.
    pub slot: usize,
    /// Differs after every change, from that of every other node too.
    pub generation: u64,
    /// What its Node object says.
    pub facts: Facts,
    /// What its pods request together.
    pub requested: Resources,
    /// As `requested`, with defaults for what is not asked for.
    pub scoring_requested: Resources,
    /// Its pods.
    pub pods: Vec<Arc<PodInfo>>,
    /// Pods that others were pushed off this node for and that are not here yet.
    pub nominated: Vec<Arc<PodInfo>>,
    /// Ports its pods have on it.
    pub ports: Vec<HostPort>,
    /// Whether the Node object exists (pods may be seen before it, and outlive it).
    pub known: bool,
}

/// What a Node object says that scheduling depends on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
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
    /// Its images' sizes in bytes, by each of their names.
    pub images: HashMap<Arc<str>, i64>,
}

impl Facts {
    /// The facts of `node`; `name` gives the one copy of an image's name.
    pub fn new(node: &Node, mut name: impl FnMut(&str) -> Arc<str>) -> Self {
        let status = node.status.as_ref();
        let allocatable = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
        let pods = allocatable.and_then(|list| list.get("pods"));
        let mut images = HashMap::new();
        for image in status.and_then(|status| status.images.as_ref()).into_iter().flatten() {
            let size = image.size_bytes.unwrap_or_default();
            images.extend(image.names.iter().flatten().map(|each| (name(each), size)));
        }
        let spec = node.spec.as_ref();
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|spec| spec.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|spec| spec.unschedulable).unwrap_or_default(),
            allocatable: Resources::from_list(allocatable),
            max_pods: pods
                .and_then(|quantity| quantity.0.parse::<Quantity>().ok())
                .map_or(0, |quantity| usize::try_from(quantity.value()).unwrap_or_default()),
            images,
        }
    }
}

impl NodeInfo {
    /// Puts `pod` on the node.
    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scoring_requested.add(&pod.scoring_requests);
        self.ports.extend(pod.host_ports.iter().cloned());
        self.pods.push(pod);
    }

    /// Takes the pod with `uid` off the node.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let at = self.pods.iter().position(|pod| *pod.uid == *uid)?;
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
