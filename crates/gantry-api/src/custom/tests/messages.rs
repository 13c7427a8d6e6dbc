//! The words for each thing that can be wrong with a value.

use gantry_json::{Value, json};

use super::{object, of, words};

#[track_caller]
fn check(schema: Value, value: Value, expected: &[&str]) {
    let schema = of(json!({"type": "object", "properties": {"x": schema}}));
    assert_eq!(words(&schema.validate(&object(json!({"x": value})))), expected);
}

#[test]
fn types() {
    check(
        json!({"type": "integer"}),
        json!("a"),
        &["spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\""],
    );
    check(
        json!({"type": "string"}),
        json!(1),
        &["spec.x: Invalid value: \"integer\": spec.x in body must be of type string: \"integer\""],
    );
    check(
        json!({"type": "object"}),
        json!([]),
        &["spec.x: Invalid value: \"array\": spec.x in body must be of type object: \"array\""],
    );
    check(
        json!({"type": "boolean"}),
        json!(null),
        &["spec.x: Invalid value: \"null\": spec.x in body must be of type boolean: \"null\""],
    );
    check(
        json!({"x-kubernetes-int-or-string": true}),
        json!(true),
        &["spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\""],
    );
    check(json!({"x-kubernetes-int-or-string": true}), json!("5%"), &[]);
    check(json!({"type": "integer"}), json!(1.0), &[]);
    check(
        json!({"type": "integer"}),
        json!(1.5),
        &["spec.x: Invalid value: \"number\": spec.x in body must be of type integer: \"number\""],
    );
    check(json!({"type": "number"}), json!(1), &[]);
    check(json!({"type": "string", "nullable": true}), json!(null), &[]);
    check(
        json!({"type": "array", "items": {"type": "string"}}),
        json!(["a", 1]),
        &["spec.x[1]: Invalid value: \"integer\": spec.x[1] in body must be of type string: \"integer\""],
    );
    check(
        json!({"type": "object", "additionalProperties": {"type": "string"}}),
        json!({"a/b": 1}),
        &["spec.x.a/b: Invalid value: \"integer\": spec.x.a/b in body must be of type string: \"integer\""],
    );
}

#[test]
fn numbers() {
    check(
        json!({"type": "integer", "maximum": 10}),
        json!(11),
        &["spec.x: Invalid value: 11: spec.x in body should be less than or equal to 10"],
    );
    check(
        json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
        json!(1),
        &["spec.x: Invalid value: 1: spec.x in body should be greater than 1"],
    );
    check(
        json!({"type": "number", "minimum": 0.5}),
        json!(0.25),
        &["spec.x: Invalid value: 0.25: spec.x in body should be greater than or equal to 0.5"],
    );
    check(
        json!({"type": "number", "maximum": 1e22}),
        json!(1e23),
        &["spec.x: Invalid value: 1e+23: spec.x in body should be less than or equal to 1e+22"],
    );
    check(
        json!({"type": "integer", "multipleOf": 3}),
        json!(4),
        &["spec.x: Invalid value: 4: spec.x in body should be a multiple of 3"],
    );
    check(json!({"type": "number", "multipleOf": 0.5}), json!(1), &[]);
}

#[test]
fn texts() {
    check(
        json!({"type": "string", "maxLength": 2}),
        json!("äöü"),
        &["spec.x: Too long: may not be more than 2 bytes"],
    );
    check(json!({"type": "string", "maxLength": 3}), json!("äöü"), &[]);
    check(
        json!({"type": "string", "minLength": 1}),
        json!(""),
        &["spec.x: Invalid value: \"\": spec.x in body should be at least 1 chars long"],
    );
    check(
        json!({"type": "string", "pattern": "^[a-z]+$"}),
        json!("A"),
        &["spec.x: Invalid value: \"A\": spec.x in body should match '^[a-z]+$'"],
    );
    check(
        json!({"type": "string", "format": "date-time"}),
        json!("now"),
        &["spec.x: Invalid value: \"now\": spec.x in body must be of type date-time: \"now\""],
    );
    check(json!({"type": "string", "format": "of my own"}), json!("now"), &[]);
    check(
        json!({"type": "string", "enum": ["b", "a"]}),
        json!("c"),
        &["spec.x: Unsupported value: \"c\": supported values: \"b\", \"a\""],
    );
    check(
        json!({"type": "integer", "enum": [1, 2]}),
        json!(3),
        &["spec.x: Unsupported value: 3: supported values: \"1\", \"2\""],
    );
}

