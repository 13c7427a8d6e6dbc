//! The domains that a node label divides the cluster into.

use std::collections::HashMap;

/// Stands for a node without the label.
const NONE: u32 = u32::MAX;

/// The domains of one label.
#[derive(Debug, Default)]
pub struct Topology {
    ids: HashMap<String, u32>,
    /// The domain of each slot.
    of: Vec<u32>,
}

impl Topology {
    /// The number of the domain that the node in `slot` is in.
    pub fn domain(&self, slot: usize) -> Option<usize> {
        self.of.get(slot).filter(|id| **id != NONE).map(|id| *id as usize)
    }

    /// One more than the highest number of a domain.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no node has the label.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    pub(super) fn set(&mut self, slot: usize, value: Option<&str>) {
        if self.of.len() <= slot {
            self.of.resize(slot + 1, NONE);
        }
        self.of[slot] = match value {
            None => NONE,
            Some(value) => match self.ids.get(value) {
                Some(id) => *id,
                None => {
                    let id = self.ids.len() as u32;
                    self.ids.insert(value.to_owned(), id);
                    id
                }
            },
        };
    }
}
