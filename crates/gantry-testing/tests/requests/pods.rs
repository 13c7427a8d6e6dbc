//! Grace: how long a pod may take to end.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;
use jiff::Timestamp;

pub const PODS: &str = "/api/v1/namespaces/default/pods";

/// A server where pods can be made.
pub async fn start() -> Result<TestServer> {
    let server = TestServer::start().await?;
    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    Ok(server)
}

/// Makes a pod on `node`, or on none where that is empty, and returns it.
pub async fn pod(server: &TestServer, name: &str, node: &str) -> Result<Value> {
    let mut pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {
        "containers": [{"name": "c", "image": "i"}]}});
    if !node.is_empty() {
        pod["spec"]["nodeName"] = node.into();
    }
    let made = server.json(Method::POST, PODS, &pod).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    Ok(made.json())
}

/// Deletes with these options and returns the answer.
pub async fn delete(server: &TestServer, path: &str, options: &Value) -> Result<(u16, Value)> {
    let reply = server.json(Method::DELETE, path, options).await?;
    Ok((reply.code.as_u16(), reply.json()))
}

fn seconds_left(pod: &Value) -> Result<i64> {
    let time = |name: &str| pod["metadata"][name].as_str().unwrap_or_default().parse::<Timestamp>();
    Ok(time("deletionTimestamp")?.as_second() - time("creationTimestamp")?.as_second())
}

#[tokio::test]
async fn a_pod_gets_the_time_that_it_was_given() -> Result<()> {
    let server = start().await?;
    pod(&server, "a", "n1").await?;
    let path = format!("{PODS}/a");
    let (code, first) = delete(&server, &path, &Value::Null).await?;
    assert_eq!((code, &first["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(30)));
    assert!((30..40).contains(&seconds_left(&first)?), "{first}");
    assert_eq!(first["metadata"]["generation"], 2);
    // It may be shortened, from when it began, and never lengthened.
    let (_, longer) = delete(&server, &path, &json!({"gracePeriodSeconds": 90})).await?;
    assert_eq!(longer["metadata"], first["metadata"]);
    let (_, shorter) = delete(&server, &path, &json!({"gracePeriodSeconds": 20})).await?;
    assert_eq!(seconds_left(&shorter)?, seconds_left(&first)? - 10);
    assert_eq!(shorter["metadata"]["generation"], 2);
    let (code, last) = delete(&server, &format!("{path}?gracePeriodSeconds=0"), &Value::Null).await?;
    assert_eq!((code, &last["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(0)));
    assert_eq!(server.get(&path).await?.code, 404);
    Ok(())
}

#[tokio::test]
async fn a_pod_that_runs_nowhere_goes_at_once() -> Result<()> {
    let server = start().await?;
    pod(&server, "waits", "").await?;
    pod(&server, "done", "n1").await?;
    pod(&server, "hasty", "n1").await?;
    let patch = json!({"status": {"phase": "Succeeded"}}).to_string();
    let path = format!("{PODS}/done/status");
    server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    for (name, options) in
        [("waits", Value::Null), ("done", Value::Null), ("hasty", json!({"gracePeriodSeconds": 0}))]
    {
        let (code, gone) = delete(&server, &format!("{PODS}/{name}"), &options).await?;
        assert_eq!((code, &gone["kind"]), (200, &json!("Pod")), "{name}");
        assert_eq!(server.get(&format!("{PODS}/{name}")).await?.code, 404, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn less_than_no_time_is_a_second() -> Result<()> {
    let server = start().await?;
    pod(&server, "a", "n1").await?;
    let (_, leaving) = delete(&server, &format!("{PODS}/a"), &json!({"gracePeriodSeconds": -1})).await?;
    assert_eq!(leaving["metadata"]["deletionGracePeriodSeconds"], 1);
    Ok(())
}

#[tokio::test]
async fn a_finalizer_outlasts_the_grace_period() -> Result<()> {
    let server = start().await?;
    let mut held = pod(&server, "a", "n1").await?;
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let path = format!("{PODS}/a");
    assert_eq!(server.json(Method::PUT, &path, &held).await?.code, 200);
    delete(&server, &path, &Value::Null).await?;
    let (code, held) = delete(&server, &path, &json!({"gracePeriodSeconds": 0})).await?;
    assert_eq!((code, &held["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(0)), "{held}");
    let patch = json!({"metadata": {"finalizers": null}}).to_string();
    let freed = server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    assert_eq!(freed.code, 200, "{}", freed.text());
    assert_eq!(server.get(&path).await?.code, 404);
    Ok(())
}