#[test]
fn lists_and_objects() {
    let list = |extra: Value| {
        let mut schema = json!({"type": "array", "items": {"type": "integer"}});
        crate::patch::merge(&mut schema, &extra);
        schema
    };
    check(list(json!({"maxItems": 1})), json!([1, 2]), &["spec.x: Too many: 2: must have at most 1 item"]);
    check(
        list(json!({"minItems": 2})),
        json!([1]),
        &["spec.x: Invalid value: 1: spec.x in body should have at least 2 items"],
    );
    check(
        list(json!({"uniqueItems": true})),
        json!([1, 1]),
        &["spec.x: Invalid value: \"\": spec.x in body shouldn't contain duplicates"],
    );
    check(
        list(json!({"x-kubernetes-list-type": "set"})),
        json!([1, 2, 1, 1]),
        &["spec.x[2]: Duplicate value: 1"],
    );
    check(
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
            "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}}),
        json!([{"a": "x", "b": 1}, {"a": "x"}, {"a": "x", "b": 1}]),
        &["spec.x[2]: Duplicate value: {\"a\":\"x\",\"b\":1}"],
    );
    check(
        json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}}),
        json!({"a": 1, "b": 2}),
        &["spec.x: Too many: 2: must have at most 1 item"],
    );
    check(
        json!({"type": "object", "minProperties": 1}),
        json!({}),
        &["spec.x: Invalid value: 0: spec.x in body should have at least 1 properties"],
    );
    check(
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
        json!({}),
        &["spec.x.a: Required value"],
    );
    let schema = super::whole(json!({"type": "object", "required": ["spec"]}));
    assert_eq!(words(&schema.validate(&json!({}))), ["spec: Required value"]);
}

#[test]
fn junctors() {
    let properties = json!({"a": {"type": "string"}, "b": {"type": "string"}});
    let check = |extra: Value, value: Value, expected: &[&str]| {
        let mut schema = json!({"type": "object", "properties": properties});
        crate::patch::merge(&mut schema, &extra);
        check(schema, value, expected);
    };
    let either = json!({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
    check(either.clone(), json!({"a": "x"}), &[]);
    check(
        either.clone(),
        json!({}),
        &[
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found none valid",
            "spec.x.a: Required value",
        ],
    );
    check(
        either,
        json!({"a": "x", "b": "y"}),
        &[
            "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ],
    );
    check(
        json!({"anyOf": [{"required": ["a"]}, {"properties": {"b": {"minLength": 2}}, "required": ["b"]}]}),
        json!({"b": "y"}),
        &[
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)",
            "spec.x.b: Invalid value: \"y\": spec.x.b in body should be at least 2 chars long",
        ],
    );
    check(
        json!({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}),
        json!({"a": "x"}),
        &[
            "spec.x.b: Required value",
            "<nil>: Invalid value: \"\": \"spec.x\" must validate all the schemas (allOf)",
        ],
    );
    check(
        json!({"not": {"required": ["a"]}}),
        json!({"a": "x"}),
        &["<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)"],
    );
}

#[test]
fn integers_or_texts() {
    let schema = json!({"nullable": true, "x-kubernetes-int-or-string": true,
        "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}]});
    for fine in [json!(null), json!(42), json!("foo")] {
        check(schema.clone(), fine, &[]);
    }
    check(
        schema,
        json!([]),
        &[
            "spec.x: Invalid value: \"array\": spec.x in body must be of type integer,string: \"array\"",
            "<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf)",
            "spec.x: Invalid value: \"array\": spec.x in body must be of type integer: \"array\"",
            "<nil>: Invalid value: \"\": \"spec.x\" must validate all the schemas (allOf). None validated",
        ],
    );
}

#[test]
fn several_faults_of_one_value() {
    check(
        json!({"type": "string", "enum": ["a", "b"]}),
        json!(true),
        &[
            "spec.x: Invalid value: \"boolean\": spec.x in body must be of type string: \"boolean\"",
            "spec.x: Unsupported value: true: supported values: \"a\", \"b\"",
        ],
    );
    check(
        json!({"type": "integer", "format": "int32", "minimum": 1, "multipleOf": 2}),
        json!(-1),
        &[
            "spec.x: Invalid value: -1: spec.x in body should be a multiple of 2",
            "spec.x: Invalid value: -1: spec.x in body should be greater than or equal to 1",
        ],
    );
    check(
        json!({"type": "string", "pattern": "+"}),
        json!("foo"),
        &[
            "spec.x: Invalid value: \"foo\": spec.x in body should match '+, but pattern is invalid: error parsing regexp: missing argument to repetition operator: `+`'",
        ],
    );
}
