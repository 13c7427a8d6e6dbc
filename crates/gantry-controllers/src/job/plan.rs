//! What a Job's pods mean for it, and what is to be done: a function of what is seen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_client::PodView;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::failures::{Action, Failures, is_failed};
use super::indexes;
use super::retries::Retries;
use super::template::INDEX;

/// Pods made at once at most.
const BATCH: usize = 500;

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const SUCCESS: &str = "SuccessCriteriaMet";
const FAILURE: &str = "FailureTarget";
const SUSPENDED: &str = "Suspended";

/// What is seen of a Job.
pub(super) struct Snapshot<'a> {
    pub job: &'a Job,
    pub pods: &'a [Arc<PodView>],
    /// What the failure policy says about pods that failed, by uid; others count.
    pub actions: &'a HashMap<String, Action>,
    pub failures: &'a Failures,
    /// Whether pods that were asked for are not seen yet.
    pub awaited: bool,
    pub now: Timestamp,
}

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// The status to write.
    pub status: JobStatus,
    /// Pods that are counted, or need not be.
    pub untrack: Vec<Arc<PodView>>,
    pub delete: Vec<Arc<PodView>>,
    /// Pods to make, by their numbers.
    pub create: Vec<Option<u32>>,
    /// How often each number failed, where that is limited.
    pub retries: Option<Retries>,
    /// Warning or not, reason, message.
    pub events: Vec<(bool, &'static str, String)>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// Whether a pod is counted only when the controller lets it go.
pub(super) fn is_tracked(pod: &PodView) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == super::TRACKING)
}

/// The condition of that type, where it is true.
pub(super) fn condition<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    let mut all = status.conditions.iter().flatten();
    all.find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// The condition that says how a Job ended, if it has.
pub(crate) fn finished(job: &Job) -> Option<&JobCondition> {
    let status = job.status.as_ref()?;
    condition(status, COMPLETE).or_else(|| condition(status, FAILED))
}

