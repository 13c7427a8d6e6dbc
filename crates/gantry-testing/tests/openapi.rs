//! The OpenAPI documents as clients ask for them, kubectl among them.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use gantry_testing::TestServer;
use http::Request;

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

#[tokio::test]
async fn documents_come_in_two_forms_once() -> Result<()> {
    let server = TestServer::start().await?;
    let json = server.get("/openapi/v2").await?;
    assert_eq!((json.code.as_u16(), &json.headers["content-type"]), (200, &"application/json".parse()?));
    assert!(json.json()["definitions"]["io.k8s.api.core.v1.Pod"].is_object());
    let get = |path: String, name: &'static str, value: String| {
        let server = &server;
        async move {
            let request = Request::get(path).header("host", "localhost").header(name, value);
            server.send(Some(&server.admin), request.body(Bytes::new())?).await
        }
    };
    let v2 = || "/openapi/v2".to_owned();
    let protobuf = get(v2(), "accept", PROTOBUF.into()).await?;
    let named = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
    assert_eq!(protobuf.headers["content-type"], named);
    assert_ne!(protobuf.headers["etag"], json.headers["etag"]);
    let packed = get(v2(), "accept-encoding", "gzip".into()).await?;
    assert!(packed.headers["content-encoding"] == "gzip" && packed.bytes.len() * 4 < json.bytes.len());
    let tag = json.headers["etag"].to_str()?.to_owned();
    let known = get(v2(), "if-none-match", tag).await?;
    assert!(known.code == 304 && known.bytes.is_empty());
    assert_eq!(get(v2(), "accept", "text/html".into()).await?.code, 406);

    let index = server.get("/openapi/v3").await?.json();
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().context("a URL")?.to_owned();
    let name = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    let v3 = get(url.clone(), "accept", name.into()).await?;
    assert_eq!(v3.headers["content-type"], "application/com.github.proto-openapi.spec.v3.v1.0+protobuf");
    assert!(v3.headers["cache-control"].to_str()?.contains("immutable"));
    assert_eq!(get(url, "accept", PROTOBUF.into()).await?.code, 406);
    Ok(())
}

const LIST: &str = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {key: value}}
- {apiVersion: v1, kind: Secret, metadata: {name: b}}
";

#[tokio::test]
async fn kubectl_validates_and_explains() -> Result<()> {
    let server = TestServer::start().await?;
    let (done, text) = server.kubectl(&["apply", "-f", "-"], LIST).await?;
    ensure!(done && text == "configmap/a created\nsecret/b created\n", "{text}");
    let (done, text) = server.kubectl(&["diff", "-f", "-"], LIST).await?;
    ensure!(done, "{text}");
    let strict = ["create", "--validate=strict", "-f", "-"];
    let (done, text) = server.kubectl(&strict, &LIST.replace("data:", "datum:")).await?;
    ensure!(!done && text.contains("unknown field \"datum\""), "{text}");
    let (done, text) = server.kubectl(&["explain", "pods", "--recursive"], "").await?;
    ensure!(done && text.contains("terminationGracePeriodSeconds"), "{text}");
    let old = ["explain", "pods.spec.containers", "--output", "plaintext-openapiv2"];
    let (done, text) = server.kubectl(&old, "").await?;
    ensure!(done && text.contains("imagePullPolicy"), "{text}");
    Ok(())
}
