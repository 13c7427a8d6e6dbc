//! What the schema of a version may say.

use gantry_json::{Value, json};

use super::{NAME, refused};

#[track_caller]
fn check(schema: Value, expected: &[&str]) {
    with(schema, json!({}), expected);
}

#[track_caller]
fn with(schema: Value, subresources: Value, expected: &[&str]) {
    let versions = json!([{"name": "v1", "served": true, "storage": true, "subresources": subresources,
        "schema": {"openAPIV3Schema": schema}}]);
    let at = |fault: &&str| match fault.strip_prefix('!') {
        Some(whole) => whole.to_owned(),
        None => format!("spec.validation.openAPIV3Schema{fault}"),
    };
    let expected: Vec<String> = expected.iter().map(at).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    refused(NAME, json!({"spec": {"versions": versions}}), &expected);
}

fn field(schema: Value) -> Value {
    json!({"type": "object", "properties": {"a": schema}})
}

#[test]
fn types() {
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
    check(
        field(json!({"type": "odd"})),
        &[
            ".properties[a].type: Unsupported value: \"odd\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ],
    );
    check(
        json!({"type": "object", "nullable": true, "additionalProperties": {"type": "string"}}),
        &[
            ".nullable: Forbidden: nullable cannot be true at the root",
            ".additionalProperties: Forbidden: must not be used at the root",
        ],
    );
    check(
        field(
            json!({"$ref": "#/x", "type": "array", "items": [{"type": "string"}], "definitions": {"x": {}}}),
        ),
        &[
            ".properties[a].definitions: Forbidden: definitions is not supported",
            ".properties[a].$ref: Forbidden: $ref is not supported",
            ".properties[a].items: Forbidden: items must be a schema object and not an array",
        ],
    );
    check(
        field(json!({"type": "string", "pattern": "[a"})),
        &[
            ".properties[a].pattern: Invalid value: \"[a\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ]: `[a`",
        ],
    );
}

#[test]
fn integers_or_texts() {
    let both = json!([{"type": "integer"}, {"type": "string"}]);
    check(field(json!({"x-kubernetes-int-or-string": true, "anyOf": both})), &[]);
    check(
        field(json!({"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": both}, {"pattern": "a"}]})),
        &[],
    );
    check(
        field(json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true})),
        &[
            ".properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true",
        ],
    );
    check(field(json!({"x-kubernetes-preserve-unknown-fields": true})), &[]);
    check(
        field(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false})),
        &[
            ".properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
        ],
    );
}

#[test]
fn junctors() {
    check(
        field(
            json!({"type": "string", "allOf": [{"type": "string", "minLength": 1, "default": "x", "nullable": true}]}),
        ),
        &[
            ".properties[a].allOf[0].default: Forbidden: must be undefined to be structural",
            ".properties[a].allOf[0].nullable: Forbidden: must be false to be structural",
            ".properties[a].allOf[0].type: Forbidden: must be empty to be structural",
        ],
    );
    check(
        json!({"type": "object", "properties": {"a": {"type": "string"}},
            "anyOf": [{"properties": {"b": {"minLength": 1}}}, {"not": {"properties": {"a": {"maxLength": 1}}}}]}),
        &[
            ".properties[b]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[b]",
        ],
    );
    check(
        field(json!({"type": "object", "not": {"properties": {"metadata": {}}}})),
        &[".properties[a].not.properties[metadata]: Forbidden: must not be specified in a nested context"],
    );
}

