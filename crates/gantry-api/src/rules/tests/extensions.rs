//! What extends and guards the API: webhooks, policies, definitions and aggregated servers.

use serde_json::{Value, json};

use super::fixtures::{becomes, change_of, change_refused, created, minimal, refused, status_refused};

fn webhook(name: &str, patch: Value) -> Value {
    let mut webhook = minimal(name)["webhooks"][0].clone();
    json_patch::merge(&mut webhook, &patch);
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
        json_patch::merge(&mut object, &webhook(name, json!({"rules": [rule], "clientConfig": service})));
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
            "webhooks[0].rules[0].resources[1]: Invalid value: \"pods\": if '*' is present, must not specify other resources without subresources",
            "webhooks[0].rules[0].scope: Unsupported value: \"Any\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
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
            "spec.validations: Required value: validations or auditAnnotations must be specified",
            "spec.auditAnnotations: Required value: validations or auditAnnotations must be specified",
        ],
    );
    check(
        json!({"validations": [{"expression": " ", "message": "a\nb", "reason": "Odd"}]}),
        &[
            "spec.validations[0].expression: Required value: expression is not specified",
            "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
            "spec.validations[0].reason: Unsupported value: \"Odd\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\", \"Unauthorized\"",
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
        json!({"validationActions": [], "paramRef": {}}),
        &[
            "spec.paramRef: Required value: one of name or selector must be specified",
            "spec.paramRef.parameterNotFoundAction: Required value",
            "spec.validationActions: Required value: at least one validation action is required",
        ],
    );
}

#[test]
fn custom_resource_definition() {
    let name = "CustomResourceDefinition";
    becomes(
        name,
        json!({}),
        json!({"spec": {"names": {"singular": "thing", "listKind": "ThingList"}, "conversion": {"strategy": "None"}},
            "status": {"storedVersions": ["v1"]}}),
    );
    let check = |spec, expected: &[&str]| refused(name, json!({"spec": spec}), expected);
    refused(
        name,
        json!({"metadata": {"name": "other.a.b"}}),
        &["metadata.name: Invalid value: \"other.a.b\": must be spec.names.plural+\".\"+spec.group"],
    );
    check(
        json!({"scope": "Odd", "preserveUnknownFields": true}),
        &[
            "spec.scope: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Namespaced\"",
            "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ],
    );
    check(
        json!({"names": {"listKind": "Thing", "shortNames": ["T"]}}),
        &[
            "spec.names.shortNames[0]: Invalid value: \"T\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            "spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same",
        ],
    );
    check(
        json!({"conversion": {"strategy": "Webhook"}}),
        &[
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
            "spec.conversion.conversionReviewVersions: Required value",
        ],
    );
    let version = |patch: Value| {
        let mut version = minimal(name)["spec"]["versions"][0].clone();
        json_patch::merge(&mut version, &patch);
        json!({"versions": [version]})
    };
    check(
        version(json!({"schema": null})),
        &["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
    );
    check(
        version(json!({"subresources": {"scale": {"specReplicasPath": ".x", "statusReplicasPath": ""}}})),
        &[
            "spec.versions[0].subresources.scale.specReplicasPath: Invalid value: \".x\": should be a json path under .spec",
            "spec.versions[0].subresources.scale.statusReplicasPath: Required value",
        ],
    );
    check(
        version(json!({"additionalPrinterColumns": [{"name": "", "type": "odd", "jsonPath": "x"}]})),
        &[
            "spec.versions[0].additionalPrinterColumns[0].name: Required value",
            "spec.versions[0].additionalPrinterColumns[0].type: Unsupported value: \"odd\": supported values: \"boolean\", \"date\", \"integer\", \"number\", \"string\"",
            "spec.versions[0].additionalPrinterColumns[0].jsonPath: Invalid value: \"x\": must be a simple json path starting with .",
        ],
    );
    let mut established = created(minimal(name));
    established["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    change_of(
        established,
        json!({"spec": {"scope": "Cluster"}}),
        &["spec.scope: Invalid value: \"Cluster\": field is immutable"],
    );
    status_refused(
        name,
        json!({"storedVersions": ["v2"]}),
        &["status.storedVersions[0]: Invalid value: \"v2\": must appear in spec.versions"],
    );
}

#[test]
fn structural_schemas() {
    let at = "spec.versions[0].schema.openAPIV3Schema";
    let check = |schema: Value, expected: &[&str]| {
        let versions =
            json!([{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]);
        let expected: Vec<String> = expected.iter().map(|fault| format!("{at}{fault}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        refused("CustomResourceDefinition", json!({"spec": {"versions": versions}}), &expected);
    };
    check(json!({}), &[".type: Required value: must not be empty at the root"]);
    check(json!({"type": "string"}), &[".type: Invalid value: \"string\": must be object at the root"]);
    check(
        json!({"type": "object", "properties": {"a": {}, "b": {"type": "array"}, "c": {"type": "array", "items": {}}}}),
        &[
            ".properties[a].type: Required value: must not be empty for specified object fields",
            ".properties[b].items: Required value: must be specified",
            ".properties[c].items.type: Required value: must not be empty for specified array items",
        ],
    );
    let field = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
    check(
        field(
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        ),
        &[],
    );
    check(field(json!({"x-kubernetes-preserve-unknown-fields": true})), &[]);
    check(
        field(
            json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"b": {"type": "string"}}}),
        ),
        &[
            ".properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ],
    );
    check(
        field(json!({"type": "string", "allOf": [{"type": "string", "minLength": 1}]})),
        &[".properties[a].allOf[0].type: Forbidden: must be empty to be structural"],
    );
    check(
        field(
            json!({"type": "array", "uniqueItems": true, "x-kubernetes-list-type": "map", "items": {"type": "object"}}),
        ),
        &[
            ".properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ".properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ],
    );
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
