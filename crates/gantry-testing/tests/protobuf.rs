//! Protobuf over HTTP: bodies, answers, lists, watches and errors.

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_api::protobuf::{self, MEDIA_TYPE};
use gantry_json::{Value, json};
use gantry_testing::{Reply, TestServer};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Sends `body` in protobuf and accepts what is named.
async fn send(server: &TestServer, method: Method, path: &str, accept: &str, body: &Value) -> Result<Reply> {
    let body = if body.is_null() { Vec::new() } else { protobuf::value(body)? };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "x")
        .header("accept", accept)
        .header("content-type", MEDIA_TYPE)
        .body(Bytes::from(body))?;
    server.send(Some(&server.admin), request).await
}

/// The answer's object; it must be in protobuf.
fn object(reply: &Reply) -> Result<Value> {
    assert_eq!(reply.headers["content-type"], MEDIA_TYPE, "{}", reply.text());
    Ok(protobuf::decode(&reply.bytes, None)?)
}

fn map(name: &str) -> Value {
    json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"a": "b"}, "binaryData": {"x": "/w=="}})
}

#[tokio::test]
async fn objects_are_the_same_in_both_encodings() -> Result<()> {
    let server = TestServer::start().await?;
    let both = format!("{MEDIA_TYPE},application/json");
    let reply = send(&server, Method::POST, MAPS, &both, &map("one")).await?;
    assert_eq!(reply.code, 201);
    let created = object(&reply)?;
    assert_eq!(created["binaryData"], json!({"x": "/w=="}));
    let path = format!("{MAPS}/one");
    assert_eq!(server.get(&path).await?.json(), created);
    assert!(created["metadata"]["managedFields"][0]["fieldsV1"]["f:data"].is_object());

    let mut changed = created.clone();
    changed["data"] = json!({"a": "", "c": "d"});
    let reply = send(&server, Method::PUT, &path, "application/json", &changed).await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["data"]), (200, &json!({"a": "", "c": "d"})));

    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}});
    let reply = send(&server, Method::DELETE, &path, MEDIA_TYPE, &options).await?;
    let status = object(&reply)?;
    assert_eq!((reply.code.as_u16(), &status["reason"]), (409, &json!("Conflict")));
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    let reply = send(&server, Method::DELETE, &path, MEDIA_TYPE, &options).await?;
    assert_eq!(object(&reply)?["status"], "Success");
    Ok(())
}

#[tokio::test]
async fn what_the_client_accepts_is_made() -> Result<()> {
    let server = TestServer::start().await?;
    let path = "/api/v1/namespaces/default";
    let get = async |accept: &str| send(&server, Method::GET, path, accept, &Value::Null).await;
    let partial = format!("{MEDIA_TYPE};as=PartialObjectMetadata;v=v1;g=meta.k8s.io");
    let partial = object(&get(&partial).await?)?;
    assert_eq!(
        (&partial["kind"], &partial["metadata"]["name"]),
        (&json!("PartialObjectMetadata"), &json!("default"))
    );
    let preferred = get(&format!("{MEDIA_TYPE};q=0.1,application/json")).await?;
    assert_eq!(preferred.headers["content-type"], "application/json");
    assert_eq!(get(&format!("{MEDIA_TYPE};as=Table;v=v1;g=meta.k8s.io")).await?.code, 406);
    let yaml = get("application/yaml").await?;
    assert!(yaml.headers["content-type"] == "application/yaml" && yaml.text().contains("name: default\n"));
    let missing = send(&server, Method::GET, "/api/v1/namespaces/none", MEDIA_TYPE, &Value::Null).await?;
    assert_eq!(object(&missing)?["message"], "namespaces \"none\" not found");
    Ok(())
}

#[tokio::test]
async fn bad_bodies_are_refused() -> Result<()> {
    let server = TestServer::start().await?;
    for (body, expected) in [
        (&b"{}"[..], "provided data does not appear to be a protobuf message"),
        (b"k8s\0\x0a\xff", "unexpected EOF"),
        (b"k8s\0\x0a\x07\x0a\x02v1\x12\x01X", "no kind \"X\" is registered for version \"v1\""),
    ] {
        let reply = server.request(Method::POST, MAPS, MEDIA_TYPE, body).await?;
        assert_eq!(reply.code, 400, "{}", reply.text());
        assert!(
            reply.text().contains(&json!(expected).to_string().trim_matches('"').to_owned()),
            "{}",
            reply.text()
        );
    }
    let reply = server.request(Method::POST, MAPS, "application/octet-stream", "x").await?;
    assert_eq!(reply.code, 415);
    assert!(reply.text().contains("application/vnd.kubernetes.protobuf"));
    Ok(())
}

