//! What is wrong with expressions that objects store, and where.

use super::*;

/// What is said of an object, each as path and message.
fn said(group: &str, kind: &str, object: &Json) -> Vec<String> {
    validate_stored(group, kind, object, None).iter().map(ToString::to_string).collect()
}

fn definition(schema: Json) -> Json {
    json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}})
}

fn of_definition(spec: Json) -> Vec<String> {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    said("apiextensions.k8s.io", "CustomResourceDefinition", &definition(schema))
}

const AT: &str = "spec.validation.openAPIV3Schema.properties[spec]";

#[test]
fn rules_of_definitions() {
    let with = |rule: Json| {
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "s": {"type": "string"}},
            "x-kubernetes-validations": [rule]})
    };
    assert_eq!(
        of_definition(with(json!({"rule": "self.a > 0", "messageExpression": "'a is %d'.format([self.a])"}))),
        [""; 0]
    );
    assert_eq!(
        of_definition(with(json!({"rule": "self.b > 0"}))),
        [format!(
            "{AT}.x-kubernetes-validations[0].rule: Invalid value: {{\"rule\":\"self.b > 0\"}}: compilation failed: ERROR: <input>:1:5: undefined field 'b'\n | self.b > 0\n | ....^"
        )]
    );
    assert_eq!(
        of_definition(with(json!({"rule": "self.a"}))),
        [format!(
            "{AT}.x-kubernetes-validations[0].rule: Invalid value: {{\"rule\":\"self.a\"}}: cel expression must evaluate to a bool"
        )]
    );
    assert_eq!(
        of_definition(with(json!({"rule": "self.a > 0", "messageExpression": "self.a"}))),
        [format!(
            "{AT}.x-kubernetes-validations[0].messageExpression: Invalid value: {{\"messageExpression\":\"self.a\",\"rule\":\"self.a > 0\"}}: messageExpression must evaluate to a string"
        )]
    );
    let bad = of_definition(with(json!({"rule": "self.a > 0", "messageExpression": "self.b"})));
    assert!(
        bad[0].contains("messageExpression compilation failed: ERROR: <input>:1:5: undefined field 'b'"),
        "{bad:?}"
    );
    // Defaults keep to the rules beside them.
    let positive = |default: i64| {
        of_definition(json!({"type": "object", "properties": {"a": {"type": "integer", "default": default,
            "x-kubernetes-validations": [{"rule": "self > 0", "message": "must be positive"}]}}}))
    };
    assert_eq!(positive(1), [""; 0]);
    assert_eq!(positive(0), [format!("{AT}.properties[a].default: Invalid value: 0: must be positive")]);
    // The root knows the metadata of every resource, and nothing but names in it.
    let root = |rule: &str| {
        let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}]});
        said("apiextensions.k8s.io", "CustomResourceDefinition", &definition(schema))
    };
    assert_eq!(root("self.metadata.name.startsWith('a') && self.kind == 'A'"), [""; 0]);
    assert!(root("has(self.metadata.labels)")[0].contains("undefined field 'labels'"));
}

#[test]
fn costs_of_definitions() {
    let list = |limits: Json| {
        let mut list = json!({"type": "array", "items": {"type": "string"}});
        for (key, value) in limits.as_object().into_iter().flatten() {
            list[key] = value.clone();
        }
        json!({"type": "object", "properties": {"list": list},
            "x-kubernetes-validations": [{"rule": "self.list.all(x, self.list.all(y, x == y))"}]})
    };
    let costly = of_definition(list(json!({})));
    let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    assert_eq!(
        costly,
        [
            format!(
                "{AT}.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {hint}"
            ),
            format!(
                "{AT}.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!(
                "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {hint}"
            ),
        ]
    );
    let bounded = json!({"maxItems": 10, "items": {"type": "string", "maxLength": 10}});
    assert_eq!(of_definition(list(bounded)), [""; 0]);
    // A rule runs once for each item.
    let per_item = |most: Json| {
        let mut list = json!({"type": "array", "items": {"type": "string", "maxLength": 100_000,
            "x-kubernetes-validations": [{"rule": "self.contains('keyword')"}]}});
        if !most.is_null() {
            list["maxItems"] = most;
        }
        of_definition(json!({"type": "object", "properties": {"list": list}}))
    };
    assert_eq!(per_item(json!(200)), [""; 0]);
    let at = format!("{AT}.properties[list].items.x-kubernetes-validations[0].rule");
    assert_eq!(
        per_item(json!(400)),
        [format!("{at}: Forbidden: estimated rule cost exceeds budget by factor of 1.6x {hint}")]
    );
    assert!(per_item(Json::Null)[0].starts_with(&at));
}

#[test]
fn old_values_of_uncorrelatable_places() {
    let list = |kind: &str| {
        json!({"type": "array", "x-kubernetes-list-type": kind, "x-kubernetes-list-map-keys": ["k"], "maxItems": 5,
            "items": {"type": "object", "properties": {"k": {"type": "string", "maxLength": 5}},
                "x-kubernetes-validations": [{"rule": "self.k == oldSelf.k"}]}})
    };
    assert_eq!(of_definition(list("map")), [""; 0]);
    assert_eq!(
        of_definition(list("atomic")),
        [format!(
            "{AT}.items.x-kubernetes-validations[0].rule: Invalid value: \"self.k == oldSelf.k\": oldSelf cannot be used on the uncorrelatable portion of the schema within {AT}"
        )]
    );
    let optional = json!({"type": "string", "maxLength": 5,
        "x-kubernetes-validations": [{"rule": "!oldSelf.hasValue() || oldSelf.value() == self", "optionalOldSelf": true}]});
    assert_eq!(of_definition(optional), [""; 0]);
}

