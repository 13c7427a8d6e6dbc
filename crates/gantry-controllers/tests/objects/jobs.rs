//! Jobs, with a node agent that only says how pods end.

use std::sync::Arc;

use anyhow::Result;
use gantry_client::{Change, PodView};
use gantry_controllers::{cronjob, garbage_collector, job, serviceaccount, ttl_after_finished};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};

use crate::cluster::Cluster;

const JOBS: &str = "/apis/batch/v1/namespaces/default/jobs";

async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("generic-garbage-collector", garbage_collector::run);
    cluster.run("job-controller", job::run);
    Ok(cluster)
}

/// Ends every pod with this phase, or only starts it.
fn agent(cluster: &Cluster, phase: &'static str) {
    let mut changes = cluster.informers.get::<PodView>().changes();
    let client = cluster.server.client();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let Change::Applied { new, .. } = change else { continue };
            if new.phase.as_deref() != Some("Pending") || new.is_deleted() {
                continue;
            }
            let meta = &new.metadata;
            let api: Api<Pod> =
                Api::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
            let name = meta.name.as_deref().unwrap_or_default();
            let status = json!({"status": {"phase": phase}});
            // The pod may be gone meanwhile.
            let _ = api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    });
}

fn work(name: &str, spec: &Value) -> Value {
    let mut job = json!({"metadata": {"name": name}, "spec": spec});
    job["spec"]["template"] =
        json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}});
    job
}

fn condition(all: &[Arc<Job>], type_: &str) -> Option<String> {
    let conditions = all.first()?.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|each| each.type_ == type_ && each.status == "True")?;
    found.reason.clone()
}

fn held(pod: &Arc<Pod>) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|each| each == "batch.kubernetes.io/job-tracking")
}

#[tokio::test]
async fn a_job_runs_its_pods_to_their_end() -> Result<()> {
    let cluster = start().await?;
    agent(&cluster, "Succeeded");
    let spec = json!({"completions": 5, "parallelism": 2, "completionMode": "Indexed"});
    cluster.send(Method::POST, JOBS, &work("sum", &spec)).await?;
    let done = cluster
        .until("the end", |all| condition(all, "Complete").as_deref() == Some("CompletionsReached"))
        .await?;
    let status = done[0].status.clone().unwrap_or_default();
    assert_eq!((status.succeeded, status.completed_indexes.as_deref()), (Some(5), Some("0-4")));
    assert!(status.completion_time.is_some() && status.active.is_none());
    let pods = cluster.until("the pods are let go", |all: &[Arc<Pod>]| !all.iter().any(held)).await?;
    let mut names: Vec<_> = pods
        .iter()
        .filter_map(|pod| Some(pod.metadata.name.as_deref()?.rsplit_once('-')?.0.to_owned()))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["sum-0", "sum-1", "sum-2", "sum-3", "sum-4"]);
    cluster
        .until("the event", |all: &[Arc<Event>]| {
            all.iter().any(|event| event.reason.as_deref() == Some("Completed"))
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_job_gives_up() -> Result<()> {
    let cluster = start().await?;
    agent(&cluster, "Failed");
    cluster.send(Method::POST, JOBS, &work("sum", &json!({"backoffLimit": 0}))).await?;
    let done = cluster
        .until("the end", |all| condition(all, "Failed").as_deref() == Some("BackoffLimitExceeded"))
        .await?;
    assert_eq!(done[0].status.as_ref().and_then(|status| status.failed), Some(1));
    Ok(())
}

/// Fails every pod with this exit code.
fn failing(cluster: &Cluster, code: i32) {
    let mut changes = cluster.informers.get::<PodView>().changes();
    let client = cluster.server.client();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let Change::Applied { new, .. } = change else { continue };
            if new.phase.as_deref() != Some("Pending") || new.is_deleted() {
                continue;
            }
            let meta = &new.metadata;
            let api: Api<Pod> =
                Api::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
            let ended = json!({"exitCode": code, "reason": "Error"});
            let status = json!({"status": {"phase": "Failed", "containerStatuses": [{"name": "c", "image": "i",
                "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": ended}}]}});
            let name = meta.name.as_deref().unwrap_or_default();
            // The pod may be gone meanwhile.
            let _ = api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    });
}

