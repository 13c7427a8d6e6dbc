//! Whether the node takes a pod: the last check after the scheduler's.

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{pod, quantity};

/// Reason and message when the pod does not fit beside `others`.
pub fn admit(pod: &Pod, node: &Node, others: &[&Pod]) -> Result<(), (String, String)> {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.clone()).unwrap_or_default();
    let active: Vec<&&Pod> = others.iter().filter(|p| !pod::is_terminal_phase(p)).collect();
    let max_pods = allocatable.get("pods").map_or(i64::MAX, quantity::value);
    let out_of = |resource: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err((format!("OutOf{resource}"), format!("Pod was rejected: {message}")))
    };
    if active.len() as i64 + 1 > max_pods {
        return out_of("pods", 1, active.len() as i64, max_pods);
    }
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let requested = pod::total_request(pod, resource);
        let Some(capacity) = allocatable.get(resource).filter(|_| requested > 0) else { continue };
        let capacity =
            if resource == "cpu" { quantity::cpu_milli(capacity) } else { quantity::value(capacity) };
        let used: i64 = active.iter().map(|p| pod::total_request(p, resource)).sum();
        if requested > capacity - used {
            return out_of(resource, requested, used, capacity);
        }
    }
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selected = pod::spec(pod).node_selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
    if !selected {
        let message = "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return Err(("NodeAffinity".into(), message.into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rejects_what_does_not_fit() {
        let node: Node = serde_json::from_value(json!({"metadata": {"labels": {"a": "1"}},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3"}}}))
        .unwrap();
        let make = |cpu: &str, selector: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"spec": {"nodeSelector": selector,
                "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
            .unwrap()
        };
        let other = make("1500m", json!({}));
        for (pod, expect) in [
            (make("500m", json!({"a": "1"})), None),
            (make("501m", json!({})), Some("OutOfcpu")),
            (make("1m", json!({"a": "2"})), Some("NodeAffinity")),
        ] {
            assert_eq!(admit(&pod, &node, &[&other]).err().map(|e| e.0).as_deref(), expect);
        }
        let few = make("0", json!({}));
        assert_eq!(admit(&few, &node, &[&few, &few, &few]).unwrap_err().0, "OutOfpods");
    }
}
