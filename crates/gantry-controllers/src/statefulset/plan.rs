//! The next step of a StatefulSet: a function of what is seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::PodView;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};

use crate::deployment::limits::amount;
use crate::history::REVISION_LABEL;

/// What is seen of a StatefulSet.
pub(super) struct Snapshot<'a> {
    pub set: &'a StatefulSet,
    /// Its pods.
    pub pods: &'a [Arc<PodView>],
    /// The name of the revision of the present template.
    pub update: &'a str,
    /// The name of the revision that was current before; the present one where there is none.
    pub current: &'a str,
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub status: StatefulSetStatus,
    /// Pods to make: their numbers, and whether from the present template.
    pub create: Vec<(i32, bool)>,
    pub delete: Vec<Arc<PodView>>,
    pub again: Option<Duration>,
}

/// The number of a pod of `set`, by its name.
pub(super) fn ordinal(set: &str, pod: &PodView) -> Option<i32> {
    let rest = pod.metadata.name.as_deref()?.strip_prefix(set)?.strip_prefix('-')?;
    rest.parse().ok().filter(|_| rest.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The numbers that the set's pods are to have.
pub(super) fn ordinals(spec: &StatefulSetSpec) -> std::ops::Range<i32> {
    let start = spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0);
    start..start.saturating_add(spec.replicas.unwrap_or(1))
}

fn revision(pod: &PodView) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(REVISION_LABEL)).map(String::as_str).unwrap_or_default()
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl Snapshot<'_> {
    fn min_ready(&self) -> SignedDuration {
        let seconds = self.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        SignedDuration::from_secs(i64::from(seconds.max(0)))
    }

    /// How long until a pod counts as available; `None`: as long as it is not ready, never.
    fn until_available(&self, pod: &PodView) -> Option<SignedDuration> {
        if !pod.is_ready() || pod.phase.as_deref() != Some("Running") {
            return None;
        }
        let since = pod.ready_since().unwrap_or(self.now);
        Some((self.min_ready() - self.now.duration_since(since)).max(SignedDuration::ZERO))
    }

    /// Whether a pod is as it should be.
    fn is_healthy(&self, pod: &PodView) -> bool {
        !pod.is_deleted() && self.until_available(pod).is_some_and(|wait| !wait.is_positive())
    }
}

/// The plan for what is seen.
pub(super) fn plan(seen: &Snapshot<'_>) -> Plan {
    let mut plan = Plan { status: seen.set.status.clone().unwrap_or_default(), ..Plan::default() };
    let Some(spec) = &seen.set.spec else { return plan };
    let name = seen.set.metadata.name.as_deref().unwrap_or_default();
    let range = ordinals(spec);
    let mut by_number: BTreeMap<i32, Arc<PodView>> = BTreeMap::new();
    for pod in seen.pods {
        if let Some(ordinal) = ordinal(name, pod) {
            by_number.insert(ordinal, pod.clone());
        }
    }
    if seen.set.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    report(seen, &mut plan);
    let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
    if !scale(seen, &by_number, range.clone(), ordered, &mut plan) {
        return plan;
    }
    update(seen, &by_number, range, &mut plan);
    plan
}

/// Whether a new pod with this number is made from the present template.
fn is_new(seen: &Snapshot<'_>, start: i32, ordinal: i32) -> bool {
    let update = seen.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let on_delete = update.is_some_and(|update| update.type_.as_deref() == Some("OnDelete"));
    if on_delete || seen.current == seen.update {
        return true;
    }
    let rolling = update.and_then(|update| update.rolling_update.as_ref());
    let kept = match rolling.and_then(|rolling| rolling.partition) {
        Some(partition) => partition,
        None => seen.set.status.as_ref().and_then(|status| status.current_replicas).unwrap_or(0),
    };
    ordinal >= start.saturating_add(kept)
}

/// Makes what is missing and removes what is too much; whether nothing of that is left to be done.
fn scale(
    seen: &Snapshot<'_>,
    pods: &BTreeMap<i32, Arc<PodView>>,
    range: std::ops::Range<i32>,
    ordered: bool,
    plan: &mut Plan,
) -> bool {
    let mut settled = true;
    for ordinal in range.clone() {
        let waits = match pods.get(&ordinal) {
            None => {
                plan.create.push((ordinal, is_new(seen, range.start, ordinal)));
                true
            }
            // One that has ended is made anew, under the same name.
            Some(pod) if pod.is_terminal() => {
                if !pod.is_deleted() {
                    plan.delete.push(pod.clone());
                }
                true
            }
            Some(pod) => {
                if let Some(wait) = seen.until_available(pod).filter(|wait| wait.is_positive()) {
                    let wait = Duration::try_from(wait).unwrap_or_default();
                    plan.again = Some(plan.again.map_or(wait, |again| again.min(wait)));
                }
                !seen.is_healthy(pod)
            }
        };
        settled &= !waits;
        if waits && ordered {
            return false;
        }
    }
    // The last ones go first, and in order only while all others are well.
    for (_, pod) in pods.iter().rev().filter(|(ordinal, _)| !range.contains(ordinal)) {
        settled = false;
        if !pod.is_deleted() {
            plan.delete.push(pod.clone());
        }
        if ordered {
            return false;
        }
    }
    // Pods that are not well do not keep an update of others from going on where order is no matter.
    settled || (!ordered && plan.create.is_empty() && plan.delete.is_empty())
}

