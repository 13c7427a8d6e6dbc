//! Ownership, conflicts and merging: stories, and the properties of apply.

use proptest::prelude::*;

use super::*;

fn deployment() -> Structure<'static> {
    Structure::builtin(Schemas::builtin().by_kind("apps", "v1", "Deployment").expect("there"))
}

fn applied(live: &Value, wanted: &Value, manager: &str, force: bool) -> Result<Value, Conflicts> {
    apply(deployment(), "apps/v1", live, wanted, manager, force, "", "2026-01-01T00:00:00Z")
}

fn updated(old: &Value, mut new: Value, manager: &str, now: &str) -> Value {
    update(deployment(), "apps/v1", old, &mut new, manager, Operation::Update, "", now);
    new
}

fn base() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "1"}},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [
            {"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}}}})
}

#[test]
fn create_tracks_fields() {
    let made = updated(&Value::Null, base(), "kubectl-create", "t1");
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!(entry["fieldsV1"]["f:metadata"], json!({"f:labels": {".": {}, "f:a": {}}}));
    assert_eq!(
        entry["fieldsV1"]["f:spec"],
        json!({"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
            ".": {}, "f:name": {}, "f:image": {},
            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}})
    );
}

#[test]
fn update_moves_ownership_and_keeps_times() {
    let first = updated(&Value::Null, base(), "a", "t1");
    assert_eq!(updated(&first, first.clone(), "a", "t2"), first);
    let mut changed = first.clone();
    changed["spec"]["replicas"] = 3.into();
    let second = updated(&first, changed, "b", "t2");
    let fields = &second["metadata"]["managedFields"];
    assert_eq!(fields[0]["time"], "t1");
    assert!(fields[0]["fieldsV1"]["f:spec"].get("f:replicas").is_none());
    assert_eq!(fields[1]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    let mut reset = second.clone();
    reset["metadata"]["managedFields"] = json!([{}]);
    assert!(updated(&second, reset, "b", "t3")["metadata"].get("managedFields").is_none());
}

#[test]
fn conflicts_name_manager_and_field() {
    let live = updated(&Value::Null, base(), "kubectl-client-side-apply", "t1");
    let wanted = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 2}});
    let error =
        applied(&live, &wanted, "me", false).expect_err("owned").into_error("apps", "deployments", "d");
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    assert_eq!((error.code, error.reason), (409, "Conflict"));
    let forced = applied(&live, &wanted, "me", true).expect("forced");
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(forced["metadata"]["managedFields"][0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
}

#[test]
fn what_is_given_up_goes_unless_shared() {
    let live = applied(&Value::Null, &base(), "a", false).expect("new");
    let shared = json!({"metadata": {"name": "d", "labels": {"a": "1"}}});
    let live = applied(&live, &shared, "b", false).expect("the same value");
    let less = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1}});
    let live = applied(&live, &less, "a", false).expect("fewer");
    assert_eq!(live["metadata"]["labels"], json!({"a": "1"}));
    assert!(live["spec"].get("template").is_none());
}

#[test]
fn many_updates_are_capped() {
    let mut object = updated(&Value::Null, base(), "m", "t00");
    for at in 0..15 {
        let mut next = object.clone();
        next["metadata"]["labels"][format!("l{at}")] = "x".into();
        object = updated(&object, next, &format!("m{at}"), &format!("t{:02}", at + 1));
    }
    let entries = object["metadata"]["managedFields"].as_array().expect("entries");
    assert_eq!(entries.len(), 10);
    assert!(entries.iter().any(|entry| entry["manager"] == "ancient-changes"));
}

#[test]
fn untracked_objects_get_an_owner_at_the_first_apply() {
    let mut changed = base();
    changed["spec"]["replicas"] = 2.into();
    assert!(updated(&base(), changed, "a", "t1")["metadata"].get("managedFields").is_none());
    let wanted = json!({"metadata": {"name": "d"}, "spec": {"replicas": 2}});
    let error =
        applied(&base(), &wanted, "a", false).expect_err("owned").into_error("apps", "deployments", "d");
    assert!(error.message.contains("conflict with \"before-first-apply\" using apps/v1: .spec.replicas"));
}

