//! Patches of objects of custom kinds, and whose their fields are.

use anyhow::Result;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::Method;

use crate::fixture::{THINGS, define, definition, expect, thing};

async fn server() -> Result<TestServer> {
    let server = TestServer::start().await?;
    let properties = json!({
        "a": {"type": "string"}, "b": {"type": "string"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"],
                "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    });
    define(&server, &definition(properties)).await?;
    Ok(server)
}

async fn apply(server: &TestServer, manager: &str, spec: Value) -> Result<Reply> {
    let path = format!("{THINGS}/t?fieldManager={manager}");
    server.request(Method::PATCH, &path, "application/apply-patch+yaml", thing("t", spec).to_string()).await
}

#[tokio::test]
async fn patches_by_their_formats() -> Result<()> {
    let server = server().await?;
    expect(&server.json(Method::POST, THINGS, &thing("t", json!({"a": "1"}))).await?, 201)?;
    let patch = async |format: &str, body: Value| {
        let body = body.to_string();
        server.request(Method::PATCH, &format!("{THINGS}/t"), format, body).await
    };
    let merged = patch("application/merge-patch+json", json!({"spec": {"a": null, "b": "2"}})).await?;
    assert_eq!(expect(&merged, 200)?["spec"], json!({"b": "2"}));
    let steps = json!([{"op": "test", "path": "/spec/b", "value": "2"}, {"op": "add", "path": "/spec/a", "value": "3"}]);
    let patched = patch("application/json-patch+json", steps).await?;
    assert_eq!(expect(&patched, 200)?["spec"], json!({"a": "3", "b": "2"}));
    let strategic = patch("application/strategic-merge-patch+json", json!({"spec": {"a": "4"}})).await?;
    assert_eq!(
        expect(&strategic, 415)?["message"],
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
    );
    let wrong = patch("application/merge-patch+json", json!({"spec": {"a": 5}})).await?;
    assert_eq!(expect(&wrong, 422)?["details"]["causes"][0]["field"], "spec.a");
    Ok(())
}

#[tokio::test]
async fn apply_goes_by_the_schemas_structure() -> Result<()> {
    let server = server().await?;
    let first = apply(
        &server,
        "one",
        json!({"a": "1", "ports": [{"name": "x", "port": 1}], "free": {"k": {"l": 1}}}),
    )
    .await?;
    let object = expect(&first, 201)?;
    assert_eq!(
        object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"],
        json!({"f:a": {}, "f:ports": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:port": {}}},
            "f:free": {"f:k": {".": {}, "f:l": {}}}})
    );
    let second =
        apply(&server, "two", json!({"b": "2", "ports": [{"name": "y", "port": 2}], "free": {"m": 2}}))
            .await?;
    let object = expect(&second, 200)?;
    assert_eq!(object["spec"]["ports"], json!([{"name": "x", "port": 1}, {"name": "y", "port": 2}]));
    assert_eq!(object["spec"]["free"], json!({"k": {"l": 1}, "m": 2}));
    let conflict = expect(&apply(&server, "two", json!({"a": "2"})).await?, 409)?;
    assert_eq!(conflict["details"]["causes"][0]["field"], ".spec.a");
    // What nobody wants any longer goes.
    let object = expect(&apply(&server, "one", json!({"a": "1"})).await?, 200)?;
    assert_eq!(
        object["spec"],
        json!({"a": "1", "b": "2", "ports": [{"name": "y", "port": 2}], "free": {"m": 2}})
    );
    let wrong = expect(&apply(&server, "one", json!({"a": 1, "ports": 2})).await?, 500)?;
    assert_eq!(
        (&wrong["message"], wrong["reason"].as_str().unwrap_or_default()),
        (
            &json!(
                "failed to create typed patch object (default/t; example.com/v1, Kind=Thing): errors:\n  .spec.a: expected \
                 string, got &value.valueUnstructured{Value:1}\n  .spec.ports: expected list, got &{2}"
            ),
            ""
        )
    );
    let unknown = expect(&apply(&server, "one", json!({"z": 1})).await?, 500)?;
    assert_eq!(
        unknown["message"],
        "failed to create typed patch object (default/t; example.com/v1, Kind=Thing): .spec.z: field not declared in schema"
    );
    Ok(())
}

#[tokio::test]
async fn items_that_are_not_told_apart_are_not_applied() -> Result<()> {
    let server = server().await?;
    let check = async |spec: Value, why: &str| -> Result<()> {
        let refused = expect(&apply(&server, "one", spec).await?, 500)?;
        let told =
            format!("failed to create typed patch object (default/t; example.com/v1, Kind=Thing): {why}");
        assert_eq!((&refused["message"], refused.get("reason")), (&json!(told), None));
        Ok(())
    };
    let twice = ".spec.set: duplicate entries for key [=\"a\"]";
    // The object is not there yet.
    check(json!({"set": ["a", "b", "a"]}), twice).await?;
    let object = expect(&apply(&server, "one", json!({"set": ["a", "b"]})).await?, 201)?;
    assert_eq!(object["spec"]["set"], json!(["a", "b"]));
    check(json!({"set": ["a", "b", "a"]}), twice).await?;
    let keyless = ".spec.ports: element 1: associative list with keys has an element that omits all key fields \
                   [\"name\"] (and doesn't have default values for any key fields)";
    check(json!({"ports": [{"name": "x"}, {"port": 1}]}), keyless).await?;
    let both = json!({"set": ["a", "a"], "ports": [{"port": 1}, {"name": "x"}]});
    check(both, &format!("errors:\n  {}\n  {twice}", keyless.replace("element 1", "element 0"))).await?;
    Ok(())
}
