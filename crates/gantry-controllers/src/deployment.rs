//! Rolls the templates of Deployments out through ReplicaSets.
//!
//! Flow: a change of a Deployment or of one of its ReplicaSets queues the Deployment. Its ReplicaSets
//! are claimed (adopted and released by selector), `plan` decides, and the plan is carried out:
//! a new ReplicaSet, changes of sizes and annotations, removal of old history, then the status, each
//! only where it differs from what is stored.
//!
//! Guarantees: the number of pods that the ReplicaSets ask for never exceeds replicas and surge, and no
//! available pod is given up that the Deployment's minimum needs, whatever the pods do meanwhile. Writes
//! apply only to the version that the decision was made from; one that was overtaken is dropped, and
//! the newer version decided about when the informer shows it.
//!
//! Assumes that the ReplicaSet controller removes unavailable pods before available ones, and that it
//! reports pods on their way out, on which replacing all pods at once waits.

pub(crate) mod limits;
mod plan;
mod proportional;
mod recreate;
mod revision;
mod rolling;
mod rollout;
mod status;
pub(crate) mod template;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_client::{Change, Failure, Informer, Meta, ObjectKey, PodView, WorkQueue, reference, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Selector;
use kube::{Api, Error, ResourceExt};

use crate::Context;
use crate::answer::namespace_leaves;
use crate::claim::{self, Orphans, controller_of};
use crate::writes::{MANAGER, is_gone, is_stale, message};
use plan::{Plan, Snapshot, plan};

/// Deployments worked on at once.
const WORKERS: usize = 5;

/// Runs the controller until shutdown.
pub async fn run(context: Context) {
    let deployments = context.informers.get::<Deployment>();
    let sets = context.informers.get::<ReplicaSet>();
    let pods = context.informers.get::<PodView>();
    deployments.synced().await;
    sets.synced().await;
    pods.synced().await;
    let controller = Controller {
        context: context.clone(),
        deployments,
        sets,
        pods,
        queue: WorkQueue::new(),
        orphans: Orphans::default(),
    };
    let of_deployments = controller.deployments.changes().each(|change| {
        controller.queue.add(ObjectKey::of(&change.object().metadata));
    });
    let of_sets = controller.sets.changes().each(|change| controller.set_changed(&change));
    let reconcile = |key| controller.reconcile(key);
    let workers =
        run_workers("deployment", controller.queue.clone(), WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(of_deployments, of_sets, workers);
}

struct Controller {
    context: Context,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<PodView>,
    queue: WorkQueue<ObjectKey>,
    orphans: Orphans,
}

/// What became of a new ReplicaSet.
enum Created {
    /// It is there.
    New,
    /// It was there; the informer will show it.
    Already,
    /// It cannot be made in a namespace that is being deleted.
    Never,
}

impl Controller {
    fn set_changed(&self, change: &Change<ReplicaSet>) {
        let (old, new) = match change {
            Change::Applied { old, new } => (old.as_ref(), new),
            Change::Deleted(last) => (None, last),
        };
        let orphan = self.orphans.note(&new.metadata, matches!(change, Change::Applied { .. }));
        let owners = [old.map(|old| &old.metadata), Some(&new.metadata)];
        for owner in owners.into_iter().flatten().filter_map(|meta| owner(meta)) {
            let key = ObjectKey::new(new.namespace().unwrap_or_default(), &owner.name);
            if self
                .deployments
                .get(&key)
                .is_some_and(|found| found.metadata.uid.as_deref() == Some(&owner.uid))
            {
                self.queue.add(key);
            }
        }
        if orphan {
            for deployment in self.deployments.in_namespace(&new.namespace().unwrap_or_default()) {
                if selector(&deployment).is_some_and(|selector| claim::selects(&selector, &new.metadata)) {
                    self.queue.add(ObjectKey::of(&deployment.metadata));
                }
            }
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(None) };
        let Some(selector) = selector(&deployment) else { return Ok(None) };
        let controlled = self.sets.controlled_by(deployment.metadata.uid.as_deref().unwrap_or_default());
        let orphans = self.orphans.of(&key.namespace).iter().filter_map(|key| self.sets.get(key)).collect();
        let claims = claim::claims(&deployment.metadata, &selector, controlled, orphans);
        let sets = claim::settle(&self.context.client, &*deployment, claims, None).await?;
        let running = self.running(&deployment, &sets);
        let plan = plan(Snapshot { deployment: &deployment, sets, running, now: Timestamp::now() });
        match self.carry_out(&deployment, plan).await {
            Err(error) if is_stale(&error) => Ok(None),
            outcome => outcome.map_err(Into::into),
        }
    }

    /// The ReplicaSets that still have a pod that has not ended.
    fn running(&self, deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> HashSet<String> {
        if limits::is_rolling(deployment) {
            return HashSet::new();
        }
        let uids = sets.iter().filter_map(|set| set.metadata.uid.clone());
        let runs = |uid: &String| self.pods.controlled_by(uid).iter().any(|pod| !pod.is_terminal());
        uids.filter(runs).collect()
    }

    async fn carry_out(&self, deployment: &Deployment, plan: Plan) -> Result<Option<Duration>, Error> {
        let namespace = deployment.namespace().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), &namespace);
        if let Some(set) = plan.create {
            match self.create(&api, deployment, &set).await? {
                Created::New => {}
                Created::Already | Created::Never => return Ok(None),
            }
        }
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        for update in plan.updates {
            let name = update.set.name_any();
            api.patch(&name, &params, &Patch::Merge(&update.patch)).await?;
            if let Some((before, after)) = update.scaled {
                self.scaled(deployment, &name, before, after);
            }
        }
        for set in plan.delete {
            let preconditions = Preconditions {
                uid: set.metadata.uid.clone(),
                resource_version: set.metadata.resource_version.clone(),
            };
            let params = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
            match api.delete(&set.name_any(), &params).await {
                Err(error) if !is_gone(&error) => return Err(error),
                _ => {}
            }
        }
        let known = deployment.metadata.annotations.as_ref().and_then(|all| all.get(revision::REVISION));
        let advanced = plan.revision.is_some() && plan.revision.as_ref() != known;
        if advanced || status::differs(deployment.status.as_ref(), &plan.status) {
            self.write(deployment, plan.revision, plan.status).await?;
        }
        Ok(plan.again)
    }

    /// Makes the new ReplicaSet.
    async fn create(
        &self,
        api: &Api<ReplicaSet>,
        deployment: &Deployment,
        set: &ReplicaSet,
    ) -> Result<Created, Error> {
        let name = set.name_any();
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let error = match api.create(&params, set).await {
            Ok(made) => {
                let replicas = made.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                if replicas > 0 {
                    self.scaled(deployment, &name, 0, replicas);
                }
                return Ok(Created::New);
            }
            Err(error) => error,
        };
        if namespace_leaves(&error) {
            return Ok(Created::Never);
        }
        let mut stored = deployment.status.clone().unwrap_or_default();
        if matches!(&error, Error::Api(status) if status.is_already_exists()) {
            let known = api.get_opt(&name).await?;
            let template = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.template.clone());
            let ours = known.is_some_and(|known| {
                let owner = controller_of(&known.metadata).map(|owner| &owner.uid);
                let same = template(&known).zip(template(set)).is_some_and(|(a, b)| template::same(&a, &b));
                owner == deployment.metadata.uid.as_ref() && same
            });
            if ours {
                return Ok(Created::Already);
            }
            // Another one has the name: the next try is under another hash.
            stored.collision_count = Some(stored.collision_count.unwrap_or(0) + 1);
            self.write(deployment, None, stored).await?;
            return Ok(Created::Already);
        }
        let text = format!("Failed to create new replica set {name:?}: {}", message(&error));
        if status::deadline(deployment).is_some() {
            let reason = "ReplicaSetCreateError";
            let now = Timestamp::now();
            status::set(&mut stored, status::made(status::PROGRESSING, "False", reason, text.clone(), now));
            if status::differs(deployment.status.as_ref(), &stored) {
                self.write(deployment, None, stored).await?;
            }
        }
        self.context.recorder.event(reference(deployment), true, "ReplicaSetCreateError", text);
        Err(error)
    }

