//! Endpoints and EndpointSlices follow pods as they become ready, unready and go.

use std::sync::Arc;

use anyhow::Result;
use gantry_controllers::{endpoints, endpointslice, endpointslicemirroring, serviceaccount};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::core::v1::{Endpoints, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;

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

/// The addresses in the mirrors of the service `db`.
fn mirrored(all: &[Arc<EndpointSlice>]) -> Vec<String> {
    let own = all.iter().filter(|slice| {
        let labels = slice.metadata.labels.as_ref();
        let label = |name| labels.and_then(|all| all.get(name)).map(String::as_str);
        label("kubernetes.io/service-name") == Some("db")
            && label("endpointslice.kubernetes.io/managed-by")
                == Some("endpointslicemirroring-controller.k8s.io")
    });
    let mut list: Vec<_> =
        own.flat_map(|slice| &slice.endpoints).flat_map(|each| each.addresses.clone()).collect();
    list.sort();
    list
}

#[tokio::test]
async fn endpoints_without_pods_are_mirrored() -> Result<()> {
    const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";
    let cluster = Cluster::start().await?;
    cluster.run("endpointslicemirroring-controller", endpointslicemirroring::run);
    cluster.run("endpoint-controller", endpoints::run);
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "db"}, "spec": {"ports": [{"port": 5432}]}});
    let service = cluster.send(Method::POST, services, &service).await?;
    let subsets =
        json!([{"addresses": [{"ip": "192.0.2.1"}, {"ip": "192.0.2.2"}], "ports": [{"port": 5432}]}]);
    let object = json!({"metadata": {"name": "db"}, "subsets": subsets});
    let mut object = cluster.send(Method::POST, ENDPOINTS, &object).await?;
    cluster.until("the mirror", |all| mirrored(all) == ["192.0.2.1", "192.0.2.2"]).await?;
    object["subsets"][0]["addresses"] = json!([{"ip": "192.0.2.3"}]);
    let mut object = cluster.send(Method::PUT, &format!("{ENDPOINTS}/db"), &object).await?;
    cluster.until("the change", |all| mirrored(all) == ["192.0.2.3"]).await?;

    object["metadata"]["labels"] = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    let mut object = cluster.send(Method::PUT, &format!("{ENDPOINTS}/db"), &object).await?;
    cluster.until("no mirror", |all| mirrored(all).is_empty()).await?;
    object["metadata"]["labels"] = json!({});
    cluster.send(Method::PUT, &format!("{ENDPOINTS}/db"), &object).await?;
    let all = cluster.until("another mirror", |all| mirrored(all) == ["192.0.2.3"]).await?;
    let name = all.iter().find(|slice| !mirrored(std::slice::from_ref(slice)).is_empty());
    let name = name.and_then(|slice| slice.metadata.name.clone()).unwrap_or_default();
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    cluster.send(Method::DELETE, &format!("{slices}/{name}"), &Value::Null).await?;
    let gone =
        |all: &[Arc<EndpointSlice>]| all.iter().all(|each| each.metadata.name.as_deref() != Some(&name));
    cluster.until("a new mirror", |all| gone(all) && mirrored(all) == ["192.0.2.3"]).await?;

    let mut selecting = service;
    selecting["spec"]["selector"] = json!({"app": "db"});
    cluster.send(Method::PUT, &format!("{services}/db"), &selecting).await?;
    cluster.until("the mirror's end", |all| mirrored(all).is_empty()).await?;
    Ok(())
}
