//! What a server does about clients that take their time or ask for too much, and how it stops.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_apiserver::Limits;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{Method, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::wrappers::ReceiverStream;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads to the end, which must come.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> Result<String> {
    let mut bytes = Vec::new();
    // A connection may end without a farewell.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes))
        .await
        .context("the connection stays open")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Short enough to wait for, long enough for a busy machine.
const MOMENT: Duration = Duration::from_secs(2);

fn short() -> Limits {
    Limits { handshake: MOMENT, idle: MOMENT, ..Limits::default() }
}

#[tokio::test]
async fn who_never_finishes_a_handshake_is_dropped() -> Result<()> {
    let server = TestServer::with_limits(short()).await?;
    let mut silent = TcpStream::connect(server.address).await?;
    let mut half = TcpStream::connect(server.address).await?;
    // The start of a record that says it is a ClientHello of 512 bytes.
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await?;
    let mut plain = TcpStream::connect(server.address).await?;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
    rest(&mut silent).await?;
    rest(&mut half).await?;
    rest(&mut plain).await?;
    assert_eq!(server.get("/readyz").await?.text(), "ok");
    Ok(())
}

#[tokio::test]
async fn who_never_finishes_a_header_is_dropped() -> Result<()> {
    let server = TestServer::with_limits(short()).await?;
    let mut silent = server.connect(Some(&server.admin)).await?;
    let mut slow = server.connect(Some(&server.admin)).await?;
    slow.write_all(b"GET /version HTTP/1.1\r\nhost: x\r\nx-slow: ").await?;
    assert_eq!(rest(&mut silent).await?, "");
    assert!(!rest(&mut slow).await?.contains("200 OK"));
    // A connection may also not wait for ever between two requests.
    let mut second = server.connect(Some(&server.admin)).await?;
    second.write_all(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\nGET /version HTTP/1.1\r\nhost").await?;
    let answer = rest(&mut second).await?;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
    assert_eq!(server.get("/readyz").await?.text(), "ok");
    Ok(())
}

#[tokio::test]
async fn who_never_finishes_a_body_gets_a_timeout() -> Result<()> {
    let server = TestServer::with_limits(Limits { request: MOMENT, ..Limits::default() }).await?;
    let mut slow = server.connect(Some(&server.admin)).await?;
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n{{\"metadata\":"
    );
    slow.write_all(head.as_bytes()).await?;
    let answer = rest(&mut slow).await?;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(
        answer.contains("\"reason\":\"Timeout\"")
            && answer.contains("did not complete within requested timeout"),
        "{answer}"
    );
    assert_eq!(server.get(MAPS).await?.json()["items"].as_array().map(Vec::len), Some(0));
    let metrics = server.get("/metrics").await?.text();
    assert!(metrics.contains("apiserver_request_terminations_total{verb=\"POST\""), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn clients_may_ask_for_less_time() -> Result<()> {
    let server = TestServer::start().await?;
    let late = server.get(&format!("{MAPS}?resourceVersion=99999999&timeout=50ms")).await?;
    let message = "Timeout: request did not complete within requested timeout - context deadline exceeded";
    assert_eq!((late.code.as_u16(), &late.json()["message"]), (504, &json!(message)));
    let wrong = server.get(&format!("{MAPS}?timeout=soon")).await?;
    let message = "invalid timeout specified in the request URL - time: invalid duration \"soon\"";
    assert_eq!((wrong.code.as_u16(), &wrong.json()["message"]), (400, &json!(message)));
    assert_eq!(server.get(&format!("{MAPS}?timeout=10s")).await?.code, 200);
    Ok(())
}

#[tokio::test]
async fn bodies_that_are_too_large_are_refused() -> Result<()> {
    let server = TestServer::start().await?;
    // Said beforehand, and found out on the way.
    for length in ["content-length: 9000000", "transfer-encoding: chunked"] {
        let mut client = server.connect(Some(&server.admin)).await?;
        let head = format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\n{length}\r\nconnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await?;
        let (mut from, mut to) = tokio::io::split(client);
        let sending = tokio::spawn(async move {
            let chunk = [b"100000\r\n".to_vec(), vec![b' '; 0x0010_0000], b"\r\n".to_vec()].concat();
            // The server stops reading at some point.
            while to.write_all(&chunk).await.is_ok() {}
        });
        let answer = rest(&mut from).await?;
        sending.abort();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("Request entity too large: limit is 3145728"), "{answer}");
    }
    let reply = server.get(&format!("/api/v1/{}", "x".repeat(100_000))).await;
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.code.is_client_error()));
    assert_eq!(server.get("/readyz").await?.code, 200);
    Ok(())
}

#[tokio::test]
async fn too_many_at_once_are_sent_away() -> Result<()> {
    let limits = Limits { reads: 1, writes: 1, waiting: 0, fairness: false, ..Limits::default() };
    let server = TestServer::with_limits(limits).await?;
    server.json(Method::POST, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &json!({
        "metadata": {"name": "jane"}, "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"},
    })).await?;
    let jane = server.authority.issue("jane", &[])?;
    // One that writes and does not come to an end.
    let mut slow = server.connect(Some(&jane)).await?;
    let head =
        format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\nexpect: 100-continue\r\n\r\n");
    slow.write_all(head.as_bytes()).await?;
    let mut started = [0; 25];
    slow.read_exact(&mut started).await?;
    assert!(started.starts_with(b"HTTP/1.1 100"), "it is read, so it has its turn");
    let create = |name: &str| {
        let body = json!({"metadata": {"name": name}}).to_string();
        let request = Request::builder().method(Method::POST).uri(MAPS).header("host", "x");
        request.header("content-type", "application/json").body(Bytes::from(body))
    };
    let refused = server.send(Some(&jane), create("a")?).await?;
    assert_eq!((refused.code.as_u16(), refused.headers["retry-after"].to_str()?), (429, "1"));
    assert_eq!(
        (&refused.json()["reason"], &refused.json()["message"]),
        (&json!("TooManyRequests"), &json!("Too many requests, please try again later."))
    );
    // Reading is counted apart, streams are not counted, administrators are never sent away.
    let read = |path: &str| Request::builder().uri(path).header("host", "x").body(Bytes::new());
    assert_eq!(server.send(Some(&jane), read(MAPS)?).await?.code, 200);
    assert_eq!(server.send(Some(&jane), read(&format!("{MAPS}?watch=1&timeoutSeconds=1"))?).await?.code, 200);
    assert_eq!(server.send(Some(&server.admin), create("b")?).await?.code, 201);
    let metrics = server.get("/metrics").await?.text();
    assert!(
        metrics.contains("apiserver_current_inflight_requests{request_kind=\"mutating\"} 1"),
        "{metrics}"
    );
    drop(slow);
    Ok(())
}

