//! What holds for every schema and every value.

use gantry_json::{Map, Value, json};
use proptest::prelude::*;

use super::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("metadata"), Just("kind")].prop_map(String::from)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        Just(json!(0.5)),
        Just(json!(1e300)),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// Something like a schema: what its keys hold is often what they should.
fn schema() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["object", "array", "string", "integer", "number", "boolean", ""]);
    let flags = prop::collection::vec(
        prop::sample::select(vec![
            "nullable",
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
            "uniqueItems",
            "exclusiveMaximum",
        ]),
        0..2,
    );
    let checks = prop::collection::vec(
        prop_oneof![
            (
                prop::sample::select(vec![
                    "maximum",
                    "minimum",
                    "multipleOf",
                    "maxLength",
                    "maxItems",
                    "minProperties"
                ]),
                (-3i64..4).prop_map(Value::from)
            ),
            (Just("pattern"), "[a-c\\[\\]*+]{0,4}".prop_map(Value::from)),
            (Just("format"), prop::sample::select(vec!["date", "ipv4", "int32"]).prop_map(Value::from)),
            (Just("enum"), prop::collection::vec(value(), 0..3).prop_map(Value::from)),
            (Just("required"), prop::collection::vec(name(), 0..3).prop_map(Value::from)),
            (Just("default"), value()),
            (
                Just("x-kubernetes-list-type"),
                prop::sample::select(vec!["set", "map", "atomic"]).prop_map(Value::from)
            ),
            (Just("x-kubernetes-list-map-keys"), Just(json!(["a"]))),
            (Just("properties"), value()),
        ],
        0..4,
    );
    let leaf = (kind, flags, checks).prop_map(|(kind, flags, checks)| {
        let mut schema = json!({"type": kind});
        flags.into_iter().for_each(|flag| schema[flag] = true.into());
        checks.into_iter().for_each(|(key, value)| schema[key] = value);
        schema
    });
    leaf.prop_recursive(3, 16, 3, |inner| {
        let below = prop::collection::btree_map(name(), inner.clone(), 0..3)
            .prop_map(|fields| Value::Object(Map::from_iter(fields)));
        let junctor = prop::sample::select(vec!["allOf", "anyOf", "oneOf"]);
        let parts = (junctor, prop::collection::vec(inner.clone(), 0..3));
        (inner.clone(), below, inner, parts, 0..5).prop_map(
            |(mut schema, below, other, (junctor, parts), which)| {
                match which {
                    0 => schema["properties"] = below,
                    1 => schema["items"] = other,
                    2 => schema["additionalProperties"] = other,
                    3 => schema["not"] = other,
                    _ => schema[junctor] = parts.into(),
                }
                schema
            },
        )
    })
}

fn resource(fields: Value) -> Value {
    let mut object = json!({"apiVersion": "a.b/v1", "kind": "Thing", "metadata": {"name": "t"}});
    object["spec"] = fields;
    object
}

proptest! {
    #[test]
    fn reading_twice_changes_nothing(schema in schema(), value in value()) {
        let schema = whole(json!({"type": "object", "properties": {"spec": schema}}));
        if let Ok(once) = schema.decode(resource(value)) {
            let twice = schema.decode(once.value.clone()).expect("reads again");
            prop_assert_eq!(&once.value, &twice.value);
            prop_assert_eq!(twice.strict, Vec::<String>::new());
        }
    }

    #[test]
    fn defaulting_twice_changes_nothing(schema in schema(), value in value()) {
        let schema = whole(json!({"type": "object", "properties": {"spec": schema}}));
        let mut once = resource(value);
        schema.default(&mut once);
        let mut twice = once.clone();
        schema.default(&mut twice);
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn nothing_panics_on_any_schema(schema in schema(), new in value(), old in value()) {
        let schema = whole(schema);
        let _ = schema.validate(&new);
        let _ = schema.validate_update(&new, &old, &mut Vec::new());
        let _ = schema.decode(new.clone());
        let mut adopted = new;
        schema.adopt(&mut adopted);
    }

    #[test]
    fn no_schema_panics(schema in value(), value in value()) {
        let schema = whole(schema);
        let _ = schema.validate(&value);
        let mut adopted = value;
        schema.adopt(&mut adopted);
    }

    #[test]
    fn an_update_that_changes_nothing_is_fine(schema in schema(), value in value()) {
        // Metadata within is always checked.
        let schema = schema.to_string().replace("x-kubernetes-embedded-resource", "x-none");
        let schema: Value = gantry_json::from_str(&schema).expect("JSON");
        let schema = whole(json!({"type": "object", "properties": {"spec": schema}}));
        let object = resource(value);
        prop_assert_eq!(words(&schema.validate_update(&object, &object, &mut Vec::new())), Vec::<String>::new());
    }

    #[test]
    fn defaults_that_were_checked_are_valid(schema in schema()) {
        let schema = json!({"type": "object", "properties": {"spec": schema}});
        if !validate_defaults(&Path::default(), &schema).is_empty() {
            return Ok(());
        }
        let read = whole(schema.clone());
        let mut object = json!({});
        read.default(&mut object);
        // Defaults below the default of the whole were not checked together with it.
        if object["spec"] == schema["properties"]["spec"]["default"] {
            let errors = validate::validate(&object, &read.root, &Path::default(), None);
            prop_assert_eq!(words(&errors), Vec::<String>::new());
        }
    }
}
