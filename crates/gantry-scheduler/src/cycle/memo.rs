//! What is known of nodes for a shape. It stays true until a node changes, so that for the next
//! replica only the node that took the last one is looked at again.

use std::sync::Arc;

use super::Failure;
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::plugins::{self, LOCAL_SCORES, Rejection};
use crate::shape::Shape;

/// How many shapes are remembered.
const SHAPES: usize = 16;

/// What was found of one node seen alone.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It fits; the raw scores.
    Fits([i32; LOCAL_SCORES.len()]),
    /// It does not.
    Rejected(Arc<Rejection>),
}

/// What is known for one shape.
#[derive(Debug)]
pub(super) struct Memo {
    shape: Arc<Shape>,
    images_version: u64,
    /// By slot: the node's generation that the verdict is of.
    nodes: Vec<(u64, Verdict)>,
    /// The cluster's version at which no node fitted.
    failed: Option<(u64, Arc<Failure>)>,
    used: u64,
}

/// What is known for the shapes that were seen last.
#[derive(Debug, Default)]
pub(super) struct Memos {
    memos: Vec<Memo>,
    clock: u64,
}

impl Memos {
    /// What is known for `shape`.
    pub(super) fn of(&mut self, shape: &Arc<Shape>, cluster: &Cluster) -> &mut Memo {
        self.clock += 1;
        let at = match self.memos.iter().position(|memo| Arc::ptr_eq(&memo.shape, shape)) {
            Some(at) => at,
            None => self.replace(shape),
        };
        let memo = &mut self.memos[at];
        memo.used = self.clock;
        if memo.images_version != cluster.images_version() {
            memo.images_version = cluster.images_version();
            memo.nodes.clear();
        }
        memo
    }

    fn replace(&mut self, shape: &Arc<Shape>) -> usize {
        let memo = Memo { shape: shape.clone(), images_version: 0, nodes: Vec::new(), failed: None, used: 0 };
        if self.memos.len() < SHAPES {
            self.memos.push(memo);
            return self.memos.len() - 1;
        }
        let at = (0..SHAPES).min_by_key(|at| self.memos[*at].used).unwrap_or_default();
        let mut nodes = std::mem::take(&mut self.memos[at].nodes);
        nodes.clear();
        self.memos[at] = Memo { nodes, ..memo };
        at
    }
}

impl Memo {
    /// Whether `node`, seen alone, fits.
    pub(super) fn verdict(&mut self, node: &NodeInfo, cluster: &Cluster) -> Verdict {
        if self.nodes.len() <= node.slot {
            self.nodes.resize(cluster.slots().len(), (0, Verdict::Fits([0; LOCAL_SCORES.len()])));
        }
        let entry = &mut self.nodes[node.slot];
        if entry.0 != node.generation {
            let verdict = match plugins::filter(&self.shape, node) {
                Ok(()) => Verdict::Fits(LOCAL_SCORES.map(|score| (score.raw)(&self.shape, node, cluster))),
                Err(rejection) => Verdict::Rejected(Arc::new(rejection)),
            };
            *entry = (node.generation, verdict);
        }
        entry.1.clone()
    }

    /// The failure at this version of the cluster, where it is known.
    pub(super) fn failure(&self, cluster: &Cluster) -> Option<Arc<Failure>> {
        let (version, failure) = self.failed.as_ref()?;
        (*version == cluster.version()).then(|| failure.clone())
    }

    pub(super) fn fail(&mut self, cluster: &Cluster, failure: Arc<Failure>) {
        self.failed = Some((cluster.version(), failure));
    }
}
