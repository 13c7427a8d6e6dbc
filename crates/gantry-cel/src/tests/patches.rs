//! Objects and steps of patches that expressions make.

use super::*;

fn environment() -> Environment {
    super::environment().with_patch_types()
}

/// What `text` comes to, as JSON, or why it does not.
fn made(text: &str) -> Result<Json, String> {
    let program = environment().compile_any(text).map_err(|error| error.with_found())?;
    let object = json!({"spec": {"replicas": 2, "containers": [{"name": "c"}]}});
    let variables = Variables::new().with("object", Value::json(&object));
    let mut budget = Budget::new(Budget::PER_REQUEST);
    let value = program.evaluate(&variables, &mut budget).map_err(|error| error.to_string())?;
    match value.misplaced().as_slice() {
        [] => value.to_json().map_err(|error| error.to_string()),
        misplaced => Err(misplaced.join("\n")),
    }
}

#[test]
fn objects() {
    let check = |text: &str, expect: Json| assert_eq!(made(text), Ok(expect), "{text}");
    check("Object{}", json!({}));
    check("Object{spec: Object.spec{replicas: object.spec.replicas + 1}}", json!({"spec": {"replicas": 3}}));
    check(
        "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'x', args: ['a']}],
            labels: {'a.b/c': 'd'}}}",
        json!({"spec": {"containers": [{"name": "x", "args": ["a"]}], "labels": {"a.b/c": "d"}}}),
    );
    check(
        "Object{spec: Object.spec{?replicas: optional.of(1), ?paused: object.spec.?paused}}",
        json!({"spec": {"replicas": 1}}),
    );
    check(
        "Object{a: object.spec.containers.map(c, Object.a{name: c.name + '2'})}",
        json!({"a": [{"name": "c2"}]}),
    );
    check("Object{f: 'x'}.f == 'x' && has(Object{f: 1}.f) && !has(Object{}.f)", json!(true));
    check(
        "Object{} == Object{} && Object{f: 1} == Object{f: 1} && Object{f: 1} != Object{f: 2}",
        json!(true),
    );
    check("object.spec.replicas > 1 ? Object{a: 1} : Object{}", json!({"a": 1}));
}

#[test]
fn steps_of_patches() {
    let check = |text: &str, expect: Json| assert_eq!(made(text), Ok(expect), "{text}");
    check(
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('k8s.io/x~y'), value: 'true'}]",
        json!([{"op": "add", "path": "/metadata/labels/k8s.io~1x~0y", "value": "true"}]),
    );
    check(
        "[JSONPatch{op: 'add', path: '/a', value: Object.spec.selector{matchLabels: {'a': 'b'}}},
            JSONPatch{op: 'move', from: '/a', path: '/b'}]",
        json!([{"op": "add", "path": "/a", "value": {"matchLabels": {"a": "b"}}},
            {"op": "move", "from": "/a", "path": "/b"}]),
    );
    check("JSONPatch{op: 'x'}.op + JSONPatch{}.path + JSONPatch{from: 'y'}.from", json!("xy"));
    check(
        "[has(JSONPatch{op: 'x'}.op), has(JSONPatch{}.op), has(JSONPatch{value: 1}.value)]",
        json!([true, false, true]),
    );
    check(
        "JSONPatch{op: 'a', value: 1} == JSONPatch{value: 1, op: 'a'} && JSONPatch{} == JSONPatch{op: ''}
            && JSONPatch{value: 1} != JSONPatch{value: '1'} && JSONPatch{op: 'a'} != JSONPatch{}",
        json!(true),
    );
    check(
        "[1].all(x, x == 1) ? [JSONPatch{op: 'remove', path: '/x'}] : []",
        json!([{"op": "remove", "path": "/x"}]),
    );
}

