//! Shapes that a client accepts: tables and metadata, in both their versions, of objects, lists, watches and
//! what is written.

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::{Method, Request};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

fn shape(name: &str, version: &str) -> String {
    format!("application/json;as={name};v={version};g=meta.k8s.io")
}

async fn ask(server: &TestServer, method: Method, path: &str, accept: &str, body: &Value) -> Result<Reply> {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let content_type =
        if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "x")
        .header("accept", accept)
        .header("content-type", content_type)
        .body(Bytes::from(text))?;
    server.send(Some(&server.admin), request).await
}

async fn get(server: &TestServer, path: &str, accept: &str) -> Result<Reply> {
    ask(server, Method::GET, path, accept, &Value::Null).await
}

fn refused(reply: &Reply, code: u16, reason: &str, message: &str) {
    let status = reply.json();
    assert_eq!(
        (reply.code.as_u16(), &status["reason"], &status["message"]),
        (code, &json!(reason), &json!(message))
    );
}

#[tokio::test]
async fn tables_and_metadata_have_two_versions() -> Result<()> {
    let server = TestServer::start().await?;
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    for version in VERSIONS {
        let meta = format!("meta.k8s.io/{version}");
        let made = ask(&server, Method::POST, MAPS, &shape("Table", version), &map).await?;
        let table = made.json();
        assert_eq!(
            (made.code.as_u16(), &table["kind"], &table["apiVersion"]),
            (201, &json!("Table"), &json!(meta))
        );
        let row = &table["rows"][0];
        assert_eq!((&row["cells"][0], &row["object"]["apiVersion"]), (&json!("a"), &json!(meta)));
        let table =
            get(&server, &format!("{MAPS}?includeObject=Object"), &shape("Table", version)).await?.json();
        let rows = table["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        assert!(rows.iter().any(|row| row["object"]["data"] == map["data"]), "{table}");
        let table =
            get(&server, &format!("{MAPS}/a?includeObject=None"), &shape("Table", version)).await?.text();
        assert!(table.contains("\"object\":null"), "{table}");
        let list = get(&server, MAPS, &shape("PartialObjectMetadataList", version)).await?.json();
        assert_eq!(
            (&list["kind"], &list["apiVersion"], &list["items"][0]["apiVersion"]),
            (&json!("PartialObjectMetadataList"), &json!(meta), &json!(meta))
        );
        let patch = json!({"data": {"k": version}});
        let partial = shape("PartialObjectMetadata", version);
        let patched = ask(&server, Method::PATCH, &format!("{MAPS}/a"), &partial, &patch).await?.json();
        assert_eq!(
            (&patched["kind"], &patched["apiVersion"], &patched["metadata"]["name"], &patched["data"]),
            (&json!("PartialObjectMetadata"), &json!(meta), &json!("a"), &Value::Null)
        );
        let gone = ask(&server, Method::DELETE, &format!("{MAPS}/a"), &partial, &Value::Null).await?.json();
        assert_eq!((&gone["kind"], &gone["status"]), (&json!("Status"), &json!("Success")));
    }
    Ok(())
}

#[tokio::test]
async fn what_has_no_such_shape_is_refused() -> Result<()> {
    let server = TestServer::start().await?;
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let list = shape("PartialObjectMetadataList", "v1");
    let single = shape("PartialObjectMetadata", "v1");
    let named = "/api/v1/namespaces/default";
    for (path, accept, message) in [
        (
            MAPS,
            &single,
            "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
        ),
        (
            bindings,
            &single,
            "you requested PartialObjectMetadata, but the requested object is a list (*rbac.ClusterRoleList)",
        ),
        (
            named,
            &list,
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.Namespace)",
        ),
    ] {
        refused(&get(&server, path, accept).await?, 406, "NotAcceptable", message);
    }
    let message = "Unable to convert to Table as requested: includeObject: Invalid value: \"All\": must be 'Metadata', 'Object', 'None', or empty";
    for (path, accept, code) in [
        (format!("{MAPS}?includeObject=All"), shape("Table", "v1"), 400),
        (format!("{named}?includeObject=All"), shape("Table", "v1beta1"), 400),
        (format!("{MAPS}?includeObject=All&watch=true"), shape("Table", "v1"), 400),
        (format!("{MAPS}?includeObject=All"), "application/json".to_owned(), 200),
        (format!("{MAPS}?includeObject="), shape("Table", "v1"), 200),
    ] {
        let reply = get(&server, &path, &accept).await?;
        if code == 400 {
            refused(&reply, code, "BadRequest", message);
        }
        assert_eq!(reply.code.as_u16(), code, "{path} {accept}");
    }
    // An error is said in the encoding that would do for any answer, and in JSON where none would.
    let protobuf = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    refused(
        &get(&server, "/api/v1/namespaces/none", protobuf).await?,
        404,
        "NotFound",
        "namespaces \"none\" not found",
    );
    Ok(())
}

/// The events of a watch that ends by itself.
async fn events(server: &TestServer, query: &str, accept: &str) -> Result<Vec<Value>> {
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1&{query}");
    let reply = get(server, &path, accept).await?;
    assert_eq!((reply.code.as_u16(), &reply.headers["content-type"]), (200, &"application/json".parse()?));
    Ok(reply.text().lines().map(gantry_json::from_str).collect::<Result<_, _>>()?)
}

#[tokio::test]
async fn watches_show_tables_and_metadata() -> Result<()> {
    let server = TestServer::start().await?;
    let all = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let plain = server.get(MAPS).await?.json();
    let known = plain["items"].as_array().map_or(0, Vec::len);
    for name in ["x", "y"] {
        let map = json!({"metadata": {"name": name}});
        assert_eq!(server.json(Method::POST, MAPS, &map).await?.code, 201);
    }
    for version in VERSIONS {
        let meta = json!(format!("meta.k8s.io/{version}"));
        let shown = events(&server, all, &shape("Table", version)).await?;
        assert_eq!(shown.len(), known + 3);
        for (at, event) in shown.iter().enumerate() {
            let table = &event["object"];
            assert_eq!((&table["kind"], &table["apiVersion"]), (&json!("Table"), &meta), "{table}");
            assert_eq!(table["columnDefinitions"].is_array(), at == 0, "columns are said once");
            assert_eq!(table["rows"][0]["object"]["apiVersion"], meta);
            assert_eq!(table["rows"][0]["cells"].as_array().map(Vec::len), Some(3), "{table}");
        }
        let last = shown.last().cloned().unwrap_or_default();
        let annotations = &last["object"]["rows"][0]["object"]["metadata"]["annotations"];
        assert_eq!(
            (&last["type"], &annotations["k8s.io/initial-events-end"]),
            (&json!("BOOKMARK"), &json!("true"))
        );

        let shown = events(&server, all, &shape("PartialObjectMetadata", version)).await?;
        assert_eq!(shown.len(), known + 3);
        for event in &shown {
            let object = &event["object"];
            assert_eq!((&object["kind"], &object["apiVersion"]), (&json!("PartialObjectMetadata"), &meta));
            assert!(object["metadata"]["resourceVersion"].is_string());
        }
        // An event is no list.
        assert!(events(&server, all, &shape("PartialObjectMetadataList", version)).await?.is_empty());
    }
    // Without anything to tell, columns are still to be told.
    let newest = plain["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let shown = events(&server, &format!("resourceVersion={newest}"), &shape("Table", "v1")).await?;
    assert!(
        shown[0]["object"]["columnDefinitions"].is_array()
            && shown[1]["object"]["columnDefinitions"].is_null()
    );
    Ok(())
}
