//! The condition Available, as its causes come and go.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;
use tokio::net::TcpListener;

use crate::extension::{Extension, GROUP, reason};

/// Stores an EndpointSlice as it is: the API takes none on the loopback.
async fn put(server: &TestServer, slice: &Value) -> Result<()> {
    let name = slice["metadata"]["name"].as_str().unwrap_or_default();
    let key = format!("/registry/discovery.k8s.io/endpointslices/default/{name}");
    let bytes = slice.to_string().into_bytes();
    match server.store.snapshot().get(&key).map(|entry| entry.mod_revision) {
        Some(revision) => server.store.update(&key, revision, bytes).await?,
        None => server.store.create(&key, bytes, None).await?,
    };
    Ok(())
}

#[tokio::test]
async fn each_cause_has_its_reason() -> Result<()> {
    let server = TestServer::start().await?;
    let path = format!("/apis/{GROUP}/v1/flunders");
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let extension = Extension::listen(&server, "api", listener)?;
    extension.register_as(&server, "api", 443, json!({})).await?;
    assert_eq!(reason(&server, "ServiceNotFound").await?, "service/api in \"default\" is not present");
    let reply = server.get(&path).await?;
    assert_eq!((reply.code.as_u16(), reply.text().as_str()), (503, "service unavailable\n"));
    assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");

    let services = "/api/v1/namespaces/default/services";
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
        "spec": {"ports": [{"name": "https", "port": 444}]},
    });
    let reply = server.json(Method::POST, services, &service).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    reason(&server, "ServicePortError").await?;
    service = reply.json();
    service["spec"]["ports"][0]["port"] = json!(443);
    server.json(Method::PUT, &format!("{services}/api"), &service).await?;
    reason(&server, "EndpointsNotFound").await?;

    let mut slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "api-x", "namespace": "default", "labels": {"kubernetes.io/service-name": "api"}},
        "ports": [{"name": "https", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": false}}],
    });
    put(&server, &slice).await?;
    reason(&server, "MissingEndpoints").await?;
    slice["endpoints"][0]["conditions"]["ready"] = json!(true);
    put(&server, &slice).await?;
    assert_eq!(reason(&server, "Passed").await?, "all checks passed");
    assert_eq!(server.get(&path).await?.code, 200);
    let metrics = server.get("/metrics").await?.text();
    assert!(metrics.contains("aggregator_unavailable_apiservice{name=\"v1.wardle.example.com\"} 0"));

    // Somebody answers, but not for this.
    drop(extension);
    let taken = TcpListener::bind("127.0.0.1:0").await?;
    slice["ports"][0]["port"] = json!(taken.local_addr()?.port());
    drop(taken);
    put(&server, &slice).await?;
    let why = reason(&server, "FailedDiscoveryCheck").await?;
    assert!(why.starts_with("failing or missing response from https://127.0.0.1:"), "{why}");

    let own = format!("/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}");
    assert_eq!(server.json(Method::DELETE, &own, &json!(null)).await?.code, 200);
    assert_eq!(server.get(&path).await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn what_becomes_local_is_available() -> Result<()> {
    let server = TestServer::start().await?;
    let extension = Extension::start(&server, "api").await?;
    extension.register_as(&server, "api", 443, json!({})).await?;
    reason(&server, "ServiceNotFound").await?;
    let own = format!("/apis/apiregistration.k8s.io/v1/apiservices/v1.{GROUP}");
    let patch = json!({"spec": {"caBundle": null, "service": null}}).to_string();
    let reply = server.request(Method::PATCH, &own, "application/merge-patch+json", patch).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    assert_eq!(reason(&server, "Local").await?, "Local APIServices are always available");
    Ok(())
}
