//! Runs a Job's pods to their end.
//!
//! Flow: a change of a Job or of one of its pods queues the Job. Pods are adopted and released by the
//! selector. Those that have ended are counted into
//! its status, then let go: each holds the finalizer `batch.kubernetes.io/job-tracking` until it is in
//! the status that was written. Missing pods are made, surplus ones removed, and once enough have
//! succeeded, or too many failed, what still runs is ended and the Job says so.
//!
//! Guarantees: no end of a pod is counted twice or forgotten, whatever is restarted when: a pod's uid
//! stands in the status before it is let go, and is turned into a number after. While a creation or
//! deletion has not come back through the informer, no further one is asked for.
//!
//! Jobs that another controller manages, by `spec.managedBy`, are left alone.

mod failures;
mod indexes;
mod plan;
mod retries;
mod template;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use gantry_client::{Change, Failure, Informer, Meta, ObjectKey, PodView, WorkQueue, reference, run_workers};
use gantry_json::json;
use jiff::{Timestamp, Unit};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;

use crate::Context;
use crate::claim::{Orphans, controller_of, pods_of};
use crate::expectations::Expectations;
use crate::pods::{Pods, whole};
use crate::writes::{MANAGER, is_gone, is_stale};
use failures::{Action, Failures, action, is_failed};
pub(crate) use plan::finished;
use plan::{Plan, Snapshot, is_tracked, plan};

/// Held by a pod until its end is counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The value of `spec.managedBy` that means this controller.
const MANAGED: &str = "kubernetes.io/job-controller";
/// Jobs worked on at once.
const WORKERS: usize = 5;

/// What is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Work {
    Job(ObjectKey),
    /// A pod that may be held for a Job that is gone.
    Pod(ObjectKey),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(key) => write!(f, "{key}"),
            Self::Pod(key) => write!(f, "pod {key}"),
        }
    }
}

/// Runs the controller until shutdown.
pub async fn run(context: Context) {
    let (jobs, pods) = (context.informers.get::<Job>(), context.informers.get::<PodView>());
    jobs.synced().await;
    pods.synced().await;
    let controller = Controller {
        context: context.clone(),
        jobs,
        pods,
        queue: WorkQueue::new(),
        expectations: Expectations::default(),
        orphans: Orphans::default(),
        failures: Mutex::default(),
    };
    let of_jobs = controller.jobs.changes().each(|change| controller.job_changed(&change));
    let of_pods = controller.pods.changes().each(|change| controller.pod_changed(&change));
    let work = async |work| match work {
        Work::Job(key) => controller.reconcile(key).await,
        Work::Pod(key) => controller.release(&key).await,
    };
    let workers = run_workers("job", controller.queue.clone(), WORKERS, work, context.shutdown.clone());
    tokio::join!(of_jobs, of_pods, workers);
}

struct Controller {
    context: Context,
    jobs: Informer<Job>,
    pods: Informer<PodView>,
    queue: WorkQueue<Work>,
    expectations: Expectations,
    orphans: Orphans,
    /// By the uid of the Job.
    failures: Mutex<HashMap<String, Failures>>,
}

impl Controller {
    fn job_changed(&self, change: &Change<Job>) {
        let meta = &change.object().metadata;
        if let Change::Deleted(_) = change {
            let uid = meta.uid.as_deref().unwrap_or_default();
            self.expectations.forget(uid);
            self.failures.lock().remove(uid);
            for pod in self.pods.controlled_by(uid) {
                self.queue.add(Work::Pod(ObjectKey::of(&pod.metadata)));
            }
        }
        self.queue.add(Work::Job(ObjectKey::of(meta)));
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let meta = &change.object().metadata;
        let selector = |job: &Job| job.spec.as_ref().and_then(|spec| spec.selector.clone());
        for key in self.orphans.concerned(change, owner, &self.jobs, selector) {
            self.queue.add(Work::Job(key));
        }
        let Some(owner) = owner(meta) else {
            if matches!(change, Change::Applied { new, .. } if is_tracked(new)) {
                self.queue.add(Work::Pod(ObjectKey::of(meta)));
            }
            return;
        };
        self.expectations.observe(&owner.uid, change);
        let key = ObjectKey::new(meta.namespace.clone().unwrap_or_default(), &owner.name);
        match self.jobs.get(&key).filter(|job| job.metadata.uid.as_ref() == Some(&owner.uid)) {
            Some(_) => self.queue.add(Work::Job(key)),
            None => self.queue.add(Work::Pod(ObjectKey::of(meta))),
        }
    }