/// Replaces outdated pods, the last first, one at a time or as many as may be unavailable.
fn update(
    seen: &Snapshot<'_>,
    pods: &BTreeMap<i32, Arc<PodView>>,
    range: std::ops::Range<i32>,
    plan: &mut Plan,
) {
    let strategy = seen.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    if strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("OnDelete")) {
        return;
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
    let most = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    let most = amount(most, range.end.saturating_sub(range.start), false).max(1);
    if most > 1 {
        let outdated =
            (range.start.saturating_add(partition)..range.end).rev().filter_map(|at| pods.get(&at));
        let outdated = outdated.filter(|pod| revision(pod) != seen.update && !pod.is_deleted());
        let healthy = |at: &i32| pods.get(at).is_some_and(|pod| seen.is_healthy(pod));
        let unavailable = range.clone().filter(|at| !healthy(at)).count();
        let more = usize::try_from(most).unwrap_or(0).saturating_sub(unavailable);
        plan.delete.extend(outdated.take(more).cloned());
        return;
    }
    for ordinal in (range.start.saturating_add(partition)..range.end).rev() {
        let Some(pod) = pods.get(&ordinal) else { return };
        if revision(pod) != seen.update && !pod.is_deleted() {
            plan.delete.push(pod.clone());
            return;
        }
        if !seen.is_healthy(pod) {
            return;
        }
    }
}