fn set(status: &mut JobStatus, type_: &str, on: bool, reason: &str, message: &str, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(JobCondition {
        type_: type_.into(),
        status: if on { "True" } else { "False" }.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// The plan for what is seen.
pub(super) fn plan(seen: &Snapshot<'_>) -> Plan {
    let spec = seen.job.spec.clone().unwrap_or_default();
    let mut plan = Plan { status: seen.job.status.clone().unwrap_or_default(), ..Plan::default() };
    if finished(seen.job).is_some() {
        plan.untrack = seen.pods.iter().filter(|pod| is_tracked(pod)).cloned().collect();
        return plan;
    }
    let counts = count(seen, &spec, &mut plan);
    if seen.job.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let suspended = spec.suspend == Some(true);
    if plan.status.start_time.is_none() && !suspended {
        plan.status.start_time = Some(Time(seen.now));
    }
    if condition(&plan.status, SUCCESS).is_none() && condition(&plan.status, FAILURE).is_none() {
        decide(seen, &spec, &counts, &mut plan);
    }
    if condition(&plan.status, SUCCESS).is_some() || condition(&plan.status, FAILURE).is_some() {
        finish(seen, &counts, &mut plan);
    } else if suspended {
        suspend(seen, counts.active, &mut plan);
    } else {
        resume(seen, &mut plan);
        if !seen.awaited {
            manage(seen, &spec, &counts, &mut plan);
        }
    }
    plan
}

/// The pods by what they are.
struct Counts {
    active: Vec<Arc<PodView>>,
    terminating: usize,
    succeeded: usize,
    failed: usize,
    /// Ended, and not yet in the status for good.
    unsettled: bool,
    /// Of a Job whose pods have numbers: those that succeeded, and the number of pods.
    completed: Option<(BTreeSet<u32>, u32)>,
    /// Why the failure policy ends the Job.
    fatal: Option<String>,
}

/// The number of a pod.
pub(super) fn index(pod: &PodView) -> Option<u32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok()
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Counts the pods into the status.
fn count(seen: &Snapshot<'_>, spec: &JobSpec, plan: &mut Plan) -> Counts {
    let status = &mut plan.status;
    let completions = u32::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
    let indexed = spec.completion_mode.as_deref() == Some("Indexed");
    let written = status.completed_indexes.as_deref().unwrap_or_default();
    let mut completed = indexed.then(|| (indexes::parse(written, completions), completions));
    let tracked: HashSet<&str> = seen
        .pods
        .iter()
        .filter(|pod| is_tracked(pod))
        .filter_map(|pod| pod.metadata.uid.as_deref())
        .collect();
    let mut uncounted = status.uncounted_terminated_pods.take().unwrap_or_default();
    let (succeeded, failed) =
        (uncounted.succeeded.get_or_insert_default(), uncounted.failed.get_or_insert_default());
    // Those that were let go are counted for good.
    let settle = |uids: &mut Vec<String>, total: &mut Option<i32>| {
        let before = uids.len();
        uids.retain(|uid| tracked.contains(uid.as_str()));
        *total = Some(total.unwrap_or(0) + number(before - uids.len())).filter(|total| *total > 0);
    };
    settle(succeeded, &mut status.succeeded);
    settle(failed, &mut status.failed);
    let mut fatal = None;
    let had_failed = indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
    plan.retries = Retries::read(spec, seen.pods, seen.actions, had_failed);
    let ends = condition(status, SUCCESS).is_some() || condition(status, FAILURE).is_some();
    let gone = ends || seen.job.metadata.deletion_timestamp.is_some();
    let held = |uid: &str| !gone && plan.retries.as_ref().is_some_and(|retries| retries.held.contains(uid));
    for pod in seen.pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if pod.phase.as_deref() == Some("Succeeded") {
            match &mut completed {
                Some((indexes, completions)) => {
                    indexes.extend(index(pod).filter(|index| index < completions));
                }
                None if !succeeded.contains(&uid) => succeeded.push(uid),
                None => {}
            }
            plan.untrack.push(pod.clone());
        } else if is_failed(pod, spec) {
            let action = seen.actions.get(&uid).unwrap_or(&Action::Count);
            if let Action::FailJob(why) = action {
                fatal.get_or_insert_with(|| why.clone());
            }
            let waits = held(&uid);
            if *action != Action::Ignore && !failed.contains(&uid) {
                failed.push(uid);
            }
            if !waits {
                plan.untrack.push(pod.clone());
            }
        }
    }
    if let Some(retries) = &plan.retries {
        status.failed_indexes = Some(indexes::text(&retries.failed));
    }
    let active: Vec<_> = seen.pods.iter().filter(|pod| pod.is_active()).cloned().collect();
    let terminating = seen.pods.iter().filter(|pod| pod.is_deleted() && !pod.is_terminal()).count();
    if let Some((indexes, _)) = &completed {
        status.completed_indexes = Some(indexes::text(indexes)).filter(|text| !text.is_empty());
        status.succeeded = Some(number(indexes.len())).filter(|count| *count > 0);
    }
    status.active = Some(number(active.len())).filter(|count| *count > 0);
    status.ready = Some(number(active.iter().filter(|pod| pod.is_ready()).count()));
    status.terminating = Some(number(terminating));
    let unsettled = !succeeded.is_empty() || !failed.is_empty();
    let total = |uids: &[String], stored: Option<i32>| {
        uids.len() + usize::try_from(stored.unwrap_or(0)).unwrap_or_default()
    };
    let counts = Counts {
        succeeded: match &completed {
            Some((indexes, _)) => indexes.len(),
            None => total(succeeded, status.succeeded),
        },
        failed: total(failed, status.failed),
        active,
        terminating,
        unsettled,
        completed,
        fatal,
    };
    uncounted.succeeded = uncounted.succeeded.filter(|uids| !uids.is_empty());
    uncounted.failed = uncounted.failed.filter(|uids| !uids.is_empty());
    status.uncounted_terminated_pods = Some(uncounted);
    counts
}

/// Whether the Job has reached its end, one way or the other.
fn decide(seen: &Snapshot<'_>, spec: &JobSpec, counts: &Counts, plan: &mut Plan) {
    let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or(usize::MAX);
    let restarts = || {
        let on_failure = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        let running = counts.active.iter().map(|pod| usize::try_from(pod.restarts).unwrap_or(0));
        let sum: usize = running.sum();
        on_failure == Some("OnFailure") && if limit == 0 { sum > 0 } else { sum >= limit }
    };
    let started = plan.status.start_time.as_ref().map(|time| time.0);
    let left = match (spec.active_deadline_seconds, started) {
        (Some(deadline), Some(started)) if spec.suspend != Some(true) => {
            Some(deadline - seen.now.duration_since(started).as_secs())
        }
        _ => None,
    };
    let failure = if let Some(why) = &counts.fatal {
        Some(("PodFailurePolicy", why.clone()))
    } else if counts.failed > limit || restarts() {
        Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()))
    } else if left.is_some_and(|left| left <= 0) {
        Some(("DeadlineExceeded", "Job was active longer than specified deadline".to_owned()))
    } else {
        numbers_failed(spec, counts, plan).map(|(reason, message)| (reason, message.to_owned()))
    };
    if let Some((reason, message)) = failure {
        return set(&mut plan.status, FAILURE, true, reason, &message, seen.now);
    }
    if let Some((completed, completions)) = &counts.completed
        && let Some(rule) = policy_met(spec, completed, *completions)
    {
        let message = format!("Matched rules at index {rule}");
        return set(&mut plan.status, SUCCESS, true, "SuccessPolicy", &message, seen.now);
    }
    let complete = match spec.completions {
        Some(completions) => counts.succeeded >= usize::try_from(completions).unwrap_or(0),
        None => counts.succeeded > 0 && counts.active.is_empty() && counts.terminating == 0,
    };
    if complete {
        let message = "Reached expected number of succeeded pods";
        set(&mut plan.status, SUCCESS, true, "CompletionsReached", message, seen.now);
    } else if let Some(left) = left {
        plan.again = Some(Duration::from_secs(left.unsigned_abs()));
    }
}

