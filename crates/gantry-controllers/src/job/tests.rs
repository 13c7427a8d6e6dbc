//! A Job from its first pod to its end, by what is seen.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_client::PodView;
use gantry_json::{Value, json};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

use super::failures::{Action, Failures};
use super::plan::{Plan, Snapshot, finished, plan};

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("a time")
}

fn job(spec: Value) -> Job {
    let mut spec = spec;
    for (field, value) in [("parallelism", json!(1)), ("backoffLimit", json!(2))] {
        if spec[field].is_null() {
            spec[field] = value;
        }
    }
    spec["template"] = json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c"}]}});
    gantry_json::from_value(json!({"metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": spec}))
        .expect("a Job")
}

/// A pod `NAME PHASE [INDEX]`, held unless the phase is in small letters.
fn pod(text: &str) -> Arc<PodView> {
    let words: Vec<_> = text.split(' ').collect();
    let phase = words[1];
    let held = phase.starts_with(char::is_uppercase);
    let phase = format!("{}{}", phase[..1].to_uppercase(), &phase[1..]);
    let mut value = json!({"metadata": {"name": words[0], "uid": words[0]}, "status": {"phase": phase}});
    if phase == "Ending" {
        value["status"]["phase"] = "Running".into();
        value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    if held {
        value["metadata"]["finalizers"] = json!([super::TRACKING]);
    }
    if let Some(index) = words.get(2) {
        value["metadata"]["annotations"] = json!({super::template::INDEX: index});
    }
    let pod: Pod = gantry_json::from_value(value).expect("a Pod");
    Arc::new(pod.into())
}

fn pods(all: &[&str]) -> Vec<Arc<PodView>> {
    all.iter().map(|text| pod(text)).collect()
}

/// Plans, and writes the status as the driver does.
fn step(job: &mut Job, seen: &[&str], actions: &HashMap<String, Action>) -> Plan {
    let mut failures = Failures::default();
    let pods = pods(seen);
    failures.observe(
        pods.iter().map(|pod| &**pod),
        job.spec.as_ref().expect("a spec"),
        Timestamp::UNIX_EPOCH,
    );
    let seen = Snapshot { job, pods: &pods, actions, failures: &failures, awaited: false, now: now() };
    let plan = plan(&seen);
    job.status = Some(plan.status.clone());
    plan
}

fn names(pods: &[Arc<PodView>]) -> Vec<&str> {
    pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect()
}

fn check(job: &mut Job, seen: &[&str], create: usize, delete: &[&str], untrack: &[&str]) -> Plan {
    let plan = step(job, seen, &HashMap::new());
    assert_eq!(plan.create.len(), create, "{seen:?}");
    assert_eq!(names(&plan.delete), delete, "{seen:?}");
    assert_eq!(names(&plan.untrack), untrack, "{seen:?}");
    plan
}

fn counts(job: &Job) -> (i32, i32, i32) {
    let status = job.status.clone().unwrap_or_default();
    (status.active.unwrap_or(0), status.succeeded.unwrap_or(0), status.failed.unwrap_or(0))
}

fn ended(job: &Job) -> Option<(&str, &str)> {
    finished(job).map(|condition| (condition.type_.as_str(), condition.reason.as_deref().unwrap_or_default()))
}

#[test]
fn pods_are_made_counted_and_let_go() {
    let mut job = job(json!({"completions": 3, "parallelism": 2}));
    check(&mut job, &[], 2, &[], &[]);
    assert_eq!(
        job.status.as_ref().and_then(|status| status.start_time.clone()).map(|time| time.0),
        Some(now())
    );
    check(&mut job, &["a Running", "b Pending"], 0, &[], &[]);
    check(&mut job, &["a Succeeded", "b Running"], 1, &[], &["a"]);
    assert_eq!(counts(&job), (1, 0, 0), "not counted while it is held");
    check(&mut job, &["a succeeded", "b Running", "c Running"], 0, &[], &[]);
    assert_eq!(counts(&job), (2, 1, 0));
    check(&mut job, &["b Succeeded", "c Succeeded"], 0, &[], &["b", "c"]);
    assert_eq!(ended(&job), None, "two are still held");
    let last = check(&mut job, &["b succeeded", "c succeeded"], 0, &[], &[]);
    assert_eq!((ended(&job), counts(&job)), (Some(("Complete", "CompletionsReached")), (0, 3, 0)));
    assert_eq!(last.events, [(false, "Completed", "Job completed".to_owned())]);
    check(&mut job, &["b succeeded", "c Succeeded"], 0, &[], &["c"]);
}

#[test]
fn the_same_pods_seen_again_change_nothing() {
    let mut job = job(json!({"completions": 2}));
    let seen = ["a Succeeded", "b Failed"];
    step(&mut job, &seen, &HashMap::new());
    let first = job.status.clone();
    for _ in 0..3 {
        let plan = step(&mut job, &seen, &HashMap::new());
        assert_eq!((&job.status, names(&plan.untrack)), (&first, vec!["a", "b"]));
    }
}

#[test]
fn too_many_failures_end_it() {
    let mut job = job(json!({"completions": 1, "backoffLimit": 1}));
    check(&mut job, &["a Failed"], 1, &[], &["a"]);
    check(&mut job, &["a failed", "b Ending"], 0, &[], &["b"]);
    assert_eq!(ended(&job), None, "a pod has yet to end");
    let last = check(&mut job, &["a failed"], 0, &[], &[]);
    assert_eq!((ended(&job), counts(&job)), (Some(("Failed", "BackoffLimitExceeded")), (0, 0, 2)));
    assert_eq!(last.events[0].2, "Job has reached the specified backoff limit");
}

#[test]
fn the_policy_ignores_failures_or_ends_the_job() {
    let mut job = job(json!({"completions": 1, "backoffLimit": 0, "parallelism": 2}));
    let plan = step(&mut job, &["a Failed"], &HashMap::from([("a".to_owned(), Action::Ignore)]));
    assert_eq!((plan.create.len(), names(&plan.untrack)), (1, vec!["a"]));
    assert_eq!(counts(&job), (0, 0, 0));
    let fatal = HashMap::from([("b".to_owned(), Action::FailJob("why".into()))]);
    let plan = step(&mut job, &["b Failed", "c Running"], &fatal);
    assert_eq!(names(&plan.delete), ["c"]);
    step(&mut job, &["b failed"], &HashMap::new());
    assert_eq!(ended(&job), Some(("Failed", "PodFailurePolicy")));
}

#[test]
fn a_suspended_job_runs_nothing_and_loses_nothing() {
    let mut job = job(json!({"completions": 3, "suspend": true}));
    check(&mut job, &["a Running"], 0, &["a"], &["a"]);
    let status = job.status.clone().expect("a status");
    let condition = &status.conditions.as_ref().expect("conditions")[0];
    assert_eq!((condition.type_.as_str(), condition.status.as_str()), ("Suspended", "True"));
    assert_eq!(status.start_time, None);
    job.spec.as_mut().expect("a spec").suspend = Some(false);
    let plan = check(&mut job, &["a ending"], 1, &[], &[]);
    assert_eq!(plan.events[0].1, "Resumed");
    assert_eq!(counts(&job), (0, 0, 0));
}

#[test]
fn a_deadline_ends_what_runs() {
    let mut job = job(json!({"completions": 1, "activeDeadlineSeconds": 60}));
    let plan = check(&mut job, &[], 1, &[], &[]);
    assert_eq!(plan.again.map(|again| again.as_secs()), Some(60));
    let started = Timestamp::from_second(now().as_second() - 60).expect("a time");
    job.status.as_mut().expect("a status").start_time =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(started));
    check(&mut job, &["a Running"], 0, &["a"], &[]);
    check(&mut job, &["a Ending"], 0, &[], &["a"]);
    check(&mut job, &[], 0, &[], &[]);
    assert_eq!((ended(&job), counts(&job)), (Some(("Failed", "DeadlineExceeded")), (0, 0, 1)));
}

