//! The cluster as scheduling sees it, kept up event by event.
//!
//! A pod that was given a node is *assumed* there at once, before the API server has the
//! binding, so that the next pod sees the room taken. Nodes have numbered slots; what is counted
//! over them (pods of one shape, domains of a label) refers to slots.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use crate::budgets::Budgets;
use crate::node::{Facts, NodeInfo};
use crate::pod::{PodInfo, Uid};
use crate::requirement::{Labels, Namespaces};
use crate::shape::Shape;

mod groups;
mod topology;

pub use groups::{Group, Groups};
pub use topology::Topology;

/// The label that tells hosts apart.
pub const HOST: &str = "kubernetes.io/hostname";
/// The label that tells zones apart.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// Nodes with their pods.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<NodeInfo>,
    free: Vec<usize>,
    index: HashMap<String, usize>,
    known: usize,
    /// The slot where each pod with a node is counted.
    placed: HashMap<Uid, usize>,
    /// The slot that each waiting pod is nominated for.
    nominated: HashMap<Uid, usize>,
    groups: Groups,
    topologies: HashMap<String, Topology>,
    namespaces: Namespaces,
    /// Disruption budgets.
    pub budgets: Budgets,
    /// How many nodes have each image.
    images: HashMap<Arc<str>, usize>,
    images_version: u64,
    version: u64,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            known: 0,
            placed: HashMap::new(),
            nominated: HashMap::new(),
            groups: Groups::default(),
            topologies: [HOST, ZONE].map(|key| (key.to_owned(), Topology::default())).into(),
            namespaces: Namespaces::new(),
            budgets: Budgets::default(),
            images: HashMap::new(),
            images_version: 0,
            version: 0,
        }
    }
}

