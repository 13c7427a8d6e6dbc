//! Watches over nodes: one that is silent for too long is not ready, and its state is told by taints.
//!
//! Flow: a change of a node's lease or status is a sign of life and sets the time at which the node
//! counts as silent; nothing is looked at in between. A silent node's conditions become unknown, its
//! pods not ready. Taints follow the conditions: those that keep pods away at once, those that evict
//! pods at the pace of the node's zone. Guarantees: running again changes nothing; taints of others stay;
//! where no node is ready, no pod is evicted. Assumes one running instance.

mod heartbeat;
mod labels;
mod pods;
mod taints;
mod zones;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use gantry_client::{Change, Failure, Informer, ObjectKey, PodView, WorkQueue, reference, run_workers};
use gantry_json::json;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Context;
use crate::writes::{is_gone, is_stale};
use heartbeat::{Heartbeat, NodeLease, ready};
use taints::Eviction;
use zones::{Permit, Zones};

/// Runs until shutdown.
pub async fn run(context: Context) {
    let nodes = context.informers.get::<Node>();
    let leases = context.informers.get::<NodeLease>();
    let pods = context.informers.get::<PodView>();
    nodes.synced().await;
    leases.synced().await;
    pods.synced().await;
    let watcher = Watcher { context, nodes, pods, queue: WorkQueue::new(), known: Mutex::default() };
    let of_nodes = watcher.nodes.changes().each(|change| watcher.node(&change));
    let of_leases = leases.changes().each(|change| watcher.lease(&change));
    let of_pods = watcher.pods.changes().each(|change| watcher.pod(&change));
    let reconcile = |work| watcher.reconcile(work);
    let shutdown = watcher.context.shutdown.clone();
    let work = run_workers("node-lifecycle-controller", watcher.queue.clone(), 4, reconcile, shutdown);
    tokio::join!(of_nodes, of_leases, of_pods, work);
}

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    Node(String),
    /// A pod that has just come to a node.
    Pod(ObjectKey),
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node {name}"),
            Self::Pod(key) => write!(f, "pod {key}"),
        }
    }
}

/// How a node was found.
enum Health {
    /// It may be silent for so long yet.
    Alive(Duration),
    /// It is known to be silent; once it is heard of, its status changes.
    Silent,
    /// Its state has just been written, or was changed by others meanwhile.
    Fell,
}

struct Watcher {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<PodView>,
    queue: WorkQueue<Work>,
    known: Mutex<Known>,
}

/// What is remembered of the nodes.
#[derive(Default)]
struct Known {
    heartbeats: HashMap<String, Heartbeat>,
    zones: Zones,
    /// Nodes that have become silent and whose pods are not marked yet.
    unmarked: HashSet<String>,
}

impl Watcher {
    fn node(&self, change: &Change<Node>) {
        let node = change.object();
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut known = self.known.lock();
        let modes_changed = match change {
            Change::Applied { new, .. } => {
                let now = Instant::now();
                match known.heartbeats.get_mut(&name) {
                    Some(heartbeat) => heartbeat.node(new, now),
                    None => {
                        known.heartbeats.insert(name.clone(), Heartbeat::first(new, now));
                        self.tell(new, "RegisteredNode", "Registered Node", "in Controller");
                    }
                }
                self.queue.add(Work::Node(name.clone()));
                known.zones.note(&name, Some(new))
            }
            Change::Deleted(last) => {
                known.heartbeats.remove(&name);
                known.unmarked.remove(&name);
                self.tell(last, "RemovingNode", "Removing Node", "from Controller");
                known.zones.note(&name, None)
            }
        };
        if modes_changed {
            known.heartbeats.keys().for_each(|name| self.queue.add(Work::Node(name.clone())));
        }
    }

    fn tell(&self, node: &Node, reason: &'static str, does: &str, place: &str) {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Node {name} event: {does} {name} {place}");
        self.context.recorder.event(reference(node), false, reason, message);
    }

    fn lease(&self, change: &Change<NodeLease>) {
        use gantry_client::Cached;
        let Change::Applied { new, .. } = change else { return };
        let mut known = self.known.lock();
        if let Some(heartbeat) = new.meta().name().and_then(|name| known.heartbeats.get_mut(name)) {
            heartbeat.lease(new.renewed, Instant::now());
        }
    }

