//! Removes pods that nobody else removes: those of nodes that are gone, those that were deleted before
//! they had a node, those that are to leave a node that is out of service, and the oldest of those that
//! have ended where they are too many.
//!
//! Flow: a change of a pod or a node names the pod or the node; a node must be gone for the quarantine's
//! time, and gone by the API's own word, before its pods go. Guarantee: a pod that is removed while it
//! counts as running is marked as failed, with the reason where it is not its own doing.

mod surplus;

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use gantry_client::{Change, Failure, Informer, ObjectKey, PodView, WorkQueue, run_workers};
use gantry_json::{Value, json};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, PodCondition};
use kube::Api;
use parking_lot::Mutex;

use crate::{Context, disruption};
use surplus::{has_ended, surplus};

/// How many pods that have ended are kept.
const MOST_ENDED: usize = 12_500;
/// How long surplus is gathered before it is removed.
const GATHER: Duration = Duration::from_secs(20);
/// Says that a node is off for good and that its pods may be removed without its word.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    let pods = context.informers.get::<PodView>();
    nodes.synced().await;
    pods.synced().await;
    let collector = Collector { context, nodes, pods, queue: WorkQueue::new(), ended: Mutex::default() };
    let of_nodes = collector.nodes.changes().each(|change| collector.node(&change));
    let of_pods = collector.pods.changes().each(|change| collector.pod(&change));
    let reconcile = |work| collector.reconcile(work);
    let shutdown = collector.context.shutdown.clone();
    let work = run_workers("pod-garbage-collector", collector.queue.clone(), 4, reconcile, shutdown);
    tokio::join!(of_nodes, of_pods, work);
}

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    Pod(ObjectKey),
    /// The pods of a node that is gone.
    Node(String),
    /// The number of pods that have ended.
    Ended,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(key) => write!(f, "pod {key}"),
            Self::Node(name) => write!(f, "node {name}"),
            Self::Ended => f.write_str("pods that have ended"),
        }
    }
}

struct Collector {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<PodView>,
    queue: WorkQueue<Work>,
    ended: Mutex<HashSet<ObjectKey>>,
}

impl Collector {
    fn node(&self, change: &Change<Node>) {
        let node = change.object();
        match change {
            Change::Deleted(_) => {
                let name = node.metadata.name.clone().unwrap_or_default();
                self.queue.add_after(Work::Node(name), self.context.config.nodes.quarantine);
            }
            Change::Applied { new, .. } if is_out_of_service(new) => {
                for pod in self.of_node(node.metadata.name.as_deref().unwrap_or_default()) {
                    if pod.is_deleted() {
                        self.queue.add(Work::Pod(ObjectKey::of(&pod.metadata)));
                    }
                }
            }
            Change::Applied { .. } => {}
        }
    }

    fn pod(&self, change: &Change<PodView>) {
        let pod = change.object();
        let key = ObjectKey::of(&pod.metadata);
        let counts = matches!(change, Change::Applied { new, .. } if has_ended(new));
        {
            let mut ended = self.ended.lock();
            if !counts {
                ended.remove(&key);
            } else if ended.insert(key.clone()) && ended.len() > MOST_ENDED {
                self.queue.add_after(Work::Ended, GATHER);
            }
        }
        let Change::Applied { old, new } = change else { return };
        if let Some(name) = &new.node_name
            && old.as_ref().is_none_or(|old| old.node_name != new.node_name)
            && self.nodes.get(&ObjectKey::new("", name)).is_none()
        {
            self.queue.add_after(Work::Node(name.clone()), self.context.config.nodes.quarantine);
        }
        if self.nobody_removes(new) {
            self.queue.add(Work::Pod(key));
        }
    }

    fn of_node<'a>(&self, name: &'a str) -> impl Iterator<Item = std::sync::Arc<PodView>> + use<'a> {
        self.pods.list().into_iter().filter(move |pod| pod.node_name.as_deref() == Some(name))
    }

    /// Whether the pod is to go and there is no kubelet that sees to it.
    fn nobody_removes(&self, pod: &PodView) -> bool {
        let node = |name: &String| self.nodes.get(&ObjectKey::new("", name));
        pod.is_deleted()
            && pod
                .node_name
                .as_ref()
                .is_none_or(|name| node(name).is_some_and(|node| is_out_of_service(&node)))
    }

    async fn reconcile(&self, work: Work) -> Result<Option<Duration>, Failure> {
        match work {
            Work::Pod(key) => {
                if let Some(pod) = self.pods.get(&key).filter(|pod| self.nobody_removes(pod)) {
                    self.remove(&pod, None).await?;
                }
            }
            Work::Node(name) => self.orphans(&name).await?,
            Work::Ended => {
                for pod in surplus(self.pods.list(), MOST_ENDED) {
                    self.remove(&pod, None).await?;
                }
            }
        }
        Ok(None)
    }

    /// Removes the pods of a node that is gone.
    async fn orphans(&self, name: &str) -> Result<(), Failure> {
        if self.nodes.get(&ObjectKey::new("", name)).is_some() || self.of_node(name).next().is_none() {
            return Ok(());
        }
        if Api::<Node>::all(self.context.client.clone()).get_metadata_opt(name).await?.is_some() {
            return Ok(());
        }
        for pod in self.of_node(name) {
            let message = "PodGC: node no longer exists";
            let condition = disruption::target(&pod, "DeletionByPodGC", message, Timestamp::now());
            tracing::info!(pod = %ObjectKey::of(&pod.metadata), node = name, "pod of a node that is gone is removed");
            self.remove(&pod, Some(condition)).await?;
        }
        Ok(())
    }

    /// Deletes the pod at once.
    async fn remove(&self, pod: &PodView, condition: Option<PodCondition>) -> kube::Result<()> {
        disruption::remove(&self.context.client, pod, last_status(pod, condition), Some(0)).await
    }
}

/// What the pod's status has to say before it goes; null where it says that already.
fn last_status(pod: &PodView, condition: Option<PodCondition>) -> Value {
    if pod.is_terminal() {
        return Value::Null;
    }
    let mut status = json!({"phase": "Failed"});
    if let Some(condition) = condition {
        status["conditions"] = json!([condition]);
    }
    status
}

/// Whether the node is off, and an operator says that it will not run its pods again.
fn is_out_of_service(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|each| each.type_ == "Ready" && each.status == "True");
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    !ready && taints.any(|taint| taint.key == OUT_OF_SERVICE)
}
