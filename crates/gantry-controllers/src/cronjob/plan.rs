//! What a CronJob has to do: a function of its Jobs and the time.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::cron::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::times;
use crate::job::finished;

/// More missed times than these are a fault of the clock or of the settings.
const MANY: u64 = 100;
/// Added to the time to wait, so that the time has come for certain.
const MARGIN: Duration = Duration::from_millis(100);

/// What is to be done, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Ended Jobs of which there are enough.
    pub forget: Vec<Arc<Job>>,
    /// Jobs that the next one takes the place of.
    pub replace: Vec<Arc<Job>>,
    /// The time of the Job to make.
    pub start: Option<Timestamp>,
    /// The status, without the Job that is made.
    pub status: CronJobStatus,
    /// Warning or not, reason, message.
    pub events: Vec<(bool, &'static str, String)>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// The name of the Job for a time.
pub(super) fn name(owner: &CronJob, time: Timestamp) -> String {
    format!("{}-{}", owner.metadata.name.as_deref().unwrap_or_default(), time.as_second().div_euclid(60))
}

/// The plan for `cron` with its `jobs` at `now`.
pub(super) fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: cron.status.clone().unwrap_or_default(), ..Plan::default() };
    let Some(spec) = &cron.spec else { return plan };
    let (ended, running): (Vec<_>, Vec<_>) = jobs.iter().cloned().partition(|job| finished(job).is_some());
    take_in(jobs, &mut plan);
    forget(&ended, spec.successful_jobs_history_limit, "Complete", &mut plan);
    forget(&ended, spec.failed_jobs_history_limit, "Failed", &mut plan);
    if cron.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let zone = match times::zone(spec.time_zone.as_deref()) {
        Ok(zone) => zone,
        Err(why) => {
            let name = spec.time_zone.as_deref().unwrap_or_default();
            plan.events.push((true, "UnknownTimeZone", format!("invalid timeZone: {name:?}: {why}")));
            return plan;
        }
    };
    let schedule = match Schedule::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(why) => {
            let text = format!("unparseable schedule: {:?} : {why}", spec.schedule);
            plan.events.push((true, "UnparseableSchedule", text));
            return plan;
        }
    };
    if spec.suspend == Some(true) {
        return plan;
    }
    let next = times::next(&schedule, &zone, now).map(|next| next.duration_since(now));
    plan.again = next.and_then(|wait| Duration::try_from(wait).ok()).map(|wait| wait + MARGIN);
    let Some(due) = due(cron, &schedule, &zone, now, &mut plan) else { return plan };
    start(cron, running, due, now, &mut plan);
    plan
}

/// Which Jobs are active, and when one last succeeded.
fn take_in(jobs: &[Arc<Job>], plan: &mut Plan) {
    let Plan { status, events, .. } = plan;
    let find = |uid: Option<&String>| jobs.iter().find(|job| job.metadata.uid.as_ref() == uid);
    let mut active = status.active.take().unwrap_or_default();
    active.retain(|reference| {
        let name = reference.name.as_deref().unwrap_or_default();
        match find(reference.uid.as_ref()).map(|job| finished(job)) {
            None => {
                events.push((false, "MissingJob", format!("Active job went missing: {name}")));
                false
            }
            Some(Some(condition)) => {
                let text = format!("Saw completed job: {name}, condition: {}", condition.type_);
                events.push((false, "SawCompletedJob", text));
                false
            }
            Some(None) => true,
        }
    });
    for job in jobs.iter().filter(|job| finished(job).is_none()) {
        if !active.iter().any(|reference| reference.uid == job.metadata.uid) {
            let name = job.metadata.name.as_deref().unwrap_or_default();
            let text = format!("Saw a job that the controller did not create or forgot: {name}");
            events.push((true, "UnexpectedJob", text));
        }
    }
    status.active = Some(active).filter(|active| !active.is_empty());
    let ends = jobs.iter().filter(|job| finished(job).is_some_and(|condition| condition.type_ == "Complete"));
    let ends = ends.filter_map(|job| Some(job.status.as_ref()?.completion_time.as_ref()?.0));
    let last = ends.max().max(status.last_successful_time.as_ref().map(|time| time.0));
    status.last_successful_time = last.map(Time);
}

