//! Several versions of one kind.

use anyhow::Result;
use gantry_testing::TestServer;
use http::Method;
use serde_json::{Value, json};

use crate::fixture::{DEFINITIONS, THINGS, Watch, define, definition, expect, thing, version};

const SECOND: &str = "/apis/example.com/v2/namespaces/default/things";

fn two() -> Value {
    let mut definition = definition(json!({}));
    definition["spec"]["versions"] = json!([
        version("v1", true, json!({"a": {"type": "string"}, "both": {"type": "string"}})),
        version("v2", false, json!({"b": {"type": "string"}, "both": {"type": "string"}})),
    ]);
    definition
}

#[tokio::test]
async fn an_object_is_seen_in_every_version() -> Result<()> {
    let server = TestServer::start().await?;
    define(&server, &two()).await?;
    let mut watch = Watch::open(&server, SECOND).await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"a": "1", "both": "x"}))).await?, 201)?;
    let seen = watch.expect("ADDED t").await?;
    assert_eq!((&seen["apiVersion"], &seen["spec"]), (&json!("example.com/v2"), &json!({"both": "x"})));
    let read = expect(&server.get(&format!("{SECOND}/t")).await?, 200)?;
    assert_eq!(read, seen);
    let list = expect(&server.get(SECOND).await?, 200)?;
    assert_eq!((&list["apiVersion"], &list["items"][0]), (&json!("example.com/v2"), &seen));
    // What is written in one version is stored in the other.
    let mut second = thing("u", json!({"b": "2", "both": "y"}));
    second["apiVersion"] = "example.com/v2".into();
    let created = expect(&server.json(Method::POST, SECOND, &second).await?, 201)?;
    assert_eq!(created["apiVersion"], "example.com/v2");
    let read = expect(&server.get(&format!("{THINGS}/u")).await?, 200)?;
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!("example.com/v1"), &json!({"both": "y"})));
    let wrong = server.json(Method::POST, SECOND, &thing("w", json!({}))).await?;
    assert_eq!(
        expect(&wrong, 400)?["message"],
        "the API version in the data (example.com/v1) does not match the expected API version (example.com/v2)"
    );
    Ok(())
}

#[tokio::test]
async fn the_stored_version_moves() -> Result<()> {
    let server = TestServer::start().await?;
    define(&server, &two()).await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"both": "x"}))).await?, 201)?;
    let path = format!("{DEFINITIONS}/things.example.com");
    let mut definition = expect(&server.get(&path).await?, 200)?;
    definition["spec"]["versions"][0]["storage"] = false.into();
    definition["spec"]["versions"][1]["storage"] = true.into();
    let changed = expect(&server.json(Method::PUT, &path, &definition).await?, 200)?;
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    let key = "/registry/example.com/things/default/t";
    let stored = || {
        let entry = server.store.snapshot().get(key).cloned();
        entry.and_then(|entry| serde_json::from_slice::<Value>(&entry.value).ok()).unwrap_or_default()
    };
    assert_eq!(stored()["apiVersion"], "example.com/v1");
    let mut watch = Watch::open(&server, &format!("{SECOND}?resourceVersion=0")).await?;
    let object = watch.expect("ADDED t").await?;
    // Written anew as it is, it moves to the version that is stored now.
    expect(&server.json(Method::PUT, &format!("{SECOND}/t"), &object).await?, 200)?;
    assert_eq!(stored()["apiVersion"], "example.com/v2");
    let mut definition = expect(&server.get(&path).await?, 200)?;
    definition["status"]["storedVersions"] = json!(["v2"]);
    expect(&server.json(Method::PUT, &format!("{path}/status"), &definition).await?, 200)?;
    Ok(())
}

#[tokio::test]
async fn a_version_that_is_deprecated_or_not_served() -> Result<()> {
    let server = TestServer::start().await?;
    let mut definition = two();
    definition["spec"]["versions"][0]["deprecated"] = true.into();
    definition["spec"]["versions"][1]["served"] = false.into();
    define(&server, &definition).await?;
    let read = server.get(THINGS).await?;
    assert_eq!(read.headers["warning"], "299 - \"example.com/v1 Thing is deprecated\"");
    assert_eq!(server.get(SECOND).await?.code, 404);
    Ok(())
}
