//! Several versions of one kind.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Answer, TestServer, WebhookServer};
use http::{Method, Request};

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
async fn each_version_is_watched_with_the_same_metadata() -> Result<()> {
    const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let server = TestServer::start().await?;
    let mut definition = definition(json!({}));
    // The longer name moves all that follows it.
    definition["spec"]["versions"] =
        json!([version("v1", true, json!({})), version("v1beta1", false, json!({}))]);
    define(&server, &definition).await?;
    let list = expect(&server.get(THINGS).await?, 200)?;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let created = expect(&server.json(Method::POST, THINGS, &thing("t", json!({}))).await?, 201)?;
    for version in ["v1", "v1beta1", "v1"] {
        let things = THINGS.replace("v1", version);
        let path = format!("{things}?watch=true&resourceVersion={from}&timeoutSeconds=1");
        let request = Request::get(path).header("host", "x").header("accept", PARTIAL).body(Bytes::new())?;
        let reply = server.send(Some(&server.admin), request).await?;
        let seen: Value = reply.text().lines().next().unwrap_or_default().parse()?;
        assert_eq!(seen["object"]["metadata"], created["metadata"], "{version}: {seen}");
    }
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
        entry.and_then(|entry| gantry_json::from_slice::<Value>(&entry.value).ok()).unwrap_or_default()
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
async fn lists_follow_each_change_of_a_schema() -> Result<()> {
    let server = TestServer::start().await?;
    let fields = |more: Value| {
        let mut fields = json!({"a": {"type": "string"}, "b": {"type": "string"}});
        fields
            .as_object_mut()
            .into_iter()
            .for_each(|fields| fields.extend(more.as_object().cloned().unwrap_or_default()));
        json!([version("v1", true, fields)])
    };
    let mut first = definition(json!({}));
    first["spec"]["versions"] = fields(json!({}));
    define(&server, &first).await?;
    for (name, spec) in [("both", json!({"a": "1", "b": "2"})), ("one", json!({"a": "1"}))] {
        expect(&server.json(Method::POST, THINGS, &thing(name, spec)).await?, 201)?;
    }
    let path = format!("{DEFINITIONS}/things.example.com");
    let with_default = json!({"c": {"type": "string", "default": "x"}});
    let without = json!([version("v1", true, json!({"a": {"type": "string"}}))]);
    let changes = [
        (fields(with_default), [json!({"a": "1", "b": "2", "c": "x"}), json!({"a": "1", "c": "x"})]),
        (without, [json!({"a": "1"}), json!({"a": "1"})]),
        (fields(json!({})), [json!({"a": "1", "b": "2"}), json!({"a": "1"})]),
    ];
    for (versions, expected) in changes {
        let mut changed = expect(&server.get(&path).await?, 200)?;
        changed["spec"]["versions"] = versions;
        let mut watch = Watch::open(&server, THINGS).await?;
        expect(&server.json(Method::PUT, &path, &changed).await?, 200)?;
        // A watch ends when the kind is another.
        while watch.try_next().await?.is_some() {}
        // The second list and the object by itself find what the first has noted.
        for _ in 0..2 {
            let list = expect(&server.get(THINGS).await?, 200)?;
            let specs = list["items"].as_array().into_iter().flatten().map(|item| item["spec"].clone());
            assert_eq!(specs.collect::<Vec<_>>(), expected);
        }
        assert_eq!(expect(&server.get(&format!("{THINGS}/both")).await?, 200)?["spec"], expected[0]);
    }
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

/// A webhook that converts Things: `a` of version 1 is `b` of version 2.
async fn converting(server: &TestServer) -> Result<WebhookServer> {
    WebhookServer::start(&server.authority, &[], |_, body| {
        let request = &body["request"];
        let wanted = &request["desiredAPIVersion"];
        let (from, to) = if *wanted == "example.com/v2" { ("a", "b") } else { ("b", "a") };
        let convert = |object: &Value| {
            let mut converted = object.clone();
            converted["apiVersion"] = wanted.clone();
            let value = converted["spec"][from].take();
            converted["spec"] = json!({ to: value });
            converted
        };
        let objects = request["objects"].as_array().into_iter().flatten();
        if objects.clone().any(|object| object["spec"]["a"] == "refuse") {
            return Answer::Json(json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
                "response": {"uid": request["uid"], "result": {"status": "Failure", "message": "no"}}}));
        }
        let converted: Vec<Value> = objects.map(convert).collect();
        Answer::Json(json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": converted}}))
    })
    .await
}

#[tokio::test]
async fn a_webhook_converts() -> Result<()> {
    let server = TestServer::start().await?;
    let hook = converting(&server).await?;
    let mut definition = two();
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"url": hook.url("/convert"), "caBundle": STANDARD.encode(&hook.ca)},
    }});
    define(&server, &definition).await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"a": "1"}))).await?, 201)?;
    assert!(hook.calls().is_empty(), "nobody asks about what is stored as it is written");
    let read = expect(&server.get(&format!("{SECOND}/t")).await?, 200)?;
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!("example.com/v2"), &json!({"b": "1"})));
    let mut second = thing("u", json!({"b": "2"}));
    second["apiVersion"] = "example.com/v2".into();
    let created = expect(&server.json(Method::POST, SECOND, &second).await?, 201)?;
    assert_eq!(created["spec"], json!({"b": "2"}));
    assert_eq!(expect(&server.get(&format!("{THINGS}/u")).await?, 200)?["spec"], json!({"a": "2"}));
    hook.calls();
    let list = expect(&server.get(SECOND).await?, 200)?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(hook.calls().len(), 1, "a list is one call");
    let mut watch = Watch::open(&server, &format!("{SECOND}?resourceVersion=0")).await?;
    watch.expect("ADDED t").await?;
    watch.expect("ADDED u").await?;
    let patch = json!({"spec": {"b": "3"}}).to_string();
    let path = format!("{SECOND}/t");
    let patched = server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    assert_eq!(expect(&patched, 200)?["spec"], json!({"b": "3"}));
    assert_eq!(watch.expect("MODIFIED t").await?["spec"], json!({"b": "3"}));
    expect(&server.json(Method::POST, THINGS, &thing("r", json!({"a": "refuse"}))).await?, 201)?;
    let refused = server.get(&format!("{SECOND}/r")).await?;
    assert_eq!(
        expect(&refused, 500)?["message"],
        "conversion webhook for example.com/v1, Kind=Thing failed: no"
    );
    assert_eq!(watch.next().await?["type"], "ERROR");
    Ok(())
}
