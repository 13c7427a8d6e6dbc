//! What is said about definitions and objects: faults in upstream's words, and warnings.

use anyhow::Result;
use gantry_json::json;
use gantry_testing::TestServer;
use http::Method;

use crate::fixture::{DEFINITIONS, THINGS, Watch, define, definition, expect, thing};

#[tokio::test]
async fn faults_name_the_field_and_the_rule() -> Result<()> {
    let server = TestServer::start().await?;
    let definition = definition(json!({
        "replicas": {"type": "integer", "maximum": 10},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "name": {"type": "string", "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": "is fixed"}]},
    }));
    define(&server, &definition).await?;
    let wrong = thing("t", json!({"replicas": 11, "mode": "c"}));
    let refused = expect(&server.json(Method::POST, THINGS, &wrong).await?, 422)?;
    assert_eq!(
        refused["message"],
        "Thing.example.com \"t\" is invalid: [spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\", \
         spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10, \
         <nil>: Invalid value: \"null\": some validation rules were not checked because the object was invalid; \
         correct the existing errors to complete validation]"
    );
    let mut made = expect(&server.json(Method::POST, THINGS, &thing("t", json!({"name": "x"}))).await?, 201)?;
    made["spec"]["name"] = "y".into();
    let refused = expect(&server.json(Method::PUT, &format!("{THINGS}/t"), &made).await?, 422)?;
    assert_eq!(
        refused["message"],
        "Thing.example.com \"t\" is invalid: spec.name: Invalid value: \"y\": is fixed"
    );
    Ok(())
}

#[tokio::test]
async fn what_was_wrong_before_the_schema_changed_is_tolerated() -> Result<()> {
    let server = TestServer::start().await?;
    let before = definition(json!({"a": {"type": "string"}, "b": {"type": "string"}}));
    define(&server, &before).await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"a": "long", "b": "x"}))).await?, 201)?;
    let mut watch = Watch::open(&server, THINGS).await?;
    let patch = json!([{"op": "add", "value": 2,
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/a/maxLength"}]);
    let path = format!("{DEFINITIONS}/things.example.com");
    let patched =
        server.request(Method::PATCH, &path, "application/json-patch+json", patch.to_string()).await?;
    expect(&patched, 200)?;
    // Watches end when the kind has become another.
    while watch.try_next().await?.is_some() {}
    let merge = |spec: gantry_json::Value| json!({"spec": spec}).to_string();
    let path = format!("{THINGS}/t");
    let kind = "application/merge-patch+json";
    expect(&server.request(Method::PATCH, &path, kind, merge(json!({"b": "y"}))).await?, 200)?;
    let refused = server.request(Method::PATCH, &path, kind, merge(json!({"a": "other"}))).await?;
    assert_eq!(
        expect(&refused, 422)?["message"],
        "Thing.example.com \"t\" is invalid: spec.a: Too long: may not be more than 2 bytes"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_accepted_may_be_warned_about() -> Result<()> {
    let server = TestServer::start().await?;
    let definition = definition(json!({"a": {"type": "string", "format": "mine"}}));
    let created = server.json(Method::POST, &format!("{DEFINITIONS}?dryRun=All"), &definition).await?;
    expect(&created, 201)?;
    assert_eq!(created.headers["warning"], "299 - \"unrecognized format \\\"mine\\\"\"");
    define(&server, &definition).await?;
    let mut object = thing("t", json!({}));
    object["metadata"]["finalizers"] = json!(["mine"]);
    let created = server.json(Method::POST, &format!("{THINGS}?dryRun=All"), &object).await?;
    expect(&created, 201)?;
    let warning = created.headers["warning"].to_str()?;
    assert!(warning.contains("prefer a domain-qualified finalizer name"), "{warning}");
    Ok(())
}
