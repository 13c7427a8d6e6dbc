//! LIST and WATCH: pages of one snapshot, resource versions, selectors, bookmarks, expiry.

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_apiserver::ClientService;
use gantry_json::{Value, json};
use gantry_testing::{TestServer, User};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, team: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"team": team}}, "data": {"a": "b"}})
}

fn names(list: &Value) -> Vec<&str> {
    list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|each| each["metadata"]["name"].as_str())
        .collect()
}

/// A watch over a connection of its own, read an event at a time.
struct Watch {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Watch {
    async fn open(server: &TestServer, query: &str) -> Result<Self> {
        let stream = TokioIo::new(server.connect(Some(&server.admin)).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        tokio::spawn(connection);
        let request = Request::builder()
            .uri(format!("{MAPS}?watch=true&{query}"))
            .header("host", "x")
            .body(Full::new(Bytes::new()))?;
        let response = sender.send_request(request).await?;
        assert_eq!(response.status(), 200);
        Ok(Self { body: response.into_body(), buffer: Vec::new() })
    }

    async fn next(&mut self) -> Result<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(gantry_json::from_slice(&line)?);
            }
            let frame = self.body.frame().await.context("the watch ended")??;
            self.buffer.extend_from_slice(frame.data_ref().context("trailers")?);
        }
    }

    /// The next event as `TYPE name`.
    async fn expect(&mut self, event: &str) -> Result<Value> {
        let next = self.next().await?;
        let name = next["object"]["metadata"]["name"].as_str().unwrap_or_default();
        assert_eq!(format!("{} {name}", next["type"].as_str().unwrap_or_default()), event, "{next}");
        Ok(next)
    }
}

#[tokio::test]
async fn pages_show_one_snapshot() -> Result<()> {
    let server = TestServer::start().await?;
    for name in ["a", "b", "c"] {
        server.json(Method::POST, MAPS, &map(name, "x")).await?;
    }
    let first = server.get(&format!("{MAPS}?limit=2")).await?.json();
    assert_eq!(names(&first), ["a", "b"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 1);
    server.json(Method::POST, MAPS, &map("d", "x")).await?;
    server.json(Method::DELETE, &format!("{MAPS}/c"), &Value::Null).await?;
    let token = first["metadata"]["continue"].as_str().context("no token")?;
    let second = server.get(&format!("{MAPS}?limit=2&continue={token}")).await?.json();
    assert_eq!(names(&second), ["c"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let version = first["metadata"]["resourceVersion"].as_str().context("no version")?;
    let exact = server.get(&format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).await?;
    assert_eq!(names(&exact.json()), ["a", "b", "c"]);
    let newest =
        server.get(&format!("{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await?;
    assert_eq!(names(&newest.json()), ["a", "b", "d"]);
    Ok(())
}

#[tokio::test]
async fn list_options_are_checked() -> Result<()> {
    let server = TestServer::start().await?;
    for (query, code) in [
        ("resourceVersion=abc", 400),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=1&resourceVersionMatch=Some", 422),
        ("sendInitialEvents=true", 422),
        ("labelSelector=a%20in%20(", 400),
        ("fieldSelector=spec.nothing=1", 400),
        ("resourceVersion=0", 200),
    ] {
        let reply = server.get(&format!("{MAPS}?{query}")).await?;
        assert_eq!(reply.code.as_u16(), code, "{query}: {}", reply.text());
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_follows_its_selector() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, MAPS, &map("a", "x")).await?;
    let mut watch = Watch::open(&server, "labelSelector=team%3Dx").await?;
    watch.expect("ADDED a").await?;
    server.json(Method::POST, MAPS, &map("other", "y")).await?;
    server.json(Method::PUT, &format!("{MAPS}/other"), &map("other", "x")).await?;
    watch.expect("ADDED other").await?;
    let changed = server.json(Method::PUT, &format!("{MAPS}/a"), &map("a", "y")).await?.json();
    let left = watch.expect("DELETED a").await?;
    assert_eq!(left["object"]["metadata"]["labels"]["team"], "x");
    assert_eq!(left["object"]["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]);
    server.json(Method::DELETE, &format!("{MAPS}/other"), &Value::Null).await?;
    watch.expect("DELETED other").await?;
    Ok(())
}

#[tokio::test]
async fn a_streaming_list_ends_with_a_bookmark() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, MAPS, &map("a", "x")).await?;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&server, query).await?;
    watch.expect("ADDED a").await?;
    let mark = watch.expect("BOOKMARK ").await?;
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    server.json(Method::POST, MAPS, &map("b", "x")).await?;
    watch.expect("ADDED b").await?;
    Ok(())
}

#[tokio::test]
async fn a_watch_resumes_or_is_told_that_it_cannot() -> Result<()> {
    let server = TestServer::start().await?;
    let made = server.json(Method::POST, MAPS, &map("a", "x")).await?.json();
    let version = made["metadata"]["resourceVersion"].as_str().context("no version")?.to_owned();
    server.json(Method::PUT, &format!("{MAPS}/a"), &map("a", "y")).await?;
    server.json(Method::POST, MAPS, &map("b", "x")).await?;
    let mut watch = Watch::open(&server, &format!("resourceVersion={version}")).await?;
    watch.expect("MODIFIED a").await?;
    watch.expect("ADDED b").await?;
    server.store.compact(server.store.revision()).await?;
    let mut late = Watch::open(&server, &format!("resourceVersion={version}")).await?;
    let error = late.next().await?;
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    Ok(())
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout() -> Result<()> {
    let server = TestServer::start().await?;
    let reply = server.get(&format!("{MAPS}?watch=true&timeoutSeconds=1&resourceVersion=0")).await?;
    assert_eq!(reply.code, 200);
    Ok(())
}

#[tokio::test]
async fn who_reads_no_managed_fields_is_sent_none() -> Result<()> {
    const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let server = TestServer::start().await?;
    let made = server.json(Method::POST, MAPS, &map("a", "red")).await?.json();
    let admin = || server.server.client_service(User::new("admin", ["system:masters"]));
    let watched = async |service: ClientService, accept: &str| -> Result<Value> {
        // The end is what makes it one text.
        let request = Request::get(format!("{MAPS}?watch=true&labelSelector=team%3Dred&timeoutSeconds=1"))
            .header("accept", accept)
            .body(Vec::new())?;
        let text = kube::Client::new(service, "default").request_text(request).await?;
        Ok(text.lines().next().context("no event")?.parse()?)
    };
    let (whole, none, partial, partial_none) = tokio::try_join!(
        watched(admin(), "application/json"),
        watched(admin().unmanaged(), "application/json"),
        watched(admin(), PARTIAL),
        watched(admin().unmanaged(), PARTIAL),
    )?;
    let mut expect = made.clone();
    assert_eq!(whole["object"], expect);
    assert!(expect["metadata"]["managedFields"].is_array());
    assert_eq!(partial["object"]["metadata"], expect["metadata"]);
    expect["metadata"].as_object_mut().context("no metadata")?.remove("managedFields");
    assert_eq!(none["object"], expect);
    assert_eq!(partial_none["object"]["metadata"], expect["metadata"]);
    Ok(())
}
