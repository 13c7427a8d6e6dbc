//! Why no node fits, in the words that clients match on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plugins::Rejection;

/// What is said of a node on which ending pods would change nothing.
pub const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
/// What is said of a node without pods of lower priority.
pub const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// That no node fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How many nodes there are.
    pub total: usize,
    /// Why not, by the node's slot.
    pub rejections: Vec<(usize, Arc<Rejection>)>,
}

impl Failure {
    /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) ...`, without what preemption
    /// could do.
    pub fn reasons(&self) -> String {
        if self.total == 0 {
            return "no nodes available to schedule pods".into();
        }
        let reasons = self.rejections.iter().flat_map(|(_, rejection)| &rejection.reasons);
        counted(self.total, reasons.map(|reason| &**reason))
    }

    /// The whole message, with what preemption said.
    pub fn message(&self, preemption: &str) -> String {
        match self.total {
            0 => self.reasons(),
            _ => format!("{} no new claims to deallocate, preemption: {preemption}", self.reasons()),
        }
    }
}

/// `0/2 nodes are available: 1 this, 1 that.`
pub fn counted<'a>(total: usize, reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut parts: Vec<_> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    parts.sort();
    format!("0/{total} nodes are available: {}.", parts.join(", "))
}
