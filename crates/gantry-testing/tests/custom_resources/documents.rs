//! What OpenAPI tells of custom kinds.

use anyhow::{Context, Result};
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::Method;

use crate::fixture::{DEFINITIONS, THINGS, Watch, define, definition, expect, version};

const NAME: &str = "com.example.v1.Thing";

async fn v3(server: &TestServer, path: &str) -> Result<Value> {
    let index = expect(&server.get("/openapi/v3").await?, 200)?;
    let url = index["paths"][path]["serverRelativeURL"].as_str().context("it is in the index")?;
    expect(&server.get(url).await?, 200)
}

#[tokio::test]
async fn schemas_and_paths_are_published_and_withdrawn() -> Result<()> {
    let server = TestServer::start().await?;
    let mut definition = definition(json!({}));
    definition["spec"]["versions"] = json!([
        version("v1", true, json!({"a": {"type": "string", "description": "What it is.", "nullable": true}})),
        version("v2", false, json!({"b": {"type": "integer"}})),
    ]);
    define(&server, &definition).await?;
    let document = v3(&server, "apis/example.com/v1").await?;
    let thing = &document["components"]["schemas"][NAME];
    assert_eq!(
        thing["properties"]["spec"]["properties"]["a"],
        json!({"type": "string", "description": "What it is.", "nullable": true})
    );
    assert_eq!(
        thing["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "version": "v1", "kind": "Thing"}])
    );
    assert!(document["components"]["schemas"]["com.example.v1.ThingList"].is_object());
    let schemas = document["components"]["schemas"].as_object().context("schemas")?;
    assert!(schemas.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"));
    let paths = &document["paths"];
    let list = &paths["/apis/example.com/v1/namespaces/{namespace}/things"]["get"];
    assert_eq!(list["operationId"], "listExampleComV1NamespacedThing");
    let patch = &paths["/apis/example.com/v1/namespaces/{namespace}/things/{name}"]["patch"];
    assert_eq!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"], Value::Null);
    let old = expect(&server.get("/openapi/v2").await?, 200)?;
    assert_eq!(
        old["definitions"][NAME]["properties"]["spec"]["properties"]["a"],
        json!({"description": "What it is."})
    );
    assert!(old["definitions"]["com.example.v2.Thing"].is_object());
    assert!(v3(&server, "apis/example.com/v2").await.is_ok());

    let path = format!("{DEFINITIONS}/things.example.com");
    let mut next = expect(&server.get(&path).await?, 200)?;
    next["spec"]["versions"][1]["served"] = false.into();
    next["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["a"] =
        json!({"type": "boolean"});
    // A watch ends when the change has been taken over.
    let mut watch = Watch::open(&server, THINGS).await?;
    expect(&server.json(Method::PUT, &path, &next).await?, 200)?;
    assert_eq!(watch.try_next().await?, None);
    let document = v3(&server, "apis/example.com/v1").await?;
    assert_eq!(
        document["components"]["schemas"][NAME]["properties"]["spec"]["properties"]["a"],
        json!({"type": "boolean"})
    );
    assert!(v3(&server, "apis/example.com/v2").await.is_err());
    Ok(())
}