#[test]
fn kubectl_takes_over_what_it_wrote_by_client_side_apply() {
    let mut before = base();
    before["metadata"]["annotations"] = json!({LAST_APPLIED: base().to_string()});
    let live = updated(&Value::Null, before, "kubectl-client-side-apply", "t1");
    let mut wanted = base();
    wanted["spec"]["replicas"] = 5.into();
    let taken = applied(&live, &wanted, "kubectl", false).expect("its own");
    assert_eq!(taken["spec"]["replicas"], 5);
    let text = taken["metadata"]["annotations"][LAST_APPLIED].as_str().expect("kept");
    assert_eq!(gantry_json::from_str::<Value>(text).expect("JSON"), wanted);
    assert!(applied(&live, &wanted, "another", false).is_err());
}

#[test]
fn status_and_the_rest_have_their_own_entries() {
    let live = updated(&Value::Null, base(), "a", "t1");
    let wanted = json!({"metadata": {"name": "d"}, "spec": {"replicas": 9}, "status": {"replicas": 1}});
    let written =
        apply(deployment(), "apps/v1", &live, &wanted, "s", false, "status", "t2").expect("no conflict");
    assert_eq!((&written["spec"]["replicas"], &written["status"]["replicas"]), (&json!(1), &json!(1)));
    let entry = &written["metadata"]["managedFields"][0];
    assert_eq!(
        (&entry["subresource"], &entry["fieldsV1"]),
        (&json!("status"), &json!({"f:status": {"f:replicas": {}}}))
    );
}

#[test]
fn applied_list_items_keep_their_order_among_the_others() {
    let container = |name: &str| json!({"name": name, "image": "i"});
    let object = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| container(name)).collect();
        json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": containers}}}})
    };
    let live = updated(&Value::Null, object(&["x", "a", "b"]), "m", "t1");
    let merged = applied(&live, &object(&["b", "n", "a"]), "me", false).expect("the same values");
    let names: Vec<&str> = merged["spec"]["template"]["spec"]["containers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|each| each["name"].as_str())
        .collect();
    assert_eq!(names, ["x", "b", "n", "a"]);
}

fn labels() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-f]", "[xyz]", 0..5)
        .prop_map(|labels| json!({"metadata": {"name": "d", "labels": labels}}))
}

proptest! {
    #[test]
    fn apply_is_idempotent(first in labels(), second in labels()) {
        let live = applied(&applied(&Value::Null, &first, "a", true).unwrap(), &second, "b", true).unwrap();
        prop_assert_eq!(&applied(&live, &second, "b", false).unwrap(), &live);
    }

    #[test]
    fn managers_of_different_fields_commute(first in labels(), values in prop::collection::btree_map("[g-k]", "[xyz]", 0..5)) {
        let second = json!({"metadata": {"name": "d", "annotations": values}});
        let both = |one: &Value, a: &str, two: &Value, b: &str| {
            applied(&applied(&base(), one, a, true).unwrap(), two, b, true).unwrap()
        };
        prop_assert_eq!(both(&first, "a", &second, "b"), both(&second, "b", &first, "a"));
    }

    #[test]
    fn given_up_fields_go_iff_nobody_owns_them(first in labels(), second in labels()) {
        let live = applied(&applied(&Value::Null, &first, "a", true).unwrap(), &second, "b", true).unwrap();
        let left = applied(&live, &json!({"metadata": {"name": "d"}}), "a", false).unwrap();
        let expect = second["metadata"]["labels"].as_object().filter(|labels| !labels.is_empty());
        let labels = left["metadata"]["labels"].as_object().filter(|labels| !labels.is_empty());
        prop_assert_eq!(labels, expect);
    }
}
