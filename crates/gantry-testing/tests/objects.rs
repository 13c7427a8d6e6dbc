//! Writes of whole objects and what clients learn the API from.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{HeaderValue, Method};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn names_are_generated_and_dry_runs_store_nothing() -> Result<()> {
    let server = TestServer::start().await?;
    let object = json!({"metadata": {"generateName": "map-"}});
    let made = server.json(Method::POST, MAPS, &object).await?;
    let name = made.json()["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    assert!(made.code == 201 && name.starts_with("map-") && name.len() == 9, "{}", made.text());
    let dry = server
        .json(Method::POST, &format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "dry"}}))
        .await?;
    assert_eq!(dry.code, 201);
    assert_eq!(server.get(&format!("{MAPS}/dry")).await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn a_finalizer_holds_a_deleted_object() -> Result<()> {
    let server = TestServer::start().await?;
    let object = json!({"metadata": {"name": "a", "finalizers": ["example.com/hold"]}});
    server.json(Method::POST, MAPS, &object).await?;
    let path = format!("{MAPS}/a");
    let held = server.json(Method::DELETE, &path, &Value::Null).await?.json();
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    let patch = json!({"metadata": {"finalizers": null}}).to_string();
    let freed = server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    assert_eq!(freed.code, 200, "{}", freed.text());
    assert_eq!(server.get(&path).await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn apply_makes_and_changes_and_conflicts() -> Result<()> {
    let server = TestServer::start().await?;
    let apply = async |manager: &str, value: &str| {
        let body =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}});
        let path = format!("{MAPS}/a?fieldManager={manager}");
        server.request(Method::PATCH, &path, "application/apply-patch+yaml", body.to_string()).await
    };
    let made = apply("one", "1").await?;
    assert_eq!(made.code, 201, "{}", made.text());
    assert_eq!(apply("one", "2").await?.json()["data"]["k"], "2");
    assert_eq!(apply("two", "3").await?.code, 409);
    Ok(())
}

#[tokio::test]
async fn the_api_describes_itself() -> Result<()> {
    let server = TestServer::start().await?;
    let groups = server.get("/apis").await?.json();
    assert!(
        groups["groups"].as_array().is_some_and(|groups| groups.iter().any(|each| each["name"] == "apps"))
    );
    let core = server.get("/api/v1").await?.json();
    assert!(
        core["resources"].as_array().is_some_and(|all| all.iter().any(|each| each["name"] == "pods/log"))
    );
    let index = server.get("/openapi/v3").await?.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap_or_default().to_owned();
    let document = server.get(&url).await?.json();
    let deployment = &document["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"];
    assert_eq!(deployment["description"], "Deployment enables declarative updates for Pods and ReplicaSets.");
    let cached = server.get(&url).await?.headers;
    assert_eq!(
        (&cached["cache-control"], &cached["vary"]),
        (
            &HeaderValue::from_static("public, immutable"),
            &HeaderValue::from_static("Accept, Accept-Encoding")
        )
    );
    assert!(cached["expires"].to_str()?.ends_with(" GMT"), "{cached:?}");
    let unhashed = server.get("/openapi/v3/apis/apps/v1").await?.headers;
    assert_eq!(unhashed.get("expires"), None);
    let moved = server.get("/openapi/v3/apis/apps/v1?hash=0").await?;
    assert_eq!((moved.code.as_u16(), moved.headers["location"].to_str()?), (301, url.as_str()));
    let ready = server.get("/readyz?verbose").await?.text();
    for check in
        ["ping", "etcd", "etcd-readiness", "informer-sync", "poststarthook/rbac/bootstrap-roles", "shutdown"]
    {
        assert!(ready.lines().any(|line| line == format!("[+]{check} ok")), "{check}: {ready}");
    }
    assert!(ready.ends_with("readyz check passed\n"), "{ready}");
    assert_eq!(server.get("/livez/etcd").await?.text(), "ok");
    assert_eq!(server.get("/livez/shutdown").await?.code, 404, "only readiness ends before the server");
    assert!(server.get("/metrics").await?.text().contains("apiserver_request_total"));
    Ok(())
}
