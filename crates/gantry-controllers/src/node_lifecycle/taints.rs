//! The taints that say a node's conditions to the scheduler and to those who evict.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::heartbeat::{condition, ready};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions that keep new pods away while they are true.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

/// What may be done about pods on nodes that are not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eviction {
    /// The node may be tainted now.
    Allowed,
    /// A node that is not tainted yet has to wait.
    Wait,
    /// No node is ready: the fault is likely elsewhere, and no pod is to be evicted.
    Forbidden,
}

/// Whether the node is to be tainted so that pods are evicted, and is not yet.
pub(super) fn awaits_eviction(node: &Node) -> bool {
    key_of_readiness(node).is_some() && !taints(node).iter().any(is_evicting)
}

/// The taints that the node has to have; `None` where it has them. Those of others stay.
pub(super) fn wanted(node: &Node, eviction: Eviction, now: Timestamp) -> Option<Vec<Taint>> {
    let mut keys: Vec<_> = key_of_readiness(node).map(|key| (key, "NoSchedule")).into_iter().collect();
    for (kind, key) in PRESSURES {
        if condition(node, kind).is_some_and(|condition| condition.status == "True") {
            keys.push((key, "NoSchedule"));
        }
    }
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        keys.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let may_evict = match eviction {
        Eviction::Allowed => true,
        Eviction::Wait => !awaits_eviction(node),
        Eviction::Forbidden => false,
    };
    keys.extend(key_of_readiness(node).filter(|_| may_evict).map(|key| (key, "NoExecute")));

    let before = taints(node);
    let is_wanted = |taint: &Taint| keys.contains(&(&*taint.key, &*taint.effect));
    let mut after: Vec<Taint> =
        before.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in keys {
        if !after.iter().any(|taint| taint.key == key && taint.effect == effect) {
            after.push(Taint {
                key: key.into(),
                effect: effect.into(),
                time_added: Some(Time(now)),
                ..Default::default()
            });
        }
    }
    (after != before).then_some(after)
}

/// What is wrong with a node that is not ready. One that never reported is left alone: it gets its
/// condition first.
fn key_of_readiness(node: &Node) -> Option<&'static str> {
    match ready(node)? {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    }
}

/// Whether only this controller decides about the taint.
fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    let blocks = || {
        [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key)
            || PRESSURES.iter().any(|(_, each)| *each == key)
    };
    is_evicting(taint) || taint.effect == "NoSchedule" && blocks()
}

fn is_evicting(taint: &Taint) -> bool {
    taint.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())
}

fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    fn check(conditions: Value, spec: Value, eviction: Eviction, expect: Option<&[&str]>) {
        let conditions: Vec<_> = conditions
            .as_object()
            .expect("a map")
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status}))
            .collect();
        let node: Node = gantry_json::from_value(
            json!({"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}),
        )
        .expect("a Node");
        let found = wanted(&node, eviction, Timestamp::UNIX_EPOCH).map(|taints| {
            let short = |taint: &Taint| {
                format!("{}:{}", taint.key.trim_start_matches("node.kubernetes.io/"), taint.effect)
            };
            taints.iter().map(short).collect::<Vec<_>>()
        });
        let expect = expect.map(|taints| taints.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(found, expect, "{node:?}");
    }

    fn taint(key: &str, effect: &str) -> Value {
        json!({"key": format!("node.kubernetes.io/{key}"), "effect": effect})
    }

    #[test]
    fn conditions_become_taints() {
        use Eviction::{Allowed, Forbidden, Wait};
        check(json!({}), json!({}), Allowed, None);
        check(json!({"Ready": "True"}), json!({}), Allowed, None);
        check(
            json!({"Ready": "False"}),
            json!({}),
            Allowed,
            Some(&["not-ready:NoSchedule", "not-ready:NoExecute"]),
        );
        check(
            json!({"Ready": "Unknown"}),
            json!({}),
            Allowed,
            Some(&["unreachable:NoSchedule", "unreachable:NoExecute"]),
        );
        check(json!({"Ready": "Unknown"}), json!({}), Wait, Some(&["unreachable:NoSchedule"]));
        check(json!({"Ready": "Unknown"}), json!({}), Forbidden, Some(&["unreachable:NoSchedule"]));
        check(
            json!({"Ready": "True", "MemoryPressure": "True", "DiskPressure": "False", "PIDPressure": "Unknown"}),
            json!({"unschedulable": true}),
            Allowed,
            Some(&["memory-pressure:NoSchedule", "unschedulable:NoSchedule"]),
        );
    }

    #[test]
    fn taints_go_with_their_conditions_and_others_stay() {
        use Eviction::{Allowed, Forbidden, Wait};
        let own = json!({"key": "own", "effect": "NoExecute"});
        let drained = taint("out-of-service", "NoExecute");
        let all = json!([taint("not-ready", "NoSchedule"), own, taint("not-ready", "NoExecute"), drained]);
        let spec = json!({"taints": all});
        check(
            json!({"Ready": "True"}),
            spec.clone(),
            Allowed,
            Some(&["own:NoExecute", "out-of-service:NoExecute"]),
        );
        check(json!({"Ready": "False"}), spec.clone(), Wait, None);
        check(
            json!({"Ready": "Unknown"}),
            spec.clone(),
            Wait,
            Some(&[
                "own:NoExecute",
                "out-of-service:NoExecute",
                "unreachable:NoSchedule",
                "unreachable:NoExecute",
            ]),
        );
        check(
            json!({"Ready": "False"}),
            spec,
            Forbidden,
            Some(&["not-ready:NoSchedule", "own:NoExecute", "out-of-service:NoExecute"]),
        );
    }
}
