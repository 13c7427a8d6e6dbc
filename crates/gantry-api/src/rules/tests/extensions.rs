//! What extends and guards the API: webhooks, policies, definitions and aggregated servers.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_refused, created, minimal, refused, status_refused};
use crate::rules::common::{DNS_1035, DNS_SUBDOMAIN, QUALIFIED_NAME};

fn webhook(name: &str, patch: Value) -> Value {
    let mut webhook = minimal(name)["webhooks"][0].clone();
    crate::patch::merge(&mut webhook, &patch);
    json!({"webhooks": [webhook]})
}

#[test]
fn webhook_configurations() {
    let name = "MutatingWebhookConfiguration";
    becomes(
        name,
        json!({}),
        webhook(
            name,
            json!({"failurePolicy": "Fail", "matchPolicy": "Equivalent", "namespaceSelector": {},
            "objectSelector": {}, "timeoutSeconds": 10, "reinvocationPolicy": "Never"}),
        ),
    );
    let name = "ValidatingWebhookConfiguration";
    let rule =
        json!({"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["v1"], "resources": ["pods"]});
    let service = json!({"url": null, "service": {"name": "s", "namespace": "d"}});
    let made = created({
        let mut object = minimal(name);
        crate::patch::merge(&mut object, &webhook(name, json!({"rules": [rule], "clientConfig": service})));
        object
    });
    assert_eq!(
        (&made["webhooks"][0]["rules"][0]["scope"], &made["webhooks"][0]["clientConfig"]["service"]["port"]),
        (&json!("*"), &json!(443))
    );
    let check = |patch, expected: &[&str]| refused(name, webhook(name, patch), expected);
    check(
        json!({"name": "a.b"}),
        &[
            "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
        ],
    );
    check(
        json!({"sideEffects": "Some", "failurePolicy": "Maybe", "matchPolicy": "Any", "timeoutSeconds": 31}),
        &[
            "webhooks[0].failurePolicy: Unsupported value: \"Maybe\": supported values: \"Fail\", \"Ignore\"",
            "webhooks[0].matchPolicy: Unsupported value: \"Any\": supported values: \"Equivalent\", \"Exact\"",
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ],
    );
    check(
        json!({"clientConfig": {"url": null}}),
        &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
    );
    check(
        json!({"clientConfig": {"url": "http://u@a.b/c?d#e"}}),
        &[
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            "webhooks[0].clientConfig.url: Invalid value: \"u\": user information is not permitted in the URL",
            "webhooks[0].clientConfig.url: Invalid value: \"e\": fragments are not permitted in the URL",
            "webhooks[0].clientConfig.url: Invalid value: \"d\": query parameters are not permitted in the URL",
        ],
    );
    check(
        json!({"clientConfig": {"url": null, "service": {"path": "x", "port": 0}}}),
        &[
            "webhooks[0].clientConfig.service.name: Required value: service name is required",
            "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
            "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            "webhooks[0].clientConfig.service.path: Invalid value: \"x\": must start with a '/'",
            "webhooks[0].clientConfig.service.path: Invalid value: \"x\": segment[0] may not be empty",
        ],
    );
    check(
        json!({"admissionReviewVersions": ["V2", "V2", "v1"], "sideEffects": "", "name": "A.b.c."}),
        &[
            &format!("webhooks[0].name: Invalid value: \"A.b.c.\": {DNS_SUBDOMAIN}"),
            "webhooks[0].sideEffects: Unsupported value: \"\": supported values: \"None\", \"NoneOnDryRun\"",
            &format!("webhooks[0].admissionReviewVersions[0]: Invalid value: \"V2\": {DNS_1035}"),
            "webhooks[0].admissionReviewVersions[1]: Invalid value: \"V2\": duplicate version",
        ],
    );
    check(
        json!({"sideEffects": null}),
        &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
    );
    check(
        json!({"clientConfig": {"url": "https:///a"}}),
        &[
            "webhooks[0].clientConfig.url: Invalid value: \"\": host must be provided; desired format: https://host[/path]",
        ],
    );
    check(
        json!({"clientConfig": {"url": "a:b"}}),
        &[
            "webhooks[0].clientConfig.url: Invalid value: \"a\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            "webhooks[0].clientConfig.url: Invalid value: \"\": host must be provided; desired format: https://host[/path]",
        ],
    );
    check(
        json!({"clientConfig": {"url": "https://a:b"}}),
        &[
            "webhooks[0].clientConfig.url: Required value: url must be a valid URL: parse \"https://a:b\": invalid port \":b\" after host; desired format: https://host[/path]",
        ],
    );
    check(
        json!({"clientConfig": {"url": null, "service": {"name": "s", "namespace": "d", "path": "//a//"}}}),
        &[
            "webhooks[0].clientConfig.service.path: Invalid value: \"//a//\": segment[0] may not be empty",
            "webhooks[0].clientConfig.service.path: Invalid value: \"//a//\": segment[2] may not be empty",
        ],
    );
    check(
        json!({"admissionReviewVersions": ["v2"]}),
        &[
            "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
        ],
    );
    check(
        json!({"rules": [{"operations": ["*", "CREATE"], "apiVersions": ["v1"], "apiGroups": [],
            "resources": ["*", "pods", "pods/log"], "scope": "Any"}]}),
        &[
            "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
            "webhooks[0].rules[0].apiGroups: Required value",
            "webhooks[0].rules[0].resources: Invalid value: [\"*\",\"pods\",\"pods/log\"]: if '*' is present, must not specify other resources without subresources",
            "webhooks[0].rules[0].scope: Unsupported value: \"Any\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
        ],
    );
    check(
        json!({"rules": [{"operations": ["*"], "apiVersions": ["v1"], "apiGroups": [""],
            "resources": ["pods", "pods/*", "pods/log", "*/status", "services/status", "nodes/proxy", "nodes/*"]}]}),
        &[
            "webhooks[0].rules[0].resources[2]: Invalid value: \"pods/log\": if 'pods/*' is present, must not specify pods/log",
            "webhooks[0].rules[0].resources[4]: Invalid value: \"services/status\": if '*/status' is present, must not specify services/status",
        ],
    );
    check(
        json!({"matchConditions": [{"name": "c", "expression": ""}, {"name": "c", "expression": "true"}]}),
        &[
            "webhooks[0].matchConditions[0].expression: Required value",
            "webhooks[0].matchConditions[1].name: Duplicate value: \"c\"",
        ],
    );
}

#[test]
fn validating_admission_policy() {
    let name = "ValidatingAdmissionPolicy";
    becomes(
        name,
        json!({}),
        json!({"spec": {"failurePolicy": "Fail",
            "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}}}),
    );
    let check = |spec, expected: &[&str]| refused(name, json!({"spec": spec}), expected);
    check(json!({"matchConstraints": null}), &["spec.matchConstraints: Required value"]);
    check(
        json!({"matchConstraints": {"resourceRules": null}}),
        &["spec.matchConstraints.resourceRules: Required value"],
    );
    check(
        json!({"validations": null}),
        &[
            "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
        ],
    );
    check(
        json!({"validations": [{"expression": " ", "message": "a\nb", "reason": "Odd"}]}),
        &[
            "spec.validations[0].expression: Required value: expression is not specified",
            "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
            "spec.validations[0].reason: Unsupported value: \"Odd\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
        ],
    );
    check(
        json!({"variables": [{"name": "1a", "expression": "x"}], "paramKind": {"apiVersion": "a/b/c"}}),
        &[
            "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            "spec.paramKind.kind: Required value",
            "spec.variables[0].name: Invalid value: \"1a\": name is not a valid CEL identifier",
        ],
    );
    check(json!({"validations": [{"expression": "true ||\nfalse"}], "failurePolicy": "Ignore"}), &[]);
    check(
        json!({"validations": [{"expression": "true", "messageExpression": " ", "message": "a\rb", "reason": "Unauthorized"}],
            "failurePolicy": ""}),
        &[
            "spec.failurePolicy: Unsupported value: \"\": supported values: \"Fail\", \"Ignore\"",
            "spec.validations[0].messageExpression: Invalid value: \" \": must be non-empty if specified",
            "spec.validations[0].message: Invalid value: \"a\\rb\": message must not contain line breaks",
            "spec.validations[0].reason: Unsupported value: \"Unauthorized\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
        ],
    );
    let long = |length: usize| format!(" {} ", "a".repeat(length));
    check(
        json!({"auditAnnotations": [{"key": "", "valueExpression": long(5120)}, {"key": "k", "valueExpression": long(5121)},
            {"key": "k", "valueExpression": "\t"}]}),
        &[
            "spec.auditAnnotations[0].key: Invalid value: \"m/\": name part must be non-empty",
            &format!("spec.auditAnnotations[0].key: Invalid value: \"m/\": {QUALIFIED_NAME}"),
            "spec.auditAnnotations[1].valueExpression: Required value: must not exceed 5120 bytes in length",
            "spec.auditAnnotations[2].valueExpression: Required value: valueExpression is not specified",
            "spec.auditAnnotations[2].key: Duplicate value: \"k\"",
        ],
    );
    check(
        json!({"paramKind": {"apiVersion": "A/1", "kind": "a b"},
            "variables": [{"name": "in", "expression": "1"}, {"name": " ", "expression": " "}]}),
        &[
            &format!("spec.paramKind.apiVersion: Invalid value: \"A\": {DNS_SUBDOMAIN}"),
            &format!("spec.paramKind.apiVersion: Invalid value: \"1\": {DNS_1035}"),
            &format!(
                "spec.paramKind.kind: Invalid value: \"a b\": may have mixed case, but should otherwise match: {DNS_1035}"
            ),
            "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier",
            "spec.variables[1].name: Required value: name is not specified",
            "spec.variables[1].expression: Required value: expression is not specified",
        ],
    );
    check(
        json!({"paramKind": {"apiVersion": "a/", "kind": "Kind"}, "matchConstraints": {"resourceRules": [
            {"resourceNames": ["..", "n", "n"], "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
                "resources": ["*", ""], "scope": ""}]}}),
        &[
            "spec.paramKind.apiVersion: Invalid value: \"a/\": version must be specified",
            "spec.matchConstraints.resourceRules[0].resourceNames[0]: Invalid value: \"..\": may not be '..'",
            "spec.matchConstraints.resourceRules[0].resourceNames[2]: Duplicate value: \"n\"",
            "spec.matchConstraints.resourceRules[0].resources[1]: Required value",
            "spec.matchConstraints.resourceRules[0].scope: Unsupported value: \"\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
        ],
    );
    let name = "ValidatingAdmissionPolicyBinding";
    let check = |spec, expected: &[&str]| refused(name, json!({"spec": spec}), expected);
    check(
        json!({"policyName": null, "validationActions": ["Deny", "Warn"]}),
        &[
            "spec.policyName: Required value",
            "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ],
    );
    check(
        json!({"validationActions": ["Warn", "Log", "Warn"]}),
        &[
            "spec.validationActions[1]: Unsupported value: \"Log\": supported values: \"Audit\", \"Deny\", \"Warn\"",
            "spec.validationActions[2]: Duplicate value: \"Warn\"",
        ],
    );
    check(
        json!({"paramRef": {"name": "a/b", "selector": {}, "parameterNotFoundAction": ""},
            "matchResources": {"matchPolicy": ""}}),
        &[
            "spec.paramRef.name: Invalid value: \"a/b\": may not contain '/'",
            "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
            "spec.paramRef.parameterNotFoundAction: Required value",
            "spec.matchResouces.matchPolicy: Unsupported value: \"\": supported values: \"Equivalent\", \"Exact\"",
        ],
    );
    check(
        json!({"validationActions": [], "paramRef": {}}),
        &[
            "spec.paramRef: Required value: one of name or selector must be specified",
            "spec.paramRef.parameterNotFoundAction: Required value",
            "spec.validationActions: Required value: at least one validation action is required",
        ],
    );
}

#[test]
fn mutating_admission_policy() {
    let name = "MutatingAdmissionPolicy";
    becomes(
        name,
        json!({}),
        json!({"spec": {"failurePolicy": "Fail",
            "matchConstraints": {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}}}),
    );
    let check = |spec, expected: &[&str]| refused(name, json!({"spec": spec}), expected);
    check(
        json!({"matchConstraints": null, "mutations": null, "reinvocationPolicy": null, "failurePolicy": "Maybe"}),
        &[
            "spec.failurePolicy: Unsupported value: \"Maybe\": supported values: \"Fail\", \"Ignore\"",
            "spec.matchConstraints: Required value",
            "spec.mutations: Required value: mutations must contain at least one item",
            "spec.reinvocationPolicy: Required value",
        ],
    );
    check(
        json!({"reinvocationPolicy": "Often", "variables": [{"name": "a b", "expression": ""}]}),
        &[
            "spec.variables[0].name: Invalid value: \"a b\": name is not a valid CEL identifier",
            "spec.variables[0].expression: Required value: expression is not specified",
            "spec.reinvocationPolicy: Unsupported value: \"Often\": supported values: \"IfNeeded\", \"Never\"",
        ],
    );
    let rules =
        json!([{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    let unsupported = |field: &str| {
        format!(
            "spec.{field}.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\""
        )
    };
    check(json!({"matchConstraints": {"resourceRules": rules}}), &[&unsupported("matchConstraints")]);
    let mutation = |mutation: Value, expected: &[&str]| check(json!({"mutations": [mutation]}), expected);
    let (apply, patch) = (json!({"expression": "Object{}"}), json!({"expression": "[]"}));
    mutation(json!({"applyConfiguration": apply}), &["spec.mutations[0].patchType: Required value"]);
    mutation(
        json!({"patchType": "Magic"}),
        &[
            "spec.mutations[0].patchType: Unsupported value: \"Magic\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
        ],
    );
    mutation(
        json!({"patchType": "JSONPatch", "applyConfiguration": apply}),
        &[
            "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
            "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
        ],
    );
    mutation(
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": " "}, "jsonPatch": patch}),
        &[
            "spec.mutations[0].applyConfiguration.expression: Required value",
            "spec.mutations[0].jsonPatch: Invalid value: \"{jsonPatch}\": must not be specified when patchType is ApplyConfiguration",
        ],
    );
    let name = "MutatingAdmissionPolicyBinding";
    refused(
        name,
        json!({"spec": {"policyName": "A", "paramRef": {"name": "x"}, "matchResources": {"resourceRules": rules}}}),
        &[
            &format!("spec.policyName: Invalid value: \"A\": {}", DNS_SUBDOMAIN),
            "spec.paramRef.parameterNotFoundAction: Required value",
            &unsupported("matchResources"),
        ],
    );
}

#[test]
fn kinds_that_are_off_by_default() {
    let name = "LeaseCandidate";
    let check = |spec, expected: &[&str]| refused(name, json!({"spec": spec}), expected);
    check(
        json!({"leaseName": "A", "emulationVersion": "1.36.0", "strategy": "Oldest"}),
        &[
            "spec.binaryVersion: Invalid value: \"1.35.0\": must be greater than or equal to `emulationVersion`",
            "spec.strategy.strategy: Unsupported value: \"Oldest\": supported values: \"OldestEmulationVersion\"",
        ],
    );
    check(
        json!({"binaryVersion": "1.35", "emulationVersion": null}),
        &[
            "spec.binaryVersion: Invalid value: \"1.35\": must be a valid semantic version",
            "spec.emulationVersion: Required value: must be specified when `strategy` is 'OldestEmulationVersion'",
        ],
    );
    let name = "StorageVersionMigration";
    refused(
        name,
        json!({"spec": {"resource": {"resource": null, "group": "A"}}}),
        &[
            "spec.resource.resource: Required value: resource is required",
            &format!("spec.resource.group: Invalid value: \"A\": {}", DNS_SUBDOMAIN),
        ],
    );
    change_refused(
        name,
        json!({"spec": {"resource": {"resource": "daemonsets"}}}),
        &[
            "spec: Invalid value: {\"resource\":{\"group\":\"apps\",\"resource\":\"daemonsets\"}}: field is immutable",
        ],
    );
    status_refused(
        name,
        json!({"resourceVersion": "x"}),
        &["status.resourceVersion: Invalid value: \"x\": resource version is not well formed: x"],
    );
    status_refused(name, json!({"resourceVersion": "12"}), &[]);
}

#[test]
fn api_service() {
    let name = "APIService";
    becomes(name, json!({}), json!({"spec": {"service": {"port": 443}}}));
    refused(
        name,
        json!({"metadata": {"name": "v2.a.b"}, "spec": {"groupPriorityMinimum": 0, "versionPriority": 2000}}),
        &[
            "metadata.name: Invalid value: \"v2.a.b\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\"",
            "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
            "spec.versionPriority: Invalid value: 2000: must be positive and less than 1000",
        ],
    );
    refused(
        name,
        json!({"spec": {"caBundle": "eA=="}}),
        &["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"],
    );
    refused(name, json!({"spec": {"service": {"name": null}}}), &["spec.service.name: Required value"]);
    let local = json!({"spec": {"service": null, "insecureSkipTLSVerify": null}});
    becomes(
        name,
        local,
        json!({"status": {"conditions": [{"type": "Available", "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Local",
        "message": "Local APIServices are always available"}]}}),
    );
    change_refused(name, json!({"spec": {"versionPriority": 15}}), &[]);
}
