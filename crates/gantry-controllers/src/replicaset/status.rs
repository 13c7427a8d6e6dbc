//! What a ReplicaSet reports about its pods.

use std::sync::Arc;
use std::time::Duration;

use gantry_client::PodView;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::Selector;

use crate::claim::selects;

/// The condition that says that pods cannot be made or removed.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// How many replicas are asked for.
pub fn desired(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// For how long a pod must be ready to count as available.
pub fn min_ready(set: &ReplicaSet) -> Duration {
    let seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    Duration::from_secs(seconds.max(0).unsigned_abs().into())
}

/// The status of `set` with these active pods and that many pods on their way out. `failure` is what
/// kept pods from being made or removed.
pub fn status(
    set: &ReplicaSet,
    active: &[Arc<PodView>],
    terminating: usize,
    failure: Option<&str>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let old = set.status.clone().unwrap_or_default();
    let labels = set
        .spec
        .iter()
        .filter_map(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.clone())
        .flatten();
    let template: Selector = labels.collect();
    let min_ready = min_ready(set);
    let count = |counts: &dyn Fn(&PodView) -> bool| active.iter().filter(|pod| counts(pod)).count();
    let mut conditions = old.conditions.unwrap_or_default();
    let known = conditions.iter().any(|condition| condition.type_ == REPLICA_FAILURE);
    match failure {
        Some(message) if !known => {
            let short = i64::try_from(active.len()).is_ok_and(|have| have < i64::from(desired(set)));
            conditions.push(ReplicaSetCondition {
                type_: REPLICA_FAILURE.into(),
                status: "True".into(),
                last_transition_time: Some(Time(whole_seconds(now))),
                reason: Some(if short { "FailedCreate" } else { "FailedDelete" }.into()),
                message: Some(message.into()),
            });
        }
        None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
        Some(_) => {}
    }
    ReplicaSetStatus {
        replicas: number(active.len()),
        fully_labeled_replicas: shown(count(&|pod| selects(&template, &pod.metadata))),
        ready_replicas: shown(count(&PodView::is_ready)),
        available_replicas: shown(count(&|pod| available_in(pod, min_ready, now) == Some(Duration::ZERO))),
        terminating_replicas: Some(number(terminating)),
        observed_generation: set.metadata.generation,
        conditions: Some(conditions).filter(|conditions| !conditions.is_empty()),
    }
}

/// Whether `new` says anything that the stored status does not.
pub fn differs(stored: Option<&ReplicaSetStatus>, new: &ReplicaSetStatus) -> bool {
    let Some(stored) = stored else { return true };
    let same = |a: Option<i32>, b: Option<i32>| a.unwrap_or(0) == b.unwrap_or(0);
    stored.replicas != new.replicas
        || stored.observed_generation != new.observed_generation
        || !same(stored.fully_labeled_replicas, new.fully_labeled_replicas)
        || !same(stored.ready_replicas, new.ready_replicas)
        || !same(stored.available_replicas, new.available_replicas)
        || stored.terminating_replicas != new.terminating_replicas
        || stored.conditions.as_deref().unwrap_or_default() != new.conditions.as_deref().unwrap_or_default()
}

/// When the next ready pod becomes available, if one is to.
pub fn next_available(set: &ReplicaSet, active: &[Arc<PodView>], now: Timestamp) -> Option<Duration> {
    let min_ready = min_ready(set);
    let waits = active.iter().filter_map(|pod| available_in(pod, min_ready, now));
    waits.filter(|wait| !wait.is_zero()).min()
}

/// The time until a ready pod is available, zero where it is; `None` where it is not ready.
fn available_in(pod: &PodView, min_ready: Duration, now: Timestamp) -> Option<Duration> {
    if min_ready.is_zero() {
        return pod.is_ready().then_some(Duration::ZERO);
    }
    let ready_for: SignedDuration = now.duration_since(pod.ready_since()?);
    let ready_for = Duration::try_from(ready_for).unwrap_or_default();
    Some(min_ready.saturating_sub(ready_for))
}

/// Times in objects have whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// Counts of zero are left out.
fn shown(count: usize) -> Option<i32> {
    Some(number(count)).filter(|count| *count > 0)
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn set(min_ready: i32) -> ReplicaSet {
        gantry_json::from_value(json!({
            "metadata": {"name": "web", "generation": 4},
            "spec": {"replicas": 3, "minReadySeconds": min_ready, "selector": {"matchLabels": {"app": "a"}},
                "template": {"metadata": {"labels": {"app": "a", "tier": "x"}}, "spec": {"containers": []}}},
        }))
        .expect("a ReplicaSet")
    }

    fn pod(tier: &str, ready_since: Option<&str>) -> Arc<PodView> {
        let conditions: Vec<_> = ready_since
            .iter()
            .map(|since| json!({"type": "Ready", "status": "True", "lastTransitionTime": since}))
            .collect();
        let pod: k8s_openapi::api::core::v1::Pod = gantry_json::from_value(json!({
            "metadata": {"labels": {"app": "a", "tier": tier}}, "spec": {"containers": []},
            "status": {"phase": "Running", "conditions": conditions},
        }))
        .expect("a Pod");
        Arc::new(pod.into())
    }

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    #[test]
    fn pods_are_counted_by_labels_readiness_and_time() {
        let pods = [
            pod("x", None),
            pod("x", Some("2026-01-01T00:00:00Z")),
            pod("other", Some("2026-01-01T00:00:25Z")),
        ];
        let now = at("2026-01-01T00:00:30Z");
        let found = status(&set(10), &pods, 2, None, now);
        assert_eq!(
            (found.replicas, found.fully_labeled_replicas, found.ready_replicas, found.available_replicas),
            (3, Some(2), Some(2), Some(1))
        );
        assert_eq!((found.terminating_replicas, found.observed_generation), (Some(2), Some(4)));
        assert_eq!(next_available(&set(10), &pods, now), Some(Duration::from_secs(5)));
        assert_eq!(next_available(&set(0), &pods, now), None);
        assert_eq!(status(&set(0), &pods, 0, None, now).available_replicas, Some(2));
    }

    #[test]
    fn a_failure_is_reported_until_it_is_over() {
        let now = at("2026-01-01T00:00:30.7Z");
        let mut set = set(0);
        let failed = status(&set, &[], 0, Some("quota"), now);
        let condition = failed.conditions.as_ref().expect("conditions")[0].clone();
        assert_eq!(
            (condition.reason.as_deref(), condition.message.as_deref()),
            (Some("FailedCreate"), Some("quota"))
        );
        assert_eq!(condition.last_transition_time, Some(Time(at("2026-01-01T00:00:30Z"))));
        set.status = Some(failed.clone());
        assert!(!differs(set.status.as_ref(), &status(&set, &[], 0, Some("other words"), now)));
        let over = status(&set, &[], 0, None, now);
        assert!(over.conditions.is_none() && differs(set.status.as_ref(), &over));
    }
}