/// Counts the pods into the status.
fn report(seen: &Snapshot<'_>, plan: &mut Plan) {
    let created: Vec<_> = seen.pods.iter().filter(|pod| pod.phase.is_some()).collect();
    let ready = |pod: &&&Arc<PodView>| seen.until_available(pod).is_some();
    let of = |name: &str| created.iter().filter(|pod| !pod.is_deleted() && revision(pod) == name).count();
    let old = plan.status.clone();
    let mut status = StatefulSetStatus {
        observed_generation: seen.set.metadata.generation,
        collision_count: old.collision_count.or(Some(0)),
        conditions: old.conditions,
        replicas: number(created.len()),
        ready_replicas: Some(number(created.iter().filter(ready).count())),
        available_replicas: Some(number(created.iter().filter(|pod| seen.is_healthy(pod)).count())),
        current_replicas: Some(number(of(seen.current))),
        updated_replicas: Some(number(of(seen.update))),
        current_revision: Some(seen.current.to_owned()),
        update_revision: Some(seen.update.to_owned()),
    };
    let on_delete = seen
        .set
        .spec
        .as_ref()
        .and_then(|spec| spec.update_strategy.as_ref())
        .is_some_and(|update| update.type_.as_deref() == Some("OnDelete"));
    let all = Some(status.replicas);
    if !on_delete && status.updated_replicas == all && status.ready_replicas == all {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    for count in [&mut status.ready_replicas, &mut status.current_replicas, &mut status.updated_replicas] {
        *count = count.filter(|count| *count > 0);
    }
    plan.status = status;
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn set(spec: Value) -> StatefulSet {
        let mut spec = spec;
        spec["selector"] = json!({});
        spec["template"] = json!({});
        gantry_json::from_value(json!({"metadata": {"name": "db", "generation": 2}, "spec": spec}))
            .expect("a set")
    }

    /// A pod `NUMBER REVISION STATE`.
    fn pod(text: &str) -> Arc<PodView> {
        let words: Vec<_> = text.split(' ').collect();
        let mut value = json!({"metadata": {"name": format!("db-{}", words[0]), "labels": {REVISION_LABEL: words[1]}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True",
                "lastTransitionTime": "1970-01-01T00:00:00Z"}]}});
        match words[2] {
            "ready" => {}
            "waiting" => value["status"]["conditions"] = json!([]),
            "leaving" => value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
            phase => value["status"] = json!({"phase": phase}),
        }
        let pod: Pod = gantry_json::from_value(value).expect("a Pod");
        Arc::new(pod.into())
    }

    fn check(
        set: &StatefulSet,
        current: &str,
        pods: &[&str],
        create: &[(i32, bool)],
        delete: &[&str],
    ) -> Plan {
        let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
        let now = Timestamp::from_second(10).expect("a time");
        let plan = plan(&Snapshot { set, pods: &pods, update: "new", current, now });
        let deleted: Vec<_> = plan.delete.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!((plan.create.as_slice(), deleted.as_slice()), (create, delete), "{pods:?}");
        plan
    }

    #[test]
    fn pods_come_one_after_the_other() {
        let three = set(json!({"replicas": 3}));
        check(&three, "new", &[], &[(0, true)], &[]);
        check(&three, "new", &["0 new waiting"], &[], &[]);
        check(&three, "new", &["0 new ready"], &[(1, true)], &[]);
        check(&three, "new", &["0 new ready", "1 new leaving"], &[], &[]);
        check(&three, "new", &["0 new Failed", "1 new ready"], &[], &["db-0"]);
        let parallel = set(json!({"replicas": 3, "podManagementPolicy": "Parallel"}));
        check(&parallel, "new", &["1 new waiting"], &[(0, true), (2, true)], &[]);
        let from_five = set(json!({"replicas": 1, "ordinals": {"start": 5}}));
        check(&from_five, "new", &[], &[(5, true)], &[]);
        let patient = set(json!({"replicas": 2, "minReadySeconds": 30}));
        let plan = check(&patient, "new", &["0 new ready"], &[], &[]);
        assert_eq!(plan.again.map(|again| again.as_secs()), Some(20));
    }

    #[test]
    fn pods_go_the_last_first() {
        let one = set(json!({"replicas": 1}));
        check(&one, "new", &["0 new ready", "1 new ready", "2 new ready"], &[], &["db-2"]);
        check(&one, "new", &["0 new ready", "1 new ready", "2 new leaving"], &[], &[]);
        check(&one, "new", &["0 new waiting", "1 new ready"], &[], &[]);
        let parallel = set(json!({"replicas": 1, "podManagementPolicy": "Parallel"}));
        check(&parallel, "new", &["0 new waiting", "1 new ready", "2 new ready"], &[], &["db-2", "db-1"]);
        let none = set(json!({"replicas": 0}));
        check(&none, "new", &["0 new waiting"], &[], &["db-0"]);
    }

    #[test]
    fn an_update_takes_as_many_as_may_be_missed() {
        let four = |most: Value| {
            set(json!({"replicas": 4, "podManagementPolicy": "Parallel",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}}}))
        };
        let old = ["0 old ready", "1 old ready", "2 old ready", "3 old ready"];
        check(&four(json!(2)), "old", &old, &[], &["db-3", "db-2"]);
        check(&four(json!("50%")), "old", &old, &[], &["db-3", "db-2"]);
        check(&four(json!("10%")), "old", &old, &[], &["db-3"]);
        let half = ["0 old ready", "1 old ready", "2 old ready", "3 new waiting"];
        check(&four(json!(2)), "old", &half, &[], &["db-2"]);
        let full = ["0 old ready", "1 old ready", "2 new waiting", "3 new waiting"];
        check(&four(json!(2)), "old", &full, &[], &[]);
    }

    #[test]
    fn an_update_goes_from_the_last_to_the_first() {
        let three = set(json!({"replicas": 3}));
        let plan = check(&three, "old", &["0 old ready", "1 old ready", "2 old ready"], &[], &["db-2"]);
        let status = plan.status;
        assert_eq!((status.current_replicas, status.updated_replicas), (Some(3), None));
        assert_eq!(
            (status.current_revision.as_deref(), status.update_revision.as_deref()),
            (Some("old"), Some("new"))
        );
        check(&three, "old", &["0 old ready", "1 old ready"], &[(2, true)], &[]);
        check(&three, "old", &["0 old ready", "1 old ready", "2 new waiting"], &[], &[]);
        check(&three, "old", &["0 old ready", "1 old ready", "2 new ready"], &[], &["db-1"]);
        let plan = check(&three, "old", &["0 new ready", "1 new ready", "2 new ready"], &[], &[]);
        assert_eq!(plan.status.current_revision.as_deref(), Some("new"), "the update is over");
        assert_eq!((plan.status.current_replicas, plan.status.ready_replicas), (Some(3), Some(3)));
    }

    #[test]
    fn an_update_may_stop_at_a_number_or_wait_for_deletion() {
        let update = |strategy: Value| set(json!({"replicas": 2, "updateStrategy": strategy}));
        let partition = update(json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}));
        check(&partition, "old", &["0 old ready", "1 old ready"], &[], &["db-1"]);
        check(&partition, "old", &["0 old ready", "1 new ready"], &[], &[]);
        check(&partition, "old", &["1 new ready"], &[(0, false)], &[]);
        let on_delete = update(json!({"type": "OnDelete"}));
        check(&on_delete, "old", &["0 old ready", "1 old ready"], &[], &[]);
        check(&on_delete, "old", &["0 old ready"], &[(1, true)], &[]);
    }
}
