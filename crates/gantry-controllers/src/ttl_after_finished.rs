//! Removes Jobs that have ended, `spec.ttlSecondsAfterFinished` after their end.
//!
//! Flow: a Job that has ended waits in the queue until its time; then it is read from the API itself,
//! and deleted, its pods first, if its time is over still.

use std::time::Duration;

use gantry_client::{Change, ObjectKey, WorkQueue, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};

use crate::Context;
use crate::job::finished;
use crate::writes::{is_gone, is_stale};

/// Jobs worked on at once.
const WORKERS: usize = 5;

/// Runs until shutdown.
pub async fn run(context: Context) {
    let jobs = context.informers.get::<Job>();
    jobs.synced().await;
    let queue = WorkQueue::new();
    let follow = jobs.changes().each(|change| {
        if let Change::Applied { new, .. } = change
            && left(&new, Timestamp::now()).is_some()
        {
            queue.add(ObjectKey::of(&new.metadata));
        }
    });
    let work = async |key: ObjectKey| {
        let Some(job) = jobs.get(&key) else { return Ok(None) };
        match left(&job, Timestamp::now()) {
            Some(left) if left.is_zero() => {}
            later => return Ok(later),
        }
        let api: Api<Job> = Api::namespaced(context.client.clone(), &key.namespace);
        // The informer may be behind a change of the time.
        let Some(live) = api.get_opt(&key.name).await? else { return Ok(None) };
        match left(&live, Timestamp::now()) {
            Some(left) if left.is_zero() => {}
            later => return Ok(later),
        }
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions {
                uid: live.metadata.uid,
                resource_version: live.metadata.resource_version,
            }),
            ..Default::default()
        };
        match api.delete(&key.name, &params).await {
            Err(error) if !is_gone(&error) && !is_stale(&error) => Err(error.into()),
            _ => Ok(None),
        }
    };
    let workers = run_workers("ttl-after-finished", queue.clone(), WORKERS, work, context.shutdown.clone());
    tokio::join!(follow, workers);
}

/// How long a Job may stay; `None`: as long as nobody removes it.
fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let ended = finished(job)?.last_transition_time.as_ref()?.0;
    let over = ended.as_second() + i64::from(ttl);
    let left = over.saturating_sub(now.as_second()).max(0);
    Some(Duration::from_secs(left.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    #[test]
    fn the_time_begins_with_the_end() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a time");
        let check = |ttl: Value, ended: &str, expect: Option<u64>| {
            let conditions =
                json!([{"type": ended, "status": "True", "lastTransitionTime": "2026-01-01T00:00:30Z"}]);
            let job: Job = gantry_json::from_value(json!({
                "spec": {"ttlSecondsAfterFinished": ttl, "template": {}}, "status": {"conditions": conditions}}))
            .expect("a Job");
            assert_eq!(left(&job, now).map(|left| left.as_secs()), expect, "{ttl} {ended}");
        };
        check(Value::Null, "Complete", None);
        check(json!(100), "FailureTarget", None);
        check(json!(100), "Complete", Some(70));
        check(json!(30), "Failed", Some(0));
        check(json!(0), "Complete", Some(0));
    }
}