/// Reads until `end` has come.
async fn until(stream: &mut (impl AsyncReadExt + Unpin), end: &str) -> Result<String> {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        let read =
            tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.context("nothing comes")??;
        anyhow::ensure!(read > 0, "the connection ended after {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    Ok(text)
}

#[tokio::test]
async fn a_server_that_stops_ends_what_is_open() -> Result<()> {
    let mut server = TestServer::start().await?;
    let mut watch = server.connect(Some(&server.admin)).await?;
    let head = format!(
        "GET {MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true HTTP/1.1\r\nhost: x\r\n\r\n"
    );
    watch.write_all(head.as_bytes()).await?;
    until(&mut watch, "initial-events-end").await?;
    let mut write = server.connect(Some(&server.admin)).await?;
    let body = json!({"metadata": {"name": "last"}}).to_string();
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
        body.len()
    );
    write.write_all(head.as_bytes()).await?;
    until(&mut write, "100 Continue").await?;
    server.stop();
    // The watch ends as it should, with the chunk that says so.
    assert!(rest(&mut watch).await?.ends_with("0\r\n\r\n"));
    // What was begun is carried out.
    write.write_all(body.as_bytes()).await?;
    let answer = rest(&mut write).await?;
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
    server.stopped().await?;
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any longer");
    assert!(server.store.snapshot().get("/registry/configmaps/default/last").is_some());
    Ok(())
}

