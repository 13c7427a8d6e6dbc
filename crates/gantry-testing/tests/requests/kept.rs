//! What every cluster has comes back when somebody removes it; servers say that they are there.

use anyhow::{Context as _, Result};
use gantry_apiserver::storage;
use gantry_json::{Value, json};
use gantry_store::Store;
use gantry_store::engine::MemoryEngine;
use gantry_testing::TestServer;
use http::Method;
use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;

/// Longer than anything here takes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

fn api(server: &TestServer, group: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
    Api::namespaced_with(server.client(), namespace, &resource)
}

/// Deletes an object and waits for another one of its name; gives it.
async fn comes_back(server: &TestServer, api: Api<DynamicObject>, path: &str, name: &str) -> Result<Value> {
    let path = format!("{path}/{name}");
    let before = server.get(&path).await?.json()["metadata"]["uid"].clone();
    assert!(before.is_string(), "{name}");
    let reply = server.json(Method::DELETE, &path, &Value::Null).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    let again = |object: Option<&DynamicObject>| {
        object.is_some_and(|object| object.metadata.uid.as_deref() != before.as_str())
    };
    let found = tokio::time::timeout(PATIENCE, await_condition(api, name, again)).await.context("in time")?;
    Ok(found?.context("it is there")?.data.into())
}

#[tokio::test]
async fn the_cluster_keeps_what_it_needs() -> Result<()> {
    let server = TestServer::with_config(|config| config.advertise = ([192, 0, 2, 1], 6443).into()).await?;
    let services = "/api/v1/namespaces/default/services";
    let service = comes_back(&server, api(&server, "", "Service", "default"), services, "kubernetes").await?;
    assert_eq!(service["spec"]["clusterIP"], "10.43.0.1");
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let of_slices = api(&server, "discovery.k8s.io", "EndpointSlice", "default");
    let slice = comes_back(&server, of_slices, slices, "kubernetes").await?;
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["192.0.2.1"]));
    let of_maps = api(&server, "", "ConfigMap", "kube-system");
    let name = "kube-apiserver-legacy-service-account-token-tracking";
    let map = comes_back(&server, of_maps, "/api/v1/namespaces/kube-system/configmaps", name).await?;
    assert_eq!(map["data"]["since"].as_str().map(str::len), Some(10), "{map}");

    for name in ["default", "kube-system", "kube-public"] {
        let refused =
            server.json(Method::DELETE, &format!("/api/v1/namespaces/{name}"), &Value::Null).await?;
        let why = format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted");
        assert_eq!((refused.code.as_u16(), &refused.json()["message"]), (403, &json!(why)));
    }
    Ok(())
}

#[tokio::test]
async fn servers_say_that_they_are_there() -> Result<()> {
    let store = Store::with_engine(MemoryEngine::default(), storage::options())?;
    let lease = |name: &str, label: &str, time: &str| {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-system", "uid": name,
                "labels": {"apiserver.kubernetes.io/identity": label}},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 3600, "renewTime": time},
        });
        lease.to_string().into_bytes()
    };
    const PREFIX: &str = "/registry/coordination.k8s.io/leases/kube-system";
    let (past, future) = ("2020-01-01T00:00:00.000000Z", "2120-01-01T00:00:00.000000Z");
    for (name, label, time) in [
        ("gone", "kube-apiserver", past),
        ("other", "kube-apiserver", future),
        ("strange", "something-else", past),
    ] {
        store.create(&format!("{PREFIX}/{name}"), lease(name, label, time), None).await?;
    }
    let server = TestServer::with_store(store).await?;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let of_leases = api(&server, "coordination.k8s.io", "Lease", "kube-system");
    let gone = await_condition(of_leases, "gone", |object: Option<&DynamicObject>| object.is_none());
    tokio::time::timeout(PATIENCE, gone).await.context("in time")??;
    let selector = "labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver";
    let all = server.get(&format!("{leases}?{selector}")).await?.json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2), "{all}");
    let (own, other) = (&all["items"][0], &all["items"][1]);
    assert_eq!(other["metadata"]["name"], "other");
    assert_eq!(server.get(&format!("{leases}/strange")).await?.code, 200);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (name, holder) = (text(&own["metadata"]["name"]), text(&own["spec"]["holderIdentity"]));
    assert!(name.starts_with("apiserver-") && name.len() == 36, "{name}");
    assert!(holder.starts_with(&format!("{name}_")), "{holder}");
    assert_eq!(own["spec"]["leaseDurationSeconds"], 3600);
    assert!(own["metadata"]["labels"]["kubernetes.io/hostname"].is_string(), "{own}");
    Ok(())
}
