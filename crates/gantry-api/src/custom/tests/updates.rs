//! What updates tolerate, and what rules make of them.

use gantry_json::{Value, json};

use super::*;
use crate::custom::rules::{Compiler, Instance, Program, Verdict};

fn changes(schema: &CustomSchema, old: Value, new: Value) -> Vec<String> {
    words(&schema.validate_update(&object(new), &object(old), &mut Vec::new()))
}

#[test]
fn what_was_wrong_and_stays_is_tolerated() {
    let schema = of(json!({"type": "object", "required": ["r"], "properties": {
        "a": {"type": "string", "maxLength": 1}, "b": {"type": "string"},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 1}}}},
        "list": {"type": "array", "items": {"type": "integer", "maximum": 1}},
    }}));
    let old = json!({"a": "xx", "b": "y", "keyed": [{"k": "1", "v": 9}, {"k": "2", "v": 1}], "list": [5]});
    let with = |patch: Value| {
        let mut new = old.clone();
        crate::patch::merge(&mut new, &patch);
        new
    };
    assert_eq!(changes(&schema, old.clone(), old.clone()), Vec::<String>::new());
    // What is about the object as a whole counts once any part of it changes.
    assert_eq!(changes(&schema, old.clone(), with(json!({"b": "z"}))), ["spec.r: Required value"]);
    assert_eq!(
        changes(&schema, old.clone(), with(json!({"r": 1, "a": "yy"}))),
        ["spec.a: Too long: may not be more than 1 byte"]
    );
    let moved = json!([{"k": "2", "v": 7}, {"k": "1", "v": 9}]);
    assert_eq!(
        changes(&schema, old.clone(), with(json!({"r": 1, "keyed": moved}))),
        ["spec.keyed[0].v: Invalid value: 7: spec.keyed[0].v in body should be less than or equal to 1"]
    );
    assert_eq!(
        changes(&schema, old.clone(), with(json!({"r": 1, "list": [5, 1]}))),
        ["spec.list[0]: Invalid value: 5: spec.list[0] in body should be less than or equal to 1"]
    );
    let twice = of(json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}}}));
    assert_eq!(changes(&twice, json!({"set": [1, 1]}), json!({"set": [2, 2]})), Vec::<String>::new());
    assert_eq!(
        changes(&twice, json!({"set": [1]}), json!({"set": [2, 2]})),
        ["spec.set[1]: Duplicate value: 2"]
    );
}

/// Rules that are words: what they look at is compared with a few of them.
#[derive(Debug)]
struct Words(Vec<String>);

#[derive(Debug)]
struct Reader;

impl Compiler for Reader {
    fn compile(&self, schema: &Value, _: bool) -> Result<Box<dyn Program>, String> {
        let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
        let texts = rules.map(|rule| rule["rule"].as_str().unwrap_or_default().to_owned());
        Ok(Box::new(Words(texts.collect())))
    }
}

impl Program for Words {
    fn uses_old_self(&self, rule: usize) -> bool {
        self.0[rule].contains("old")
    }

    fn evaluate(&self, instance: Instance<'_>, rules: &[usize], budget: &mut u64) -> Vec<Verdict> {
        let verdict = |at: &usize| match self.0[*at].as_str() {
            "never" => Verdict::Fails(None),
            "said" => Verdict::Fails(Some("said so".into())),
            "same as old" if instance.old == Some(instance.this) => Verdict::Holds,
            "same as old" => Verdict::Fails(None),
            "broken" => Verdict::Error("no such key: a evaluating rule: broken".into()),
            "costly" => Verdict::Exhausted("too much".into()),
            _ => Verdict::Holds,
        };
        *budget -= 1;
        rules.iter().map(verdict).collect()
    }
}

