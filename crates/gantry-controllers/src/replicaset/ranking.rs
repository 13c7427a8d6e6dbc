//! Which pods go first when there are too many.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use gantry_client::PodView;
use jiff::Timestamp;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` of `pods` that are missed least: without a node, pending, not ready, of low deletion
/// cost, on a node with many pods of `related` sets, ready for a short time, often restarted, young.
/// Ages are compared by their order of magnitude, so that within one the choice is arbitrary and does
/// not always hit the newest zone.
pub fn least_missed(
    pods: &[Arc<PodView>],
    related: &[Arc<PodView>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<PodView>> {
    if count >= pods.len() {
        return pods.to_vec();
    }
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pod.is_active()) {
        *on_node.entry(pod.node_name.as_deref().unwrap_or_default()).or_default() += 1;
    }
    let mut ranked: Vec<_> = pods.iter().collect();
    ranked.sort_by_cached_key(|pod| {
        let neighbours =
            pod.node_name.as_deref().and_then(|node| on_node.get(node)).copied().unwrap_or_default();
        rank(pod, neighbours, now)
    });
    ranked.into_iter().take(count).cloned().collect()
}

/// Lower goes first.
type Rank = (bool, u8, bool, i32, Reverse<usize>, Option<i32>, Reverse<i32>, Option<i32>, String);

fn rank(pod: &PodView, neighbours: usize, now: Timestamp) -> Rank {
    let phase = match pod.phase.as_deref() {
        Some("Running") => 2,
        Some("Unknown") => 1,
        _ => 0,
    };
    let cost = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (
        pod.node_name.is_some(),
        phase,
        pod.is_ready(),
        cost.and_then(|cost| cost.parse().ok()).unwrap_or_default(),
        Reverse(neighbours),
        pod.ready_since().map(|since| magnitude(since, now)),
        Reverse(pod.restarts),
        created.map(|created| magnitude(created, now)),
        pod.metadata.uid.clone().unwrap_or_default(),
    )
}

/// The order of magnitude of the time since then.
fn magnitude(since: Timestamp, now: Timestamp) -> i32 {
    let age = now.as_nanosecond() - since.as_nanosecond();
    if age > 0 { age.ilog2().cast_signed() } else { -1 }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    fn pod(uid: &str, change: Value) -> Arc<PodView> {
        let mut value = json!({
            "metadata": {"uid": uid, "name": uid, "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {}},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": change["restarts"].as_i64().unwrap_or(0)}],
                "conditions": [{"type": "Ready", "status": "True",
                    "lastTransitionTime": change["since"].as_str().unwrap_or("2026-01-01T00:00:10Z")}]},
        });
        for (field, pointer) in
            [("node", "/spec/nodeName"), ("phase", "/status/phase"), ("ready", "/status/conditions/0/status")]
        {
            if let (Some(new), Some(at)) = (change.get(field), value.pointer_mut(pointer)) {
                *at = new.clone();
            }
        }
        if let Some(cost) = change.get("cost") {
            value["metadata"]["annotations"][DELETION_COST] = cost.clone();
        }
        if let Some(created) = change.get("created") {
            value["metadata"]["creationTimestamp"] = created.clone();
        }
        let pod: k8s_openapi::api::core::v1::Pod = gantry_json::from_value(value).expect("a Pod");
        Arc::new(pod.into())
    }

    #[test]
    fn each_reason_counts_before_the_next() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().expect("a time");
        let in_order = [
            pod("z-unassigned", json!({"node": ""})),
            pod("y-pending", json!({"phase": "Pending"})),
            pod("x-unknown", json!({"phase": "Unknown"})),
            pod("w-unready", json!({"ready": "False"})),
            pod("v-cheap", json!({"cost": "-5"})),
            pod("u-crowded", json!({"node": "n2"})),
            pod("t-just-ready", json!({"since": "2026-01-01T23:59:50Z"})),
            pod("s-restarted", json!({"restarts": 3})),
            pod("r-young", json!({"created": "2026-01-01T23:00:00Z"})),
            pod("a-tie", json!({})),
            pod("b-tie", json!({"since": "2026-01-01T00:00:11Z"})),
            pod("q-dear", json!({"cost": "5"})),
        ];
        let mut shuffled = in_order.to_vec();
        shuffled.reverse();
        let crowd: Vec<_> = (0..20).map(|n| pod(&format!("n{n}"), json!({"node": "n2"}))).collect();
        let related: Vec<_> = crowd.iter().chain(&in_order).cloned().collect();
        let chosen = least_missed(&shuffled, &related, in_order.len() - 1, now);
        let uids =
            |pods: &[Arc<PodView>]| -> Vec<_> { pods.iter().map(|pod| pod.metadata.uid.clone()).collect() };
        assert_eq!(uids(&chosen), uids(&in_order[..in_order.len() - 1]));
        assert_eq!(least_missed(&shuffled, &related, 99, now).len(), in_order.len());
    }
}