/// Lets the oldest of the ended Jobs go.
fn forget(ended: &[Arc<Job>], limit: Option<i32>, condition: &str, plan: &mut Plan) {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    let of_kind = |job: &&Arc<Job>| finished(job).is_some_and(|each| each.type_ == condition);
    let mut jobs: Vec<_> = ended.iter().filter(of_kind).cloned().collect();
    jobs.sort_by_key(|job| {
        let start = job.status.as_ref().and_then(|status| Some(status.start_time.as_ref()?.0));
        (start, job.metadata.name.clone())
    });
    let surplus = jobs.len().saturating_sub(limit);
    plan.forget.extend(jobs.into_iter().take(surplus));
}

/// The last time that has come and that no Job was made for.
fn due(
    cron: &CronJob,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
    plan: &mut Plan,
) -> Option<Timestamp> {
    let spec = cron.spec.as_ref()?;
    let since = plan.status.last_schedule_time.as_ref().or(cron.metadata.creation_timestamp.as_ref());
    let mut earliest = since?.0;
    if let Some(deadline) = spec.starting_deadline_seconds {
        earliest = earliest.max(now.checked_sub(SignedDuration::from_secs(deadline)).ok()?);
    }
    let (due, count) = times::missed(schedule, zone, earliest, now)?;
    if count > MANY {
        let text = format!(
            "too many missed start times: {count}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        );
        plan.events.push((true, "TooManyMissedTimes", text));
    }
    Some(due)
}

fn start(cron: &CronJob, running: Vec<Arc<Job>>, due: Timestamp, now: Timestamp, plan: &mut Plan) {
    let Some(spec) = &cron.spec else { return };
    if let Some(deadline) = spec.starting_deadline_seconds
        && now.duration_since(due).as_secs() > deadline
    {
        let text =
            format!("Missed scheduled time to start a job: {}", due.strftime("%a, %d %b %Y %H:%M:%S +0000"));
        plan.events.push((true, "MissSchedule", text));
        return;
    }
    let name = name(cron, due);
    let active: &[ObjectReference] = plan.status.active.as_deref().unwrap_or_default();
    let is_made = active.iter().any(|reference| reference.name.as_ref() == Some(&name));
    if is_made || plan.status.last_schedule_time.as_ref().is_some_and(|last| last.0 == due) {
        return;
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.events.push((false, "JobAlreadyActive", text.into()));
            return;
        }
        Some("Replace") => {
            let uids: Vec<_> = active.iter().map(|reference| reference.uid.clone()).collect();
            plan.replace = running.into_iter().filter(|job| uids.contains(&job.metadata.uid)).collect();
            plan.status.active = None;
        }
        _ => {}
    }
    plan.start = Some(due);
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    fn cron(spec: Value, status: Value) -> CronJob {
        let mut spec = spec;
        spec["schedule"] = "*/10 * * * *".into();
        spec["jobTemplate"] = json!({});
        gantry_json::from_value(json!({
            "metadata": {"name": "tick", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec, "status": status}))
        .expect("a CronJob")
    }

    fn job(name: &str, ended: &str, start: &str) -> Arc<Job> {
        let mut job = json!({"metadata": {"name": name, "uid": name}, "status": {"startTime": start}});
        if !ended.is_empty() {
            job["status"]["conditions"] = json!([{"type": ended, "status": "True"}]);
            job["status"]["completionTime"] = start.into();
        }
        Arc::new(gantry_json::from_value(job).expect("a Job"))
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn active(names: &[&str]) -> Value {
        let all: Vec<_> = names.iter().map(|name| json!({"name": name, "uid": name})).collect();
        json!({"active": all, "lastScheduleTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn a_job_is_made_once_for_each_time() {
        let check = |status: Value, now: &str, expect: Option<&str>, again: u64| {
            let plan = plan(&cron(json!({}), status), &[], time(now));
            assert_eq!(plan.start, expect.map(time), "{now}");
            assert_eq!(plan.again.map(|again| again.as_secs()), Some(again), "{now}");
        };
        check(Value::Null, "2026-01-01T00:09:00Z", None, 60);
        check(Value::Null, "2026-01-01T00:10:00Z", Some("2026-01-01T00:10:00Z"), 600);
        check(Value::Null, "2026-01-01T00:39:00Z", Some("2026-01-01T00:30:00Z"), 60);
        check(json!({"lastScheduleTime": "2026-01-01T00:30:00Z"}), "2026-01-01T00:39:00Z", None, 60);
        assert_eq!(name(&cron(json!({}), Value::Null), time("2026-01-01T00:10:00Z")), "tick-29453770");
    }

    #[test]
    fn what_still_runs_is_left_awaited_or_replaced() {
        let now = time("2026-01-01T00:10:05Z");
        let running = [job("one", "", "2026-01-01T00:00:00Z")];
        let check = |policy: &str, starts: bool, replaces: usize| {
            let plan = plan(&cron(json!({"concurrencyPolicy": policy}), active(&["one"])), &running, now);
            assert_eq!((plan.start.is_some(), plan.replace.len()), (starts, replaces), "{policy}");
            plan
        };
        check("Allow", true, 0);
        let forbidden = check("Forbid", false, 0);
        assert_eq!(forbidden.events[0].1, "JobAlreadyActive");
        let replaced = check("Replace", true, 1);
        assert_eq!(replaced.status.active, None);
    }

    #[test]
    fn too_late_is_missed_and_suspension_makes_nothing() {
        let now = time("2026-01-01T00:10:30Z");
        let late = plan(&cron(json!({"startingDeadlineSeconds": 20}), Value::Null), &[], now);
        assert_eq!((late.start, late.events.len()), (None, 0), "the time is before the deadline's window");
        let suspended = plan(&cron(json!({"suspend": true}), Value::Null), &[], now);
        assert_eq!((suspended.start, suspended.again), (None, None));
        let long = plan(&cron(json!({}), Value::Null), &[], time("2026-01-03T00:00:00Z"));
        assert_eq!(long.events[0].1, "TooManyMissedTimes");
        assert!(long.start.is_some());
    }

    #[test]
    fn ended_jobs_leave_the_list_and_only_the_last_ones_stay() {
        let jobs = [
            job("a", "Complete", "2026-01-01T00:01:00Z"),
            job("b", "Complete", "2026-01-01T00:02:00Z"),
            job("c", "Failed", "2026-01-01T00:03:00Z"),
            job("d", "Failed", "2026-01-01T00:04:00Z"),
            job("e", "", "2026-01-01T00:05:00Z"),
        ];
        let spec = json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1});
        let plan = plan(&cron(spec, active(&["b", "e", "gone"])), &jobs, time("2026-01-01T00:06:00Z"));
        let names: Vec<_> = plan.forget.iter().filter_map(|job| job.metadata.name.as_deref()).collect();
        assert_eq!(names, ["a", "c"]);
        let active: Vec<_> =
            plan.status.active.iter().flatten().filter_map(|each| each.name.as_deref()).collect();
        assert_eq!(active, ["e"]);
        assert_eq!(plan.status.last_successful_time, Some(Time(time("2026-01-01T00:02:00Z"))));
        let reasons: Vec<_> = plan.events.iter().map(|event| event.1).collect();
        assert_eq!(reasons, ["SawCompletedJob", "MissingJob"]);
    }
}