#[test]
fn conditions_of_webhooks() {
    let configuration = |expression: &str| json!({"webhooks": [{"matchConditions": [{"name": "a", "expression": expression}]}]});
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let said = |expression: &str| said("admissionregistration.k8s.io", kind, &configuration(expression));
        for fine in [
            "request.userInfo.username == 'a' && 'g' in request.userInfo.groups",
            "object.metadata.labels['a'] == 'b' || oldObject == null",
            "authorizer.group('').resource('pods').check('get').allowed()",
            "request.namespace == 'a' && request.name == 'b' && namespaceObject.metadata.name == 'a'",
            "authorizer.requestResource.check('get').allowed() && request.kind.group == ''",
            "namespaceObject.metadata.labels.exists(k, k == 'a') && request.options.dryRun",
        ] {
            assert_eq!(said(fine), [""; 0], "{fine}");
        }
        assert_eq!(
            said("params.a"),
            [
                "webhooks[0].matchConditions[0].expression: Invalid value: \"params.a\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.a\n | ^"
            ]
        );
        assert_eq!(
            said("object.a"),
            [
                "webhooks[0].matchConditions[0].expression: Invalid value: \"object.a\": must evaluate to bool but got dyn"
            ]
        );
    }
}

#[test]
fn expressions_of_policies() {
    let policy = json!({"spec": {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [
            {"name": "replicas", "expression": "object.spec.replicas"},
            {"name": "broken", "expression": "foo"},
            {"name": "names", "expression": "['a', 'b']"},
        ],
        "matchConditions": [{"name": "a", "expression": "params.data.x == 'y'"}],
        "validations": [
            {"expression": "variables.replicas < 5 && 'a' in variables.names && variables.broken",
             "messageExpression": "'at most ' + string(5)"},
            {"expression": "variables.other", "messageExpression": "5"},
            {"expression": "variables.names[0]"},
        ],
        "auditAnnotations": [
            {"key": "a", "valueExpression": "variables.replicas > 5 ? 'many' : null"},
            {"key": "b", "valueExpression": "'few'"},
            {"key": "c", "valueExpression": "5"},
        ],
    }});
    let errors = said("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", &policy);
    let expected = [
        "spec.variables[1].expression: Invalid value: \"foo\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo\n | ^",
        "spec.validations[1].expression: Invalid value: \"variables.other\": compilation failed: ERROR: <input>:1:10: undefined field 'other'\n | variables.other\n | .........^",
        "spec.validations[1].messageExpression: Invalid value: \"5\": must evaluate to string but got int",
        "spec.validations[2].expression: Invalid value: \"variables.names[0]\": must evaluate to bool but got string",
        "spec.auditAnnotations[0].valueExpression: Invalid value: \"variables.replicas > 5 ? 'many' : null\": compilation failed: ERROR: <input>:1:24: found no matching overload for '_?_:_' applied to '(bool, string, null)'\n | variables.replicas > 5 ? 'many' : null\n | .......................^",
        "spec.auditAnnotations[2].valueExpression: Invalid value: \"5\": must evaluate to one of [string null_type] but got int",
    ];
    assert_eq!(errors, expected);
}

#[test]
fn selectors_of_devices() {
    let class = |expression: &str| json!({"spec": {"selectors": [{"cel": {"expression": expression}}]}});
    let said = |expression: &str| said("resource.k8s.io", "DeviceClass", &class(expression));
    for fine in [
        "device.driver == 'gpu.example.com'",
        "device.attributes['gpu.example.com'].model == 'a100'",
        "device.capacity['gpu.example.com'].memory.compareTo(quantity('10Gi')) >= 0",
        "cel.bind(d, device.attributes['a.b'], d.x || d.y)",
        "device.attributes['a.b'].flag",
    ] {
        assert_eq!(said(fine), [""; 0], "{fine}");
    }
    assert_eq!(
        said("device.driver"),
        [
            "spec.selectors[0].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string"
        ]
    );
    assert!(said("device.x")[0].contains("compilation failed: ERROR: <input>:1:7: undefined field 'x'"));
    let claim = json!({"spec": {"devices": {"requests": [
        {"exactly": {"selectors": [{"cel": {"expression": "1"}}]}},
        {"firstAvailable": [{"selectors": [{"cel": {"expression": "true"}}, {"cel": {"expression": "2"}}]}]},
    ]}}});
    let errors = validate_stored("resource.k8s.io", "ResourceClaim", &claim, None);
    let paths: Vec<_> = errors.iter().map(|error| error.path.to_string()).collect();
    assert_eq!(
        paths,
        [
            "spec.devices.requests[0].exactly.selectors[0].cel.expression",
            "spec.devices.requests[1].firstAvailable[0].selectors[1].cel.expression",
        ]
    );
    let template = json!({"spec": {"spec": claim["spec"]}});
    let errors = validate_stored("resource.k8s.io", "ResourceClaimTemplate", &template, None);
    assert_eq!(
        errors[0].path.to_string(),
        "spec.spec.devices.requests[0].exactly.selectors[0].cel.expression"
    );
}
