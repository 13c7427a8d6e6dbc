//! Keeps as many pods of a ReplicaSet, or of a ReplicationController, as it asks for.
//!
//! Flow: a change of a ReplicaSet or of one of its pods queues the ReplicaSet. Its pods are claimed
//! (adopted and released by selector), missing ones made, surplus ones removed, and the counts written
//! where they differ from what is stored.
//!
//! Guarantees: while a creation or deletion has not come back through the informer, no further one is
//! asked for, so that stale reads never make too many pods or remove too many. A pod is only removed if
//! it still is the one that was looked at. Nothing is written where nothing has changed.
//!
//! Assumes a single running instance; a second one would at worst make pods that are removed again.

mod kind;
mod plan;
mod ranking;
pub(crate) mod status;
mod template;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_client::{Change, Failure, Informer, Meta, ObjectKey, PodView, WorkQueue, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Context;
use crate::claim::{self, Orphans, controller_of, controller_reference};
use crate::expectations::Expectations;
use crate::pods::Pods;
use crate::writes::{MANAGER, is_gone, is_stale};
use kind::Replicated;
use plan::{Plan, plan};
use template::from_template;

/// ReplicaSets worked on at once.
const WORKERS: usize = 5;

/// Time between two looks at the same ReplicaSet while only its pods change: what happens to hundreds
/// of pods at once is counted and written once.
const PACE: Duration = Duration::from_millis(20);

/// How long counts may be old while pods are being made or removed.
const STALE_COUNTS: Duration = Duration::from_secs(1);

/// Runs the controller of ReplicaSets until shutdown.
pub async fn run(context: Context) {
    run_for::<ReplicaSet>(context).await;
}

/// Runs the controller of ReplicationControllers until shutdown.
pub async fn run_replication_controllers(context: Context) {
    run_for::<ReplicationController>(context).await;
}

async fn run_for<O: Replicated>(context: Context) {
    let sets = context.informers.get::<O>();
    let pods = context.informers.get::<PodView>();
    sets.synced().await;
    pods.synced().await;
    let (set_changes, mut pod_changes) = (sets.changes(), pods.changes());
    let controller = Controller {
        context: context.clone(),
        sets,
        pods,
        queue: WorkQueue::new(),
        orphans: Orphans::default(),
        expectations: Expectations::default(),
        looked_at: Mutex::default(),
    };
    // What is there already must not count as what is awaited later.
    while let Some(change) = pod_changes.try_next() {
        controller.pod_changed(&change);
    }
    let of_sets = set_changes.each(|change| controller.set_changed(&change));
    let of_pods = pod_changes.each(|change| controller.pod_changed(&change));
    let reconcile = |key| controller.reconcile(key);
    let workers =
        run_workers(O::NAME, controller.queue.clone(), WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(of_sets, of_pods, workers);
}

struct Controller<O> {
    context: Context,
    sets: Informer<O>,
    pods: Informer<PodView>,
    queue: WorkQueue<ObjectKey>,
    orphans: Orphans,
    expectations: Expectations,
    /// When a ReplicaSet was looked at last, and its generation then.
    looked_at: Mutex<HashMap<ObjectKey, (Instant, Option<i64>)>>,
}

impl<O: Replicated> Controller<O> {
    fn set_changed(&self, change: &Change<O>) {
        let key = ObjectKey::of(change.object().metadata());
        if let Change::Deleted(set) = change {
            self.expectations.forget(set.metadata().uid.as_deref().unwrap_or_default());
            self.looked_at.lock().remove(&key);
        }
        self.queue.add(key);
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        match change {
            Change::Applied { old, new } => {
                let orphan = self.orphans.note(&new.metadata, true);
                let owner = owner::<O>(&new.metadata);
                let before = old.as_ref().and_then(|old| self::owner::<O>(&old.metadata));
                let handed_over = before.map(|owner| &owner.uid) != owner.map(|owner| &owner.uid);
                if let Some(before) = before.filter(|_| handed_over) {
                    self.add_owner(&new.metadata, before);
                }
                if let Some(owner) = owner {
                    self.expectations.observe(&owner.uid, change);
                    if handed_over || old.as_ref().is_none_or(|old| matters(old, new)) {
                        self.add_owner(&new.metadata, owner);
                    }
                } else if orphan && old.as_ref().is_none_or(|old| handed_over || matters(old, new)) {
                    self.add_selecting(&new.metadata);
                }
            }
            Change::Deleted(last) => {
                self.orphans.note(&last.metadata, false);
                if let Some(owner) = owner::<O>(&last.metadata) {
                    self.expectations.observe(&owner.uid, change);
                    self.add_owner(&last.metadata, owner);
                }
            }
        }
    }

    /// Queues the ReplicaSet that a pod's owner reference means.
    fn add_owner(&self, pod: &dyn Meta, owner: &OwnerReference) {
        let key = ObjectKey::new(pod.namespace().unwrap_or_default(), &owner.name);
        if self.sets.get(&key).is_some_and(|set| set.metadata().uid.as_deref() == Some(&owner.uid)) {
            self.queue.add(key);
        }
    }

    /// Queues every ReplicaSet that might adopt a pod.
    fn add_selecting(&self, pod: &dyn Meta) {
        for set in self.sets.in_namespace(pod.namespace().unwrap_or_default()) {
            if set.selector().is_some_and(|selector| claim::selects(&selector, pod)) {
                self.queue.add(ObjectKey::of(set.metadata()));
            }
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(set) = self.sets.get(&key) else { return Ok(None) };
        if let Some(wait) = self.pace(&key, set.metadata().generation) {
            return Ok(Some(wait));
        }
        let view = set.view();
        let uid = set.metadata().uid.as_deref().unwrap_or_default();
        // Asked before the pods are read: what comes back in between is seen.
        let pending = self.expectations.pending(uid);
        let (active, terminating) = self.claim(&key, &set).await?;
        let now = Timestamp::now();
        if let Some(since) = pending {
            let age = since.elapsed();
            if age < STALE_COUNTS {
                return Ok(Some(STALE_COUNTS - age));
            }
            return self.report(&set, &active, terminating, None, now).await;
        }
        let work = match view.metadata.deletion_timestamp {
            None => plan(&view, &active, || self.related(&view.metadata), now),
            Some(_) => Plan::Nothing,
        };
        let pods = Pods {
            client: &self.context.client,
            recorder: &self.context.recorder,
            expectations: &self.expectations,
            owner: &*set,
        };
        let outcome = match work {
            Plan::Nothing => return self.report(&set, &active, terminating, None, now).await,
            Plan::Create(count) => {
                let body =
                    Bytes::from(gantry_json::to_vec(&from_template(&view, controller_reference(&*set)))?);
                self.expectations.expect(uid, count, []);
                pods.create(vec![body; count]).await
            }
            Plan::Delete(surplus) => {
                let uids = surplus.iter().filter_map(|pod| pod.metadata.uid.clone());
                self.expectations.expect(uid, 0, uids);
                pods.delete(&surplus).await
            }
        };
        match outcome {
            // The pods come back through the informer and are counted then.
            Ok(()) => Ok(None),
            Err(message) => {
                // The queue's back-off sets the pace from here.
                self.looked_at.lock().remove(&key);
                self.report(&set, &active, terminating, Some(&message), now).await?;
                Err(message.into())
            }
        }
    }

    /// How long to wait before looking at the set again, if it was looked at just now.
    fn pace(&self, key: &ObjectKey, generation: Option<i64>) -> Option<Duration> {
        let mut looked_at = self.looked_at.lock();
        let now = Instant::now();
        if let Some((last, seen)) = looked_at.get(key)
            && *seen == generation
            && let Some(wait) = PACE.checked_sub(now - *last).filter(|wait| !wait.is_zero())
        {
            return Some(wait);
        }
        looked_at.insert(key.clone(), (now, generation));
        None
    }

    /// The active pods of `set`, and how many are on their way out.
    async fn claim(&self, key: &ObjectKey, set: &O) -> Result<(Vec<Arc<PodView>>, usize), Failure> {
        let uid = set.metadata().uid.as_deref().unwrap_or_default();
        let controlled = self.pods.controlled_by(uid);
        let terminating = controlled.iter().filter(|pod| pod.is_deleted() && !pod.is_terminal()).count();
        let Some(selector) = set.selector() else { return Ok((Vec::new(), terminating)) };
        let active = |pods: Vec<Arc<PodView>>| pods.into_iter().filter(|pod| pod.is_active()).collect();
        let orphans = self.orphans.of(&key.namespace).iter().filter_map(|key| self.pods.get(key)).collect();
        let claims = claim::claims(set.metadata(), &selector, active(controlled), active(orphans));
        Ok((claim::settle(&self.context.client, set, claims, None).await?, terminating))
    }

    /// The pods of all sets that have the same controller as the one with this metadata.
    fn related(&self, set: &ObjectMeta) -> Vec<Arc<PodView>> {
        let own = || self.pods.controlled_by(set.uid.as_deref().unwrap_or_default());
        let Some(controller) = controller_of(set) else { return own() };
        let sets = self.sets.controlled_by(&controller.uid);
        let uids = sets.iter().filter_map(|set| set.metadata().uid.as_deref());
        uids.flat_map(|uid| self.pods.controlled_by(uid)).collect()
    }

    /// Writes the status where it differs; gives when it will differ next by itself.
    async fn report(
        &self,
        set: &O,
        active: &[Arc<PodView>],
        terminating: usize,
        failure: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Duration>, Failure> {
        let view = set.view();
        let new = O::reported(status::status(&view, active, terminating, failure, now));
        if status::differs(view.status.as_ref(), &new) {
            self.write(set, new).await?;
        }
        Ok(status::next_available(&view, active, now))
    }

    async fn write(&self, set: &O, status: ReplicaSetStatus) -> Result<(), kube::Error> {
        let namespace = set.namespace().unwrap_or_default();
        let api: Api<O> = Api::namespaced(self.context.client.clone(), &namespace);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let changed = set.with_status(status);
        match api.replace_status(&set.name_any(), &params, &changed).await {
            Err(error) if is_stale(&error) || is_gone(&error) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// The set that controls an object, if one does.
fn owner<O: Replicated>(meta: &dyn Meta) -> Option<&OwnerReference> {
    let group = |version: &str| version.split_once('/').map_or(String::new(), |(group, _)| group.to_owned());
    controller_of(meta)
        .filter(|owner| owner.kind == O::kind(&()) && group(&owner.api_version) == O::group(&()))
}

/// Whether a change of a pod can change anything about its owner.
fn matters(old: &PodView, new: &PodView) -> bool {
    old.phase != new.phase
        || old.is_deleted() != new.is_deleted()
        || old.is_ready() != new.is_ready()
        || old.ready_since() != new.ready_since()
        || old.metadata.labels != new.metadata.labels
}