#[tokio::test]
async fn reviews_and_tokens() -> Result<()> {
    let server = TestServer::start().await?;
    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = object(&send(&server, Method::POST, path, MEDIA_TYPE, &review).await?)?;
    assert_eq!(answer["status"]["allowed"], true);
    let who = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = object(&send(&server, Method::POST, path, MEDIA_TYPE, &who).await?)?;
    assert_eq!(answer["status"]["userInfo"]["username"], "admin");
    Ok(())
}

#[tokio::test]
async fn lists_are_the_same_in_both_encodings() -> Result<()> {
    let server = TestServer::start().await?;
    for at in 0..300 {
        server.json(Method::POST, MAPS, &map(&format!("m{at}"))).await?;
    }
    let partial = ";as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned();
    let asked =
        [(format!("{MAPS}?limit=200"), ""), (MAPS.to_owned(), ""), (roles, ""), (MAPS.to_owned(), partial)];
    for change in 0..3 {
        for (path, form) in &asked {
            let accept = |media_type: &str| format!("{media_type}{form}");
            let json = accept("application/json");
            let mut expected = send(&server, Method::GET, path, &json, &Value::Null).await?.json();
            // What is in a list of a kind is of that kind: protobuf does not say so for each item.
            let items = expected["items"].as_array_mut().into_iter().flatten();
            for item in items.filter_map(Value::as_object_mut) {
                item.remove("kind");
                item.remove("apiVersion");
            }
            let mut list =
                object(&send(&server, Method::GET, path, &accept(MEDIA_TYPE), &Value::Null).await?)?;
            for each in [&mut list, &mut expected] {
                let metadata = each["metadata"].as_object_mut().context("metadata")?;
                metadata.remove("continue");
            }
            assert_eq!(list, expected);
        }
        // The next lists show what is new in some of the objects.
        for at in [7, 8] {
            let labels = json!({"metadata": {"labels": {"change": change.to_string()}}}).to_string();
            let path = format!("{MAPS}/m{at}");
            let reply = server.request(Method::PATCH, &path, "application/merge-patch+json", labels).await?;
            assert_eq!(reply.code, 200);
        }
    }
    Ok(())
}

#[tokio::test]
async fn watches_send_frames() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, MAPS, &map("before")).await?;
    let stream = TokioIo::new(server.connect(Some(&server.admin)).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
    tokio::spawn(connection);
    let query =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let request = Request::builder()
        .uri(format!("{MAPS}?{query}"))
        .header("host", "x")
        .header("accept", format!("{MEDIA_TYPE};stream=watch,application/json"))
        .body(Full::new(Bytes::new()))?;
    let mut response = sender.send_request(request).await?;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let mut buffer = Vec::new();
    let mut frame = async || loop {
        if let Some((length, rest)) = buffer.split_first_chunk::<4>()
            && let Some(frame) = rest.get(..u32::from_be_bytes(*length) as usize)
        {
            // The event's message is read as an envelope is: a text, then bytes within bytes.
            let frame = frame.to_vec();
            buffer.drain(..4 + frame.len());
            return Ok::<Vec<u8>, anyhow::Error>(frame);
        }
        let next = response.frame().await.context("the watch ended")??;
        buffer.extend_from_slice(next.data_ref().context("trailers")?);
    };
    let document = |frame: &[u8]| {
        let start = frame.windows(4).position(|bytes| bytes == protobuf::MAGIC).unwrap_or(frame.len());
        protobuf::decode(&frame[start..], None)
    };
    let added = frame().await?;
    assert!(added.starts_with(b"\x0a\x05ADDED\x12"), "{added:?}");
    assert_eq!(document(&added)?["metadata"]["name"], "before");
    let bookmark = frame().await?;
    assert!(bookmark.starts_with(b"\x0a\x08BOOKMARK\x12"));
    assert_eq!(document(&bookmark)?["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.json(Method::DELETE, &format!("{MAPS}/before"), &Value::Null).await?;
    let deleted = frame().await?;
    assert!(deleted.starts_with(b"\x0a\x07DELETED\x12"));
    assert_eq!(document(&deleted)?["data"], json!({"a": "b"}));
    Ok(())
}
