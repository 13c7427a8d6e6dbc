//! Placed pods counted by shape and node, for plugins that ask how many pods of a kind are
//! where: they look at each shape once instead of at every pod.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pod::PodInfo;
use crate::shape::Shape;

/// A shape's address, and whether the pods are being deleted.
type Key = (usize, bool);

/// Pods of one shape.
#[derive(Debug)]
pub struct Group {
    /// Their shape.
    pub shape: Arc<Shape>,
    /// Whether they are being deleted.
    pub terminating: bool,
    /// How many are on the node in each slot.
    pub nodes: HashMap<usize, i64>,
}

/// All placed pods.
#[derive(Debug, Default)]
pub struct Groups {
    by_namespace: HashMap<String, HashMap<Key, Group>>,
    /// Where pods with affinity terms are.
    with_terms: HashMap<Key, Arc<Shape>>,
}

fn key(pod: &PodInfo) -> Key {
    (Arc::as_ptr(&pod.shape) as usize, pod.terminating)
}

impl Groups {
    pub(super) fn add(&mut self, pod: &PodInfo, slot: usize) {
        let key = key(pod);
        if !self.by_namespace.contains_key(&pod.namespace) {
            self.by_namespace.insert(pod.namespace.clone(), HashMap::new());
        }
        let Some(groups) = self.by_namespace.get_mut(&pod.namespace) else { return };
        let group = groups.entry(key).or_insert_with(|| Group {
            shape: pod.shape.clone(),
            terminating: pod.terminating,
            nodes: HashMap::new(),
        });
        *group.nodes.entry(slot).or_default() += 1;
        if pod.shape.has_terms() {
            self.with_terms.entry(key).or_insert_with(|| pod.shape.clone());
        }
    }

    pub(super) fn remove(&mut self, pod: &PodInfo, slot: usize) {
        let key = key(pod);
        let Some(groups) = self.by_namespace.get_mut(&pod.namespace) else { return };
        let Some(group) = groups.get_mut(&key) else { return };
        if let Some(count) = group.nodes.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                group.nodes.remove(&slot);
            }
        }
        if group.nodes.is_empty() {
            groups.remove(&key);
            self.with_terms.remove(&key);
            if groups.is_empty() {
                self.by_namespace.remove(&pod.namespace);
            }
        }
    }

    /// The groups of one namespace.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = &Group> {
        self.by_namespace.get(namespace).into_iter().flat_map(HashMap::values)
    }

    /// All groups.
    pub fn all(&self) -> impl Iterator<Item = &Group> {
        self.by_namespace.values().flat_map(HashMap::values)
    }

    /// The groups whose pods have affinity terms.
    pub fn with_terms(&self) -> impl Iterator<Item = &Group> {
        self.with_terms.iter().filter_map(|(key, shape)| self.by_namespace.get(&shape.namespace)?.get(key))
    }
}
