//! Tells kubelets how long they may keep what pods refer to, by the annotation
//! `node.alpha.kubernetes.io/ttl`: the more nodes, the longer.
//!
//! Flow: a node comes, goes or changes; where the number of nodes has crossed a boundary, all nodes are
//! looked at. Guarantee: running again changes nothing.

use gantry_client::{Change, ObjectKey, WorkQueue, run_workers};
use gantry_json::json;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;

use crate::Context;
use crate::writes::is_gone;

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";

/// Fewest and most nodes, and the seconds that they are told. The ranges overlap, so that a cluster at
/// a boundary does not go to and fro.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// Runs until shutdown.
pub async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    nodes.synced().await;
    let current = Mutex::new(step(0, nodes.list().len()));
    let queue = WorkQueue::new();
    let watch = nodes.changes().each(|change| {
        let all = nodes.list();
        let mut current = current.lock();
        let next = step(*current, all.len());
        if std::mem::replace(&mut *current, next) != next {
            all.iter().for_each(|node| queue.add(ObjectKey::of(&node.metadata).name));
        } else if let Change::Applied { new, .. } = change {
            queue.add(ObjectKey::of(&new.metadata).name);
        }
    });
    let reconcile = async |name: String| {
        let Some(node) = nodes.get(&ObjectKey::new("", &*name)) else { return Ok(None) };
        let seconds = STEPS[*current.lock()].2.to_string();
        let told = node.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
        if told == Some(&seconds) {
            return Ok(None);
        }
        let patch = Patch::Strategic(json!({"metadata": {"annotations": {ANNOTATION: seconds}}}));
        let api = Api::<Node>::all(context.client.clone());
        match api.patch_metadata(&name, &PatchParams::default(), &patch).await {
            Err(error) if is_gone(&error) => Ok(None),
            other => Ok(other.map(|_| None)?),
        }
    };
    let work = run_workers("ttl-controller", queue.clone(), 2, reconcile, context.shutdown.clone());
    tokio::join!(watch, work);
}

/// The step for that many nodes, after the step `from`.
fn step(from: usize, nodes: usize) -> usize {
    let mut step = from;
    while nodes > STEPS[step].1 {
        step += 1;
    }
    while nodes < STEPS[step].0 {
        step -= 1;
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_overlap() {
        let check = |from, nodes, expect| assert_eq!(step(from, nodes), expect, "{from} {nodes}");
        check(0, 0, 0);
        check(0, 100, 0);
        check(0, 101, 1);
        check(1, 95, 1);
        check(1, 89, 0);
        check(0, 5000, 4);
        check(4, 1, 0);
    }
}
