//! How often a Job's pods failed in a row, and what its policy says about a failure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use gantry_client::PodView;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicy, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::plan::index;

/// The delay after a first failure, which doubles with each further one, and the longest.
const DELAY: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Whether a pod counts as failed. One that is removed from outside does, unless the Job waits for it
/// to end.
pub(super) fn is_failed(pod: &PodView, spec: &JobSpec) -> bool {
    let phase = pod.phase.as_deref();
    let waits = spec.pod_replacement_policy.as_deref() == Some("Failed");
    phase == Some("Failed") || (!waits && pod.is_deleted() && phase != Some("Succeeded"))
}

/// Failures since the last success.
#[derive(Debug, Default, Clone)]
pub(super) struct Failures {
    seen: HashSet<String>,
    row: u32,
    last: Option<Timestamp>,
    /// When a pod of a number was last seen to have failed.
    by_number: HashMap<u32, Timestamp>,
}

impl Failures {
    /// Takes in the pods as they are at `now`.
    pub fn observe<'a>(&mut self, pods: impl Iterator<Item = &'a PodView>, spec: &JobSpec, now: Timestamp) {
        let mut seen = HashSet::new();
        let mut succeeded = false;
        for pod in pods {
            let success = pod.phase.as_deref() == Some("Succeeded");
            if !success && !is_failed(pod, spec) {
                continue;
            }
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if !self.seen.contains(&uid) {
                succeeded |= success;
                if !success {
                    self.row += 1;
                    self.last = Some(now);
                    self.by_number.extend(index(pod).map(|number| (number, now)));
                }
            }
            seen.insert(uid);
        }
        self.seen = seen;
        if succeeded {
            (self.row, self.last) = (0, None);
        }
    }

    /// How long to wait until another pod is made.
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        left(self.row, self.last?, now)
    }

    /// How long to wait until another pod with this number is made, which has failed so often.
    pub fn wait_for(&self, number: u32, failures: u32, now: Timestamp) -> Option<Duration> {
        left(failures, *self.by_number.get(&number)?, now)
    }
}

/// What is left of the delay after the last of so many failures.
fn left(failures: u32, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let factor = 2_u32.checked_pow(failures.checked_sub(1)?).unwrap_or(u32::MAX);
    let delay = DELAY.0.saturating_mul(factor).min(DELAY.1);
    let since = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    delay.checked_sub(since).filter(|wait| !wait.is_zero())
}

/// What becomes of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// It counts.
    Count,
    /// It does not.
    Ignore,
    /// The pod's number has failed for good.
    FailIndex,
    /// The whole Job has failed, for this reason.
    FailJob(String),
}

/// What the policy says about `pod`, which has failed.
pub(super) fn action(policy: &PodFailurePolicy, pod: &Pod) -> Action {
    for (at, rule) in policy.rules.iter().enumerate() {
        let Some(why) = matched(rule, pod) else { continue };
        match rule.action.as_str() {
            "Ignore" => return Action::Ignore,
            "FailIndex" => return Action::FailIndex,
            "FailJob" => return Action::FailJob(format!("{why} matching FailJob rule at index {at}")),
            _ => return Action::Count,
        }
    }
    Action::Count
}

fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let place = || {
        let meta = &pod.metadata;
        format!(
            "{}/{}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default()
        )
    };
    if let Some(codes) = &rule.on_exit_codes {
        let all = status.init_container_statuses.iter().flatten();
        let mut all = all.chain(status.container_statuses.iter().flatten());
        let hit = |container: &&ContainerStatus| {
            let code = container.state.as_ref().and_then(|state| Some(state.terminated.as_ref()?.exit_code));
            let named = codes.container_name.as_ref().is_none_or(|name| *name == container.name);
            named
                && code.is_some_and(|code| {
                    let listed = codes.values.contains(&code);
                    code != 0 && if codes.operator == "In" { listed } else { !listed }
                })
        };
        let container = all.find(hit)?;
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        return Some(format!(
            "Container {} for pod {} failed with exit code {code}",
            container.name,
            place()
        ));
    }
    let wanted = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let mut conditions = status.conditions.iter().flatten();
    let condition = conditions.find(|condition| {
        wanted.iter().any(|wanted| {
            let status = wanted.status.as_deref().unwrap_or("True");
            wanted.type_ == condition.type_ && status == condition.status
        })
    })?;
    Some(format!("Pod {} has condition {}", place(), condition.type_))
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    #[test]
    fn delays_double_until_a_success() {
        let pod = |uid: &str, phase: &str| {
            let pod: Pod =
                gantry_json::from_value(json!({"metadata": {"uid": uid}, "status": {"phase": phase}}))
                    .expect("a Pod");
            PodView::from(pod)
        };
        let now = Timestamp::UNIX_EPOCH;
        let spec = JobSpec::default();
        let mut failures = Failures::default();
        let mut check = |pods: &[PodView], expect: Option<u64>| {
            failures.observe(pods.iter(), &spec, now);
            assert_eq!(failures.wait(now).map(|wait| wait.as_secs()), expect);
        };
        check(&[pod("a", "Running")], None);
        check(&[pod("a", "Failed")], Some(10));
        check(&[pod("a", "Failed"), pod("b", "Running")], Some(10));
        check(&[pod("b", "Failed"), pod("c", "Failed")], Some(40));
        check(&[pod("c", "Failed"), pod("d", "Succeeded")], None);
        check(&[pod("d", "Succeeded"), pod("e", "Failed")], Some(10));
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy: PodFailurePolicy = gantry_json::from_value(json!({"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1]}},
        ]}))
        .expect("a policy");
        let check = |status: Value, expect: Action| {
            let pod: Pod = gantry_json::from_value(
                json!({"metadata": {"name": "p", "namespace": "n"}, "status": status}),
            )
            .expect("a Pod");
            assert_eq!(action(&policy, &pod), expect);
        };
        let ended = |name: &str, code: i32| {
            json!({"containerStatuses": [{"name": name, "image": "", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]})
        };
        check(json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}), Action::Ignore);
        let why = "Container main for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        check(ended("main", 42), Action::FailJob(why.into()));
        check(ended("other", 42), Action::Count);
        check(ended("main", 1), Action::Count);
    }
}
