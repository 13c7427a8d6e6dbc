//! Custom kinds are collected and emptied like any other: owners and dependents of built-in and custom
//! kinds, of the cluster and of namespaces.

use anyhow::{Context, Result, ensure};
use gantry_controllers::{garbage_collector, namespace};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::wait::{Condition, await_condition, conditions};

use crate::cluster::Cluster;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";
const PLANS: &str = "/apis/example.com/v1/plans";
/// Longer than anything here takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A server with a custom kind in namespaces, Thing, and one of the cluster, Plan.
async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    for (kind, plural, scope) in [("Thing", "things", "Namespaced"), ("Plan", "plans", "Cluster")] {
        let name = format!("{plural}.example.com");
        let definition = json!({
            "metadata": {"name": name},
            "spec": {
                "group": "example.com", "scope": scope, "names": {"plural": plural, "kind": kind},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
            },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        cluster.send(Method::POST, path, &definition).await?;
        let definitions: Api<CustomResourceDefinition> = Api::all(cluster.server.client());
        wait(definitions, &name, conditions::is_crd_established()).await?;
    }
    Ok(cluster)
}

/// Waits until an object is as wanted.
async fn wait<K>(api: Api<K>, name: &str, wanted: impl Condition<K>) -> Result<()>
where
    K: Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + kube::Resource + 'static,
{
    let found = tokio::time::timeout(PATIENCE, await_condition(api, name, wanted));
    found.await.with_context(|| format!("waiting for {name}"))??;
    Ok(())
}

fn things(cluster: &Cluster, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Thing"));
    Api::namespaced_with(cluster.server.client(), namespace, &kind)
}

fn maps(cluster: &Cluster) -> Api<ConfigMap> {
    Api::namespaced(cluster.server.client(), "default")
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Makes an object with an owner, which its deletion waits for.
async fn make(cluster: &Cluster, path: &str, name: &str, owner: Option<&Value>) -> Result<Value> {
    let owners: Vec<Value> = owner
        .iter()
        .map(|owner| {
            json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "uid": uid(owner),
                "name": owner["metadata"]["name"], "blockOwnerDeletion": true})
        })
        .collect();
    let (api_version, kind) = match path {
        MAPS => ("v1", "ConfigMap"),
        PLANS => ("example.com/v1", "Plan"),
        _ => ("example.com/v1", "Thing"),
    };
    let object = json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"name": name, "ownerReferences": owners}});
    cluster.send(Method::POST, path, &object).await
}

async fn delete(cluster: &Cluster, path: &str, policy: &str) -> Result<Value> {
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    cluster.send(Method::DELETE, path, &options).await
}

async fn finalizers(cluster: &Cluster, path: &str, all: Value) -> Result<()> {
    let patch = json!({"metadata": {"finalizers": all}}).to_string();
    let reply = cluster.server.request(Method::PATCH, path, "application/merge-patch+json", patch).await?;
    ensure!(reply.code == 200, "{}", reply.text());
    Ok(())
}

/// Returns when the collector has seen everything of the kind at `path` that was made before: a dependent
/// of nobody, made after it, is gone.
async fn seen(cluster: &Cluster, path: &str) -> Result<()> {
    let nobody = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "nobody", "uid": "0f8fad5b-d9cb-469f-a165-70867728950e"}});
    let probe = make(cluster, path, "probe", Some(&nobody)).await?;
    match path {
        MAPS => wait(maps(cluster), "probe", conditions::is_deleted(uid(&probe))).await,
        _ => wait(things(cluster, "default"), "probe", conditions::is_deleted(uid(&probe))).await,
    }
}

#[tokio::test]
async fn dependents_go_across_kinds_and_scopes() -> Result<()> {
    let cluster = start().await?;
    let plan = make(&cluster, PLANS, "plan", None).await?;
    let thing = make(&cluster, THINGS, "thing", Some(&plan)).await?;
    let map = make(&cluster, MAPS, "map", Some(&thing)).await?;
    let last = make(&cluster, THINGS, "last", Some(&map)).await?;
    let other = make(&cluster, MAPS, "other", None).await?;
    cluster.run("generic-garbage-collector", garbage_collector::run);
    delete(&cluster, &format!("{PLANS}/plan"), "Background").await?;
    wait(things(&cluster, "default"), "thing", conditions::is_deleted(uid(&thing))).await?;
    wait(maps(&cluster), "map", conditions::is_deleted(uid(&map))).await?;
    wait(things(&cluster, "default"), "last", conditions::is_deleted(uid(&last))).await?;
    let left = cluster.server.get(&format!("{MAPS}/other")).await?.json();
    assert_eq!(uid(&left), uid(&other));
    Ok(())
}

