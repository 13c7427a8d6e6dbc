//! Keeps account of disruption budgets: how many pods of each may go now.
//!
//! Flow: a change of a budget, of one of its pods or of how many of them there should be queues the
//! budget; what its pods allow is written into its status, from which evictions are taken. Guarantees:
//! where it cannot be found out how many pods there should be, none may go; an eviction that was allowed
//! counts until its pod is deleted, or for two minutes.

mod plan;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_client::{Change, Failure, Informer, Meta, ObjectKey, PodView, WorkQueue, reference, run_workers};
use jiff::{Timestamp, Unit};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::PostParams;
use kube::core::{DynamicObject, Selector};
use kube::{Api, ResourceExt};

use crate::Context;
use crate::claim::{controller_of, selects};
use crate::disruption;
use crate::resources::discover;
use crate::writes::{MANAGER, is_gone};
use plan::{needs_scale, plan, unknown};

/// Budgets worked on at once.
const WORKERS: usize = 5;

/// Runs until shutdown.
pub async fn run(context: Context) {
    let budgets = context.informers.get::<PodDisruptionBudget>();
    let pods = context.informers.get::<PodView>();
    let (sets, deployments) = (context.informers.get::<ReplicaSet>(), context.informers.get::<Deployment>());
    budgets.synced().await;
    pods.synced().await;
    sets.synced().await;
    deployments.synced().await;
    let controller =
        Controller { context: context.clone(), budgets, pods, sets, deployments, queue: WorkQueue::new() };
    let of_budgets = controller.budgets.changes().each(|change| {
        controller.queue.add(ObjectKey::of(&change.object().metadata));
    });
    let of_pods = controller.pods.changes().each(|change| controller.pod_changed(&change));
    let of_sets = controller.sets.changes().each(|change| {
        let replicas = |set: &ReplicaSet| set.spec.as_ref().and_then(|spec| spec.replicas);
        if let Change::Applied { old: Some(old), new } = change
            && replicas(&old) != replicas(&new)
        {
            controller.scaled(&new.metadata);
        }
    });
    let of_deployments = controller.deployments.changes().each(|change| {
        let replicas = |of: &Deployment| of.spec.as_ref().and_then(|spec| spec.replicas);
        if let Change::Applied { old: Some(old), new } = change
            && replicas(&old) != replicas(&new)
        {
            controller.scaled(&new.metadata);
        }
    });
    let reconcile = |key| controller.reconcile(key);
    let workers =
        run_workers("disruption", controller.queue.clone(), WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(of_budgets, of_pods, of_sets, of_deployments, workers);
}

struct Controller {
    context: Context,
    budgets: Informer<PodDisruptionBudget>,
    pods: Informer<PodView>,
    sets: Informer<ReplicaSet>,
    deployments: Informer<Deployment>,
    queue: WorkQueue<ObjectKey>,
}

/// What a budget selects; nothing where it has no selector.
fn selector(budget: &PodDisruptionBudget) -> Option<Selector> {
    Selector::try_from(budget.spec.as_ref()?.selector.clone()?).ok()
}

impl Controller {
    fn pod_changed(&self, change: &Change<PodView>) {
        let matters = match change {
            Change::Applied { old: Some(old), new } => {
                old.is_ready() != new.is_ready()
                    || old.is_deleted() != new.is_deleted()
                    || old.metadata.labels != new.metadata.labels
                    || controller_of(&old.metadata) != controller_of(&new.metadata)
            }
            _ => true,
        };
        if !matters {
            return;
        }
        self.add_selecting(&change.object().metadata);
        if let Change::Applied { old: Some(old), .. } = change {
            self.add_selecting(&old.metadata);
        }
    }

    fn add_selecting(&self, pod: &dyn Meta) {
        for budget in self.budgets.in_namespace(pod.namespace().unwrap_or_default()) {
            if selector(&budget).is_some_and(|selector| selects(&selector, pod)) {
                self.queue.add(ObjectKey::of(&budget.metadata));
            }
        }
    }

    /// There should be more or fewer pods of something in this namespace.
    fn scaled(&self, meta: &dyn Meta) {
        for budget in self.budgets.in_namespace(meta.namespace().unwrap_or_default()) {
            if needs_scale(&budget) {
                self.queue.add(ObjectKey::of(&budget.metadata));
            }
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(budget) = self.budgets.get(&key) else { return Ok(None) };
        let now = Timestamp::now();
        let now = now.round(Unit::Second).unwrap_or(now);
        let pods = match selector(&budget) {
            Some(selector) => {
                let mut pods = self.pods.in_namespace(&key.namespace);
                pods.retain(|pod| selects(&selector, &pod.metadata));
                pods
            }
            None => Vec::new(),
        };
        let about = reference(&*budget);
        if pods.is_empty() {
            self.context.recorder.event(about.clone(), false, "NoPods", "No matching pods found");
        }
        let expected = if needs_scale(&budget) { self.expected(&key.namespace, &pods).await } else { Ok(0) };
        let expected = match expected {
            Ok(expected) => expected,
            Err(why) => {
                let text = format!("Failed to calculate the number of expected pods: {why}");
                self.context.recorder.event(about, true, "CalculateExpectedPodCountFailed", text);
                self.write(&budget, unknown(&budget, &why.to_string(), now)).await?;
                return Err(why);
            }
        };
        let outcome = plan(&budget, &pods, expected, now);
        for pod in &outcome.undeleted {
            let text =
                format!("Pod was expected by PDB {}/{} to be deleted but it wasn't", key.namespace, key.name);
            self.context.recorder.event(disruption::reference(pod), true, "NotDeleted", text);
        }
        self.write(&budget, outcome.status).await?;
        Ok(outcome.again)
    }

    /// How many pods there should be, by what controls those that there are.
    async fn expected(&self, namespace: &str, pods: &[Arc<PodView>]) -> Result<i32, Failure> {
        let mut seen = HashSet::new();
        let mut expected: i32 = 0;
        let mut scales: BTreeMap<(String, String, String), OwnerReference> = BTreeMap::new();
        for owner in pods.iter().filter_map(|pod| controller_of(&pod.metadata)) {
            if !seen.insert(owner.uid.clone()) {
                continue;
            }
            let set = self.sets.get(&ObjectKey::new(namespace, &owner.name));
            let Some(set) = set.filter(|set| set.metadata.uid.as_ref() == Some(&owner.uid)) else {
                let key = (owner.api_version.clone(), owner.kind.clone(), owner.name.clone());
                scales.insert(key, owner.clone());
                continue;
            };
            let deployment = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment");
            let Some(deployment) = deployment else {
                expected =
                    expected.saturating_add(set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1));
                continue;
            };
            if seen.insert(deployment.uid.clone()) {
                let found = self.deployments.get(&ObjectKey::new(namespace, &deployment.name));
                let replicas =
                    found.map(|found| found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1));
                expected = expected.saturating_add(replicas.unwrap_or(0));
            }
        }
        if scales.is_empty() {
            return Ok(expected);
        }
        let kinds = discover(&self.context.client).await?.kinds;
        for ((api_version, kind, name), _) in scales {
            let served = kinds
                .iter()
                .find(|served| served.resource.api_version == api_version && served.resource.kind == kind)
                .ok_or_else(|| format!("no matches for kind {kind:?} in version {api_version:?}"))?;
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.context.client.clone(), namespace, &served.resource);
            match api.get_scale(&name).await {
                Ok(scale) => {
                    let replicas = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                    expected = expected.saturating_add(replicas);
                }
                Err(error) if is_gone(&error) => {
                    let group = &served.resource.group;
                    let plural = &served.resource.plural;
                    return Err(format!("{plural}.{group} does not implement the scale subresource").into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(expected)
    }

    async fn write(
        &self,
        budget: &PodDisruptionBudget,
        status: PodDisruptionBudgetStatus,
    ) -> Result<(), Failure> {
        if budget.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let namespace = budget.namespace().unwrap_or_default();
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.context.client.clone(), &namespace);
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let changed = PodDisruptionBudget { status: Some(status), ..budget.clone() };
        match api.replace_status(&budget.name_any(), &params, &changed).await {
            Err(error) if is_gone(&error) => Ok(()),
            // Where an eviction was quicker the budget is looked at again.
            outcome => Ok(outcome.map(drop)?),
        }
    }
}