#[test]
fn numbered_pods_complete_each_number_once() {
    let mut job = job(json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"}));
    let plan = check(&mut job, &[], 3, &[], &[]);
    assert_eq!(plan.create, [Some(0), Some(1), Some(2)]);
    let plan = check(&mut job, &["a Succeeded 0", "b Running 1", "c Failed 2"], 2, &[], &["a", "c"]);
    assert_eq!(plan.create, [Some(2), Some(3)]);
    assert_eq!(job.status.as_ref().and_then(|status| status.completed_indexes.as_deref()), Some("0"));
    check(
        &mut job,
        &["b Running 1", "d Running 2", "e Running 2", "f Running 9"],
        0,
        &["e", "f"],
        &["e", "f"],
    );
    check(&mut job, &["b Succeeded 1", "d Succeeded 2", "g Succeeded 3"], 0, &[], &["b", "d", "g"]);
    check(&mut job, &[], 0, &[], &[]);
    assert_eq!(ended(&job), Some(("Complete", "CompletionsReached")));
    assert_eq!(job.status.as_ref().and_then(|status| status.completed_indexes.as_deref()), Some("0-3"));
}

#[test]
fn a_success_policy_needs_fewer() {
    let rules = json!({"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 2}]});
    let mut job =
        job(json!({"completions": 5, "parallelism": 5, "completionMode": "Indexed", "successPolicy": rules}));
    check(&mut job, &["a Succeeded 1", "b Succeeded 2", "c Running 3"], 2, &[], &["a", "b"]);
    check(&mut job, &["c Succeeded 3", "d Running 4"], 0, &["d"], &["c"]);
    check(&mut job, &["d Ending 4"], 0, &[], &["d"]);
    check(&mut job, &[], 0, &[], &[]);
    assert_eq!(ended(&job), Some(("Complete", "SuccessPolicy")));
}

#[test]
fn without_a_number_the_first_success_ends_the_beginning() {
    let mut job = job(json!({"parallelism": 2}));
    check(&mut job, &[], 2, &[], &[]);
    check(&mut job, &["a Succeeded", "b Running"], 0, &[], &["a"]);
    check(&mut job, &["b Succeeded"], 0, &[], &["b"]);
    check(&mut job, &[], 0, &[], &[]);
    assert_eq!((ended(&job), counts(&job)), (Some(("Complete", "CompletionsReached")), (0, 2, 0)));
}

#[test]
fn numbers_fail_by_themselves() {
    let spec = json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimit": 100,
        "backoffLimitPerIndex": 0});
    let mut job_ = job(spec.clone());
    check(&mut job_, &[], 2, &[], &[]);
    // The one that failed is not tried again, the other goes on.
    check(&mut job_, &["a Failed 0", "b Running 1"], 0, &[], &["a"]);
    let status = job_.status.clone().expect("a status");
    assert_eq!(status.failed_indexes.as_deref(), Some("0"));
    check(&mut job_, &["a failed 0", "b Succeeded 1"], 0, &[], &["b"]);
    check(&mut job_, &["a failed 0", "b succeeded 1"], 0, &[], &[]);
    let end = finished(&job_).expect("it has ended");
    assert_eq!((end.type_.as_str(), end.reason.as_deref()), ("Failed", Some("FailedIndexes")));

    let mut strict = spec.clone();
    strict["maxFailedIndexes"] = json!(0);
    let mut job_ = job(strict);
    check(&mut job_, &["a Failed 0", "b Running 1"], 0, &["b"], &["a"]);
    let status = job_.status.clone().expect("a status");
    let reasons: Vec<_> =
        status.conditions.iter().flatten().filter_map(|each| each.reason.as_deref()).collect();
    assert_eq!(reasons, ["MaxFailedIndexesExceeded"]);

    let mut patient = spec;
    patient["backoffLimitPerIndex"] = json!(1);
    let mut job_ = job(patient);
    // The failed pod is held until there is another one with its number; other numbers do not wait for it.
    let plan = check(&mut job_, &["a Failed 0"], 2, &[], &[]);
    assert_eq!(plan.retries.expect("limits").counts[&0], (1, 0));
}
