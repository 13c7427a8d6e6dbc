//! Kinds of definitions, and how they show what is stored.

use super::*;

fn definition(versions: Value) -> Value {
    json!({
        "metadata": {"name": "things.example.com", "generation": 1, "resourceVersion": "5"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "conversion": {"strategy": "None"},
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList",
                "shortNames": ["th"], "categories": ["all"]},
            "versions": versions,
        },
        "status": {"acceptedNames": {"plural": "things", "singular": "thing", "kind": "Thing",
            "listKind": "ThingList", "shortNames": ["th"]}},
    })
}

fn kinds(definition: &Value, compiler: Option<&'static dyn Compiler>) -> Vec<Arc<Kind>> {
    let source = Arc::new(Source::new(definition.to_string().into()));
    super::kinds(definition, &From { source, compiler, digest: String::new() })
}

fn schema(properties: Value) -> Value {
    json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}})
}

#[test]
fn each_served_version_is_a_kind() {
    let kinds = kinds(
        &definition(json!([
            {"name": "v1alpha1", "served": true, "storage": false, "schema": schema(json!({}))},
            {"name": "v1beta1", "served": false, "storage": false, "schema": schema(json!({}))},
            {"name": "v1", "served": true, "storage": true, "deprecated": true, "schema": schema(json!({})),
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas"}},
                "selectableFields": [{"jsonPath": ".spec.color"}]},
        ])),
        None,
    );
    let names: Vec<String> = kinds.iter().map(|kind| kind.api_version()).collect();
    assert_eq!(names, ["example.com/v1", "example.com/v1alpha1"]);
    let thing = &kinds[0];
    assert_eq!(thing.definition_name(), "com.example.v1.Thing");
    assert_eq!(
        (&*thing.list_kind, &*thing.short_names, thing.categories.len()),
        ("ThingList", &["th".into()][..], 0)
    );
    let parts: Vec<&str> = thing.subresources.iter().map(|each| each.name).collect();
    assert_eq!(parts, ["status", "scale"]);
    assert_eq!(&*thing.selectable_fields, &["spec.color"]);
    let custom = thing.as_custom().expect("a custom kind");
    assert_eq!(custom.selected(&json!({"spec": {"color": "red"}}), "spec.color").as_deref(), Some("red"));
    assert_eq!(custom.selected(&json!({"spec": {}}), "spec.color"), None);
    assert_eq!(custom.warning(), Some("example.com/v1 Thing is deprecated"));
    assert_eq!(custom.definition.storage().name, "v1");
}

#[test]
fn a_storage_version_that_is_not_served_has_no_hash() {
    let hash = |served: bool| {
        let versions = json!([
            {"name": "v1", "served": true, "storage": false, "schema": schema(json!({}))},
            {"name": "v2", "served": served, "storage": true, "schema": schema(json!({}))},
        ]);
        let registry = crate::registry::Registry::builtin().with(kinds(&definition(versions), None));
        let list = crate::discovery::api_resource_list(&registry, "example.com", "v1").expect("served");
        list["resources"][0]["storageVersionHash"].is_string()
    };
    assert!(hash(true) && !hash(false));
}

#[test]
fn stored_objects_are_shown_as_the_version_has_them() {
    let (old, new) = (json!({"a": {"type": "string"}}), json!({"b": {"type": "string", "default": "x"}}));
    let mut definition = definition(json!([
        {"name": "v1", "served": true, "storage": true, "schema": schema(old.clone())},
        {"name": "v2", "served": true, "storage": false, "schema": schema(new)},
    ]));
    let stored = json!({"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "n"}, "spec": {"a": "1"}});
    let bytes = br#"{"kind":"Thing","apiVersion":"example.com/v1","metadata":{}}"#;
    let made = kinds(&definition, None);
    let custom = |at: usize| made[at].as_custom().expect("a custom kind");
    // The newest version is first.
    assert_eq!(custom(0).shown(bytes, 7), Shown::Adopted);
    let mut object = stored.clone();
    custom(0).show(&mut object);
    assert_eq!((&object["apiVersion"], &object["spec"]), (&json!("example.com/v2"), &json!({})));
    let mut object = stored.clone();
    custom(1).show(&mut object);
    assert_eq!(object, stored);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {}});
    assert_eq!(
        kinds(&definition, None)[0].as_custom().map(|custom| custom.shown(bytes, 7)),
        Some(Shown::Converted)
    );
    definition["spec"]["versions"] =
        json!([{"name": "v1", "served": true, "storage": true, "schema": schema(old)}]);
    assert_eq!(
        kinds(&definition, None)[0].as_custom().map(|custom| custom.shown(bytes, 7)),
        Some(Shown::AsIs)
    );
    // What was stored before a change may be other than the schema has it now.
    definition["metadata"]["generation"] = json!(2);
    assert_eq!(
        kinds(&definition, None)[0].as_custom().map(|custom| custom.shown(bytes, 7)),
        Some(Shown::Adopted)
    );
    // It is read once to find that out.
    definition["spec"]["versions"] = json!([
        {"name": "v1", "served": true, "storage": true, "schema": schema(json!({}))},
        {"name": "v2", "served": true, "storage": false, "schema": schema(json!({}))},
    ]);
    definition["spec"]["conversion"] = json!({"strategy": "None"});
    let made = kinds(&definition, None);
    let custom = |at: usize| made[at].as_custom().expect("a custom kind");
    custom(1).note_unchanged(7);
    assert_eq!(custom(1).shown(bytes, 7), Shown::AsIs);
    assert_eq!(custom(1).shown(bytes, 8), Shown::Adopted);
    assert_eq!(custom(0).shown(bytes, 7), Shown::Adopted);
}
