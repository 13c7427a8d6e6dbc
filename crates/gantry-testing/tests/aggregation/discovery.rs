//! Discovery and OpenAPI with what another server says of its version.

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::{Method, Request};

use crate::extension::{Extension, GROUP, reason};

async fn get(server: &TestServer, path: &str, accept: &str) -> Result<Reply> {
    let request =
        Request::builder().uri(path).header("host", "x").header("accept", accept).body(Bytes::new())?;
    server.send(Some(&server.admin), request).await
}

fn accepted(version: &str) -> String {
    format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json")
}

fn of_group<'a>(groups: &'a Value, group: &str) -> Option<&'a Value> {
    groups.as_array()?.iter().find(|each| each["name"] == group || each["metadata"]["name"] == group)
}

#[tokio::test]
async fn a_version_is_discovered_with_its_resources() -> Result<()> {
    let server = TestServer::start().await?;
    let tag = get(&server, "/apis", &accepted("v2")).await?.headers["etag"].clone();
    let extension = Extension::start(&server, "api").await?;
    extension.register(&server, "api").await?;
    reason(&server, "Passed").await?;

    let groups = server.get("/apis").await?.json();
    let names: Vec<&Value> =
        groups["groups"].as_array().context("groups")?.iter().map(|each| &each["name"]).collect();
    assert_eq!(names[..2], ["apiregistration.k8s.io", "apps"]);
    assert_eq!(names[names.len() - 1], GROUP);
    let group = server.get(&format!("/apis/{GROUP}")).await?.json();
    assert_eq!(
        (&group["kind"], &group["preferredVersion"]["groupVersion"]),
        (&json!("APIGroup"), &json!(format!("{GROUP}/v1")))
    );
    assert!(
        server.get("/").await?.json()["paths"]
            .as_array()
            .context("paths")?
            .contains(&json!(format!("/apis/{GROUP}/v1")))
    );

    let reply = get(&server, "/apis", &accepted("v2")).await?;
    assert_ne!(reply.headers["etag"], tag);
    let list = reply.json();
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    let content_type = reply.headers["content-type"].to_str()?;
    assert!(content_type.contains("v=v2;"), "{content_type}");
    let versions = &of_group(&list["items"], GROUP).context("the group")?["versions"];
    assert_eq!((&versions[0]["version"], &versions[0]["freshness"]), (&json!("v1"), &json!("Current")));
    assert_eq!(versions[0]["resources"][0]["resource"], "flunders");
    // The beta is served no longer.
    let accept = accepted("v2beta1");
    assert_eq!(get(&server, "/apis", &accept).await?.json()["kind"], "APIGroupList");
    let alone = accept.trim_end_matches(",application/json");
    assert_eq!(get(&server, "/apis", alone).await?.code, 406);

    // What it has said is remembered when it is gone.
    server.json(Method::DELETE, "/api/v1/namespaces/default/services/api", &json!(null)).await?;
    reason(&server, "ServiceNotFound").await?;
    let list = get(&server, "/apis", &accepted("v2")).await?.json();
    let versions = &of_group(&list["items"], GROUP).context("the group")?["versions"];
    assert_eq!(
        (&versions[0]["resources"][0]["resource"], &versions[0]["freshness"]),
        (&json!("flunders"), &json!("Stale"))
    );
    Ok(())
}

#[tokio::test]
async fn its_openapi_documents_are_among_ours() -> Result<()> {
    let server = TestServer::start().await?;
    let before = get(&server, "/openapi/v2", "application/json").await?;
    let extension = Extension::start(&server, "api").await?;
    extension.register(&server, "api").await?;
    reason(&server, "Passed").await?;

    let index = server.get("/openapi/v3").await?.json();
    let url = index["paths"][format!("apis/{GROUP}/v1")]["serverRelativeURL"].as_str().context("a URL")?;
    assert_eq!(url, format!("/openapi/v3/apis/{GROUP}/v1?hash=ABC"));
    let document = server.get(url).await?.json();
    assert_eq!(document["info"]["title"], "Wardle");
    assert!(index["paths"]["apis/apps/v1"].is_object());
    let own = index["paths"]["version"]["serverRelativeURL"].as_str().context("a URL")?;
    assert_ne!(own, "/openapi/v3/version?hash=1", "what it says of other paths is not asked for");

    let after = get(&server, "/openapi/v2", "application/json").await?;
    assert_ne!(before.headers["etag"], after.headers["etag"]);
    let document = after.json();
    let path = format!("/apis/{GROUP}/v1/namespaces/{{namespace}}/flunders");
    assert!(document["paths"][&path]["get"].is_object());
    let definitions = &document["definitions"];
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
    assert_eq!(
        definitions["com.example.wardle.v1.FlunderList"]["properties"]["metadata"]["$ref"],
        format!("#/definitions/{meta}_v2")
    );
    assert!(definitions[format!("{meta}_v2")]["properties"]["mine"].is_object());
    assert!(definitions[meta]["properties"]["mine"].is_null());
    let protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    let protobuf = get(&server, "/openapi/v2", protobuf).await?;
    assert!(protobuf.bytes.windows(path.len()).any(|window| window == path.as_bytes()));
    Ok(())
}

#[tokio::test]
async fn version_3_is_made_from_version_2_where_a_server_has_no_other() -> Result<()> {
    let server = TestServer::start().await?;
    let extension = Extension::start_older(&server, "api").await?;
    extension.register(&server, "api").await?;
    reason(&server, "Passed").await?;

    let index = server.get("/openapi/v3").await?.json();
    let url = index["paths"][format!("apis/{GROUP}/v1")]["serverRelativeURL"].as_str().context("a URL")?;
    let reply = server.get(url).await?;
    assert!(reply.headers["cache-control"].to_str()?.contains("immutable"), "{url}");
    let document = reply.json();
    let list = &document["paths"][format!("/apis/{GROUP}/v1/namespaces/{{namespace}}/flunders")]["get"];
    let shown = &list["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(shown, "#/components/schemas/com.example.wardle.v1.FlunderList");
    let schemas = &document["components"]["schemas"];
    assert_eq!(
        schemas["com.example.wardle.v1.FlunderList"]["properties"]["metadata"]["$ref"],
        "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"
    );
    assert!(document["paths"]["/version/"].is_null());
    let protobuf = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";
    let protobuf = get(&server, &format!("/openapi/v3/apis/{GROUP}/v1"), protobuf).await?;
    assert_eq!(protobuf.code, 200);
    Ok(())
}