#[test]
fn objects() {
    check(
        field(
            json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"b": {"type": "string"}}}),
        ),
        &[
            ".properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ],
    );
    check(
        field(json!({"type": "object", "x-kubernetes-embedded-resource": true})),
        &[
            ".properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ],
    );
    check(
        json!({"type": "object", "properties": {"kind": {"type": "integer"}, "metadata": {"type": "object",
            "properties": {"name": {"type": "string", "maxLength": 5}}}}}),
        &[".properties[kind].type: Invalid value: \"integer\": must be string"],
    );
    check(
        json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
        &[
            ".properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ],
    );
    let shown = "{\"type\":\"object\",\"minProperties\":1}";
    with(
        json!({"type": "object", "minProperties": 1}),
        json!({"status": {}}),
        &[&format!(
            ": Invalid value: {}: only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled",
            gantry_json::from_str::<Value>(shown).expect("JSON")
        )],
    );
}

#[test]
fn lists_and_maps() {
    check(
        field(json!({"type": "array", "uniqueItems": true, "x-kubernetes-list-type": "map",
            "items": {"type": "object"}})),
        &[
            ".properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ".properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ],
    );
    check(
        field(
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l", "l"],
            "items": {"type": "object", "nullable": true, "properties": {"k": {"type": "string", "nullable": true}}}}),
        ),
        &[
            ".properties[a].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"l\",\"l\"]: entries must all be names of item properties",
            ".properties[a].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"l\",\"l\"]: entries must all be names of item properties",
            ".properties[a].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"l\",\"l\"]: must not contain duplicate entries",
            ".properties[a].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map",
            ".properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ".properties[a].items.properties[k].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
        ],
    );
    check(
        field(json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}})),
        &[
            ".properties[a].items.x-kubernetes-map-type: Invalid value: \"null\": must be atomic as item of a list with x-kubernetes-list-type=set",
        ],
    );
    check(
        field(json!({"type": "string", "x-kubernetes-list-type": "odd", "x-kubernetes-map-type": "odd"})),
        &[
            ".properties[a].type: Invalid value: \"string\": must be object if x-kubernetes-map-type is specified",
            ".properties[a].x-kubernetes-map-type: Unsupported value: \"odd\": supported values: \"atomic\", \"granular\"",
            ".properties[a].type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified",
            ".properties[a].x-kubernetes-list-type: Unsupported value: \"odd\": supported values: \"atomic\", \"set\", \"map\"",
        ],
    );
}

#[test]
fn defaults() {
    check(field(json!({"type": "string", "default": "x"})), &[]);
    check(
        field(json!({"type": "string", "default": 1})),
        &[".properties[a].default: Invalid value: \"integer\":  in body must be of type string: \"integer\""],
    );
    check(
        field(
            json!({"type": "object", "default": {"b": "x", "c": 1}, "properties": {"b": {"type": "string", "maxLength": 0}}}),
        ),
        &[
            ".properties[a].default: Invalid value: {\"b\":\"x\",\"c\":1}: must not have unknown fields",
            ".properties[a].default.b: Too long: may not be more than 0 bytes",
        ],
    );
    check(
        json!({"type": "object", "properties": {"kind": {"type": "string", "default": "Thing"}}}),
        &[".properties[kind].default: Forbidden: must not be set in top-level kind"],
    );
    let embedded = |name: &str| {
        field(json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "default": name}}}}}))
    };
    check(embedded("fine"), &[]);
    check(
        embedded("a/b"),
        &[
            ".properties[a].properties[metadata].properties[name].default: Invalid value: \"a/b\": must result in valid metadata: metadata.name: Invalid value: \"a/b\": may not contain '/'",
        ],
    );
}

#[test]
fn rules() {
    let rules = json!([{"rule": " "}, {"rule": "true", "message": "a\nb"}, {"rule": "a\n&& b"},
        {"rule": "true", "reason": "Odd", "fieldPath": ".x"}, {"rule": "true", "fieldPath": ".b"}]);
    let schema =
        json!({"type": "object", "properties": {"b": {"type": "string"}}, "x-kubernetes-validations": rules});
    let at = ".properties[a].x-kubernetes-validations";
    let expected = [
        "[0].rule: Required value: rule is not specified",
        "[1].message: Invalid value: \"a\\nb\": message must not contain line breaks",
        "[2].message: Required value: message must be specified if rule contains line breaks",
        "[3].reason: Unsupported value: \"Odd\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"",
        "[3].fieldPath: Invalid value: \".x\": fieldPath must be a valid path",
    ];
    let expected: Vec<String> = expected.iter().map(|fault| format!("{at}{fault}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    check(field(schema), &expected);
}
