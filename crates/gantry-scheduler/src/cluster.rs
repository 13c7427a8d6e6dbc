//! The cluster as scheduling sees it, kept up event by event.
//!
//! A pod that was given a node is *assumed* there at once, before the API server has the
//! binding, so that the next pod sees the room taken.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Nodes with their pods.
#[derive(Debug, Default)]
pub struct Cluster {
    nodes: Vec<NodeInfo>,
    index: HashMap<String, usize>,
    /// Where each pod with a node is counted, by uid.
    placed: HashMap<String, String>,
}

impl Cluster {
    /// The nodes that exist, in a stable order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter(|node| node.known)
    }

    /// The node at `position`, which wraps around; for visiting nodes in turns.
    pub fn node_at(&self, position: usize) -> Option<&NodeInfo> {
        (!self.nodes.is_empty()).then(|| &self.nodes[position % self.nodes.len()])
    }

    /// How many places [`Cluster::node_at`] goes round.
    pub fn places(&self) -> usize {
        self.nodes.len()
    }

    /// The node `name`.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.index.get(name).map(|at| &self.nodes[*at]).filter(|node| node.known)
    }

    /// Takes over a new or changed node.
    pub fn set_node(&mut self, node: &Node) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.entry(&name).update(node);
    }

    /// Forgets the node `name`; its pods stay counted until they go.
    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.index.get(name).copied() else { return };
        self.nodes[at].known = false;
        if self.nodes[at].pods.is_empty() {
            self.drop_at(at);
        }
    }

    /// Takes over a pod that has a node, or has just been assumed on it.
    pub fn place(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.displace(&pod.uid);
        if !pod.finished {
            self.placed.insert(pod.uid.clone(), node.to_owned());
            self.entry(node).add(pod);
        }
    }

    /// Takes the pod with `uid` off its node, where it has one.
    pub fn displace(&mut self, uid: &str) {
        let Some(name) = self.placed.remove(uid) else { return };
        let Some(at) = self.index.get(&name).copied() else { return };
        self.nodes[at].remove(uid);
        if self.nodes[at].pods.is_empty() && !self.nodes[at].known {
            self.drop_at(at);
        }
    }

    fn entry(&mut self, name: &str) -> &mut NodeInfo {
        let at = *self.index.entry(name.to_owned()).or_insert_with(|| {
            self.nodes.push(NodeInfo { name: name.to_owned(), ..NodeInfo::default() });
            self.nodes.len() - 1
        });
        &mut self.nodes[at]
    }

    fn drop_at(&mut self, at: usize) {
        let gone = self.nodes.swap_remove(at);
        self.index.remove(&gone.name);
        if let Some(moved) = self.nodes.get(at) {
            self.index.insert(moved.name.clone(), at);
        }
    }
}
