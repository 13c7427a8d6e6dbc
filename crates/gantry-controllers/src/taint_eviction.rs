//! Evicts pods from nodes with `NoExecute` taints that they do not tolerate, or no longer.
//!
//! Flow: a node's taints, a pod's tolerations or a pod's node change; each pod of the node that has to
//! leave gets the time of it, and is deleted then unless that changes before. Guarantees: the time
//! counts from when the taint was first seen with the pod, and later changes do not extend it beyond the
//! pod's tolerations; an eviction that is off is told. Assumes one running instance.

mod decide;

use std::collections::HashMap;

use gantry_client::{Change, Failure, Informer, ObjectKey, PodView, WorkQueue, run_workers};
use gantry_json::json;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

use crate::{Context, disruption};
use decide::{Verdict, decide};

/// Reason of the events.
const REASON: &str = "TaintManagerEviction";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    let pods = context.informers.get::<PodView>();
    nodes.synced().await;
    pods.synced().await;
    let evictor = Evictor { context, nodes, pods, queue: WorkQueue::new(), leaving: Mutex::default() };
    let of_nodes = evictor.nodes.changes().each(|change| evictor.node(&change));
    let of_pods = evictor.pods.changes().each(|change| evictor.pod(&change));
    let reconcile = |key| evictor.reconcile(key);
    let shutdown = evictor.context.shutdown.clone();
    let work = run_workers("taint-eviction-controller", evictor.queue.clone(), 8, reconcile, shutdown);
    tokio::join!(of_nodes, of_pods, work);
}

struct Evictor {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<PodView>,
    queue: WorkQueue<ObjectKey>,
    /// Pods that have to leave: their uid, and since when their node's taints count for them.
    leaving: Mutex<HashMap<ObjectKey, (Option<String>, Instant)>>,
}

impl Evictor {
    fn node(&self, change: &Change<Node>) {
        let Change::Applied { old, new } = change else { return };
        let before = old.as_ref().map(|old| evicting(old)).unwrap_or_default();
        if before == evicting(new) {
            return;
        }
        for pod in self.pods.list() {
            if pod.node_name == new.metadata.name {
                self.queue.add(ObjectKey::of(&pod.metadata));
            }
        }
    }

    fn pod(&self, change: &Change<PodView>) {
        let concerns = match change {
            Change::Applied { old: Some(old), new } => {
                old.node_name != new.node_name
                    || old.tolerations != new.tolerations
                    || old.metadata.uid != new.metadata.uid
            }
            _ => true,
        };
        let pod = change.object();
        let key = ObjectKey::of(&pod.metadata);
        if concerns && (self.leaving.lock().contains_key(&key) || !self.taints(pod).is_empty()) {
            self.queue.add(key);
        }
    }

    fn taints(&self, pod: &PodView) -> Vec<Taint> {
        let node = pod.node_name.as_ref().and_then(|name| self.nodes.get(&ObjectKey::new("", name)));
        node.map(|node| evicting(&node)).unwrap_or_default()
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let pod = self.pods.get(&key).filter(|pod| !pod.is_deleted());
        let Some(pod) = pod else {
            self.leaving.lock().remove(&key);
            return Ok(None);
        };
        let now = Instant::now();
        let known = {
            let mut leaving = self.leaving.lock();
            leaving.retain(|other, (uid, _)| other != &key || *uid == pod.metadata.uid);
            leaving.get(&key).map(|(_, since)| *since)
        };
        let time = match decide(&pod.tolerations, &self.taints(&pod), known.unwrap_or(now)) {
            Verdict::Leave(time) => time,
            Verdict::Stay => {
                if self.leaving.lock().remove(&key).is_some() {
                    self.tell(&pod, format!("Cancelling deletion of Pod {key}"));
                }
                return Ok(None);
            }
        };
        self.leaving.lock().insert(key.clone(), (pod.metadata.uid.clone(), known.unwrap_or(now)));
        if time > now {
            return Ok(Some(time - now));
        }
        self.tell(&pod, format!("Marking for deletion Pod {key}"));
        let message = "Taint manager: deleting due to NoExecute taint";
        let condition = disruption::target(&pod, "DeletionByTaintManager", message, Timestamp::now());
        let status = json!({"conditions": [condition]});
        disruption::remove(&self.context.client, &pod, status, None).await?;
        self.leaving.lock().remove(&key);
        Ok(None)
    }

    fn tell(&self, pod: &PodView, message: String) {
        self.context.recorder.event(disruption::reference(pod), false, REASON, message);
    }
}

/// The node's taints that evict pods.
fn evicting(node: &Node) -> Vec<Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute").cloned().collect()
}
