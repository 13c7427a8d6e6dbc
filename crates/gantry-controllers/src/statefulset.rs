//! Keeps the numbered pods of a StatefulSet, each with its name and its claims.
//!
//! Flow: a change of a StatefulSet or of one of its pods queues it. Pods are made from the first to the
//! last, each when those before it are well, removed and updated from the last to the first; or, where
//! the order is no matter, all at once. Pods of its names without a controller are adopted, those that it
//! no longer selects released. Templates are kept as ControllerRevisions.
//!
//! Guarantees: a pod has a fixed name, so stale reads never make a second one; one is removed only if it
//! still is the one that was looked at. Claims are made before their pod, and stay when it goes unless the
//! retention policy says otherwise: then they belong to the set or to a pod that is too much, and the
//! garbage collector removes them with it.

mod plan;
mod retention;
mod template;

use std::sync::Arc;
use std::time::Duration;

use gantry_client::{Failure, Informer, Meta, ObjectKey, PodView, WorkQueue, reference, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};

use crate::claim::{Orphans, controller_of, pods_of};
use crate::history::{self, REVISION_LABEL};
use crate::writes::{MANAGER, is_gone, is_stale, message};
use crate::{Context, answer};
use plan::{Plan, Snapshot, ordinal, ordinals, plan};
use retention::Holder;

/// StatefulSets worked on at once.
const WORKERS: usize = 5;
/// The label of a revision with its hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let sets = context.informers.get::<StatefulSet>();
    let pods = context.informers.get::<PodView>();
    let revisions = context.informers.get::<ControllerRevision>();
    sets.synced().await;
    pods.synced().await;
    revisions.synced().await;
    let queue = WorkQueue::new();
    let controller =
        Controller { context: context.clone(), sets, pods, revisions, orphans: Orphans::default() };
    let selector = |set: &StatefulSet| set.spec.as_ref().map(|spec| spec.selector.clone());
    let of_sets =
        controller.sets.changes().each(|change| queue.add(ObjectKey::of(&change.object().metadata)));
    let of_pods = controller.pods.changes().each(|change| {
        for key in controller.orphans.concerned(&change, owner, &controller.sets, selector) {
            queue.add(key);
        }
    });
    let reconcile = |key| controller.reconcile(key);
    let workers = run_workers("statefulset", queue.clone(), WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(of_sets, of_pods, workers);
}

struct Controller {
    context: Context,
    sets: Informer<StatefulSet>,
    pods: Informer<PodView>,
    revisions: Informer<ControllerRevision>,
    orphans: Orphans,
}

