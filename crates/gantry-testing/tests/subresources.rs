//! Subresources write what the object's own update leaves alone, and nothing else.

use anyhow::Result;
use gantry_testing::TestServer;
use http::Method;
use serde_json::{Value, json};

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn pod(server: &TestServer) -> Result<Value> {
    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = server.json(Method::POST, PODS, &pod).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(made.json())
}

#[tokio::test]
async fn status_changes_through_its_subresource_only() -> Result<()> {
    let server = TestServer::start().await?;
    let mut pod = pod(&server).await?;
    pod["status"] = json!({"phase": "Running", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}]});
    let ignored = server.json(Method::PUT, &format!("{PODS}/a"), &pod).await?.json();
    assert_eq!(ignored["status"]["phase"], "Pending", "{ignored}");
    pod["metadata"]["resourceVersion"] = ignored["metadata"]["resourceVersion"].clone();
    let set = server.json(Method::PUT, &format!("{PODS}/a/status"), &pod).await?.json();
    assert_eq!(set["status"]["phase"], "Running", "{set}");
    let patch = json!({"status": {"phase": "Failed"}, "spec": {"priority": 7}}).to_string();
    let patched = server
        .request(Method::PATCH, &format!("{PODS}/a/status"), "application/merge-patch+json", patch)
        .await?
        .json();
    assert_eq!(patched["status"]["phase"], "Failed", "{patched}");
    assert_eq!(patched["spec"], set["spec"]);
    Ok(())
}

#[tokio::test]
async fn a_binding_sets_the_node_and_the_condition() -> Result<()> {
    let server = TestServer::start().await?;
    pod(&server).await?;
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    let bound = server.json(Method::POST, &format!("{PODS}/a/binding"), &binding).await?;
    assert_eq!(bound.code, 201, "{}", bound.text());
    let pod = server.get(&format!("{PODS}/a")).await?.json();
    assert_eq!(pod["spec"]["nodeName"], "n1");
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = conditions.iter().find(|each| each["type"] == "PodScheduled");
    assert_eq!(scheduled.map(|each| &each["status"]), Some(&json!("True")), "{pod}");
    Ok(())
}

#[tokio::test]
async fn a_deleted_namespace_goes_when_it_is_finalized() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, "/api/v1/namespaces", &json!({"metadata": {"name": "shop"}})).await?;
    let path = "/api/v1/namespaces/shop";
    let mut leaving = server.json(Method::DELETE, path, &Value::Null).await?.json();
    assert_eq!(leaving["status"]["phase"], "Terminating", "{leaving}");
    let map = json!({"metadata": {"name": "late"}});
    let refused = server.json(Method::POST, &format!("{path}/configmaps"), &map).await?;
    assert_eq!(refused.code, 403);
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "NamespaceTerminating");
    leaving["status"]["conditions"] = json!([{"type": "NamespaceContentRemaining", "status": "False"}]);
    let told = server.json(Method::PUT, &format!("{path}/status"), &leaving).await?.json();
    assert_eq!(told["status"]["conditions"][0]["type"], "NamespaceContentRemaining", "{told}");
    leaving["metadata"]["resourceVersion"] = told["metadata"]["resourceVersion"].clone();
    leaving["spec"]["finalizers"] = json!([]);
    let done = server.json(Method::PUT, &format!("{path}/finalize"), &leaving).await?;
    assert_eq!(done.code, 200, "{}", done.text());
    assert_eq!(server.get(path).await?.code, 404);
    Ok(())
}
