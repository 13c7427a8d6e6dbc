//! Paths of both dialects.

use gantry_json::{Value, json};
use proptest::prelude::*;

use super::*;

fn object() -> Value {
    json!({
        "metadata": {"annotations": {"a.b/c": "annotated"}},
        "spec": {"my-field": 1, "list": ["a", "b", "c"], "map": {"x": {"y": 2}, "z": 3}},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "count": 3},
            {"type": "Progressing", "status": "False", "count": 5},
        ]},
    })
}

#[test]
fn what_paths_find() {
    let object = object();
    for (path, expected) in [
        (".spec.my-field", json!([1])),
        ("{.spec.my-field", json!(null)),
        ("$.spec['my-field']", json!([1])),
        (".metadata.annotations.a\\.b/c", json!(["annotated"])),
        (".metadata.annotations['a\\.b/c']", json!(["annotated"])),
        (".spec.list[0]", json!(["a"])),
        (".spec.list[-1]", json!(["c"])),
        (".spec.list[5]", json!([])),
        (".spec.list[1:]", json!(["b", "c"])),
        (".spec.list[:1]", json!(["a"])),
        (".spec.list[*]", json!(["a", "b", "c"])),
        (".spec.list[0,2]", json!(["a", "c"])),
        (".spec.map.*", json!([{"y": 2}, 3])),
        (".spec['list','my-field']", json!([["a", "b", "c"], 1])),
        ("..y", json!([2])),
        (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
        (".status.conditions[?(@.type=='Ready')].status", json!(["True"])),
        (".status.conditions[?(@.type == \"Ready\")].status", json!(["True"])),
        (".status.conditions[?(@.count>3)].type", json!(["Progressing"])),
        (".status.conditions[?(@.count<=3)].type", json!(["Ready"])),
        (".status.conditions[?(@.type!=\"Ready\")].status", json!(["False"])),
        (".status.conditions[?(@.count)].type", json!(["Ready", "Progressing"])),
        (".status.conditions[?(@.type==\"Gone\")].status", json!([])),
        (".status.missing.field", json!([])),
        (".spec.my-field.below", json!([])),
        (".spec.my-field[0]", json!([])),
        (".spec.list[", json!(null)),
        (".spec.list[x]", json!(null)),
        (".a[?(@.b==\"c]", json!(null)),
        (".", json!([object])),
    ] {
        let found = match JsonPath::parse(path) {
            Ok(parsed) => Value::Array(parsed.find(&object).into_iter().cloned().collect()),
            Err(_) => Value::Null,
        };
        assert_eq!(found, expected, "{path}");
    }
}

#[test]
fn paths_that_schemas_know() {
    let schema = json!({"properties": {"spec": {"properties": {
        "a": {"type": "string"}, "m": {"additionalProperties": {"type": "integer"}}, "o": {}}}}});
    for (path, expected) in [
        (".spec.a", Ok("spec.a")),
        (".spec.m.key", Ok("spec.m[key]")),
        (".spec['m']['k\\'ey']", Ok("spec.m[k'ey]")),
        (".spec.x", Err("does not refer to a valid field")),
        (".spec.a.b", Err("does not refer to a valid field")),
        ("spec", Err("expected [ or . but got: spec")),
        (".spec.", Err("unexpected end of JSON path")),
        (".spec[0]", Err("expected single quoted string but got 0")),
        (".spec['a'", Err("unexpected end of JSON path")),
    ] {
        let found = checked(path, &schema, true).map(|(path, _)| path.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{path}");
    }
    let refused = checked(".spec['a']", &schema, false).map(|(path, _)| path);
    assert_eq!(refused, Err("array notation is not allowed".to_owned()));
}

proptest! {
    #[test]
    fn nothing_panics(text in "[.\\[\\]?()@'\"\\\\a-c0-2:,*=<> é-]{0,24}") {
        if let Ok(path) = JsonPath::parse(&text) {
            let _ = path.find(&object());
        }
        let _ = checked(&text, &object(), true);
    }
}