/// Why the Job has failed by its numbers: too many of them have, or some have and no other is left.
fn numbers_failed(spec: &JobSpec, counts: &Counts, plan: &Plan) -> Option<(&'static str, &'static str)> {
    let failed = plan.retries.as_ref()?.failed.len();
    let most = spec.max_failed_indexes.and_then(|most| usize::try_from(most).ok());
    let all = usize::try_from(spec.completions.unwrap_or(0)).unwrap_or(0);
    if most.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(("MaxFailedIndexesExceeded", message));
    }
    (failed > 0 && failed + counts.succeeded >= all).then_some(("FailedIndexes", "Job has failed indexes"))
}

/// The first rule of the success policy that the completed indexes meet.
fn policy_met(spec: &JobSpec, completed: &BTreeSet<u32>, completions: u32) -> Option<usize> {
    spec.success_policy.as_ref()?.rules.iter().position(|rule| {
        let wanted = rule.succeeded_indexes.as_deref().map(|text| indexes::parse(text, completions));
        let met = wanted.as_ref().map_or(completed.len(), |wanted| wanted.intersection(completed).count());
        let needed = rule.succeeded_count.and_then(|count| usize::try_from(count).ok());
        met > 0 && met >= needed.or(wanted.map(|wanted| wanted.len())).unwrap_or(usize::MAX)
    })
}

/// Ends what still runs, and says that the Job has ended once nothing does.
fn finish(seen: &Snapshot<'_>, counts: &Counts, plan: &mut Plan) {
    plan.delete.clone_from(&counts.active);
    let left = !counts.active.is_empty() || counts.terminating > 0;
    if left || counts.unsettled || !plan.untrack.is_empty() || seen.awaited {
        return;
    }
    let target = condition(&plan.status, FAILURE).or_else(|| condition(&plan.status, SUCCESS)).cloned();
    let Some(target) = target else { return };
    let (reason, message) = (target.reason.unwrap_or_default(), target.message.unwrap_or_default());
    if target.type_ == SUCCESS {
        set(&mut plan.status, COMPLETE, true, &reason, &message, seen.now);
        plan.status.completion_time = Some(Time(seen.now));
        plan.events.push((false, "Completed", "Job completed".into()));
        return;
    }
    set(&mut plan.status, FAILED, true, &reason, &message, seen.now);
    let reason = match reason.as_str() {
        "BackoffLimitExceeded" => "BackoffLimitExceeded",
        "DeadlineExceeded" => "DeadlineExceeded",
        "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
        "FailedIndexes" => "FailedIndexes",
        _ => "PodFailurePolicy",
    };
    plan.events.push((true, reason, message));
}