impl Cluster {
    /// The nodes that exist, in a stable order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter(|node| node.known)
    }

    /// How many nodes exist.
    pub fn known(&self) -> usize {
        self.known
    }

    /// Every slot, also of nodes that are not there.
    pub fn slots(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// The node `name`.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.index.get(name).map(|at| &self.nodes[*at]).filter(|node| node.known)
    }

    /// The node that the pod with `uid` is counted on.
    pub fn node_of(&self, uid: &str) -> Option<&NodeInfo> {
        self.placed.get(uid).map(|at| &self.nodes[*at])
    }

    /// The placed pod with `uid`.
    pub fn pod(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.node_of(uid)?.pods.iter().find(|pod| *pod.uid == *uid)
    }

    /// The placed pods' identities.
    pub fn placed(&self) -> impl Iterator<Item = &Uid> {
        self.placed.keys()
    }

    /// The node that the pod with `uid` is nominated for.
    pub fn nomination(&self, uid: &str) -> Option<&NodeInfo> {
        self.nominated.get(uid).map(|at| &self.nodes[*at])
    }

    /// Pods by shape.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The domains of a node label. Known for hosts, zones and for what was watched.
    pub fn topology(&self, key: &str) -> Option<&Topology> {
        self.topologies.get(key)
    }

    /// The labels of namespaces.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// How many nodes have `image`.
    pub fn nodes_with(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or_default()
    }

    /// Differs after every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Differs after every change of which nodes have which images.
    pub fn images_version(&self) -> u64 {
        self.images_version
    }

    /// Makes the domains known that `shape` asks about.
    pub fn watch_topologies(&mut self, shape: &Shape) {
        for key in shape.topology_keys() {
            if !self.topologies.contains_key(key) {
                let mut topology = Topology::default();
                for node in self.nodes.iter().filter(|node| node.known) {
                    topology.set(node.slot, node.facts.labels.get(key).map(String::as_str));
                }
                self.topologies.insert(key.to_owned(), topology);
            }
        }
    }

    /// Takes over a namespace's labels; says whether they changed.
    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) -> bool {
        let before = match labels.clone() {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels),
            None => self.namespaces.remove(name),
        };
        self.version += 1;
        before != labels
    }

    /// Takes over a new or changed node; says whether anything changed.
    pub fn set_node(&mut self, node: &Node) -> bool {
        let images = &self.images;
        let facts = Facts::new(node, |name| match images.get_key_value(name) {
            Some((known, _)) => known.clone(),
            None => name.into(),
        });
        let at = self.slot(&facts.name);
        if self.nodes[at].known && self.nodes[at].facts == facts {
            return false;
        }
        self.known += usize::from(!self.nodes[at].known);
        for (key, topology) in &mut self.topologies {
            topology.set(at, facts.labels.get(key).map(String::as_str));
        }
        self.count_images(at, &facts);
        let generation = self.tick();
        let node = &mut self.nodes[at];
        (node.facts, node.known, node.generation) = (facts, true, generation);
        true
    }

    /// Forgets the node `name`; its pods stay counted until they go. Says whether it was there.
    pub fn remove_node(&mut self, name: &str) -> bool {
        let Some(at) = self.index.get(name).copied().filter(|at| self.nodes[*at].known) else { return false };
        let facts = Facts { name: name.to_owned(), ..Facts::default() };
        self.known -= 1;
        self.topologies.values_mut().for_each(|topology| topology.set(at, None));
        self.count_images(at, &facts);
        let generation = self.tick();
        let node = &mut self.nodes[at];
        (node.facts, node.known, node.generation) = (facts, false, generation);
        self.release(at);
        true
    }

    /// Takes over a pod that has a node, or has just been assumed on it.
    pub fn place(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.displace(&pod.uid);
        if pod.finished {
            return;
        }
        if pod.shape.has_terms() {
            self.watch_topologies(&pod.shape);
        }
        let at = self.slot(node);
        self.placed.insert(pod.uid.clone(), at);
        self.groups.add(&pod, at);
        self.nodes[at].generation = self.tick();
        self.nodes[at].add(pod);
    }

    /// Takes the pod with `uid` off its node, where it has one.
    pub fn displace(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let at = self.placed.remove(uid)?;
        self.nodes[at].generation = self.tick();
        let pod = self.nodes[at].remove(uid)?;
        self.groups.remove(&pod, at);
        self.release(at);
        Some(pod)
    }

    /// Keeps room on `node` for a waiting pod that others were pushed off it for.
    pub fn nominate(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.withdraw(&pod.uid);
        let at = self.slot(node);
        self.nominated.insert(pod.uid.clone(), at);
        self.nodes[at].generation = self.tick();
        self.nodes[at].nominated.push(pod);
    }

    /// Ends the nomination of the pod with `uid`; returns the node that it was for.
    pub fn withdraw(&mut self, uid: &str) -> Option<String> {
        let at = self.nominated.remove(uid)?;
        self.nodes[at].generation = self.tick();
        self.nodes[at].nominated.retain(|pod| *pod.uid != *uid);
        let name = self.nodes[at].facts.name.clone();
        self.release(at);
        Some(name)
    }

    fn tick(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn slot(&mut self, name: &str) -> usize {
        if let Some(at) = self.index.get(name) {
            return *at;
        }
        let at = self.free.pop().unwrap_or(self.nodes.len());
        let facts = Facts { name: name.to_owned(), ..Facts::default() };
        let node = NodeInfo { slot: at, facts, generation: self.tick(), ..NodeInfo::default() };
        match self.nodes.get_mut(at) {
            Some(place) => *place = node,
            None => self.nodes.push(node),
        }
        self.index.insert(name.to_owned(), at);
        at
    }

    /// Frees a slot that nothing refers to any more.
    fn release(&mut self, at: usize) {
        let node = &self.nodes[at];
        if !node.known && node.pods.is_empty() && node.nominated.is_empty() {
            self.index.remove(&node.facts.name);
            self.free.push(at);
        }
    }

    fn count_images(&mut self, at: usize, facts: &Facts) {
        let before = std::mem::take(&mut self.nodes[at].facts.images);
        if before == facts.images {
            return;
        }
        self.images_version += 1;
        for image in facts.images.keys() {
            *self.images.entry(image.clone()).or_default() += 1;
        }
        for image in before.keys() {
            if let Some(count) = self.images.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.images.remove(image);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