#[tokio::test]
async fn a_failure_policy_looks_at_how_pods_ended() -> Result<()> {
    let cluster = start().await?;
    failing(&cluster, 42);
    let codes = |action: &str| json!({"rules": [{"action": action, "onExitCodes": {"operator": "In", "values": [42]}}]});
    let ends = json!({"podFailurePolicy": codes("FailJob")});
    cluster.send(Method::POST, JOBS, &work("sum", &ends)).await?;
    let of = |name: &'static str, reason: &'static str| {
        move |all: &[Arc<Job>]| {
            let named = |job: &&Arc<Job>| job.metadata.name.as_deref() == Some(name);
            let found: Vec<_> = all.iter().filter(named).cloned().collect();
            condition(&found, "Failed").as_deref() == Some(reason)
        }
    };
    cluster.until("the end", of("sum", "PodFailurePolicy")).await?;
    let mut numbered = work(
        "parts",
        &json!({"podFailurePolicy": codes("FailIndex"), "completionMode": "Indexed", "completions": 1,
            "backoffLimitPerIndex": 3}),
    );
    numbered["spec"]["parallelism"] = 1.into();
    cluster.send(Method::POST, JOBS, &numbered).await?;
    cluster.until("the index's end", of("parts", "FailedIndexes")).await?;
    Ok(())
}

#[tokio::test]
async fn pods_of_a_deleted_job_go_or_stay() -> Result<()> {
    let cluster = start().await?;
    agent(&cluster, "Running");
    for (name, policy) in [("one", "Background"), ("two", "Foreground"), ("three", "")] {
        cluster.send(Method::POST, JOBS, &work(name, &json!({"parallelism": 2, "completions": 2}))).await?;
        cluster.until("the pods", |all: &[Arc<Pod>]| all.len() == 2 && all.iter().all(held)).await?;
        let options = if policy.is_empty() { Value::Null } else { json!({"propagationPolicy": policy}) };
        cluster.send(Method::DELETE, &format!("{JOBS}/{name}"), &options).await?;
        cluster.until("the end of the job", |all: &[Arc<Job>]| all.is_empty()).await?;
        if policy.is_empty() {
            // As ever, deletion without a word leaves a Job's pods behind; nobody holds them then.
            let left = |all: &[Arc<Pod>]| {
                all.len() == 2 && !all.iter().any(|pod| held(pod) || pod.metadata.owner_references.is_some())
            };
            cluster.until("the pods stay", left).await?;
        } else {
            cluster.until("the end of the pods", |all: &[Arc<Pod>]| all.is_empty()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_ended_job_goes_after_its_time() -> Result<()> {
    let cluster = start().await?;
    cluster.run("ttl-after-finished-controller", ttl_after_finished::run);
    agent(&cluster, "Succeeded");
    cluster.send(Method::POST, JOBS, &work("kept", &json!({}))).await?;
    cluster.send(Method::POST, JOBS, &work("sum", &json!({"ttlSecondsAfterFinished": 0}))).await?;
    let names = |all: &[Arc<Job>]| all.iter().filter_map(|job| job.metadata.name.clone()).collect::<Vec<_>>();
    cluster.until("one to go", |all| names(all) == ["kept"]).await?;
    cluster.until("its pod to go", |all: &[Arc<Pod>]| all.len() == 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_cron_job_makes_what_it_missed() -> Result<()> {
    let cluster = start().await?;
    let cron = json!({"metadata": {"name": "tick"}, "spec": {
        "schedule": "@every 1s", "concurrencyPolicy": "Forbid", "timeZone": "Etc/UTC",
        "jobTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": {"template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}});
    cluster.send(Method::POST, "/apis/batch/v1/namespaces/default/cronjobs", &cron).await?;
    cluster.run("cronjob-controller", cronjob::run);
    let jobs = cluster.until("a job", |all: &[Arc<Job>]| !all.is_empty()).await?;
    let meta = &jobs[0].metadata;
    assert!(meta.name.as_deref().is_some_and(|name| name.starts_with("tick-")), "{meta:?}");
    assert_eq!(meta.labels.as_ref().and_then(|labels| labels.get("a")).map(String::as_str), Some("b"));
    let scheduled = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    assert!(meta.annotations.as_ref().is_some_and(|annotations| annotations[scheduled].ends_with('Z')));
    cluster
        .until("the status", |all: &[Arc<CronJob>]| {
            let status = all.first().and_then(|cron| cron.status.clone()).unwrap_or_default();
            status.last_schedule_time.is_some() && status.active.is_some_and(|active| active.len() == 1)
        })
        .await?;
    Ok(())
}
