//! The end of definitions and of their objects.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

use crate::fixture::{DEFINITIONS, THINGS, Watch, condition, define, definition, expect, thing};

#[tokio::test]
async fn a_definition_waits_for_its_objects() -> Result<()> {
    let server = TestServer::start().await?;
    define(&server, &definition(json!({"a": {"type": "string"}}))).await?;
    for name in ["a", "b"] {
        let mut object = thing(name, json!({}));
        if name == "b" {
            object["metadata"]["finalizers"] = json!(["example.com/hold"]);
        }
        expect(&server.json(Method::POST, THINGS, &object).await?, 201)?;
    }
    let mut things = Watch::open(&server, THINGS).await?;
    things.expect("ADDED a").await?;
    things.expect("ADDED b").await?;
    let path = format!("{DEFINITIONS}/things.example.com");
    let mut definitions = Watch::open(&server, DEFINITIONS).await?;
    definitions.expect("ADDED things.example.com").await?;
    let deleted = expect(&server.json(Method::DELETE, &path, &Value::Null).await?, 200)?;
    assert_eq!(deleted["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let terminating = &deleted["status"]["conditions"][2];
    assert_eq!(
        (&terminating["type"], &terminating["reason"]),
        (&json!("Terminating"), &json!("InstanceDeletionPending"))
    );
    things.expect("DELETED a").await?;
    let marked = things.expect("MODIFIED b").await?;
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    // Nothing new comes while it goes.
    let refused = server.json(Method::POST, THINGS, &thing("c", json!({}))).await?;
    let refused = expect(&refused, 405)?;
    assert_eq!(refused["message"], "create not allowed while custom resource definition is terminating");
    assert_eq!(refused["details"], json!({"group": "example.com", "kind": "things"}));
    let release = json!({"metadata": {"finalizers": null}}).to_string();
    let released = server
        .request(Method::PATCH, &format!("{THINGS}/b"), "application/merge-patch+json", release)
        .await?;
    expect(&released, 200)?;
    things.expect("DELETED b").await?;
    let last = loop {
        let event = definitions.next().await?;
        if event["type"] == "DELETED" {
            break event["object"].clone();
        }
    };
    assert_eq!(condition(&last, "Terminating"), "False");
    assert_eq!(things.try_next().await?, None);
    assert_eq!(server.get(&path).await?.code, 404);
    // The kind is gone as soon as its watches are.
    assert_eq!(server.get(THINGS).await?.code, 404);
    // The same name may come again.
    define(&server, &definition(json!({}))).await?;
    assert_eq!(expect(&server.get(THINGS).await?, 200)?["items"], json!([]));
    Ok(())
}

#[tokio::test]
async fn what_was_never_established_goes_at_once() -> Result<()> {
    let server = TestServer::start().await?;
    define(&server, &definition(json!({}))).await?;
    let mut other = definition(json!({}));
    other["metadata"]["name"] = "others.example.com".into();
    other["spec"]["names"] = json!({"plural": "others", "kind": "Thing"});
    let mut watch =
        Watch::open(&server, &format!("{DEFINITIONS}?fieldSelector=metadata.name=others.example.com"))
            .await?;
    expect(&server.json(Method::POST, DEFINITIONS, &other).await?, 201)?;
    watch.expect("ADDED others.example.com").await?;
    watch.expect("MODIFIED others.example.com").await?;
    let path = format!("{DEFINITIONS}/others.example.com");
    expect(&server.json(Method::DELETE, &path, &Value::Null).await?, 200)?;
    watch.expect("MODIFIED others.example.com").await?;
    watch.expect("DELETED others.example.com").await?;
    Ok(())
}
