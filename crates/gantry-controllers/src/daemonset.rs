//! Keeps a pod of a DaemonSet on every node that it is meant for.
//!
//! Flow: a change of a DaemonSet, of one of its pods or of a node queues DaemonSets. Pods are adopted and
//! released by the selector. Missing ones are made, each bound to its node by a required node affinity, which the scheduler carries out; surplus,
//! misplaced and ended ones are removed, outdated ones as the update strategy allows. Templates are kept
//! as ControllerRevisions.
//!
//! Guarantees: while a creation or deletion has not come back through the informer, no further one is
//! asked for. A pod that keeps failing is replaced ever more slowly. Assumes a single running instance.

mod nodes;
mod plan;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_client::{Change, Failure, Informer, Meta, ObjectKey, PodView, WorkQueue, reference, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Context;
use crate::claim::{Orphans, controller_of, controller_reference, pods_of};
use crate::expectations::Expectations;
use crate::history::{self, REVISION_LABEL};
use crate::pods::{Pods, whole};
use crate::writes::{MANAGER, is_gone, is_stale};
use plan::{Plan, Snapshot, plan};

/// DaemonSets worked on at once.
const WORKERS: usize = 2;
/// How long a failed pod is kept at first and at most, before another takes its place.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));

/// Runs until shutdown.
pub async fn run(context: Context) {
    let sets = context.informers.get::<DaemonSet>();
    let pods = context.informers.get::<PodView>();
    let nodes = context.informers.get::<Node>();
    let revisions = context.informers.get::<ControllerRevision>();
    sets.synced().await;
    pods.synced().await;
    nodes.synced().await;
    revisions.synced().await;
    let controller = Controller {
        context: context.clone(),
        sets,
        pods,
        nodes,
        revisions,
        queue: WorkQueue::new(),
        expectations: Expectations::default(),
        orphans: Orphans::default(),
        failures: Mutex::default(),
    };
    let of_sets = controller.sets.changes().each(|change| controller.set_changed(&change));
    let of_pods = controller.pods.changes().each(|change| controller.pod_changed(&change));
    let of_nodes = controller.nodes.changes().each(|change| controller.node_changed(&change));
    let reconcile = |key| controller.reconcile(key);
    let workers =
        run_workers("daemonset", controller.queue.clone(), WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(of_sets, of_pods, of_nodes, workers);
}

struct Controller {
    context: Context,
    sets: Informer<DaemonSet>,
    pods: Informer<PodView>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    queue: WorkQueue<ObjectKey>,
    expectations: Expectations,
    orphans: Orphans,
    /// When a failed pod was last replaced, and how long the next is kept, by DaemonSet and node.
    failures: Mutex<HashMap<(String, String), (Instant, Duration)>>,
}

/// The DaemonSet that controls an object, if one does.
fn owner(meta: &dyn Meta) -> Option<&OwnerReference> {
    controller_of(meta)
        .filter(|owner| owner.kind == "DaemonSet" && owner.api_version.split('/').next() == Some("apps"))
}

impl Controller {
    fn set_changed(&self, change: &Change<DaemonSet>) {
        let meta = &change.object().metadata;
        if let Change::Deleted(_) = change {
            let uid = meta.uid.as_deref().unwrap_or_default();
            self.expectations.forget(uid);
            self.failures.lock().retain(|(set, _), _| set != uid);
        }
        self.queue.add(ObjectKey::of(meta));
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let meta = &change.object().metadata;
        let selector = |set: &DaemonSet| set.spec.as_ref().map(|spec| spec.selector.clone());
        for key in self.orphans.concerned(change, owner, &self.sets, selector) {
            self.queue.add(key);
        }
        let Some(owner) = owner(meta) else { return };
        self.expectations.observe(&owner.uid, change);
    }

    fn node_changed(&self, change: &Change<Node>) {
        let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
        let matters = match change {
            Change::Applied { old: Some(old), new } => {
                old.metadata.labels != new.metadata.labels || taints(old) != taints(new)
            }
            _ => true,
        };
        if matters {
            self.sets.list().iter().for_each(|set| self.queue.add(ObjectKey::of(&set.metadata)));
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(set) = self.sets.get(&key) else { return Ok(None) };
        let Some(spec) = &set.spec else { return Ok(None) };
        let uid = set.metadata.uid.clone().unwrap_or_default();
        let awaited = self.expectations.pending(&uid).is_some();
        let client = &self.context.client;
        let revisions = history::revisions_of(client, &*set, &spec.selector, &self.revisions, true).await?;
        let hash = match set.metadata.deletion_timestamp {
            Some(_) => String::new(),
            None => {
                let current =
                    history::settle(client, &*set, &spec.template, &revisions, REVISION_LABEL).await?;
                current.labels().get(REVISION_LABEL).cloned().unwrap_or_default()
            }
        };
        let pods = self.pods(&key.namespace, &set).await?;
        let keep = |node: &str| {
            let failures = self.failures.lock();
            let (last, delay) = failures.get(&(uid.clone(), node.to_owned()))?;
            delay.checked_sub(last.elapsed()).filter(|wait| !wait.is_zero())
        };
        let nodes = self.nodes.list();
        let plan = plan(&Snapshot {
            set: &set,
            nodes: &nodes,
            pods: &pods,
            hash: &hash,
            awaited,
            keep: &keep,
            now: Timestamp::now(),
        });
        let again = self.execute(&set, &hash, plan).await?;
        if set.metadata.deletion_timestamp.is_none() {
            let label = |labels: Option<&std::collections::BTreeMap<String, String>>| {
                labels.and_then(|labels| labels.get(REVISION_LABEL).cloned())
            };
            let live: Vec<_> =
                pods.iter().filter_map(|(pod, _)| label(pod.metadata.labels.as_ref())).collect();
            let limit = spec.revision_history_limit.unwrap_or(10);
            history::trim(client, &revisions, limit, |revision| {
                let kept = label(revision.metadata.labels.as_ref()).unwrap_or_default();
                kept == hash || live.contains(&kept)
            })
            .await?;
        }
        Ok(again)
    }

    /// The pods, each with its node; that of one which waits for the scheduler is read from its affinity.
    async fn pods(
        &self,
        namespace: &str,
        set: &DaemonSet,
    ) -> Result<Vec<(Arc<PodView>, Option<String>)>, Failure> {
        let client = &self.context.client;
        let selector = set.spec.as_ref().map(|spec| spec.selector.clone()).unwrap_or_default();
        let known = (&self.pods, &self.orphans);
        let pods = pods_of(client, set, &selector, known, None, |_| true).await?;
        let mut found = Vec::new();
        for pod in pods {
            let mut node = pod.node_name.clone();
            if node.is_none()
                && let Some(whole) =
                    whole(client, namespace, pod.metadata.name.as_deref().unwrap_or_default()).await?
            {
                let spec = whole.spec.unwrap_or_default();
                node = spec.node_name.clone().or_else(|| nodes::bound(&spec).map(str::to_owned));
            }
            found.push((pod, node));
        }
        Ok(found)
    }

    async fn execute(&self, set: &DaemonSet, hash: &str, plan: Plan) -> Result<Option<Duration>, Failure> {
        let uid = set.uid().unwrap_or_default();
        for (pod, node) in &plan.ended {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            if pod.phase.as_deref() == Some("Failed") {
                let text = format!(
                    "Found failed daemon pod {}/{name} on node {node}, will try to kill it",
                    set.namespace().unwrap_or_default()
                );
                self.context.recorder.event(reference(set), true, "FailedDaemonPod", text);
                let mut failures = self.failures.lock();
                let (last, delay) =
                    failures.entry((uid.clone(), node.clone())).or_insert((Instant::now(), Duration::ZERO));
                *delay = if last.elapsed() > BACKOFF.1 * 2 { Duration::ZERO } else { *delay };
                *delay = (*delay * 2).clamp(BACKOFF.0, BACKOFF.1);
                *last = Instant::now();
            } else {
                let text = format!(
                    "Found succeeded daemon pod {}/{name} on node {node}, will try to delete it",
                    set.namespace().unwrap_or_default()
                );
                self.context.recorder.event(reference(set), false, "SucceededDaemonPod", text);
            }
        }
        let pods = Pods {
            client: &self.context.client,
            recorder: &self.context.recorder,
            expectations: &self.expectations,
            owner: set,
        };
        let bodies = plan.create.iter().map(|node| gantry_json::to_vec(&pod(set, node, hash)));
        let bodies: Vec<Bytes> = bodies.map(|body| body.map(Bytes::from)).collect::<Result<_, _>>()?;
        if !bodies.is_empty() || !plan.delete.is_empty() {
            let uids = plan.delete.iter().filter_map(|pod| pod.metadata.uid.clone());
            self.expectations.expect(&uid, bodies.len(), uids);
        }
        let deleted = pods.delete(&plan.delete).await;
        let created = pods.create(bodies).await;
        if set.status.as_ref() != Some(&plan.status) {
            self.write(set, plan.status).await?;
        }
        deleted?;
        created?;
        Ok(plan.again)
    }

    async fn write(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<(), kube::Error> {
        let api: Api<DaemonSet> =
            Api::namespaced(self.context.client.clone(), &set.namespace().unwrap_or_default());
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let changed = DaemonSet { status: Some(status), ..set.clone() };
        match api.replace_status(&set.name_any(), &params, &changed).await {
            Err(error) if is_stale(&error) || is_gone(&error) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// A pod of `set` for `node`.
fn pod(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(REVISION_LABEL.into(), hash.into());
    let mut spec = template.spec.unwrap_or_default();
    nodes::tolerate(&mut spec);
    nodes::bind(&mut spec, node);
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..Default::default()
        },
        spec: Some(spec),
        status: None,
    }
}