/// The StatefulSet that controls an object, if one does.
fn owner(meta: &dyn Meta) -> Option<&OwnerReference> {
    controller_of(meta)
        .filter(|owner| owner.kind == "StatefulSet" && owner.api_version.split('/').next() == Some("apps"))
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(set) = self.sets.get(&key) else { return Ok(None) };
        let Some(spec) = &set.spec else { return Ok(None) };
        let client = &self.context.client;
        let known = (&self.pods, &self.orphans);
        let fits = |pod: &PodView| ordinal(&key.name, pod).is_some();
        let pods = pods_of(client, &*set, &spec.selector, known, None, fits).await?;
        let revisions = history::revisions_of(client, &*set, &spec.selector, &self.revisions, false).await?;
        let update = match set.metadata.deletion_timestamp {
            Some(_) => None,
            None => Some(history::settle(client, &*set, &spec.template, &revisions, HASH_LABEL).await?),
        };
        let update = update.map(|update| update.name_any()).unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let current = status
            .current_revision
            .filter(|name| revisions.iter().any(|revision| revision.metadata.name.as_ref() == Some(name)));
        let current = current.unwrap_or_else(|| update.clone());
        let seen =
            Snapshot { set: &set, pods: &pods, update: &update, current: &current, now: Timestamp::now() };
        let plan = plan(&seen);
        if set.metadata.deletion_timestamp.is_none() {
            self.retain(&set, &pods).await?;
        }
        let again = self.execute(&set, &revisions, (&current, &update), plan).await?;
        let live: Vec<_> = pods
            .iter()
            .filter_map(|pod| pod.metadata.labels.as_ref()?.get(REVISION_LABEL).cloned())
            .collect();
        if set.metadata.deletion_timestamp.is_none() {
            let limit = spec.revision_history_limit.unwrap_or(10);
            history::trim(client, &revisions, limit, |revision| {
                let name = revision.name_any();
                name == current || name == update || live.contains(&name)
            })
            .await?;
        }
        Ok(again)
    }

    async fn execute(
        &self,
        set: &StatefulSet,
        revisions: &[Arc<ControllerRevision>],
        (current, update): (&str, &str),
        plan: Plan,
    ) -> Result<Option<Duration>, Failure> {
        if set.status.as_ref() != Some(&plan.status) {
            self.write(set, plan.status).await?;
        }
        for pod in &plan.delete {
            self.delete(set, pod).await?;
        }
        for (ordinal, new) in plan.create {
            let template = set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
            let kept = || {
                let of_name = |revision: &&Arc<ControllerRevision>| revision.name_any() == current;
                history::template(revisions.iter().find(of_name)?)
            };
            let (template, revision) = match new {
                true => (template, update),
                false => (kept().unwrap_or(template), current),
            };
            self.create(set, template::pod(set, template, revision, ordinal), ordinal).await?;
        }
        Ok(plan.again)
    }

    /// Makes the claims of a pod that are missing, and the pod.
    async fn create(&self, set: &StatefulSet, pod: Pod, ordinal: i32) -> Result<(), Failure> {
        let namespace = set.namespace().unwrap_or_default();
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let (name, owner) = (pod.name_any(), set.name_any());
        let about = reference(set);
        let recorder = &self.context.recorder;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.context.client.clone(), &namespace);
        let holder = Holder { name: &name, uid: None, surplus: false };
        for (_, mut claim) in template::claims(set, ordinal) {
            let claim_name = claim.name_any();
            if let Some(known) = claims.get_opt(&claim_name).await? {
                if retention::is_leaving(&known, holder) {
                    return Err(format!("claim {claim_name} of pod {name} is still to go").into());
                }
                continue;
            }
            claim.metadata.owner_references = retention::owners(set, holder, &claim);
            match claims.create(&params, &claim).await {
                Ok(_) => {
                    let text = format!("create Claim {claim_name} Pod {name} in StatefulSet {owner} success");
                    recorder.event(about.clone(), false, "SuccessfulCreate", text);
                }
                Err(error) if answer::code(&error) == 409 => {}
                Err(error) => {
                    let why = message(&error);
                    let text = format!(
                        "create Claim {claim_name} for Pod {name} in StatefulSet {owner} failed error: {why}"
                    );
                    recorder.event(about, true, "FailedCreate", text);
                    return Err(error.into());
                }
            }
        }
        let pods: Api<Pod> = Api::namespaced(self.context.client.clone(), &namespace);
        match pods.create(&params, &pod).await {
            Ok(_) => {
                let text = format!("create Pod {name} in StatefulSet {owner} successful");
                recorder.event(about, false, "SuccessfulCreate", text);
                Ok(())
            }
            // It is there, or nothing is made any more: the informer says more.
            Err(error) if answer::code(&error) == 409 || answer::namespace_leaves(&error) => Ok(()),
            Err(error) => {
                let text =
                    format!("create Pod {name} in StatefulSet {owner} failed error: {}", message(&error));
                recorder.event(about, true, "FailedCreate", text);
                Err(error.into())
            }
        }
    }

    /// Gives the claims of the set's pods to those that they are to go with.
    async fn retain(&self, set: &StatefulSet, pods: &[Arc<PodView>]) -> Result<(), Failure> {
        let Some(spec) = set.spec.as_ref() else { return Ok(()) };
        if spec.volume_claim_templates.as_ref().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let known = self.context.informers.get::<PersistentVolumeClaim>();
        known.synced().await;
        let (namespace, set_name) = (set.namespace().unwrap_or_default(), set.name_any());
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.context.client.clone(), &namespace);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        for pod in pods {
            let Some(number) = ordinal(&set_name, pod) else { continue };
            let holder = Holder {
                name: pod.metadata.name.as_deref().unwrap_or_default(),
                uid: pod.metadata.uid.as_deref(),
                surplus: !ordinals(spec).contains(&number),
            };
            for (_, claim) in template::claims(set, number) {
                let Some(claim) = known.get(&ObjectKey::new(&*namespace, claim.name_any())) else { continue };
                let Some(owners) = retention::owners(set, holder, &claim) else { continue };
                let mut changed = PersistentVolumeClaim::clone(&claim);
                changed.metadata.owner_references = Some(owners);
                match api.replace(&claim.name_any(), &params, &changed).await {
                    Err(error) if is_gone(&error) => {}
                    // A claim that is to go with its pod must belong to it before the pod goes.
                    outcome => drop(outcome?),
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, set: &StatefulSet, pod: &PodView) -> Result<(), Failure> {
        let api: Api<Pod> =
            Api::namespaced(self.context.client.clone(), &set.namespace().unwrap_or_default());
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
            ..Default::default()
        };
        let (name, owner) = (pod.metadata.name.clone().unwrap_or_default(), set.name_any());
        match api.delete(&name, &params).await {
            Err(error) if is_gone(&error) || is_stale(&error) => Ok(()),
            Err(error) => {
                let text =
                    format!("delete Pod {name} in StatefulSet {owner} failed error: {}", message(&error));
                self.context.recorder.event(reference(set), true, "FailedDelete", text);
                Err(error.into())
            }
            Ok(_) => {
                let text = format!("delete Pod {name} in StatefulSet {owner} successful");
                self.context.recorder.event(reference(set), false, "SuccessfulDelete", text);
                Ok(())
            }
        }
    }

    async fn write(&self, set: &StatefulSet, status: StatefulSetStatus) -> Result<(), kube::Error> {
        let api: Api<StatefulSet> =
            Api::namespaced(self.context.client.clone(), &set.namespace().unwrap_or_default());
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let changed = StatefulSet { status: Some(status), ..set.clone() };
        match api.replace_status(&set.name_any(), &params, &changed).await {
            Err(error) if is_stale(&error) || is_gone(&error) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}