fn suspend(seen: &Snapshot<'_>, active: Vec<Arc<PodView>>, plan: &mut Plan) {
    // They do not count as failed.
    plan.untrack.extend(active.iter().filter(|pod| is_tracked(pod)).cloned());
    plan.delete = active;
    if condition(&plan.status, SUSPENDED).is_none() {
        set(&mut plan.status, SUSPENDED, true, "JobSuspended", "Job suspended", seen.now);
        plan.events.push((false, "Suspended", "Job suspended".into()));
    }
    plan.status.start_time = None;
}

fn resume(seen: &Snapshot<'_>, plan: &mut Plan) {
    if condition(&plan.status, SUSPENDED).is_some() {
        set(&mut plan.status, SUSPENDED, false, "JobResumed", "Job resumed", seen.now);
        plan.events.push((false, "Resumed", "Job resumed".into()));
        plan.status.start_time = Some(Time(seen.now));
    }
}

/// Makes and removes pods until as many run as should.
fn manage(seen: &Snapshot<'_>, spec: &JobSpec, counts: &Counts, plan: &mut Plan) {
    let parallelism = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    let failed = plan.retries.as_ref().map(|retries| retries.failed.clone()).unwrap_or_default();
    let wanted = match spec.completions {
        Some(completions) => {
            let done = counts.succeeded + failed.len();
            let missing = usize::try_from(completions).unwrap_or(0).saturating_sub(done);
            missing.min(parallelism)
        }
        // Once one has succeeded no other is begun.
        None if counts.succeeded > 0 => counts.active.len().min(parallelism),
        None => parallelism,
    };
    let mut active = counts.active.clone();
    active.sort_by_key(|pod| {
        let running = pod.phase.as_deref() == Some("Running");
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        std::cmp::Reverse((pod.node_name.is_some(), running, pod.is_ready(), std::cmp::Reverse(created)))
    });
    let mut numbers = BTreeSet::new();
    let mut surplus = Vec::new();
    if let Some((_, completions)) = &counts.completed {
        // Of several with the same number the best stays; numbers that are too large go.
        active.retain(|pod| {
            let keeps = index(pod).is_some_and(|index| index < *completions && numbers.insert(index));
            if !keeps {
                surplus.push(pod.clone());
            }
            keeps
        });
    }
    surplus.extend(active.split_off(active.len().min(wanted)));
    plan.untrack.extend(surplus.iter().filter(|pod| is_tracked(pod)).cloned());
    plan.delete = surplus;
    if !plan.delete.is_empty() {
        return;
    }
    let waits = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let occupied = active.len() + if waits { counts.terminating } else { 0 };
    let missing = wanted.saturating_sub(occupied).min(BATCH);
    if missing == 0 {
        return;
    }
    if let Some(wait) = seen.failures.wait(seen.now).filter(|_| plan.retries.is_none()) {
        plan.again = Some(plan.again.map_or(wait, |again| again.min(wait)));
        return;
    }
    plan.create = match &counts.completed {
        None => vec![None; missing],
        Some((completed, completions)) => {
            if waits {
                let ending = seen.pods.iter().filter(|pod| pod.is_deleted() && !pod.is_terminal());
                numbers.extend(ending.filter_map(|pod| index(pod)));
            }
            let free = (0..*completions).filter(|index| {
                !completed.contains(index) && !numbers.contains(index) && !failed.contains(index)
            });
            // A number that has failed waits by itself.
            let mut again = plan.again;
            let ready = |index: &u32| {
                let counts = plan.retries.as_ref().and_then(|retries| retries.counts.get(index));
                let wait = counts.and_then(|(count, _)| seen.failures.wait_for(*index, *count, seen.now));
                again = again.into_iter().chain(wait).min();
                wait.is_none()
            };
            let free = free.filter(ready).take(missing).map(Some).collect();
            plan.again = again;
            free
        }
    };
}
