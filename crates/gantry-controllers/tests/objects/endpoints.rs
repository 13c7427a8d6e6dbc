//! Endpoints and EndpointSlices follow pods as they become ready, unready and go.

use std::sync::Arc;

use anyhow::Result;
use gantry_controllers::{endpoints, endpointslice, serviceaccount};
use http::Method;
use k8s_openapi::api::core::v1::{Endpoints, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn ready(cluster: &Cluster, name: &str, ip: &str, ready: bool) -> Result<()> {
    let status = if ready { "True" } else { "False" };
    let body = json!({"metadata": {"name": name}, "status": {
        "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }});
    let patch = body.to_string();
    let path = format!("{PODS}/{name}/status");
    let reply = cluster.server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    anyhow::ensure!(reply.code.is_success(), "{}", reply.text());
    Ok(())
}

/// Each endpoint of the service `web` in slices, as `pod ready`.
fn in_slices(all: &[Arc<EndpointSlice>]) -> Vec<String> {
    let own = all.iter().filter(|slice| {
        slice
            .metadata
            .labels
            .as_ref()
            .and_then(|all| all.get("kubernetes.io/service-name"))
            .is_some_and(|name| name == "web")
    });
    let mut list: Vec<_> = own
        .flat_map(|slice| &slice.endpoints)
        .map(|endpoint| {
            let name =
                endpoint.target_ref.as_ref().and_then(|target| target.name.clone()).unwrap_or_default();
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
            format!("{name} {}", ready == Some(true))
        })
        .collect();
    list.sort();
    list
}

/// The same of the Endpoints object.
fn in_subsets(all: &[Arc<Endpoints>]) -> Vec<String> {
    let own = all.iter().filter(|each| each.metadata.name.as_deref() == Some("web"));
    let mut list = Vec::new();
    for subset in own.flat_map(|each| each.subsets.iter().flatten()) {
        for (addresses, ready) in [(&subset.addresses, true), (&subset.not_ready_addresses, false)] {
            for address in addresses.iter().flatten() {
                let target = address.target_ref.as_ref().and_then(|target| target.name.clone());
                list.push(format!("{} {ready}", target.unwrap_or_default()));
            }
        }
    }
    list.sort();
    list
}

async fn expect(cluster: &Cluster, what: &[&str]) -> Result<()> {
    cluster.until(&format!("slices with {what:?}"), |all| in_slices(all) == what).await?;
    cluster.until(&format!("subsets with {what:?}"), |all| in_subsets(all) == what).await?;
    Ok(())
}

#[tokio::test]
async fn endpoints_follow_their_pods() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("endpointslice-controller", endpointslice::run);
    cluster.run("endpoint-controller", endpoints::run);
    cluster
        .until("the account", |all: &[Arc<ServiceAccount>]| {
            all.iter().any(|each| each.metadata.namespace.as_deref() == Some("default"))
        })
        .await?;
    cluster.send(Method::POST, "/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await?;
    let service =
        json!({"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    cluster.send(Method::POST, "/api/v1/namespaces/default/services", &service).await?;
    for name in ["a", "b"] {
        let pod = json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "i"}]},
        });
        cluster.send(Method::POST, PODS, &pod).await?;
    }
    ready(&cluster, "a", "10.42.0.2", true).await?;
    expect(&cluster, &["a true"]).await?;
    ready(&cluster, "b", "10.42.0.3", false).await?;
    expect(&cluster, &["a true", "b false"]).await?;
    ready(&cluster, "b", "10.42.0.3", true).await?;
    expect(&cluster, &["a true", "b true"]).await?;
    ready(&cluster, "a", "10.42.0.2", false).await?;
    expect(&cluster, &["a false", "b true"]).await?;
    cluster.send(Method::DELETE, &format!("{PODS}/a"), &Value::Null).await?;
    expect(&cluster, &["b true"]).await?;
    let unlabel = json!({"metadata": {"labels": {"app": "other"}}}).to_string();
    cluster
        .server
        .request(Method::PATCH, &format!("{PODS}/b"), "application/merge-patch+json", unlabel)
        .await?;
    expect(&cluster, &[]).await?;
    let slices = cluster.until("one empty slice", |all| in_slices(all).is_empty()).await?;
    let own = slices.iter().filter(|slice| slice.metadata.generate_name.as_deref() == Some("web-")).count();
    assert_eq!(own, 1);
    cluster.send(Method::DELETE, "/api/v1/namespaces/default/services/web", &Value::Null).await?;
    cluster
        .until("no Endpoints", |all: &[Arc<Endpoints>]| {
            all.iter().all(|each| each.metadata.name.as_deref() != Some("web"))
        })
        .await?;
    Ok(())
}
