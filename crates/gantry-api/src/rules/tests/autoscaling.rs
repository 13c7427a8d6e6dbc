//! HorizontalPodAutoscaler in both versions.

use gantry_json::json;

use super::fixtures::{becomes, created, kind_of, minimal, refused};

const NAME: &str = "HorizontalPodAutoscaler";

#[test]
fn defaults() {
    becomes(
        NAME,
        json!({}),
        json!({"spec": {"minReplicas": 1, "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 80}}}]}}),
    );
    becomes(
        NAME,
        json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": "Min"}}}}),
        json!({"spec": {"behavior": {
            "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]},
            "scaleDown": {"selectPolicy": "Min", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}}}}),
    );
}

#[test]
fn faults() {
    let check = |spec, expected: &[&str]| refused(NAME, json!({"spec": spec}), expected);
    check(
        json!({"minReplicas": 0}),
        &["spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"],
    );
    check(
        json!({"minReplicas": 4}),
        &["spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"],
    );
    check(
        json!({"scaleTargetRef": {"kind": "a/b", "name": null}}),
        &[
            "spec.scaleTargetRef.kind: Invalid value: \"a/b\": may not contain '/'",
            "spec.scaleTargetRef.name: Required value",
        ],
    );
    let metric = |metric| json!({"metrics": [metric]});
    check(
        metric(json!({"type": "Odd"})),
        &[
            "spec.metrics[0].type: Unsupported value: \"Odd\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"",
        ],
    );
    check(
        metric(json!({"type": "Pods"})),
        &["spec.metrics[0].pods: Required value: must populate information for the given metric source"],
    );
    check(
        metric(json!({"type": "Resource", "resource": {"target": {"type": "Value"}}})),
        &[
            "spec.metrics[0].resource.name: Required value: must specify a resource name",
            "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
        ],
    );
    check(
        metric(json!({"type": "External", "external": {"metric": {"name": "q"},
            "target": {"type": "Odd", "value": "-1"}}})),
        &[
            "spec.metrics[0].external.target.type: Invalid value: \"Odd\": must be either Utilization, Value, or AverageValue",
            "spec.metrics[0].external.target.value: Invalid value: \"-1\": must be positive",
        ],
    );
    check(
        json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 4000, "policies": [
            {"type": "Pods", "value": 0, "periodSeconds": 2000}]}}}),
        &[
            "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
            "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 2000: must be less than or equal to 1800",
        ],
    );
}

#[test]
fn version_1_shows_the_share_of_cpu_and_keeps_the_rest_in_annotations() {
    let kept = json!({"apiVersion": "autoscaling/v2", "kind": NAME, "metadata": {"name": "m"},
        "spec": {"maxReplicas": 3, "minReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "d"},
            "metrics": [
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
                {"type": "Pods", "pods": {"metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                    "target": {"type": "AverageValue", "averageValue": "5"}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "r"},
                    "target": {"type": "Value", "value": "7"}}},
                {"type": "External", "external": {"metric": {"name": "e"}, "target": {"type": "Value", "value": "9"}}}],
            "behavior": {"scaleUp": {"selectPolicy": "Min"}}},
        "status": {"currentReplicas": 1, "desiredReplicas": 2, "conditions": [{"type": "AbleToScale", "status": "True"}],
            "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu",
                "current": {"averageUtilization": 50, "averageValue": "100m"}}}]}});
    let kind = super::fixtures::kind("autoscaling/v1", NAME);
    let stored = kind.stored.expect("kept as version 2");
    let mut shown = kept.clone();
    (stored.unpack)(&mut shown);
    assert_eq!(shown["apiVersion"], "autoscaling/v1");
    assert_eq!(shown["spec"]["targetCPUUtilizationPercentage"], 60);
    assert_eq!(shown["status"]["currentCPUUtilizationPercentage"], 50);
    assert!(shown["spec"]["metrics"].is_null() && shown["spec"]["behavior"].is_null());
    let metrics = shown["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].as_str();
    assert!(metrics.is_some_and(|text| text.contains("\"targetAverageValue\":\"5\"")), "{metrics:?}");
    (stored.pack)(&mut shown);
    assert_eq!(shown, kept);
}

#[test]
fn version_1_asks_for_a_share_where_none_is_named() {
    let made = created(minimal("HorizontalPodAutoscaler.v1"));
    let mut kept = made.clone();
    (kind_of(&made).stored.expect("kept as version 2").pack)(&mut kept);
    assert_eq!(kept["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
    refused(
        "HorizontalPodAutoscaler.v1",
        json!({"spec": {"maxReplicas": 0}}),
        &[
            "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
        ],
    );
}