#[tokio::test]
async fn metrics_are_for_who_has_the_right() -> Result<()> {
    let server = TestServer::start().await?;
    server.json(Method::POST, MAPS, &json!({"metadata": {"name": "a"}})).await?;
    server.get(&format!("{MAPS}?watch=1&timeoutSeconds=1")).await?;
    // Something that nobody else makes.
    let range = json!({"metadata": {"name": "a"}, "spec": {"limits": []}});
    let made = server.json(Method::POST, "/api/v1/namespaces/default/limitranges", &range).await?;
    assert_eq!(made.code, 201, "{}", made.text());
    server.get("/api/v1/componentstatuses").await?;
    let reply = server.get("/metrics").await?;
    assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = reply.text();
    for start in [
        "apiserver_request_total{verb=\"POST\",dry_run=\"\",group=\"\",version=\"v1\",resource=\"configmaps\"",
        "apiserver_request_duration_seconds_bucket{",
        "apiserver_response_sizes_bucket{",
        "apiserver_longrunning_requests{verb=\"WATCH\"",
        "apiserver_watch_events_total{",
        "apiserver_storage_objects{resource=\"limitranges\"} 1",
        "apiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"} ",
        "apiserver_admission_controller_admission_duration_seconds_bucket{",
        "apiserver_admission_step_admission_duration_seconds_bucket{",
        "apiserver_requested_deprecated_apis{group=\"\",version=\"v1\",resource=\"componentstatuses\",\
         subresource=\"\",removed_release=\"\"} 1",
        "kubernetes_feature_enabled{name=\"APIResponseCompression\",stage=\"BETA\"} 1",
        "kubernetes_feature_enabled{name=\"CoordinatedLeaderElection\",stage=\"BETA\"} 0",
        "process_resident_memory_bytes ",
    ] {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start} is not in\n{text}");
    }
    let scraper = server.authority.issue("prometheus", &["system:monitoring"])?;
    let request = Request::builder().uri("/metrics").header("host", "x");
    let request = request.header("accept", "application/openmetrics-text;version=1.0.0").body(Bytes::new())?;
    let reply = server.send(Some(&scraper), request).await?;
    assert!(reply.code == 200 && reply.text().ends_with("# EOF\n"), "{}", reply.text());
    let ready = server.json(Method::GET, "/readyz?verbose", &Value::Null).await?;
    assert!(ready.text().contains("[+]shutdown ok\n"), "{}", ready.text());
    Ok(())
}

#[tokio::test]
async fn who_still_sends_when_the_answer_is_there_is_heard_out() -> Result<()> {
    let server = TestServer::start().await?;
    let stream = TokioIo::new(server.connect_for(None, "h2").await?);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
    let connection = tokio::spawn(connection);
    // Each part is taken before the next one has room.
    let (parts, sent) = tokio::sync::mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
    let body = StreamBody::new(ReceiverStream::new(sent));
    let uri = format!("https://{}{MAPS}", server.address);
    let request = Request::post(uri).header("authorization", "Bearer wrong").body(body)?;
    let response = sender.send_request(request).await?;
    assert_eq!(response.status(), 401);
    let text = response.into_body().collect().await?.to_bytes();
    assert_eq!(gantry_json::from_slice::<Value>(&text)?["reason"], "Unauthorized");
    for _ in 0..4 {
        parts.send(Ok(Frame::data(Bytes::from_static(b"{}")))).await.context("the stream was reset")?;
    }
    connection.abort();
    Ok(())
}
