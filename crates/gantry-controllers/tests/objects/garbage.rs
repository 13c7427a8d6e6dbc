//! What belongs to something that is gone goes, in the way that was asked for.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use gantry_controllers::{deployment, garbage_collector, replicaset, serviceaccount};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};

use crate::cluster::Cluster;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.run("generic-garbage-collector", garbage_collector::run);
    Ok(cluster)
}

/// Makes a ConfigMap with these owners, each with `blockOwnerDeletion`, and returns it.
async fn map(cluster: &Cluster, name: &str, owners: &[&Value]) -> Result<Value> {
    map_in(cluster, "default", name, owners).await
}

async fn map_in(cluster: &Cluster, namespace: &str, name: &str, owners: &[&Value]) -> Result<Value> {
    let owners = owners.iter().map(|owner| {
        let metadata = &owner["metadata"];
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"],
            "blockOwnerDeletion": true,
        })
    });
    let object = json!({"metadata": {"name": name, "ownerReferences": owners.collect::<Vec<_>>()}});
    cluster.send(Method::POST, &format!("/api/v1/namespaces/{namespace}/configmaps"), &object).await
}

fn find<'a>(all: &'a [Arc<ConfigMap>], name: &str) -> Option<&'a Arc<ConfigMap>> {
    all.iter().find(|each| each.metadata.name.as_deref() == Some(name))
}

async fn delete(cluster: &Cluster, path: &str, policy: &str) -> Result<Value> {
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    cluster.send(Method::DELETE, path, &options).await
}

#[tokio::test]
async fn dependents_go_with_their_last_owner() -> Result<()> {
    let cluster = start().await?;
    let (one, two) = (map(&cluster, "one", &[]).await?, map(&cluster, "two", &[]).await?);
    let shared = map(&cluster, "shared", &[&one, &two]).await?;
    map(&cluster, "child", &[&shared]).await?;
    delete(&cluster, &format!("{MAPS}/one"), "Background").await?;
    let owners = |all: &[Arc<ConfigMap>]| {
        let references = find(all, "shared")?.metadata.owner_references.clone()?;
        Some(references.into_iter().map(|reference| reference.name).collect::<Vec<_>>())
    };
    cluster.until("the reference to go", |all| owners(all) == Some(vec!["two".into()])).await?;
    delete(&cluster, &format!("{MAPS}/two"), "Background").await?;
    cluster
        .until("all to go", |all| {
            ["one", "two", "shared", "child"].iter().all(|name| find(all, name).is_none())
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn in_the_foreground_the_owner_goes_last() -> Result<()> {
    let cluster = start().await?;
    let owner = map(&cluster, "owner", &[]).await?;
    let mut held = map(&cluster, "held", &[&owner]).await?;
    map(&cluster, "free", &[&owner]).await?;
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    held = cluster.send(Method::PUT, &format!("{MAPS}/held"), &held).await?;
    let answer = delete(&cluster, &format!("{MAPS}/owner"), "Foreground").await?;
    assert_eq!(answer["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let all = cluster
        .until("the dependents to be deleted", |all| {
            let leaves = |map: &Arc<ConfigMap>| map.metadata.deletion_timestamp.is_some();
            find(all, "free").is_none() && find(all, "held").is_some_and(leaves)
        })
        .await?;
    find(&all, "owner").context("the owner waits")?;
    let patch = json!({"metadata": {"finalizers": null}});
    let path = format!("{MAPS}/held");
    let reply = cluster
        .server
        .request(Method::PATCH, &path, "application/merge-patch+json", patch.to_string())
        .await?;
    assert_eq!(reply.code, 200, "{held}");
    cluster.until("both to go", |all| find(all, "owner").is_none() && find(all, "held").is_none()).await?;
    Ok(())
}

#[tokio::test]
async fn orphans_stay_without_their_owner() -> Result<()> {
    let cluster = start().await?;
    let (owner, other) = (map(&cluster, "owner", &[]).await?, map(&cluster, "other", &[]).await?);
    map(&cluster, "child", &[&owner, &other]).await?;
    cluster.until("the child", |all| find(all, "child").is_some()).await?;
    delete(&cluster, &format!("{MAPS}/owner"), "Orphan").await?;
    let all = cluster.until("the owner to go", |all| find(all, "owner").is_none()).await?;
    let child = find(&all, "child").context("the child stays")?;
    let owners: Vec<_> =
        child.metadata.owner_references.iter().flatten().map(|reference| reference.name.as_str()).collect();
    assert_eq!(owners, ["other"]);
    Ok(())
}

#[tokio::test]
async fn an_owner_that_is_not_there_is_none() -> Result<()> {
    let cluster = start().await?;
    cluster.send(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "far"}})).await?;
    // The same name, but another object; one that is in another namespace; one of no kind at all.
    let mut forged = map(&cluster, "owner", &[]).await?;
    let far = map_in(&cluster, "far", "distant", &[]).await?;
    forged["metadata"]["uid"] = json!("0f8fad5b-d9cb-469f-a165-70867728950e");
    map(&cluster, "forged", &[&forged]).await?;
    let unkind = json!({"metadata": {"name": "unkind", "ownerReferences": [
        {"apiVersion": "example.com/v1", "kind": "Nothing", "name": "n", "uid": "u"}]}});
    cluster.send(Method::POST, MAPS, &unkind).await?;
    map(&cluster, "near", &[&far]).await?;
    let gone = |all: &[Arc<ConfigMap>]| find(all, "forged").is_none() && find(all, "near").is_none();
    let all = cluster.until("the dependents to go", |all| find(all, "unkind").is_some() && gone(all)).await?;
    assert!(find(&all, "distant").is_some());
    let uid = far["metadata"]["uid"].as_str().unwrap_or_default();
    let message = format!(
        "ownerRef [v1/ConfigMap, namespace: default, name: distant, uid: {uid}] does not exist in namespace \"default\""
    );
    cluster
        .until("the event", |all: &[Arc<Event>]| {
            all.iter().any(|event| {
                event.reason.as_deref() == Some("OwnerRefInvalidNamespace")
                    && event.message.as_ref() == Some(&message)
                    && event.involved_object.name.as_deref() == Some("near")
            })
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_deployment_and_all_that_is_its() -> Result<()> {
    let cluster = start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("deployment-controller", deployment::run);
    cluster.run("replicaset-controller", replicaset::run);
    for policy in ["Background", "Foreground", "Orphan"] {
        let app = policy.to_lowercase();
        let web = json!({"metadata": {"name": app}, "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": app}}, "template": {
                "metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        cluster.send(Method::POST, DEPLOYMENTS, &web).await?;
        let pods = |all: &[Arc<Pod>]| {
            let of_app = |pod: &&Arc<Pod>| pod.metadata.labels.as_ref().is_some_and(|all| all["app"] == app);
            all.iter().filter(of_app).count()
        };
        cluster.until("the pods", |all| pods(all) == 2).await?;
        delete(&cluster, &format!("{DEPLOYMENTS}/{app}"), policy).await?;
        cluster.until("the end", |all: &[Arc<Deployment>]| all.is_empty()).await?;
        if policy == "Orphan" {
            let sets = cluster.until("the set", |all: &[Arc<ReplicaSet>]| all.len() == 1).await?;
            assert_eq!(sets[0].metadata.owner_references.as_deref().unwrap_or_default(), []);
            cluster.until("the pods stay", |all| pods(all) == 2).await?;
        } else {
            cluster.until("no pods", |all| pods(all) == 0).await?;
            cluster.until("no sets", |all: &[Arc<ReplicaSet>]| all.is_empty()).await?;
        }
    }
    Ok(())
}
