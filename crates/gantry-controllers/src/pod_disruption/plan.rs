//! How many pods of a disruption budget may go: a function of the pods and of how many are expected.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::PodView;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A pod whose eviction was allowed is expected to be deleted within this time.
const PATIENCE: SignedDuration = SignedDuration::from_secs(2 * 60);
/// The condition's type.
const ALLOWED: &str = "DisruptionAllowed";

/// What comes of a look at a budget.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub status: PodDisruptionBudgetStatus,
    /// Pods that were to be evicted and are there still.
    pub undeleted: Vec<Arc<PodView>>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// Whether a budget counts by how many pods there should be, and not by those that there are.
pub(super) fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let Some(spec) = &budget.spec else { return false };
    spec.max_unavailable.is_some() || matches!(spec.min_available, Some(IntOrString::String(_)))
}

/// `value` of `total`; a share is rounded up.
fn amount(value: &IntOrString, total: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 = text.strip_suffix('%').and_then(|number| number.parse().ok()).unwrap_or(0);
            i32::try_from((percent * i64::from(total) + 99) / 100).unwrap_or(i32::MAX)
        }
    }
}

/// The status of `budget` for `pods`, of which there should be `expected`.
pub(super) fn plan(
    budget: &PodDisruptionBudget,
    pods: &[Arc<PodView>],
    expected: i32,
    now: Timestamp,
) -> Outcome {
    let mut outcome = Outcome::default();
    let old = budget.status.clone().unwrap_or_default();
    let spec = budget.spec.clone().unwrap_or_default();
    let (expected, desired) = match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (expected, (expected - amount(most, expected)).max(0)),
        (None, Some(IntOrString::Int(least))) => (i32::try_from(pods.len()).unwrap_or(i32::MAX), *least),
        (None, Some(least)) => (expected, amount(least, expected)),
        (None, None) => (i32::try_from(pods.len()).unwrap_or(i32::MAX), 0),
    };
    let disrupted = disrupted(&old, pods, now, &mut outcome);
    let counts = |pod: &&Arc<PodView>| {
        let leaves = disrupted.contains_key(pod.metadata.name.as_deref().unwrap_or_default());
        !pod.is_deleted() && !leaves && pod.is_ready()
    };
    let healthy = i32::try_from(pods.iter().filter(counts).count()).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    outcome.status = PodDisruptionBudgetStatus {
        conditions: old.conditions,
        current_healthy: healthy,
        desired_healthy: desired,
        disrupted_pods: Some(disrupted).filter(|pods| !pods.is_empty()),
        disruptions_allowed: allowed,
        expected_pods: expected,
        observed_generation: budget.metadata.generation,
    };
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set(&mut outcome.status, status, reason, "", now);
    outcome
}

/// The status of a budget whose number of pods cannot be found out: nothing is allowed.
pub(super) fn unknown(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = 0;
    status.observed_generation = budget.metadata.generation;
    set(&mut status, "False", "SyncFailed", why, now);
    status
}

fn set(status: &mut PodDisruptionBudgetStatus, value: &str, reason: &str, message: &str, now: Timestamp) {
    let observed_generation = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let old = conditions.iter().find(|condition| condition.type_ == ALLOWED);
    let since = old.filter(|old| old.status == value).map(|old| old.last_transition_time.clone());
    let condition = Condition {
        type_: ALLOWED.into(),
        status: value.into(),
        reason: reason.into(),
        message: message.into(),
        last_transition_time: since.unwrap_or(Time(now)),
        observed_generation,
    };
    match conditions.iter_mut().find(|condition| condition.type_ == ALLOWED) {
        Some(old) => *old = condition,
        None => conditions.push(condition),
    }
}

/// The pods whose eviction was allowed and has not come about yet.
fn disrupted(
    old: &PodDisruptionBudgetStatus,
    pods: &[Arc<PodView>],
    now: Timestamp,
    outcome: &mut Outcome,
) -> BTreeMap<String, Time> {
    let mut left = BTreeMap::new();
    for (name, since) in old.disrupted_pods.iter().flatten() {
        let pod = pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
        let Some(pod) = pod.filter(|pod| !pod.is_deleted()) else { continue };
        let waits = PATIENCE - now.duration_since(since.0);
        if waits.is_positive() {
            left.insert(name.clone(), since.clone());
            let waits = Duration::try_from(waits).unwrap_or_default();
            outcome.again = Some(outcome.again.map_or(waits, |again| again.min(waits)));
        } else {
            outcome.undeleted.push(pod.clone());
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().expect("a time")
    }

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        gantry_json::from_value(
            json!({"metadata": {"name": "b", "generation": 3}, "spec": spec, "status": status}),
        )
        .expect("a budget")
    }

    fn pods(count: usize, ready: usize) -> Vec<Arc<PodView>> {
        let pod = |at: usize| {
            let status = if at < ready { "True" } else { "False" };
            let pod: Pod = gantry_json::from_value(json!({
                "metadata": {"name": format!("p{at}")}, "status": {"conditions": [{"type": "Ready", "status": status}]}}))
            .expect("a Pod");
            Arc::new(PodView::from(pod))
        };
        (0..count).map(pod).collect()
    }

    #[test]
    fn as_many_may_go_as_are_more_than_needed() {
        let check = |spec: Value, count, ready, expected, expect: (i32, i32, i32)| {
            let status =
                plan(&budget(spec.clone(), Value::Null), &pods(count, ready), expected, now()).status;
            let got = (status.expected_pods, status.desired_healthy, status.disruptions_allowed);
            assert_eq!(got, expect, "{spec}");
            let condition = &status.conditions.expect("conditions")[0];
            assert_eq!(condition.status == "True", status.disruptions_allowed > 0);
            assert_eq!(condition.observed_generation, Some(3));
        };
        check(json!({"minAvailable": 2}), 3, 3, 0, (3, 2, 1));
        check(json!({"minAvailable": 2}), 3, 1, 0, (3, 2, 0));
        check(json!({"minAvailable": "50%"}), 3, 3, 5, (5, 3, 0));
        check(json!({"minAvailable": "50%"}), 5, 5, 5, (5, 3, 2));
        check(json!({"maxUnavailable": 1}), 3, 3, 3, (3, 2, 1));
        check(json!({"maxUnavailable": 1}), 3, 2, 3, (3, 2, 0));
        check(json!({"maxUnavailable": "30%"}), 4, 4, 4, (4, 2, 2));
        check(json!({"maxUnavailable": 1}), 0, 0, 0, (0, 0, 0));
    }

    #[test]
    fn evicted_pods_count_no_longer_and_not_for_ever() {
        let status = json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
            "disruptedPods": {"p0": "2026-01-01T00:59:30Z", "p1": "2026-01-01T00:58:00Z", "gone": "2026-01-01T00:59:59Z"}});
        let outcome = plan(&budget(json!({"minAvailable": 1}), status), &pods(3, 3), 0, now());
        assert_eq!(outcome.status.current_healthy, 2);
        assert_eq!(
            outcome.status.disrupted_pods.map(|pods| pods.into_keys().collect::<Vec<_>>()),
            Some(vec!["p0".into()])
        );
        assert_eq!(outcome.again.map(|again| again.as_secs()), Some(90));
        assert_eq!(outcome.undeleted.len(), 1);
    }
}