    /// Lets a pod go whose Job is gone.
    async fn release(&self, key: &ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(pod) = self.pods.get(key).filter(|pod| is_tracked(pod)) else { return Ok(None) };
        if let Some(owner) = owner(&pod.metadata) {
            let jobs: Api<Job> = Api::namespaced(self.context.client.clone(), &key.namespace);
            // The informer may not have it yet.
            let live = jobs.get_opt(&owner.name).await?;
            if live.is_some_and(|job| job.metadata.uid.as_ref() == Some(&owner.uid)) {
                return Ok(None);
            }
        }
        self.untrack(&key.namespace, &[pod]).await?;
        Ok(None)
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let Some(job) = self.jobs.get(&key) else { return Ok(None) };
        let Some(spec) = &job.spec else { return Ok(None) };
        if spec.managed_by.as_deref().is_some_and(|manager| manager != MANAGED) {
            return Ok(None);
        }
        let uid = job.metadata.uid.clone().unwrap_or_default();
        let awaited = self.expectations.pending(&uid).is_some();
        let selector = spec.selector.clone().unwrap_or_default();
        let known = (&self.pods, &self.orphans);
        // One that has ended takes nobody in.
        let open = finished(&job).is_none();
        let pods = pods_of(&self.context.client, &*job, &selector, known, Some(TRACKING), |_| open).await?;
        let now = Timestamp::now();
        let now = now.round(Unit::Second).unwrap_or(now);
        let failures = {
            let mut all = self.failures.lock();
            let failures = all.entry(uid.clone()).or_default();
            failures.observe(pods.iter().map(|pod| &**pod), spec, now);
            failures.clone()
        };
        let actions = self.actions(&job, &pods).await?;
        let seen = Snapshot { job: &job, pods: &pods, actions: &actions, failures: &failures, awaited, now };
        self.execute(&job, plan(&seen)).await
    }

    /// What the Job's failure policy says about pods that failed.
    async fn actions(
        &self,
        job: &Job,
        pods: &[Arc<PodView>],
    ) -> Result<HashMap<String, Action>, kube::Error> {
        let mut actions = HashMap::new();
        let Some(spec) = &job.spec else { return Ok(actions) };
        let Some(policy) = &spec.pod_failure_policy else { return Ok(actions) };
        let namespace = job.namespace().unwrap_or_default();
        for pod in pods.iter().filter(|pod| is_tracked(pod) && is_failed(pod, spec)) {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let whole = whole(&self.context.client, &namespace, name).await?;
            if let (Some(whole), Some(uid)) = (whole, &pod.metadata.uid) {
                actions.insert(uid.clone(), action(policy, &whole));
            }
        }
        Ok(actions)
    }

    async fn execute(&self, job: &Job, plan: Plan) -> Result<Option<Duration>, Failure> {
        let namespace = job.namespace().unwrap_or_default();
        if job.status.as_ref() != Some(&plan.status) && !self.write(job, plan.status).await? {
            // The newer Job comes through the informer.
            return Ok(None);
        }
        for (warning, reason, message) in plan.events {
            self.context.recorder.event(reference(job), warning, reason, message);
        }
        self.untrack(&namespace, &plan.untrack).await?;
        let pods = Pods {
            client: &self.context.client,
            recorder: &self.context.recorder,
            expectations: &self.expectations,
            owner: job,
        };
        let uid = job.uid().unwrap_or_default();
        if !plan.delete.is_empty() {
            let uids = plan.delete.iter().filter_map(|pod| pod.metadata.uid.clone());
            self.expectations.expect(&uid, 0, uids);
            pods.delete(&plan.delete).await?;
        } else if !plan.create.is_empty() {
            let failures = |index: Option<u32>| {
                let counts = &plan.retries.as_ref()?.counts;
                Some(index.and_then(|index| counts.get(&index).copied()).unwrap_or_default())
            };
            let made = plan.create.iter().map(|index| template::pod(job, *index, failures(*index)));
            let bodies = made.map(|pod| gantry_json::to_vec(&pod));
            let bodies: Vec<Bytes> = bodies.map(|body| body.map(Bytes::from)).collect::<Result<_, _>>()?;
            self.expectations.expect(&uid, bodies.len(), []);
            pods.create(bodies).await?;
        }
        Ok(plan.again)
    }

    /// Writes the status; whether it was still the Job that was looked at.
    async fn write(&self, job: &Job, status: JobStatus) -> Result<bool, kube::Error> {
        let api: Api<Job> =
            Api::namespaced(self.context.client.clone(), &job.namespace().unwrap_or_default());
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let changed = Job { status: Some(status), ..job.clone() };
        match api.replace_status(&job.name_any(), &params, &changed).await {
            Ok(_) => Ok(true),
            Err(error) if is_stale(&error) || is_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes the finalizer off pods.
    async fn untrack(&self, namespace: &str, pods: &[Arc<PodView>]) -> Result<(), kube::Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), namespace);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let outcomes = join_all(pods.iter().map(async |pod| {
            let meta = &pod.metadata;
            let patch = json!({"metadata": {
                "uid": meta.uid, "$deleteFromPrimitiveList/finalizers": [TRACKING],
            }});
            let name = meta.name.as_deref().unwrap_or_default();
            match api.patch_metadata(name, &params, &Patch::Strategic(&patch)).await {
                Err(error) if !is_gone(&error) && !is_stale(&error) => Err(error),
                _ => Ok(()),
            }
        }));
        outcomes.await.into_iter().collect()
    }
}

/// The Job that controls an object, if one does.
fn owner(meta: &dyn Meta) -> Option<&OwnerReference> {
    controller_of(meta)
        .filter(|owner| owner.kind == "Job" && owner.api_version.split('/').next() == Some("batch"))
}
