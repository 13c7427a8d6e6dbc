//! Kinds that run pods: defaults, each documented fault, what cannot change.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_of, change_refused, created, minimal, refused, status_refused};

#[test]
fn daemon_set() {
    becomes(
        "DaemonSet",
        json!({}),
        json!({"metadata": {"annotations": {"deprecated.daemonset.template.generation": "1"}},
            "spec": {"revisionHistoryLimit": 10, "template": {"spec": {"restartPolicy": "Always"}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}}),
    );
    let refused = |spec, expected: &[&str]| refused("DaemonSet", json!({"spec": spec}), expected);
    refused(json!({"selector": null}), &["spec.selector: Required value"]);
    refused(
        json!({"selector": {"matchLabels": null}}),
        &["spec.selector: Invalid value: {}: empty selector is invalid for daemonset"],
    );
    refused(
        json!({"selector": {"matchLabels": {"a": "x"}}}),
        &[
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
        ],
    );
    refused(
        json!({"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}}),
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not Supported",
        ],
    );
    refused(
        json!({"minReadySeconds": -1}),
        &["spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"],
    );
    let rolling = |rolling| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
    refused(
        rolling(json!({"maxUnavailable": "110%"})),
        &[
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: \"110%\": must not be greater than 100%",
        ],
    );
    refused(
        rolling(json!({"maxUnavailable": 0})),
        &["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
    );
    refused(
        rolling(json!({"maxSurge": 1})),
        &[
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
        ],
    );
    refused(
        json!({"updateStrategy": {"type": "Now"}}),
        &[
            "spec.updateStrategy: Unsupported value: \"Now\": supported values: \"OnDelete\", \"RollingUpdate\"",
        ],
    );
    change_refused(
        "DaemonSet",
        json!({"spec": {"selector": {"matchLabels": {"a": "b", "c": null, "d": "e"}},
            "template": {"metadata": {"labels": {"d": "e"}}}}}),
        &["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"d\":\"e\"}}: field is immutable"],
    );
    status_refused(
        "DaemonSet",
        json!({"numberReady": -1}),
        &["status.numberReady: Invalid value: -1: must be greater than or equal to 0"],
    );
}

#[test]
fn a_daemon_sets_template_is_counted() {
    let old = created(minimal("DaemonSet"));
    let kind = super::fixtures::kind_of(&old);
    let mut new = old.clone();
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "j".into();
    kind.prepare_update(&mut new, &old);
    assert_eq!(new["metadata"]["annotations"]["deprecated.daemonset.template.generation"], "2");
}

#[test]
fn stateful_set() {
    let claim = json!({"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let mounted = json!({"spec": {"volumeClaimTemplates": [claim], "template": {"spec": {
        "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}}});
    refused("StatefulSet", mounted.clone(), &[]);
    let mut object = minimal("StatefulSet");
    crate::patch::merge(&mut object, &mounted);
    let claim = &created(object)["spec"]["volumeClaimTemplates"][0];
    assert_eq!(
        (&claim["kind"], &claim["spec"]["volumeMode"], &claim["status"]["phase"]),
        (&json!("PersistentVolumeClaim"), &json!("Filesystem"), &json!("Pending"))
    );
    becomes(
        "StatefulSet",
        json!({}),
        json!({"spec": {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}}}),
    );
    let refused = |spec, expected: &[&str]| refused("StatefulSet", json!({"spec": spec}), expected);
    refused(
        json!({"podManagementPolicy": "Any"}),
        &["spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or 'Parallel'"],
    );
    refused(
        json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}),
        &[
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
        ],
    );
    refused(
        json!({"updateStrategy": {"rollingUpdate": {"partition": -1, "maxUnavailable": 0}}}),
        &[
            "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            "spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0",
        ],
    );
    refused(
        json!({"replicas": -1, "ordinals": {"start": -1}}),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    refused(
        json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Keep"}}),
        &[
            "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"Keep\": supported values: \"Delete\", \"Retain\"",
        ],
    );
    refused(json!({"selector": null}), &["spec.selector: Required value"]);
    let fixed = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    change_refused("StatefulSet", json!({"spec": {"serviceName": "s"}}), &[fixed]);
    change_refused("StatefulSet", json!({"spec": {"replicas": 3, "minReadySeconds": 3}}), &[]);
    status_refused(
        "StatefulSet",
        json!({"replicas": 1, "readyReplicas": 2}),
        &["status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas"],
    );
}

#[test]
fn controller_revision() {
    refused(
        "ControllerRevision",
        json!({"data": null, "revision": -1}),
        &[
            "data: Required value: data is mandatory",
            "revision: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    change_refused("ControllerRevision", json!({"revision": 2}), &[]);
    change_refused(
        "ControllerRevision",
        json!({"data": {"spec": {"x": 1}}}),
        &["data: Invalid value: {\"spec\":{\"x\":1}}: field is immutable"],
    );
}

#[test]
fn job_defaults() {
    becomes(
        "Job",
        json!({}),
        json!({"metadata": {"labels": {"a": "b"}},
            "spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed",
                "suspend": false, "manualSelector": false, "podReplacementPolicy": "TerminatingOrFailed",
                "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
                "template": {"metadata": {"labels": {"batch.kubernetes.io/controller-uid": "u", "controller-uid": "u",
                    "batch.kubernetes.io/job-name": "m", "job-name": "m"}}}}}),
    );
    becomes(
        "Job",
        json!({"spec": {"parallelism": 2, "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}}}),
        json!({"spec": {"completions": null, "podReplacementPolicy": "Failed", "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]}}}),
    );
}

#[test]
fn job_faults() {
    let refused = |spec, expected: &[&str]| refused("Job", json!({"spec": spec}), expected);
    refused(
        json!({"parallelism": -1, "completions": -1, "ttlSecondsAfterFinished": -1}),
        &[
            "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
            "spec.completions: Invalid value: -1: must be greater than or equal to 0",
            "spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    let policy = |policy: &str| json!({"template": {"spec": {"restartPolicy": policy}}});
    let restarts = "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"";
    refused(policy("Always"), &[restarts]);
    refused(json!({"template": {"spec": {"restartPolicy": null}}}), &[restarts]);
    refused(
        json!({"completionMode": "Indexed", "parallelism": 2}),
        &["spec.completions: Required value: when completion mode is Indexed"],
    );
    refused(
        json!({"completionMode": "Odd"}),
        &["spec.completionMode: Unsupported value: \"Odd\": supported values: \"Indexed\", \"NonIndexed\""],
    );
    refused(
        json!({"backoffLimitPerIndex": 1}),
        &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
    );
    refused(
        json!({"maxFailedIndexes": 1}),
        &[
            "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
        ],
    );
    refused(
        json!({"selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "other"}}}),
        &[
            "spec.selector: Invalid value: {\"matchLabels\":{\"batch.kubernetes.io/controller-uid\":\"other\"}}: `selector` not auto-generated",
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\",\"batch.kubernetes.io/controller-uid\":\"u\",\"batch.kubernetes.io/job-name\":\"m\",\"controller-uid\":\"u\",\"job-name\":\"m\"}: `selector` does not match template `labels`",
        ],
    );
    refused(json!({"manualSelector": true}), &["spec.selector: Required value"]);
    refused(
        json!({"podReplacementPolicy": "Never"}),
        &[
            "spec.podReplacementPolicy: Unsupported value: \"Never\": supported values: \"Failed\", \"TerminatingOrFailed\"",
        ],
    );
    refused(
        json!({"managedBy": "me"}),
        &["spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")"],
    );
}

#[test]
fn job_policies() {
    let refused = |spec, expected: &[&str]| refused("Job", json!({"spec": spec}), expected);
    let failure = |rule| json!({"podFailurePolicy": {"rules": [rule]}});
    refused(
        failure(json!({"action": "FailJob"})),
        &[
            "spec.podFailurePolicy.rules[0]: Invalid value: {\"action\":\"FailJob\"}: specifying one of OnExitCodes and OnPodConditions is required",
        ],
    );
    refused(
        failure(
            json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [2, 0, 2], "containerName": "x"}}),
        ),
        &[
            "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
            "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0,2]: must be ordered",
        ],
    );
    let indexed =
        |rule| json!({"completionMode": "Indexed", "completions": 3, "successPolicy": {"rules": [rule]}});
    refused(indexed(json!({"succeededIndexes": "0,2"})), &[]);
    refused(
        indexed(json!({"succeededIndexes": "0-3", "succeededCount": 4})),
        &[
            "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)",
            "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"0-3\": error parsing succeededIndexes: too large index: \"3\"",
        ],
    );
    refused(
        json!({"successPolicy": {"rules": []}}),
        &["spec.successPolicy: Invalid value: {\"rules\":[]}: requires indexed completion mode"],
    );
}

#[test]
fn job_changes() {
    let refused = |patch, expected: &[&str]| change_refused("Job", json!({"spec": patch}), expected);
    refused(json!({"parallelism": 5, "suspend": true, "backoffLimit": 1}), &[]);
    refused(json!({"completions": 2}), &["spec.completions: Invalid value: 2: field is immutable"]);
    refused(
        json!({"completionMode": "Indexed"}),
        &["spec.completionMode: Invalid value: \"Indexed\": field is immutable"],
    );
    let mut suspended = minimal("Job");
    suspended["spec"]["suspend"] = true.into();
    let suspended = created(suspended);
    let moved = json!({"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}});
    change_of(suspended.clone(), moved.clone(), &[]);
    let mut started = suspended;
    started["status"]["startTime"] = "2026-01-01T00:00:00Z".into();
    let kind = super::fixtures::kind_of(&started);
    let mut new = started.clone();
    crate::patch::merge(&mut new, &moved);
    let errors = kind.validate_update(&new, &started);
    assert!(errors[0].to_string().starts_with("spec.template: Invalid value: {"), "{errors:?}");
    status_refused(
        "Job",
        json!({"conditions": [{"type": "Complete", "status": "True"}, {"type": "Failed", "status": "True"}]}),
        &[
            "status.conditions: Invalid value: [{\"status\":\"True\",\"type\":\"Complete\"},{\"status\":\"True\",\"type\":\"Failed\"}]: cannot set Complete=True and Failed=true conditions",
        ],
    );
}

#[test]
fn failed_indexes_of_jobs() {
    let check = |spec: Value, expected: &[&str]| {
        let mut indexed = json!({"completionMode": "Indexed", "backoffLimitPerIndex": 1});
        crate::patch::merge(&mut indexed, &spec);
        refused("Job", json!({"spec": indexed}), expected);
    };
    check(
        json!({"completions": 2, "maxFailedIndexes": 3}),
        &["spec.maxFailedIndexes: Invalid value: 3: must be less than or equal to completions"],
    );
    check(
        json!({"completions": 100_001, "parallelism": 1}),
        &["spec.maxFailedIndexes: Required value: must be specified when completions is above 100000"],
    );
    let words = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
    check(
        json!({"completions": 100_001, "parallelism": 50_000, "maxFailedIndexes": 20_000}),
        &[
            &format!("spec.parallelism: Invalid value: 50000: {words}"),
            &format!("spec.maxFailedIndexes: Invalid value: 20000: {words}"),
        ],
    );
    check(
        json!({"completionMode": "NonIndexed", "maxFailedIndexes": 1}),
        &[
            "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
        ],
    );
}

#[test]
fn cron_job() {
    becomes(
        "CronJob",
        json!({}),
        json!({"spec": {"concurrencyPolicy": "Allow", "suspend": false, "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"spec": {"backoffLimit": null, "template": {"spec": {"dnsPolicy": "ClusterFirst"}}}}}}),
    );
    let check = |spec, expected: &[&str]| refused("CronJob", json!({"spec": spec}), expected);
    check(json!({"schedule": null}), &["spec.schedule: Required value"]);
    check(
        json!({"schedule": "* * *"}),
        &["spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]"],
    );
    check(
        json!({"schedule": "TZ=UTC 0 * * * *"}),
        &[
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ],
    );
    check(json!({"timeZone": "Europe/Zurich"}), &[]);
    check(
        json!({"timeZone": "europe/zurich"}),
        &["spec.timeZone: Invalid value: \"europe/zurich\": unknown time zone europe/zurich"],
    );
    let mut zoned = created(minimal("CronJob"));
    zoned["spec"]["schedule"] = "TZ=UTC 0 * * * *".into();
    change_of(zoned.clone(), json!({"spec": {"suspend": true}}), &[]);
    change_of(
        zoned,
        json!({"spec": {"timeZone": "UTC"}}),
        &[
            "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use both timeZone field and TZ or CRON_TZ in schedule",
        ],
    );
    check(
        json!({"timeZone": "Mars/Base"}),
        &["spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base"],
    );
    check(
        json!({"timeZone": ""}),
        &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"],
    );
    check(
        json!({"concurrencyPolicy": "Maybe", "startingDeadlineSeconds": -1}),
        &[
            "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
        ],
    );
    check(
        json!({"jobTemplate": {"spec": {"selector": {}, "manualSelector": true}}}),
        &[
            "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
            "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"false\", \"nil\"",
        ],
    );
    let long = "a".repeat(53);
    refused(
        "CronJob",
        json!({"metadata": {"name": long}}),
        &[&format!("metadata.name: Invalid value: \"{long}\": must be no more than 52 characters")],
    );
}

#[test]
fn pod_disruption_budget() {
    let check = |spec, expected: &[&str]| refused("PodDisruptionBudget", json!({"spec": spec}), expected);
    check(json!({"minAvailable": "50%"}), &[]);
    check(
        json!({"maxUnavailable": 1, "selector": null}),
        &[
            "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
        ],
    );
    check(
        json!({"minAvailable": "120%"}),
        &["spec.minAvailable: Invalid value: \"120%\": must not be greater than 100%"],
    );
    check(
        json!({"minAvailable": -1}),
        &["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"],
    );
    check(
        json!({"unhealthyPodEvictionPolicy": "Never"}),
        &[
            "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Never\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
        ],
    );
    status_refused(
        "PodDisruptionBudget",
        json!({"disruptionsAllowed": -1}),
        &["status.disruptionsAllowed: Invalid value: -1: must be greater than or equal to 0"],
    );
}

#[test]
fn replication_controller() {
    becomes(
        "ReplicationController",
        json!({}),
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"replicas": 1, "selector": {"a": "b"}}}),
    );
    let check = |spec, expected: &[&str]| refused("ReplicationController", json!({"spec": spec}), expected);
    check(json!({"template": {"metadata": null}}), &["spec.selector: Required value"]);
    check(
        json!({"selector": {"a": "x"}, "replicas": -1}),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
        ],
    );
    check(
        json!({"template": {"spec": {"restartPolicy": "OnFailure", "activeDeadlineSeconds": 1}}}),
        &[
            "spec.template.spec.restartPolicy: Unsupported value: \"OnFailure\": supported values: \"Always\"",
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicationController is not Supported",
        ],
    );
    status_refused(
        "ReplicationController",
        json!({"replicas": 1, "availableReplicas": 2}),
        &["status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas"],
    );
}

#[test]
fn pod_template() {
    becomes("PodTemplate", json!({}), json!({"template": {"spec": {"restartPolicy": "Always"}}}));
    refused(
        "PodTemplate",
        json!({"template": {"spec": {"containers": null}}}),
        &["template.spec.containers: Required value"],
    );
}
