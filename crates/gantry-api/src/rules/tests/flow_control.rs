//! Kinds of `flowcontrol.apiserver.k8s.io`.

use serde_json::json;

use super::fixtures::{becomes, refused, status_refused};

#[test]
fn flow_schema() {
    becomes("FlowSchema", json!({}), json!({"spec": {"matchingPrecedence": 1000}}));
    let check = |spec, expected: &[&str]| refused("FlowSchema", json!({"spec": spec}), expected);
    check(
        json!({"matchingPrecedence": -1, "priorityLevelConfiguration": {"name": ""}}),
        &[
            "spec.matchingPrecedence: Invalid value: -1: must be a positive value",
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        ],
    );
    check(
        json!({"matchingPrecedence": 1}),
        &[
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
        ],
    );
    check(
        json!({"rules": [{"subjects": []}]}),
        &[
            "spec.rules[0].subjects: Required value: subjects must contain at least one value",
            "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
        ],
    );
    let subject = json!({"kind": "User", "user": {"name": "u"}});
    let resource = |rule| json!({"rules": [{"subjects": [subject], "resourceRules": [rule]}]});
    check(
        resource(json!({"verbs": ["*", "get"], "apiGroups": ["*", "a"], "resources": []})),
        &[
            "spec.rules[0].resourceRules[0].verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
            "spec.rules[0].resourceRules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other api groups",
            "spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource",
            "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
        ],
    );
    let subject = |subject| json!({"rules": [{"subjects": [subject], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["a", "/b*"]}]}]});
    check(
        subject(json!({"kind": "User", "group": {"name": "g"}})),
        &[
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
            "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: \"a\": must start with slash",
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: \"/b*\": wildcard can only do suffix matching",
        ],
    );
    status_refused(
        "FlowSchema",
        json!({"conditions": [{"type": "Dangling"}, {"type": "Dangling"}]}),
        &["status.conditions[1].type: Duplicate value: \"Dangling\""],
    );
}

#[test]
fn priority_level_configuration() {
    becomes(
        "PriorityLevelConfiguration",
        json!({}),
        json!({"spec": {"limited": {"nominalConcurrencyShares": 30, "lendablePercent": 0,
            "limitResponse": {"queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}}}}}),
    );
    becomes(
        "PriorityLevelConfiguration",
        json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt", "limited": null}}),
        json!({"spec": {"exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}}}),
    );
    let check =
        |spec, expected: &[&str]| refused("PriorityLevelConfiguration", json!({"spec": spec}), expected);
    check(
        json!({"type": "Exempt", "limited": null}),
        &["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"],
    );
    check(
        json!({"limited": null}),
        &["spec.limited: Required value: must not be empty when type is Limited"],
    );
    check(
        json!({"limited": {"nominalConcurrencyShares": -1, "lendablePercent": 101, "borrowingLimitPercent": -1,
            "limitResponse": {"type": "Reject"}}}),
        &[
            "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
            "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
            "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
        ],
    );
    let queuing = |queuing| json!({"limited": {"limitResponse": {"queuing": queuing}}});
    check(
        queuing(json!({"queues": 4, "queueLengthLimit": -1})),
        &[
            "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (4)",
        ],
    );
    check(
        queuing(json!({"queues": 10_000_000, "handSize": 10})),
        &[
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 10: required entropy bits of deckSize 10000000 and handSize 10 should not be greater than 60",
        ],
    );
}
