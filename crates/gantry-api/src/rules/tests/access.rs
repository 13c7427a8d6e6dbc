//! Roles and bindings, runtime classes, budgets and scalers: rules that are nowhere else.

use gantry_json::json;

use super::fixtures::{refused, status_refused, warned};
use crate::rules::common::DNS_LABEL;

#[test]
fn roles_and_bindings() {
    refused(
        "ClusterRole",
        json!({"aggregationRule": {}}),
        &[
            "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
        ],
    );
    let group = "rbac.authorization.k8s.io";
    refused(
        "ClusterRoleBinding",
        json!({"roleRef": {"name": "a/b"}, "subjects": [{"kind": "ServiceAccount", "name": "A", "apiGroup": group},
            {"kind": "User", "name": "", "apiGroup": "x"}, {"kind": "Odd", "name": "n"}]}),
        &[
            "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
            "subjects[0].name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            &format!("subjects[0].apiGroup: Unsupported value: \"{group}\": supported values: \"\""),
            "subjects[0].namespace: Required value",
            "subjects[1].name: Required value",
            "subjects[1].name: Invalid value: \"\": user name cannot be empty",
            &format!("subjects[1].apiGroup: Unsupported value: \"x\": supported values: \"{group}\""),
            "subjects[2].kind: Unsupported value: \"Odd\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
        ],
    );
}

#[test]
fn runtime_classes() {
    refused(
        "RuntimeClass",
        json!({"handler": "A"}),
        &[&format!("handler: Invalid value: \"A\": {DNS_LABEL}")],
    );
    let toleration = json!({"operator": "Exists"});
    refused(
        "RuntimeClass",
        json!({"overhead": {"podFixed": {"cpu": "-1"}}, "scheduling": {"tolerations": [toleration, toleration]}}),
        &[
            "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            "scheduling.tolerations[1]: Duplicate value: {\"operator\":\"Exists\"}",
        ],
    );
}

#[test]
fn conditions_of_budgets() {
    let condition =
        json!({"type": "DisruptionAllowed", "status": "Odd", "reason": "a b", "observedGeneration": -1});
    let at = "status.conditions[0]";
    status_refused(
        "PodDisruptionBudget",
        json!({"conditions": [condition]}),
        &[
            &format!(
                "{at}.status: Unsupported value: \"Odd\": supported values: \"False\", \"True\", \"Unknown\""
            ),
            &format!("{at}.observedGeneration: Invalid value: -1: must be greater than or equal to zero"),
            &format!("{at}.lastTransitionTime: Required value: must be set"),
            &format!(
                "{at}.reason: Invalid value: \"a b\": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
            ),
        ],
    );
}

#[test]
fn metrics_of_containers() {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let metric = json!({"type": "ContainerResource",
        "containerResource": {"name": "disk", "container": "A", "target": target}});
    let at = "spec.metrics[0].containerResource";
    refused(
        "HorizontalPodAutoscaler",
        json!({"spec": {"metrics": [metric]}}),
        &[
            &format!(
                "{at}.name: Invalid value: \"disk\": must be a standard resource type or fully qualified"
            ),
            &format!("{at}.name: Invalid value: \"disk\": must be a standard resource for containers"),
            &format!("{at}.container: Invalid value: \"A\": {DNS_LABEL}"),
        ],
    );
}

#[test]
fn what_is_said_about_names_and_classes() {
    warned(
        "Deployment",
        json!({"metadata": {"name": "a.b"}}),
        &[
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
        ],
    );
    warned(
        "Ingress",
        json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}}),
        &[
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead",
        ],
    );
}
