//! Deleting a collection: what is selected, a page at a time, each as by its own deletion.

use anyhow::{Context, Result};
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

use crate::pods::{PODS, delete, pod, start};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn fill(server: &TestServer) -> Result<()> {
    for (name, team) in [("a", "x"), ("b", "y"), ("c", "x"), ("d", "x")] {
        let object = json!({"metadata": {"name": name, "labels": {"team": team}}});
        server.json(Method::POST, MAPS, &object).await?;
    }
    Ok(())
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().into_iter().flatten();
    items.filter_map(|each| each["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn selectors_say_what_goes() -> Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let (code, gone) = delete(
        &server,
        &format!("{MAPS}?labelSelector=team%3Dx&fieldSelector=metadata.name%21%3Dc"),
        &Value::Null,
    )
    .await?;
    assert_eq!((code, &gone["kind"]), (200, &json!("ConfigMapList")));
    assert_eq!(names(&gone), ["a", "d"]);
    assert_eq!(gone["items"][0]["metadata"]["deletionTimestamp"], Value::Null);
    assert_eq!(names(&server.get(MAPS).await?.json()), ["b", "c"]);
    let (code, none) = delete(&server, &format!("{MAPS}?labelSelector=team%3Dz"), &Value::Null).await?;
    assert_eq!((code, names(&none)), (200, vec![]));
    Ok(())
}

#[tokio::test]
async fn a_limit_leaves_the_rest() -> Result<()> {
    let server = TestServer::start().await?;
    fill(&server).await?;
    let (_, first) = delete(&server, &format!("{MAPS}?limit=3"), &Value::Null).await?;
    assert_eq!(names(&first), ["a", "b", "c"]);
    let token = first["metadata"]["continue"].as_str().context("no token")?;
    let (_, second) = delete(&server, &format!("{MAPS}?limit=3&continue={token}"), &Value::Null).await?;
    assert_eq!(names(&second), ["d"]);
    assert_eq!(names(&server.get(MAPS).await?.json()), Vec::<&str>::new());
    Ok(())
}

#[tokio::test]
async fn options_hold_for_each() -> Result<()> {
    let server = start().await?;
    pod(&server, "a", "n1").await?;
    pod(&server, "b", "").await?;
    delete(&server, PODS, &json!({"gracePeriodSeconds": 5, "propagationPolicy": "Background"})).await?;
    let left = server.get(PODS).await?.json();
    assert_eq!(names(&left), ["a"]);
    assert_eq!(left["items"][0]["metadata"]["deletionGracePeriodSeconds"], 5);
    fill(&server).await?;
    delete(&server, MAPS, &json!({"propagationPolicy": "Orphan"})).await?;
    let left = server.get(MAPS).await?.json();
    assert!(left["items"].as_array().is_some_and(|all| {
        all.len() == 4 && all.iter().all(|each| each["metadata"]["finalizers"] == json!(["orphan"]))
    }));
    Ok(())
}

#[tokio::test]
async fn some_kinds_have_no_such_verb() -> Result<()> {
    let server = TestServer::start().await?;
    for path in ["/api/v1/namespaces", "/api/v1/namespaces/default/services?labelSelector=a%3Db"] {
        let (code, answer) = delete(&server, path, &Value::Null).await?;
        let expect = if path.ends_with("namespaces") { 405 } else { 200 };
        assert_eq!(code, expect, "{path}: {answer}");
    }
    Ok(())
}