fn ruled(spec: Value) -> CustomSchema {
    let version = json!({"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}});
    CustomSchema::new(&version, Some(&Reader))
}

#[test]
fn failures_of_rules() {
    let rule = |rule: Value| {
        ruled(json!({"type": "object", "properties": {"a": {"type": "string"}},
            "x-kubernetes-validations": [rule]}))
    };
    let check = |schema: &CustomSchema, expected: &[&str]| {
        assert_eq!(words(&schema.validate(&object(json!({"a": "x"})))), expected);
    };
    check(&rule(json!({"rule": "never"})), &["spec: Invalid value: failed rule: never"]);
    check(&rule(json!({"rule": "never", "message": " no "})), &["spec: Invalid value: no"]);
    check(&rule(json!({"rule": "said", "message": "no"})), &["spec: Invalid value: said so"]);
    check(
        &rule(json!({"rule": "never", "message": "no", "reason": "FieldValueForbidden", "fieldPath": ".a"})),
        &["spec.a: Forbidden: no"],
    );
    check(&rule(json!({"rule": "same as old"})), &[]);
    check(
        &rule(json!({"rule": "same as old", "optionalOldSelf": true})),
        &["spec: Invalid value: failed rule: same as old"],
    );
    check(&rule(json!({"rule": "broken"})), &["spec: Invalid value: no such key: a evaluating rule: broken"]);
    let scalar = ruled(json!({"type": "object", "properties": {
        "a": {"type": "string", "x-kubernetes-validations": [{"rule": "never", "message": "no"}]}}}));
    check(&scalar, &["spec.a: Invalid value: \"x\": no"]);
    let both = ruled(json!({"type": "object", "properties": {
        "a": {"type": "string", "x-kubernetes-validations": [{"rule": "costly"}, {"rule": "never"}]},
        "b": {"type": "string", "x-kubernetes-validations": [{"rule": "never"}]}}}));
    let errors = both.validate(&object(json!({"a": "x", "b": "y"})));
    assert_eq!(words(&errors), ["spec.a: Invalid value: \"x\": too much"]);
    let invalid =
        ruled(json!({"type": "object", "required": ["z"], "x-kubernetes-validations": [{"rule": "never"}]}));
    check(
        &invalid,
        &[
            "spec.z: Required value",
            "<nil>: Invalid value: \"null\": some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ],
    );
}

#[test]
fn rules_in_updates() {
    let never = json!([{"rule": "never", "message": "no"}]);
    let schema = ruled(json!({"type": "object", "properties": {
        "a": {"type": "string", "x-kubernetes-validations": never}, "b": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": never}}}}));
    let old = json!({"a": "x", "b": "y", "list": ["l"]});
    assert_eq!(
        changes(&schema, old.clone(), json!({"a": "x", "b": "z", "list": ["l"]})),
        Vec::<String>::new()
    );
    assert_eq!(
        changes(&schema, old, json!({"a": "z", "b": "y", "list": ["l", "m"]})),
        [
            "spec.a: Invalid value: \"z\": no",
            "spec.list[0]: Invalid value: \"l\": no",
            "spec.list[1]: Invalid value: \"m\": no"
        ]
    );
    let check = |new: Value, errors: &[&str], warnings: &[&str]| {
        let schema = ruled(json!({"type": "object", "properties": {
            "a": {"type": "string", "x-kubernetes-validations": [{"rule": "broken"}, {"rule": "never", "message": "no"}]},
            "b": {"type": "string", "x-kubernetes-validations": [{"rule": "said", "reason": "FieldValueForbidden"}]}}}));
        let (old, mut said) = (object(json!({"a": "x", "b": "y"})), Vec::new());
        let status = words(&schema.validate_status(&object(new.clone()), &old, &mut said));
        let first = std::mem::take(&mut said);
        let update = words(&schema.validate_update(&object(new), &old, &mut said));
        for (found, said) in [(status, first), (update, said)] {
            assert_eq!(found, errors);
            assert_eq!(said, warnings);
        }
    };
    // What could not be evaluated is never tolerated.
    let broken = "spec.a: Invalid value: \"x\": no such key: a evaluating rule: broken";
    check(
        json!({"a": "x", "b": "y", "c": 1}),
        &[broken],
        &["spec.a: Invalid value: \"x\": no", "spec.b: Forbidden: said so"],
    );
    check(
        json!({"a": "x", "b": "z"}),
        &[broken, "spec.b: Forbidden: said so"],
        &["spec.a: Invalid value: \"x\": no"],
    );
    let same = json!([{"rule": "same as old"}]);
    let schema = ruled(json!({"type": "object", "properties": {
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "x-kubernetes-validations": same,
                "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}}}}));
    assert_eq!(
        changes(
            &schema,
            json!({"keyed": [{"k": "a", "v": 1}, {"k": "b", "v": 1}]}),
            json!({"keyed": [{"k": "c", "v": 5}, {"k": "b", "v": 2}, {"k": "a", "v": 1}]})
        ),
        ["spec.keyed[1]: Invalid value: failed rule: same as old"]
    );
}
