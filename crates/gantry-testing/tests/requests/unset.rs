//! Fields that answers show though nobody has set them: null, empty or zero, as upstream's types say.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

/// Creates an object, reads it, and compares what both show but for its metadata with `expect`.
async fn check(server: &TestServer, path: &str, object: Value, expect: Value) -> Result<()> {
    let made = server.json(Method::POST, path, &object).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    for shown in [made.json(), server.get(&format!("{path}/{name}")).await?.json()] {
        let mut shown = shown;
        let fields = shown.as_object_mut().into_iter();
        fields.for_each(|fields| {
            fields.retain(|name, _| !matches!(&**name, "kind" | "apiVersion" | "metadata"))
        });
        assert_eq!(shown, expect, "{path}");
    }
    Ok(())
}

fn named(name: &str, mut rest: Value) -> Value {
    rest["metadata"] = json!({"name": name});
    rest
}

#[tokio::test]
async fn lists_that_nobody_has_set_are_null() -> Result<()> {
    let server = TestServer::start().await?;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    check(&server, roles, named("a", json!({})), json!({"rules": null})).await?;
    // Upstream's storage does not tell an empty list from none.
    check(&server, roles, named("b", json!({"rules": []})), json!({"rules": null})).await?;
    let rule = json!({"nonResourceURLs": ["/x"], "verbs": ["get"]});
    check(&server, roles, named("c", json!({"rules": [rule]})), json!({"rules": [rule]})).await?;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let slice = named("a", json!({"addressType": "IPv4", "endpoints": []}));
    check(&server, slices, slice, json!({"addressType": "IPv4", "endpoints": null, "ports": null})).await?;
    // What has a default is not null.
    let classes = "/apis/networking.k8s.io/v1/ingressclasses";
    let parameters = json!({"kind": "Config", "name": "x"});
    let class = named("a", json!({"spec": {"controller": "a.b/c", "parameters": parameters}}));
    let parameters = json!({"kind": "Config", "name": "x", "scope": "Cluster"});
    check(&server, classes, class, json!({"spec": {"controller": "a.b/c", "parameters": parameters}}))
        .await?;
    let levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    let level =
        named("a", json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}}));
    let made = server.json(Method::POST, levels, &level).await?.json();
    assert_eq!(made["spec"]["limited"]["nominalConcurrencyShares"], 30, "{made}");
    let nodes = "/apis/storage.k8s.io/v1/csinodes";
    let driver = json!({"name": "d", "nodeID": "n"});
    let shown = json!({"spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": null}]}});
    check(&server, nodes, named("n", json!({"spec": {"drivers": [driver]}})), shown).await?;
    check(&server, nodes, named("m", json!({"spec": {}})), json!({"spec": {"drivers": null}})).await?;
    Ok(())
}

#[tokio::test]
async fn objects_that_nobody_has_set_are_empty() -> Result<()> {
    let server = TestServer::start().await?;
    let spaced = |kinds: &str| format!("/api/v1/namespaces/default/{kinds}");
    let quota = named("q", json!({"spec": {"hard": {"pods": "1"}}}));
    check(&server, &spaced("resourcequotas"), quota, json!({"spec": {"hard": {"pods": "1"}}, "status": {}}))
        .await?;
    check(&server, &spaced("endpoints"), named("e", json!({})), json!({})).await?;
    check(&server, &spaced("configmaps"), named("m", json!({"data": {}})), json!({})).await?;
    let policies = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    let policy = named("p", json!({"spec": {}}));
    check(&server, policies, policy, json!({"spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}))
        .await?;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    check(&server, leases, named("l", json!({})), json!({"spec": {}})).await?;
    let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let scaler = named("h", json!({"spec": {"maxReplicas": 3, "scaleTargetRef": target}}));
    let made = server.json(Method::POST, scalers, &scaler).await?.json();
    assert_eq!(made["status"], json!({"currentMetrics": null, "desiredReplicas": 0}), "{made}");
    Ok(())
}

/// The times and references that upstream's types have by value or as they are.
#[tokio::test]
async fn pods_show_what_every_pod_has() -> Result<()> {
    let server = TestServer::start().await?;
    let account = named("default", json!({}));
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let containers = json!([{"name": "c", "image": "i"}]);
    let pod = named("p", json!({"spec": {"containers": containers, "automountServiceAccountToken": false}}));
    let made = server.json(Method::POST, "/api/v1/namespaces/default/pods", &pod).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    let made = made.json();
    assert_eq!(made["spec"]["containers"][0]["resources"], json!({}));
    assert!(made["metadata"].as_object().is_some_and(|meta| meta.contains_key("creationTimestamp")));
    // A template's time is none, and not shown since it can be left out.
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": containers}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let made = server.json(Method::POST, path, &named("d", json!({"spec": spec}))).await?.json();
    assert_eq!(made["spec"]["template"]["metadata"], json!({"labels": {"a": "b"}}));
    assert_eq!(made["status"], json!({}));
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let source = json!({"kind": "PersistentVolumeClaim", "name": "other"});
    let spec = json!({
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "dataSource": source,
    });
    let made = server.json(Method::POST, claims, &named("c", json!({"spec": spec}))).await?.json();
    for field in ["dataSource", "dataSourceRef"] {
        assert_eq!(made["spec"][field].get("apiGroup"), Some(&Value::Null), "{made}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bookmark_is_an_object_that_has_nothing() -> Result<()> {
    let server = TestServer::start().await?;
    let path = "/api/v1/namespaces/none/pods?watch=true&timeoutSeconds=1&sendInitialEvents=true\
                &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut event: Value =
        gantry_json::from_str(server.get(path).await?.text().lines().next().unwrap_or_default())?;
    event["object"]["metadata"]["resourceVersion"] = json!("");
    let metadata = json!({"resourceVersion": "", "annotations": {"k8s.io/initial-events-end": "true"}});
    assert_eq!(
        event,
        json!({"type": "BOOKMARK", "object": {
            "kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": null}, "status": {},
        }})
    );
    Ok(())
}
