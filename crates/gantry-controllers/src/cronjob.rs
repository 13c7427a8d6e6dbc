//! Makes Jobs at the times of a schedule.
//!
//! Flow: a CronJob waits in the queue until its next time; then a Job with a name made from the time is
//! made, however late, but for the last time that was missed only. Ended Jobs beyond the limits of its
//! history are removed.
//!
//! Guarantee: no time gets two Jobs: the name is the same. Assumes a single running instance.

mod plan;
mod times;

use std::sync::Arc;
use std::time::Duration;

use gantry_client::{Change, Failure, Informer, ObjectKey, WorkQueue, reference, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DeleteParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, ResourceExt};

use crate::claim::{controller_of, controller_reference};
use crate::writes::{MANAGER, is_gone, is_stale, message};
use crate::{Context, answer};
use plan::{Plan, plan};

/// CronJobs worked on at once.
const WORKERS: usize = 5;
/// The annotation with the time that a Job is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let (crons, jobs) = (context.informers.get::<CronJob>(), context.informers.get::<Job>());
    crons.synced().await;
    jobs.synced().await;
    let queue = WorkQueue::new();
    let of_crons = crons.changes().each(|change| {
                    // What is written here changes nothing about when to look again.
                    let own = |change: &Change<CronJob>| matches!(change, Change::Applied { old: Some(old), new }
                        if old.spec == new.spec && old.metadata.deletion_timestamp == new.metadata.deletion_timestamp);
                    if !own(&change) {
                        queue.add(ObjectKey::of(&change.object().metadata));
                    }
                });
    let of_jobs = jobs.changes().each(|change| {
        let meta = &change.object().metadata;
        if let Some(owner) = controller_of(meta).filter(|owner| owner.kind == "CronJob") {
            queue.add(ObjectKey::new(meta.namespace.clone().unwrap_or_default(), &owner.name));
        }
    });
    let controller = Controller { context: context.clone(), crons, jobs };
    let reconcile = |key| controller.reconcile(key);
    let workers = run_workers("cronjob", queue.clone(), WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(of_crons, of_jobs, workers);
}

struct Controller {
    context: Context,
    crons: Informer<CronJob>,
    jobs: Informer<Job>,
}

impl Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        if self.crons.get(&key).is_none() {
            return Ok(None);
        }
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &key.namespace);
        // Its own last write may not be in the informer yet.
        let Some(cron) = api.get_opt(&key.name).await? else { return Ok(None) };
        let mut jobs = self.jobs.controlled_by(cron.metadata.uid.as_deref().unwrap_or_default());
        // The informer may not have one yet that was made just now.
        let of_namespace: Api<Job> = Api::namespaced(self.context.client.clone(), &key.namespace);
        for active in cron.status.iter().flat_map(|status| status.active.iter().flatten()) {
            let known = jobs.iter().any(|job| job.metadata.uid == active.uid);
            if let Some(name) = active.name.as_deref().filter(|_| !known) {
                let live = of_namespace.get_opt(name).await?;
                jobs.extend(live.filter(|job| job.metadata.uid == active.uid).map(Arc::new));
            }
        }
        let Plan { forget, replace, start, mut status, events, again } = plan(&cron, &jobs, Timestamp::now());
        for (warning, reason, message) in events {
            self.context.recorder.event(reference(&cron), warning, reason, message);
        }
        for job in forget.iter().chain(&replace) {
            self.delete(&cron, job).await?;
        }
        if let Some(time) = start
            && let Some(job) = self.start(&cron, time).await?
        {
            status.active.get_or_insert_default().push(reference(&job));
            status.last_schedule_time = Some(Time(time));
        }
        if cron.status.as_ref() != Some(&status) {
            self.write(&api, cron, status).await?;
        }
        Ok(again)
    }

    /// Makes the Job for `time`; `None` where it was made before.
    async fn start(&self, cron: &CronJob, time: Timestamp) -> Result<Option<Job>, Failure> {
        let spec = cron.spec.clone().unwrap_or_default();
        let zone = times::zone(spec.time_zone.as_deref())?;
        let meta = spec.job_template.metadata.unwrap_or_default();
        let mut annotations = meta.annotations.unwrap_or_default();
        annotations.insert(SCHEDULED.into(), times::text(time, &zone));
        let job = Job {
            metadata: ObjectMeta {
                name: Some(plan::name(cron, time)),
                namespace: cron.namespace(),
                labels: meta.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![controller_reference(cron)]),
                ..Default::default()
            },
            spec: spec.job_template.spec,
            status: None,
        };
        let api: Api<Job> =
            Api::namespaced(self.context.client.clone(), &cron.namespace().unwrap_or_default());
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let about = reference(cron);
        match api.create(&params, &job).await {
            Ok(made) => {
                let text = format!("Created job {}", made.name_any());
                self.context.recorder.event(about, false, "SuccessfulCreate", text);
                Ok(Some(made))
            }
            Err(error) if answer::namespace_leaves(&error) => Ok(None),
            Err(error) if answer::code(&error) == 409 => {
                let there = api.get_opt(&job.name_any()).await?;
                let own = |job: &Job| {
                    controller_of(&job.metadata).map(|owner| &owner.uid) == cron.metadata.uid.as_ref()
                };
                match there {
                    Some(there) if own(&there) => Ok(Some(there)),
                    _ => Err(error.into()),
                }
            }
            Err(error) => {
                let text = format!("Error creating job: {}", message(&error));
                self.context.recorder.event(about, true, "FailedCreate", text);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, cron: &CronJob, job: &Arc<Job>) -> Result<(), Failure> {
        let namespace = job.namespace().unwrap_or_default();
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), &namespace);
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: job.uid(), resource_version: None }),
            ..Default::default()
        };
        match api.delete(&job.name_any(), &params).await {
            Err(error) if is_gone(&error) || is_stale(&error) => Ok(()),
            Err(error) => {
                let text = format!("Deleted job: {}", message(&error));
                self.context.recorder.event(reference(cron), true, "FailedDelete", text);
                Err(error.into())
            }
            Ok(_) => {
                let text = format!("Deleted job {}", job.name_any());
                self.context.recorder.event(reference(cron), false, "SuccessfulDelete", text);
                Ok(())
            }
        }
    }

    async fn write(&self, api: &Api<CronJob>, cron: CronJob, status: CronJobStatus) -> Result<(), Failure> {
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let name = cron.name_any();
        let changed = CronJob { status: Some(status), ..cron };
        match api.replace_status(&name, &params, &changed).await {
            Err(error) if is_gone(&error) => Ok(()),
            // Read again and looked at again.
            outcome => Ok(outcome.map(drop)?),
        }
    }
}
