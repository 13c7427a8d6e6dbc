//! Kinds of `flowcontrol.apiserver.k8s.io`.

use gantry_json::{Value, json};

use super::fixtures::{becomes, created, faults, minimal, refused, status_refused};

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
    check(
        resource(
            json!({"verbs": ["get", "post"], "apiGroups": ["a"], "resources": ["b"], "namespaces": ["a.b", "c"]}),
        ),
        &[
            "spec.rules[0].resourceRules[0].verbs: Unsupported value: [\"get\",\"post\"]: supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"",
            "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: \"a.b\": each member of this list must be '*' or a DNS-1123 label; must not contain dots",
        ],
    );
    check(
        json!({"distinguisherMethod": {"type": "ByHost"}}),
        &[
            "spec.distinguisherMethod.type: Unsupported value: {\"type\":\"ByHost\"}: supported values: \"ByNamespace\", \"ByUser\"",
        ],
    );
    let subject = |subject| json!({"rules": [{"subjects": [subject], "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["a", "/b*"]}]}]});
    check(
        subject(json!({"kind": "User", "group": {"name": "g"}})),
        &[
            "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
            "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
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

#[test]
fn mandatory_objects() {
    let all = |groups: Value, precedence: u32, method: Value, level: &str| {
        let subjects: Vec<_> = groups
            .as_array()
            .unwrap()
            .iter()
            .map(|name| json!({"kind": "Group", "group": {"name": name}}))
            .collect();
        json!({"matchingPrecedence": precedence, "distinguisherMethod": method,
            "priorityLevelConfiguration": {"name": level}, "rules": [{"subjects": subjects,
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
                    "clusterScope": true}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]})
    };
    let everybody = json!(["system:unauthenticated", "system:authenticated"]);
    let faults = |kind: &str, name: &str, spec: Value| {
        let mut object = minimal(kind);
        object["metadata"]["name"] = name.into();
        object["spec"] = spec;
        faults(&created(object))
    };
    for (name, spec) in [
        ("exempt", all(json!(["system:masters"]), 1, Value::Null, "exempt")),
        ("catch-all", all(everybody, 10_000, json!({"type": "ByUser"}), "catch-all")),
    ] {
        assert_eq!(faults("FlowSchema", name, spec.clone()), [""; 0]);
        let mut changed = spec;
        changed["rules"][0]["subjects"][0]["group"]["name"] = "g".into();
        let found = faults("FlowSchema", name, changed);
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with(&format!("spec of '{name}' must equal the fixed value")), "{found:?}");
    }
    let level = "PriorityLevelConfiguration";
    let free = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 7, "lendablePercent": 50}});
    assert_eq!(faults(level, "exempt", free), [""; 0]);
    assert_eq!(faults(level, "exempt", json!({"type": "Exempt"})), [""; 0]);
    let found = faults(level, "exempt", json!({"type": "Exempt", "limited": {}}));
    assert!(
        found[1].ends_with("spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"),
        "{found:?}"
    );
    let limited = |shares: u32| json!({"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}}});
    assert_eq!(faults(level, "catch-all", limited(5)), [""; 0]);
    let found = faults(level, "catch-all", limited(6));
    assert!(found[0].ends_with("spec of 'catch-all' must equal the fixed value"), "{found:?}");
}

#[test]
fn hands_of_queues() {
    let level = |queues: u32, hand: u32| {
        let queuing = json!({"queues": queues, "handSize": hand});
        json!({"spec": {"limited": {"limitResponse": {"queuing": queuing}}}})
    };
    let check = |queues, hand, expected: &[&str]| {
        refused("PriorityLevelConfiguration", level(queues, hand), expected)
    };
    let at = "spec.limited.limitResponse.queuing.handSize: Invalid value:";
    check(32, 12, &[]);
    check(
        32,
        13,
        &[&format!(
            "{at} 13: required entropy bits of deckSize 32 and handSize 13 should not be greater than 60"
        )],
    );
    check(4, 5, &[&format!("{at} 5: should not be greater than queues (4)")]);
}
