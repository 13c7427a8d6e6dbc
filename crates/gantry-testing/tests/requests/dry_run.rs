//! Dry runs: the answer is the same, nothing is written.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

use crate::pods::{PODS, delete, pod, start};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// Every object and its revision, but for the Lease that the server renews.
fn all(server: &TestServer) -> Vec<(String, u64)> {
    let snapshot = server.store.snapshot();
    let others = snapshot
        .range("/", None)
        .filter(|entry| !entry.key.starts_with("/registry/coordination.k8s.io/leases/"));
    others.map(|entry| (entry.key.to_string(), entry.mod_revision)).collect()
}

#[tokio::test]
async fn every_verb_can_be_tried() -> Result<()> {
    let server = start().await?;
    let object = json!({"metadata": {"name": "a"}, "data": {"k": "1"}});
    server.json(Method::POST, MAPS, &object).await?;
    let path = format!("{MAPS}/a?dryRun=All");
    let before = all(&server);

    let again = server.json(Method::POST, &format!("{MAPS}?dryRun=All"), &object).await?;
    assert_eq!((again.code.as_u16(), &again.json()["reason"]), (409, &json!("AlreadyExists")));
    let made = json!({"metadata": {"generateName": "b-"}});
    let made = server.json(Method::POST, &format!("{MAPS}?dryRun=All"), &made).await?;
    assert_eq!(made.code, 201);
    assert!(made.json()["metadata"]["uid"].is_string(), "{}", made.text());

    let mut changed = object.clone();
    changed["data"]["k"] = "2".into();
    let put = server.json(Method::PUT, &path, &changed).await?;
    assert_eq!((put.code.as_u16(), &put.json()["data"]["k"]), (200, &json!("2")));
    let patch = json!({"data": {"k": "3"}}).to_string();
    for format in ["application/merge-patch+json", "application/strategic-merge-patch+json"] {
        let patched = server.request(Method::PATCH, &path, format, patch.clone()).await?;
        assert_eq!((patched.code.as_u16(), &patched.json()["data"]["k"]), (200, &json!("3")), "{format}");
    }
    for name in ["a", "new"] {
        let body =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"l": "4"}});
        let path = format!("{MAPS}/{name}?dryRun=All&fieldManager=me");
        let applied =
            server.request(Method::PATCH, &path, "application/apply-patch+yaml", body.to_string()).await?;
        assert!(applied.code.is_success(), "{}", applied.text());
        assert_eq!(applied.json()["data"]["l"], "4");
    }
    let (code, status) = delete(&server, &path, &Value::Null).await?;
    assert_eq!((code, &status["status"]), (200, &json!("Success")), "{status}");
    let (code, status) = delete(&server, &format!("{MAPS}/a"), &json!({"dryRun": ["All"]})).await?;
    assert_eq!((code, &status["status"]), (200, &json!("Success")), "{status}");
    let (code, list) = delete(&server, &format!("{MAPS}?dryRun=All"), &Value::Null).await?;
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(1)));

    assert_eq!(all(&server), before, "something was written");
    Ok(())
}

#[tokio::test]
async fn subresources_can_be_tried() -> Result<()> {
    let server = start().await?;
    let pod = pod(&server, "a", "").await?;
    let web = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    server.json(Method::POST, DEPLOYMENTS, &web).await?;
    let before = all(&server);
    let mut running = pod.clone();
    running["status"]["phase"] = "Running".into();
    let status = server.json(Method::PUT, &format!("{PODS}/a/status?dryRun=All"), &running).await?;
    assert_eq!((status.code.as_u16(), &status.json()["status"]["phase"]), (200, &json!("Running")));
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    let bound = server.json(Method::POST, &format!("{PODS}/a/binding?dryRun=All"), &binding).await?;
    assert_eq!(bound.code, 201, "{}", bound.text());
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}});
    let evicted = server.json(Method::POST, &format!("{PODS}/a/eviction?dryRun=All"), &eviction).await?;
    assert_eq!(evicted.code, 201, "{}", evicted.text());
    let patch = json!({"spec": {"replicas": 7}}).to_string();
    let scale = format!("{DEPLOYMENTS}/web/scale?dryRun=All");
    let scaled = server.request(Method::PATCH, &scale, "application/merge-patch+json", patch).await?;
    assert_eq!((scaled.code.as_u16(), &scaled.json()["spec"]["replicas"]), (200, &json!(7)));
    let namespace =
        server.json(Method::DELETE, "/api/v1/namespaces/kube-node-lease?dryRun=All", &Value::Null);
    assert_eq!(namespace.await?.code, 200);
    assert_eq!(all(&server), before, "something was written");
    Ok(())
}

#[tokio::test]
async fn nothing_is_reserved() -> Result<()> {
    let server = TestServer::start().await?;
    let service = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "type": "NodePort", "clusterIP": "10.43.0.77", "ports": [{"port": 80, "nodePort": 30123}]}})
    };
    let tried = server.json(Method::POST, &format!("{SERVICES}?dryRun=All"), &service("a")).await?;
    assert_eq!(tried.code, 201, "{}", tried.text());
    let made = server.json(Method::POST, SERVICES, &service("b")).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let (code, _) = delete(&server, &format!("{SERVICES}/b?dryRun=All"), &Value::Null).await?;
    assert_eq!(code, 200);
    let taken = server.json(Method::POST, SERVICES, &service("c")).await?;
    assert_eq!(taken.code, 422, "the address is b's still: {}", taken.text());
    Ok(())
}