    fn scaled(&self, deployment: &Deployment, set: &str, before: i32, after: i32) {
        let way = if after > before { "up" } else { "down" };
        let text = format!("Scaled {way} replica set {set} from {before} to {after}");
        self.context.recorder.event(reference(deployment), false, "ScalingReplicaSet", text);
    }

    /// Writes the status and the revision, which is an annotation, together.
    async fn write(
        &self,
        deployment: &Deployment,
        revision: Option<String>,
        status: DeploymentStatus,
    ) -> Result<(), Error> {
        let namespace = deployment.namespace().unwrap_or_default();
        let api: Api<Deployment> = Api::namespaced(self.context.client.clone(), &namespace);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let mut changed = Deployment { status: Some(status), ..deployment.clone() };
        if let Some(revision) = revision {
            let annotations: &mut BTreeMap<_, _> = changed.metadata.annotations.get_or_insert_default();
            annotations.insert(revision::REVISION.into(), revision);
        }
        match api.replace_status(&deployment.name_any(), &params, &changed).await {
            Err(error) if is_gone(&error) => Ok(()),
            outcome => outcome.map(drop),
        }
    }
}

/// The Deployment that controls an object, if one does.
fn owner(meta: &dyn Meta) -> Option<&OwnerReference> {
    controller_of(meta)
        .filter(|owner| owner.kind == "Deployment" && owner.api_version.split('/').next() == Some("apps"))
}

/// The selector; `None` where it selects nothing or everything, which is never meant.
fn selector(deployment: &Deployment) -> Option<Selector> {
    let selector = Selector::try_from(deployment.spec.as_ref()?.selector.clone()).ok()?;
    Some(selector).filter(|selector| !selector.selects_all())
}