    fn pod(&self, change: &Change<PodView>) {
        let Change::Applied { old, new } = change else { return };
        let came = old.as_ref().is_none_or(|old| old.node_name != new.node_name);
        if came && new.node_name.is_some() && new.is_ready() {
            self.queue.add(Work::Pod(ObjectKey::of(&new.metadata)));
        }
    }

    async fn reconcile(&self, work: Work) -> Result<Option<Duration>, Failure> {
        match work {
            Work::Pod(key) => {
                let Some(pod) = self.pods.get(&key) else { return Ok(None) };
                let node = pod.node_name.as_ref().and_then(|name| self.nodes.get(&ObjectKey::new("", name)));
                if node.is_some_and(|node| ready(&node).is_some_and(|status| status != "True")) {
                    pods::mark(&self.context.client, &self.context.recorder, &pod).await?;
                }
                Ok(None)
            }
            Work::Node(name) => {
                let Some(node) = self.nodes.get(&ObjectKey::new("", &*name)) else { return Ok(None) };
                let health = self.health(&name, &node).await?;
                if self.known.lock().unmarked.contains(&name) {
                    pods::mark_all(&self.context.client, &self.context.recorder, &self.pods, &name).await?;
                    self.known.lock().unmarked.remove(&name);
                }
                let silent_in = match health {
                    Health::Alive(left) => Some(left),
                    Health::Silent => None,
                    // The new state comes through the informer.
                    Health::Fell => return Ok(None),
                };
                let allowed_in = self.describe(&name, &node).await?;
                Ok(silent_in.into_iter().chain(allowed_in).min())
            }
        }
    }

    /// Makes the conditions of a silent node unknown.
    async fn health(&self, name: &str, node: &Node) -> Result<Health, Failure> {
        let now = Instant::now();
        let deadline = match self.known.lock().heartbeats.get(name) {
            Some(heartbeat) => heartbeat.deadline(node, &self.context.config.nodes),
            None => return Ok(Health::Silent),
        };
        if deadline > now {
            return Ok(Health::Alive(deadline - now));
        }
        let Some(conditions) = heartbeat::silent(node, Timestamp::now()) else { return Ok(Health::Silent) };
        let patch = json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": {"conditions": conditions},
        });
        let api = Api::<Node>::all(self.context.client.clone());
        let was_ready = ready(node) == Some("True");
        if was_ready {
            self.known.lock().unmarked.insert(name.to_owned());
        }
        match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => {
                tracing::warn!(node = name, "node is silent");
                if was_ready {
                    let message = format!("Node {name} status is now: NodeNotReady");
                    self.context.recorder.event(reference(node), false, "NodeNotReady", message);
                }
                Ok(Health::Fell)
            }
            Err(error) => {
                self.known.lock().unmarked.remove(name);
                match error {
                    error if is_gone(&error) || is_stale(&error) => Ok(Health::Fell),
                    error => Err(error.into()),
                }
            }
        }
    }

    /// Makes taints and labels follow the node's state. Returns when it is to be tried again.
    async fn describe(&self, name: &str, node: &Node) -> Result<Option<Duration>, Failure> {
        let now = Instant::now();
        let (eviction, again) = {
            let mut known = self.known.lock();
            if taints::awaits_eviction(node) {
                match known.zones.ask(node, now) {
                    Permit::Now(eviction) => (eviction, None),
                    Permit::At(time) => (Eviction::Wait, Some(time - now)),
                }
            } else if known.zones.all_dark() {
                (Eviction::Forbidden, None)
            } else {
                (Eviction::Allowed, None)
            }
        };
        let taints = taints::wanted(node, eviction, Timestamp::now());
        let labels = labels::missing(node);
        if taints.is_none() && labels.is_empty() {
            return Ok(again);
        }
        let mut patch = json!({"metadata": {"resourceVersion": node.metadata.resource_version}});
        if !labels.is_empty() {
            patch["metadata"]["labels"] = json!(labels);
        }
        if let Some(taints) = taints {
            patch["spec"]["taints"] = json!(taints);
        }
        let api = Api::<Node>::all(self.context.client.clone());
        match api.patch_metadata(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(again),
            Err(error) => {
                if taints::awaits_eviction(node) && eviction == Eviction::Allowed {
                    self.known.lock().zones.give_back(node);
                }
                match error {
                    error if is_gone(&error) || is_stale(&error) => Ok(None),
                    error => Err(error.into()),
                }
            }
        }
    }
}