#[tokio::test]
async fn a_kind_that_comes_later_is_collected_too() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.run("generic-garbage-collector", garbage_collector::run);
    let first = make(&cluster, MAPS, "first", None).await?;
    make(&cluster, MAPS, "kept", None).await?;
    seen(&cluster, MAPS).await?;
    drop(first);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    cluster.send(Method::POST, path, &definition).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.server.client());
    wait(definitions, "things.example.com", conditions::is_crd_established()).await?;
    let owner = make(&cluster, THINGS, "owner", None).await?;
    let child = make(&cluster, MAPS, "child", Some(&owner)).await?;
    delete(&cluster, &format!("{THINGS}/owner"), "Background").await?;
    wait(maps(&cluster), "child", conditions::is_deleted(uid(&child))).await?;
    Ok(())
}

#[tokio::test]
async fn in_the_foreground_a_custom_owner_goes_last() -> Result<()> {
    let cluster = start().await?;
    cluster.run("generic-garbage-collector", garbage_collector::run);
    let owner = make(&cluster, THINGS, "owner", None).await?;
    let held = make(&cluster, THINGS, "held", Some(&owner)).await?;
    finalizers(&cluster, &format!("{THINGS}/held"), json!(["example.com/hold"])).await?;
    let free = make(&cluster, MAPS, "free", Some(&owner)).await?;
    seen(&cluster, MAPS).await?;
    seen(&cluster, THINGS).await?;
    let answer = delete(&cluster, &format!("{THINGS}/owner"), "Foreground").await?;
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    wait(maps(&cluster), "free", conditions::is_deleted(uid(&free))).await?;
    let leaves = |object: Option<&DynamicObject>| {
        object.is_some_and(|each| each.metadata.deletion_timestamp.is_some())
    };
    wait(things(&cluster, "default"), "held", leaves).await?;
    let waits = cluster.server.get(&format!("{THINGS}/owner")).await?;
    assert_eq!(waits.code, 200, "the owner waits for what it holds up");
    finalizers(&cluster, &format!("{THINGS}/held"), Value::Null).await?;
    wait(things(&cluster, "default"), "held", conditions::is_deleted(uid(&held))).await?;
    wait(things(&cluster, "default"), "owner", conditions::is_deleted(uid(&owner))).await?;
    Ok(())
}

#[tokio::test]
async fn orphans_of_a_custom_owner_stay() -> Result<()> {
    let cluster = start().await?;
    cluster.run("generic-garbage-collector", garbage_collector::run);
    let owner = make(&cluster, THINGS, "owner", None).await?;
    let map = make(&cluster, MAPS, "map", Some(&owner)).await?;
    let thing = make(&cluster, THINGS, "thing", Some(&owner)).await?;
    seen(&cluster, MAPS).await?;
    seen(&cluster, THINGS).await?;
    delete(&cluster, &format!("{THINGS}/owner"), "Orphan").await?;
    wait(things(&cluster, "default"), "owner", conditions::is_deleted(uid(&owner))).await?;
    for (path, object) in [(format!("{MAPS}/map"), map), (format!("{THINGS}/thing"), thing)] {
        let left = cluster.server.get(&path).await?.json();
        assert_eq!((uid(&left), &left["metadata"]["ownerReferences"]), (uid(&object), &Value::Null));
    }
    Ok(())
}

#[tokio::test]
async fn a_namespace_waits_for_custom_objects() -> Result<()> {
    let cluster = start().await?;
    cluster.run("namespace-controller", namespace::run);
    cluster.send(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await?;
    let path = "/apis/example.com/v1/namespaces/shop/things";
    make(&cluster, path, "held", None).await?;
    finalizers(&cluster, &format!("{path}/held"), json!(["example.com/hold"])).await?;
    let free = make(&cluster, path, "free", None).await?;
    let shop = cluster.send(Method::DELETE, "/api/v1/namespaces/shop", &Value::Null).await?;
    wait(things(&cluster, "shop"), "free", conditions::is_deleted(uid(&free))).await?;
    let says = |shop: Option<&Namespace>, kind: &str, message: &str| {
        let all = shop.and_then(|shop| shop.status.as_ref()?.conditions.as_ref());
        all.into_iter().flatten().any(|each| {
            each.type_ == kind && each.status == "True" && each.message.as_deref() == Some(message)
        })
    };
    let told = move |shop: Option<&Namespace>| {
        says(
            shop,
            "NamespaceContentRemaining",
            "Some resources are remaining: things.example.com has 1 resource instances",
        ) && says(
            shop,
            "NamespaceFinalizersRemaining",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
        )
    };
    let namespaces: Api<Namespace> = Api::all(cluster.server.client());
    wait(namespaces.clone(), "shop", told).await?;
    let refused = cluster
        .server
        .json(
            Method::POST,
            path,
            &json!({"apiVersion": "example.com/v1",
        "kind": "Thing", "metadata": {"name": "late"}}),
        )
        .await?;
    assert_eq!(refused.code, 403, "{}", refused.text());
    finalizers(&cluster, &format!("{path}/held"), Value::Null).await?;
    wait(namespaces, "shop", conditions::is_deleted(uid(&shop))).await?;
    Ok(())
}
