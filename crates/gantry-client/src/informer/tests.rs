//! The store behind an informer, without a server.

use std::collections::HashSet;

use gantry_json::json;
use k8s_openapi::api::core::v1::ConfigMap;

use super::store::Store;
use super::*;

fn object(namespace: &str, name: &str, version: &str, owner: Option<&str>) -> ConfigMap {
    let owners: Vec<_> = owner
        .iter()
        .map(|uid| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true}))
        .collect();
    gantry_json::from_value(json!({"metadata": {
        "namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"),
        "resourceVersion": version, "ownerReferences": owners,
    }}))
    .expect("a ConfigMap")
}

fn names(objects: Vec<Arc<ConfigMap>>) -> Vec<String> {
    objects.iter().map(|o| ObjectKey::of(&o.metadata).to_string()).collect()
}

#[test]
fn indexes_follow_the_objects() {
    let store = Store::<ConfigMap>::default();
    store.apply(object("a", "x", "1", Some("u1")));
    store.apply(object("a", "y", "2", None));
    store.apply(object("aa", "z", "3", Some("u1")));
    assert_eq!(names(store.read().in_namespace("a")), ["a/x", "a/y"]);
    assert_eq!(names(store.read().controlled_by("u1")), ["a/x", "aa/z"]);
    store.apply(object("a", "x", "4", Some("u2")));
    assert_eq!(names(store.read().controlled_by("u1")), ["aa/z"]);
    store.delete(object("aa", "z", "5", None));
    assert!(store.read().controlled_by("u1").is_empty());
}

#[tokio::test]
async fn nobody_waits_for_a_list_that_shutdown_has_cut_short() {
    let shutdown = CancellationToken::new();
    let informer = Informer { store: Arc::new(Store::<ConfigMap>::default()), shutdown: shutdown.clone() };
    let waiting = tokio::spawn(async move { informer.synced().await });
    shutdown.cancel();
    waiting.await.expect("returned");
}

#[tokio::test]
async fn a_subscriber_sees_each_change_once() {
    let store = Store::<ConfigMap>::default();
    store.apply(object("a", "x", "1", None));
    let mut changes = Changes::<ConfigMap> { changes: store.subscribe(), kind: PhantomData };
    store.apply(object("a", "x", "1", None));
    store.apply(object("a", "x", "2", None));
    store.apply(object("a", "y", "3", None));
    store.end_list(Some(&HashSet::from([ObjectKey::new("a", "y")])));
    store.close();
    let mut seen = Vec::new();
    while let Some(change) = changes.next().await {
        let version = change.object().metadata.resource_version.clone().expect("a version");
        seen.push(match change {
            Change::Applied { old: None, .. } => format!("new {version}"),
            Change::Applied { old: Some(_), .. } => format!("changed {version}"),
            Change::Deleted(_) => format!("deleted {version}"),
        });
    }
    assert_eq!(seen, ["new 1", "changed 2", "new 3", "deleted 2"]);
}

#[tokio::test]
async fn an_object_made_again_is_another_object() {
    let store = Store::<ConfigMap>::default();
    store.apply(object("a", "x", "1", None));
    let mut changes = Changes::<ConfigMap> { changes: store.subscribe(), kind: PhantomData };
    let mut again = object("a", "x", "9", None);
    again.metadata.uid = Some("other".into());
    store.apply(again);
    assert!(matches!(changes.next().await, Some(Change::Applied { old: None, .. })));
    assert!(matches!(changes.next().await, Some(Change::Deleted(_))));
    assert!(matches!(changes.next().await, Some(Change::Applied { old: None, .. })));
}
