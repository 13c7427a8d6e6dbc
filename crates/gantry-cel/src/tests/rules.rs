//! Rules of custom kinds, from schema and objects to errors.

use gantry_api::custom::CustomSchema;

use super::*;
use crate::custom::RuleCompiler;

fn schema(spec: Json) -> CustomSchema {
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    CustomSchema::new(&json!({"name": "v1", "schema": {"openAPIV3Schema": schema}}), Some(&RuleCompiler))
}

fn object(spec: Json) -> Json {
    json!({"apiVersion": "a.b/v1", "kind": "A", "metadata": {"name": "n"}, "spec": spec})
}

fn created(schema: &CustomSchema, spec: Json) -> Vec<String> {
    schema.validate(&object(spec)).iter().map(ToString::to_string).collect()
}

fn updated(schema: &CustomSchema, new: Json, old: Json) -> Vec<String> {
    schema
        .validate_update(&object(new), &object(old), &mut Vec::new())
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn failures_are_told() {
    let schema = schema(json!({
        "type": "object",
        "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"}},
        "x-kubernetes-validations": [
            {"rule": "self.min <= self.max", "message": "min must not be above max"},
            {"rule": "!has(self.name) || self.name != 'bad'", "messageExpression": "'the name is ' + self.name", "fieldPath": ".name"},
            {"rule": "self.max < 100", "reason": "FieldValueForbidden"},
        ],
    }));
    assert_eq!(created(&schema, json!({"min": 1, "max": 2})), [""; 0]);
    assert_eq!(
        created(&schema, json!({"min": 3, "max": 2})),
        ["spec: Invalid value: min must not be above max"]
    );
    assert_eq!(
        created(&schema, json!({"min": 1, "max": 200, "name": "bad"})),
        ["spec.name: Invalid value: the name is bad", "spec: Forbidden: failed rule: self.max < 100"]
    );
    assert_eq!(
        created(&schema, json!({"min": 1})),
        [
            "spec: Invalid value: no such key: max evaluating rule: min must not be above max",
            "spec: Invalid value: no such key: max evaluating rule: self.max < 100",
        ]
    );
}

#[test]
fn transitions() {
    let schema = schema(json!({
        "type": "object",
        "properties": {
            "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]},
            "once": {"type": "string", "x-kubernetes-validations": [
                {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": true, "message": "begins as first"},
            ]},
            "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
                "type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.v >= oldSelf.v", "message": "only grows"}],
            }},
        },
    }));
    assert_eq!(created(&schema, json!({"fixed": "a", "items": [{"k": "a", "v": 1}]})), [""; 0]);
    assert_eq!(updated(&schema, json!({"fixed": "a"}), json!({"fixed": "a"})), [""; 0]);
    assert_eq!(
        updated(&schema, json!({"fixed": "b"}), json!({"fixed": "a"})),
        ["spec.fixed: Invalid value: \"b\": is immutable"]
    );
    assert_eq!(
        created(&schema, json!({"once": "other"})),
        ["spec.once: Invalid value: \"other\": begins as first"]
    );
    assert_eq!(updated(&schema, json!({"once": "other"}), json!({"once": "first"})), [""; 0]);
    assert_eq!(
        updated(
            &schema,
            json!({"items": [{"k": "b", "v": 1}, {"k": "a", "v": 1}]}),
            json!({"items": [{"k": "a", "v": 2}, {"k": "b", "v": 1}]}),
        ),
        ["spec.items[1]: Invalid value: only grows"]
    );
}

#[test]
fn costs_end_rules() {
    let schema = schema(json!({
        "type": "object",
        "properties": {"list": {"type": "array", "items": {"type": "integer"}}},
        "x-kubernetes-validations": [
            {"rule": "self.list.all(x, self.list.all(y, x >= 0 || y >= 0))"},
            {"rule": "false"},
        ],
    }));
    let list: Vec<i32> = (0..2_000).collect();
    assert_eq!(
        created(&schema, json!({"list": list})),
        [
            "spec: Invalid value: 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.list.all(x, self.list.all(y, x >= 0 || y >= 0))"
        ]
    );
}

#[test]
fn whole_objects_have_all_metadata() {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
        "metadata": {"type": "object"},
    }});
    let declared = crate::custom::declared_object(&schema);
    let environment = Environment::new().with_declared("object", Arc::new(declared));
    for fine in [
        "object.spec.size > 1 && object.metadata.labels['a'] == 'b' && object.kind == 'A'",
        "object.metadata.namespace == 'a' && object.metadata.creationTimestamp < timestamp('2024-01-01T00:00:00Z')",
    ] {
        assert!(environment.compile(fine, &[Type::Bool]).is_ok(), "{fine}");
    }
    for wrong in ["object.spec.sise > 1", "object.status.x == 1", "object.spec.size == 'a'"] {
        assert!(environment.compile(wrong, &[Type::Bool]).is_err(), "{wrong}");
    }
}
