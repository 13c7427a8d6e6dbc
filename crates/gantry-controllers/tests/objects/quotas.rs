//! Quotas: what a namespace uses is counted, kept within bounds and given back.

use std::sync::Arc;

use anyhow::Result;
use futures::future::join_all;
use gantry_controllers::{resourcequota, serviceaccount};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::core::v1::ResourceQuota;

use crate::cluster::Cluster;

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("resourcequota-controller", resourcequota::run);
    Ok(cluster)
}

/// Waits until the quota `name` says this of what is used.
async fn until(cluster: &Cluster, name: &str, used: Value) -> Result<()> {
    let says = |all: &[Arc<ResourceQuota>]| {
        let quota = all.iter().find(|quota| quota.metadata.name.as_deref() == Some(name));
        let status = quota.and_then(|quota| quota.status.clone()).unwrap_or_default();
        json!(status.used) == used && json!(status.hard).is_object()
    };
    cluster.until(&format!("{name} to be {used}"), says).await.map(drop)
}

fn pod(name: &str, cpu: &str) -> Value {
    let resources = json!({"requests": {"cpu": cpu}});
    json!({"metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

#[tokio::test]
async fn what_is_used_follows_what_is_there() -> Result<()> {
    let cluster = cluster().await?;
    let map = json!({"metadata": {"name": "before"}});
    cluster.send(Method::POST, "/api/v1/namespaces/default/configmaps", &map).await?;
    let hard =
        json!({"pods": "2", "requests.cpu": "1", "configmaps": "2", "count/leases.coordination.k8s.io": "1"});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": hard}});
    cluster.send(Method::POST, QUOTAS, &quota).await?;
    let used = |pods: &str, cpu: &str, maps: &str, leases: &str| json!({"pods": pods, "requests.cpu": cpu, "configmaps": maps, "count/leases.coordination.k8s.io": leases});
    until(&cluster, "q", used("0", "0", "1", "0")).await?;

    cluster.send(Method::POST, PODS, &pod("a", "400m")).await?;
    until(&cluster, "q", used("1", "400m", "1", "0")).await?;
    let refused = cluster.server.json(Method::POST, PODS, &pod("b", "700m")).await?;
    assert_eq!(refused.code, 403);
    let why = "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=400m, \
               limited: requests.cpu=1";
    assert_eq!(refused.json()["message"], why);
    let silent = json!({"metadata": {"name": "b"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let refused = cluster.server.json(Method::POST, PODS, &silent).await?;
    assert_eq!(
        refused.json()["message"],
        "pods \"b\" is forbidden: failed quota: q: must specify requests.cpu for: c"
    );
    // Neither a refusal nor a name that is taken, nor what is only tried, uses anything.
    assert_eq!(cluster.server.json(Method::POST, PODS, &pod("a", "100m")).await?.code, 409);
    let tried = format!("{PODS}?dryRun=All");
    assert_eq!(cluster.server.json(Method::POST, &tried, &pod("b", "100m")).await?.code, 201);
    let read = cluster.server.get(&format!("{QUOTAS}/q")).await?.json();
    assert_eq!(read["status"]["used"], used("1", "400m", "1", "0"));

    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "x"}});
    cluster.send(Method::POST, leases, &lease).await?;
    let refused = cluster.server.json(Method::POST, leases, &json!({"metadata": {"name": "m"}})).await?;
    assert_eq!(refused.code, 403, "{}", refused.text());

    // What goes, and what has ended, is given back.
    cluster.send(Method::DELETE, &format!("{leases}/l"), &json!({})).await?;
    until(&cluster, "q", used("1", "400m", "1", "0")).await?;
    cluster.send(Method::DELETE, "/api/v1/namespaces/default/configmaps/before", &json!({})).await?;
    until(&cluster, "q", used("1", "400m", "0", "0")).await?;
    let ended = json!({"status": {"phase": "Succeeded"}}).to_string();
    let path = format!("{PODS}/a/status");
    cluster.server.request(Method::PATCH, &path, "application/merge-patch+json", ended).await?;
    until(&cluster, "q", used("0", "0", "0", "0")).await?;
    Ok(())
}

/// Many at once, and some go meanwhile: there are never more than the quota lets.
#[tokio::test]
async fn nobody_gets_past_a_quota() -> Result<()> {
    const ALLOWED: usize = 7;
    let cluster = cluster().await?;
    let maps = "/api/v1/namespaces/default/configmaps";
    for name in ["one", "two"] {
        let hard = json!({"configmaps": ALLOWED.to_string()});
        cluster
            .send(Method::POST, QUOTAS, &json!({"metadata": {"name": name}, "spec": {"hard": hard}}))
            .await?;
    }
    until(&cluster, "one", json!({"configmaps": "0"})).await?;
    until(&cluster, "two", json!({"configmaps": "0"})).await?;
    for round in 0..4 {
        let made = join_all((0..30).map(|at| {
            let (cluster, map) = (&cluster, json!({"metadata": {"name": format!("r{round}-{at}")}}));
            async move { cluster.server.json(Method::POST, maps, &map).await }
        }))
        .await;
        let codes = made.into_iter().map(|reply| Ok(reply?.code.as_u16())).collect::<Result<Vec<_>>>()?;
        assert!(codes.iter().all(|code| matches!(code, 201 | 403)), "{codes:?}");
        let items = cluster.server.get(maps).await?.json()["items"].take();
        let names: Vec<_> =
            items.as_array().into_iter().flatten().map(|map| map["metadata"]["name"].clone()).collect();
        assert_eq!(names.len(), ALLOWED, "round {round}");
        let gone = round + 1;
        join_all(names.iter().take(gone).map(|name| {
            let path = format!("{maps}/{}", name.as_str().unwrap_or_default());
            let cluster = &cluster;
            async move { cluster.send(Method::DELETE, &path, &json!({})).await }
        }))
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
        let left = (ALLOWED - gone).to_string();
        until(&cluster, "one", json!({"configmaps": left})).await?;
        until(&cluster, "two", json!({"configmaps": left})).await?;
    }
    Ok(())
}
