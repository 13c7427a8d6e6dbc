//! What schemas do to objects, and what they say about them.

use gantry_json::{Value, json};

use super::*;

mod messages;
mod properties;
mod updates;

/// The schema of a version whose `spec` is that.
fn of(spec: Value) -> CustomSchema {
    whole(json!({"type": "object", "properties": {"spec": spec}}))
}

fn whole(schema: Value) -> CustomSchema {
    CustomSchema::new(&json!({"schema": {"openAPIV3Schema": schema}}), None)
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "a.b/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": spec})
}

fn words(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn reads(schema: Value, spec: Value, expected: Value, strict: &[&str]) {
    let decoded = of(schema).decode(object(spec)).expect("decodes");
    assert_eq!(decoded.value["spec"], expected);
    assert_eq!(decoded.strict, strict);
}

#[test]
fn unknown_fields_go() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "string"}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "known": {"type": "object", "properties": {"d": {"type": "string"}}}}},
        "any": {"x-kubernetes-preserve-unknown-fields": true},
    }});
    reads(
        schema,
        json!({"a": "x", "foo": 1, "list": [{"b": "x", "z": 1}], "map": {"k": {"c": "x", "y": [1]}},
            "free": {"e": {"f": 1}, "known": {"d": "x", "g": 1}}, "any": {"h": [{"i": 1}]}}),
        json!({"a": "x", "list": [{"b": "x"}], "map": {"k": {"c": "x"}},
            "free": {"e": {"f": 1}, "known": {"d": "x"}}, "any": {"h": [{"i": 1}]}}),
        &[
            "unknown field \"spec.foo\"",
            "unknown field \"spec.free.known.g\"",
            "unknown field \"spec.list[0].z\"",
            "unknown field \"spec.map.k.y\"",
        ],
    );
    let decoded = of(json!({"type": "object"}))
        .decode(json!({"status": {}, "metadata": {"name": "a", "x": 1, "labels": {}}}))
        .expect("decodes");
    assert_eq!(decoded.value, json!({"metadata": {"name": "a"}}));
    assert_eq!(decoded.strict, ["unknown field \"metadata.x\"", "unknown field \"status\""]);
}

#[test]
fn nulls_and_defaults() {
    let schema = json!({"type": "object", "default": {}, "properties": {
        "a": {"type": "string", "default": "x"}, "b": {"type": "string", "nullable": true, "default": "y"},
        "c": {"type": "string"}, "d": {"type": "object", "properties": {"e": {"type": "integer", "default": 1}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"f": {"type": "string", "default": "z"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
    }});
    let schema = of(schema);
    let check = |spec: Value, expected: Value| {
        let mut value = schema.decode(object(spec)).expect("decodes").value;
        schema.default(&mut value);
        assert_eq!(value["spec"], expected);
    };
    check(json!(null), json!({"a": "x", "b": "y"}));
    check(
        json!({"a": null, "b": null, "c": null, "d": {}, "list": [{}, {"f": "q"}], "map": {"k": null, "l": 2}}),
        json!({"a": "x", "b": null, "d": {"e": 1}, "list": [{"f": "z"}, {"f": "q"}], "map": {"k": 7, "l": 2}}),
    );
}

#[test]
fn resources_within_resources() {
    let schema = json!({"type": "object", "properties": {"template": {
        "type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}}}});
    let within =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "x": 1}, "spec": {}, "y": 2});
    reads(
        schema.clone(),
        json!({"template": within}),
        json!({"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}}),
        &["unknown field \"spec.template.y\"", "unknown field \"spec.template.metadata.x\""],
    );
    let schema = of(schema);
    let errors =
        schema.validate(&object(json!({"template": {"kind": "A b", "metadata": {"labels": {"-": ""}}}})));
    let errors = words(&errors);
    assert_eq!(errors[0], "spec.template.apiVersion: Required value");
    assert!(errors[1].starts_with(
        "spec.template.kind: Invalid value: \"A b\": may have mixed case, but should otherwise match: a DNS-1035"
    ));
    assert!(errors[2].starts_with("spec.template.metadata.labels: Invalid value: \"-\": name part"));
    let refused = schema.decode(object(json!({"template": {"kind": 1}}))).expect_err("no kind");
    assert_eq!(refused.to_string(), "spec.template.kind: Invalid value: 1: must be a string");
    let mut stored = object(json!({"template": {"kind": 1, "metadata": {"name": 5, "labels": {"a": "b"}}}}));
    schema.adopt(&mut stored);
    assert_eq!(stored["spec"], json!({"template": {"metadata": {"labels": {"a": "b"}}}}));
}

#[test]
fn structure_for_field_management() {
    use crate::patch::apply::{Operation, Structure, apply, update};

    let schema = of(json!({"type": "object", "properties": {
        "a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"},
                "p": {"type": "string", "default": "x"}}}},
        "b": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "c": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "d": {"x-kubernetes-int-or-string": true}, "e": {"x-kubernetes-preserve-unknown-fields": true},
        "f": {"type": "object", "additionalProperties": {"type": "array", "x-kubernetes-list-type": "set",
            "items": {"type": "string"}}},
    }}));
    let structure = Structure::custom(&schema, true);
    let mut made = object(json!({"a": [{"k": "1", "v": 2}], "b": ["s"], "c": {"q": "r"}, "d": 1,
        "e": {"g": {"h": [1]}}, "f": {"m": ["n"]}}));
    made["metadata"] = json!({"name": "t", "labels": {"l": "1"}});
    update(structure, "a.b/v1", &Value::Null, &mut made, "me", Operation::Update, "", "now");
    assert_eq!(
        made["metadata"]["managedFields"][0]["fieldsV1"],
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:l": {}}},
            "f:spec": {
                ".": {}, "f:a": {".": {}, "k:{\"k\":\"1\",\"p\":\"x\"}": {".": {}, "f:k": {}, "f:v": {}}},
                "f:b": {".": {}, "v:\"s\"": {}}, "f:c": {}, "f:d": {},
                "f:e": {".": {}, "f:g": {".": {}, "f:h": {}}},
                "f:f": {".": {}, "f:m": {".": {}, "v:\"n\"": {}}},
            },
        })
    );
    let wanted = object(json!({"a": [{"k": "2"}], "b": ["t"], "f": {"m": ["o"]}}));
    let merged = apply(structure, "a.b/v1", &made, &wanted, "other", false, "", "now").expect("no conflict");
    assert_eq!(merged["spec"]["a"], json!([{"k": "1", "v": 2}, {"k": "2"}]));
    assert_eq!((&merged["spec"]["b"], &merged["spec"]["f"]), (&json!(["s", "t"]), &json!({"m": ["n", "o"]})));
    assert!(
        apply(structure, "a.b/v1", &made, &object(json!({"c": {"q": "z"}})), "x", false, "", "now").is_err()
    );
}

#[test]
fn scale_paths() {
    let schema = CustomSchema::new(
        &json!({"schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            "subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}}),
        None,
    );
    let check = |spec: Value, expected: &[&str]| assert_eq!(words(&schema.validate(&object(spec))), expected);
    check(json!({"replicas": 3}), &[]);
    check(json!({}), &[]);
    check(json!({"replicas": -1}), &[".spec.replicas: Invalid value: -1: should be a non-negative integer"]);
    check(
        json!({"replicas": "x"}),
        &[
            ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: x is of the type string, expected int64",
        ],
    );
    assert_eq!(value_at(&json!({"a": {"b": 1}}), ".a.b"), Ok(Some(&json!(1))));
    assert_eq!(value_at(&json!({"a": {}}), ".a.b"), Ok(None));
}