#[test]
fn what_is_wrong() {
    let check = |text: &str, expect: &str| {
        let error = made(text).unwrap_err();
        assert!(error.contains(expect), "{text}: {error}");
    };
    check("Thing{}", "undeclared reference to 'Thing' (in container '')");
    check("JSONPatch{op: 1}", "expected type of field 'op' is 'string' but provided type is 'int'");
    check("JSONPatch{ops: 'add'}", "undefined field 'ops'");
    check("Object{?a: 1}", "expected type 'optional_type(dyn)' but found 'int'");
    check("Object{a: nothing}", "undeclared reference to 'nothing'");
    check("Object{}.a", "no such key: a");
    check(
        "Object{spec: Object.specx{replicas: 1}}",
        "unexpected type name \"Object.specx\", expected \"Object.spec\", which matches field name path from root Object type",
    );
    check("Object{spec: [Object.spec{a: {'b': Object.spec.b{}}}]}", "expected \"Object.spec.a\"");
    // Without the types of patches there are none of them.
    for text in ["Object{}", "[JSONPatch{}]", "jsonpatch.escapeKey('a')"] {
        let error = super::environment().compile_any(text).unwrap_err().to_string();
        assert!(error.contains("undeclared reference"), "{text}: {error}");
    }
    let compile = |text: &str, kind: Type| environment().compile(text, &[kind]).unwrap_err().with_found();
    assert_eq!(compile("'teapot'", object_type()), "must evaluate to Object but got string");
    assert_eq!(compile("Object.spec{}", object_type()), "must evaluate to Object but got Object.spec");
    let patches = Type::list(json_patch_type());
    assert_eq!(compile("[1]", patches.clone()), "must evaluate to list(JSONPatch) but got list(int)");
    assert!(environment().compile("[JSONPatch{}]", &[patches]).is_ok());
}

#[test]
fn making_objects_costs() {
    let cost = |text: &str| {
        let program = environment().compile_any(text).unwrap();
        let mut budget = Budget::new(Budget::PER_REQUEST);
        program.evaluate(&Variables::new(), &mut budget).unwrap();
        Budget::PER_REQUEST - budget.remaining()
    };
    assert_eq!(cost("Object{}"), 40);
    assert_eq!(cost("Object{a: Object.a{}, b: 'c'}"), 80);
    assert_eq!(cost("[JSONPatch{op: 'add'}]"), 50);
    let endless = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]";
    let nested = (0..7).fold("Object{}".to_owned(), |inner, at| format!("{endless}.map(x{at}, {inner})"));
    let program = environment().compile_any(&nested).unwrap();
    let error = program.evaluate(&Variables::new(), &mut Budget::new(Budget::PER_REQUEST)).unwrap_err();
    assert_eq!(error, EvaluationError::CostLimit);
}

#[test]
fn stored_policies() {
    let check = |mutation: Json, expect: &[&str]| {
        let object =
            json!({"spec": {"variables": [{"name": "v", "expression": "1"}], "mutations": [mutation]}});
        let said = validate_stored("admissionregistration.k8s.io", "MutatingAdmissionPolicy", &object, None);
        assert_eq!(said.iter().map(ToString::to_string).collect::<Vec<_>>(), expect);
    };
    let apply =
        |text: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}});
    check(apply(" Object{spec: Object.spec{replicas: variables.v}} "), &[]);
    check(
        apply("1"),
        &[
            "spec.mutations[0].applyConfiguration.expression: Invalid value: \"1\": must evaluate to Object but got int",
        ],
    );
    let patch = |text: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": text}});
    check(patch("[JSONPatch{op: 'test', path: '/a'}]"), &[]);
    check(
        patch("[]"),
        &[
            "spec.mutations[0].jsonPatch.expression: Invalid value: \"[]\": must evaluate to list(JSONPatch) but got list(dyn)",
        ],
    );
    check(
        patch("[JSONPatch{op: variables.w}]"),
        &[
            "spec.mutations[0].jsonPatch.expression: Invalid value: \"[JSONPatch{op: variables.w}]\": compilation failed: ERROR: <input>:1:25: undefined field 'w'\n | [JSONPatch{op: variables.w}]\n | ........................^",
        ],
    );
}
