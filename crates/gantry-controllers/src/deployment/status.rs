//! What a Deployment reports: counts, and the conditions that `kubectl rollout status` waits for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::rollout::{Plot, Rollout};
use crate::replicaset::status::{REPLICA_FAILURE, whole_seconds};

/// The condition about the rollout.
pub const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";

const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// In how many seconds a rollout must get further, where that is asked for.
pub fn deadline(deployment: &Deployment) -> Option<i32> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    Some(seconds).filter(|seconds| *seconds != i32::MAX)
}

/// The condition of that type.
pub fn condition<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn reason<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a str> {
    condition(status, type_)?.reason.as_deref()
}

/// A condition as of now.
pub fn made(type_: &str, state: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    let time = Some(Time(whole_seconds(now)));
    DeploymentCondition {
        type_: type_.into(),
        status: state.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_update_time: time.clone(),
        last_transition_time: time,
    }
}

/// Sets a condition, unless it says the same already. The time of the transition stays where the state
/// does.
pub fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(old) = condition(status, &new.type_) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time.clone();
        }
    }
    remove(status, &new.type_);
    status.conditions.get_or_insert_default().push(new);
}

fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
}

/// Notes that the rollout was paused or goes on, so that the time in between does not count against
/// the deadline. One that has timed out already stays so.
pub fn note_pause(deployment: &Deployment, status: &mut DeploymentStatus, now: Timestamp) {
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false);
    let reason = reason(status, PROGRESSING);
    if deadline(deployment).is_none() || reason == Some(TIMED_OUT) || paused == (reason == Some(PAUSED)) {
        return;
    }
    let new = match paused {
        true => made(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".into(), now),
        false => made(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".into(), now),
    };
    set(status, new);
}

/// The counts of `rollout`, with the condition Available; the other conditions of `status` stay.
pub fn counted(rollout: &Rollout<'_>, status: &DeploymentStatus, now: Timestamp) -> DeploymentStatus {
    let sum = |number: fn(&Plot) -> i32| rollout.all().map(number).sum::<i32>();
    let shown = |count: i32| Some(count).filter(|count| *count > 0);
    let available = rollout.available();
    let mut new = DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: shown(sum(Plot::actual)),
        updated_replicas: shown(rollout.new.as_ref().map_or(0, Plot::actual)),
        ready_replicas: shown(sum(Plot::ready)),
        available_replicas: shown(available),
        unavailable_replicas: shown(rollout.asked() - available),
        terminating_replicas: Some(sum(Plot::terminating)),
        collision_count: status.collision_count,
        conditions: status.conditions.clone(),
    };
    let (state, reason, message) = if available >= rollout.limits.fewest_available() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut new, made(AVAILABLE, state, reason, message.into(), now));
    new
}

/// Whether all pods asked for are of the new template, available, and the only ones.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let count = |count: Option<i32>| count.unwrap_or(0);
    count(status.updated_replicas) == replicas
        && count(status.replicas) == replicas
        && count(status.available_replicas) == replicas
        && status.observed_generation >= deployment.metadata.generation
}

/// Whether `new` is further than `old`.
fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let others = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(new.updated_replicas) > count(old.updated_replicas)
        || others(new) < others(old)
        || count(new.ready_replicas) > count(old.ready_replicas)
        || count(new.available_replicas) > count(old.available_replicas)
}

/// Until the deadline passes, if that is still to be watched for; zero once it has.
pub fn time_left(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let seconds = deadline(deployment)?;
    let progressing = condition(status, PROGRESSING)?;
    if matches!(progressing.reason.as_deref(), Some(COMPLETE | TIMED_OUT)) {
        return None;
    }
    let ends =
        progressing.last_update_time.as_ref()?.0.checked_add(SignedDuration::from_secs(seconds.into()));
    Some(Duration::try_from(ends.ok()?.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// Says in `new` how the rollout gets on, compared with `old`, the status until now.
pub fn judge(rollout: &Rollout<'_>, old: &DeploymentStatus, new: &mut DeploymentStatus, now: Timestamp) {
    let deployment = rollout.deployment;
    if deadline(deployment).is_none() {
        remove(new, PROGRESSING);
    } else if !(new.replicas == new.updated_replicas && reason(old, PROGRESSING) == Some(COMPLETE)) {
        let subject = match &rollout.new {
            Some(plot) => format!("ReplicaSet {:?}", plot.name()),
            None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
        };
        if is_complete(deployment, new) {
            let message = format!("{subject} has successfully progressed.");
            set(new, made(PROGRESSING, "True", COMPLETE, message, now));
        } else if has_progressed(old, new) {
            let message = format!("{subject} is progressing.");
            let mut made = made(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
            // Also where it said so before: the time of the last progress is what the deadline is
            // counted from.
            if let Some(old) = condition(old, PROGRESSING).filter(|old| old.status == "True") {
                made.last_transition_time = old.last_transition_time.clone();
            }
            remove(new, PROGRESSING);
            new.conditions.get_or_insert_default().push(made);
        } else if time_left(deployment, new, now) == Some(Duration::ZERO) {
            let message = format!("{subject} has timed out progressing.");
            set(new, made(PROGRESSING, "False", TIMED_OUT, message, now));
        }
    }
    match replica_failure(rollout) {
        Some(failure) => set(new, failure),
        None => remove(new, REPLICA_FAILURE),
    }
}

/// What keeps a ReplicaSet from making or removing pods, the new one's failure first.
fn replica_failure(rollout: &Rollout<'_>) -> Option<DeploymentCondition> {
    let all = rollout.new.iter().chain(&rollout.old);
    let mut conditions =
        all.flat_map(|plot| plot.set.status.iter().flat_map(|s| s.conditions.iter().flatten()));
    let failure = conditions.find(|condition| condition.type_ == REPLICA_FAILURE)?.clone();
    Some(DeploymentCondition {
        type_: failure.type_,
        status: failure.status,
        reason: failure.reason,
        message: failure.message,
        last_update_time: failure.last_transition_time.clone(),
        last_transition_time: failure.last_transition_time,
    })
}

/// Whether `new` says anything that `stored` does not.
pub fn differs(stored: Option<&DeploymentStatus>, new: &DeploymentStatus) -> bool {
    let plain = |status: &DeploymentStatus| {
        let some = |count: Option<i32>| count.filter(|count| *count != 0);
        DeploymentStatus {
            replicas: some(status.replicas),
            updated_replicas: some(status.updated_replicas),
            ready_replicas: some(status.ready_replicas),
            available_replicas: some(status.available_replicas),
            unavailable_replicas: some(status.unavailable_replicas),
            conditions: Some(status.conditions.clone().unwrap_or_default()),
            ..status.clone()
        }
    };
    stored.is_none_or(|stored| plain(stored) != plain(new))
}
