//! ResourceQuota and LimitRange.

use gantry_json::json;

use super::fixtures::{becomes, change_of, created, minimal, refused, status_refused};

#[test]
fn resource_quota() {
    let check = |spec, expected: &[&str]| refused("ResourceQuota", json!({"spec": spec}), expected);
    check(json!({"hard": {"count/jobs.batch": "5", "requests.cpu": "500m", "example.com/x": "2"}}), &[]);
    check(
        json!({"hard": {"pods": "1500m"}}),
        &["spec.hard[pods]: Invalid value: \"1500m\": must be an integer"],
    );
    check(
        json!({"hard": {"pods": "-1"}}),
        &["spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
    check(
        json!({"hard": {"bananas": "1"}}),
        &[
            "spec.hard[bananas]: Invalid value: \"bananas\": must be a standard resource type or fully qualified",
            "spec.hard[bananas]: Invalid value: \"bananas\": must be a standard resource for quotas",
        ],
    );
    check(json!({"scopes": ["Odd"]}), &["spec.scopes: Invalid value: [\"Odd\"]: unsupported scope"]);
    check(
        json!({"scopes": ["BestEffort", "NotBestEffort"]}),
        &["spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"],
    );
    check(
        json!({"scopes": ["BestEffort"], "hard": {"cpu": "1"}}),
        &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"],
    );
    let expressions = |each| json!({"scopeSelector": {"matchExpressions": [each]}});
    check(expressions(json!({"scopeName": "PriorityClass", "operator": "In", "values": ["high"]})), &[]);
    check(
        expressions(json!({"scopeName": "PriorityClass", "operator": "In"})),
        &[
            "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ],
    );
    let mut scoped = minimal("ResourceQuota");
    scoped["spec"]["scopes"] = json!(["Terminating"]);
    change_of(
        created(scoped),
        json!({"spec": {"scopes": ["NotTerminating"]}}),
        &["spec.scopes: Invalid value: [\"NotTerminating\"]: field is immutable"],
    );
    status_refused(
        "ResourceQuota",
        json!({"used": {"pods": "-2"}}),
        &["status.used[pods]: Invalid value: \"-2\": must be greater than or equal to 0"],
    );
}

#[test]
fn limit_range() {
    let limits = |each| json!({"spec": {"limits": [each]}});
    becomes(
        "LimitRange",
        limits(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}})),
        limits(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"},
            "default": {"cpu": "2"}, "defaultRequest": {"cpu": "2", "memory": "1Mi"}})),
    );
    let check = |each, expected: &[&str]| refused("LimitRange", limits(each), expected);
    check(
        json!({"type": "Odd"}),
        &["spec.limits[0].type: Invalid value: \"Odd\": must be a standard limit type or fully qualified"],
    );
    check(
        json!({"type": "Pod", "default": {"cpu": "1"}}),
        &["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"],
    );
    check(
        json!({"type": "PersistentVolumeClaim"}),
        &[
            "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ],
    );
    check(
        json!({"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}),
        &["spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"],
    );
    check(
        json!({"type": "Container", "default": {"cpu": "2"}, "max": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}),
        &["spec.limits[0].default[cpu]: Invalid value: \"1\": default value 2 is greater than max value 1"],
    );
    check(
        json!({"type": "Pod", "maxLimitRequestRatio": {"cpu": "500m"}}),
        &["spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"],
    );
    refused(
        "LimitRange",
        json!({"spec": {"limits": [{"type": "Pod"}, {"type": "Pod"}]}}),
        &["spec.limits[1].type: Duplicate value: \"Pod\""],
    );
}
