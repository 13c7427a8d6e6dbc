//! Traces of requests, as a collector gets them. Servers send what they have when they stop.

mod collector;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use collector::{Collector, Span};
use gantry_apiserver::trace::Configuration;
use gantry_json::{Value, json};
use gantry_testing::{Answer, Pair, Reply, TestServer, WebhookServer};
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const ALL: i32 = 1_000_000;

async fn server(endpoint: &str, rate: i32) -> Result<TestServer> {
    let tracing = Configuration::new(Some(endpoint.to_owned()), Some(rate))?;
    TestServer::with_config(|config| config.tracing = Some(tracing)).await
}

/// What arrives in all, once the server has stopped.
async fn all(mut server: TestServer, collector: &Collector) -> Result<Vec<Span>> {
    server.stop();
    server.stopped().await?;
    Ok(collector.spans())
}

fn find<'a>(spans: &'a [Span], name: &str) -> Result<&'a Span> {
    spans.iter().find(|span| span.name == name).with_context(|| {
        let names: Vec<&str> = spans.iter().map(|span| &*span.name).collect();
        format!("{name:?} is not among {names:?}")
    })
}

/// What belongs to the requests of the tests; the server makes some of its own.
fn of_tests(mut spans: Vec<Span>) -> Vec<Span> {
    let is_ours = |span: &&Span| {
        span.parent_span_id.is_empty() && span.said("user_agent.original") == "gantry-testing/1"
    };
    let ours: Vec<Vec<u8>> = spans.iter().filter(is_ours).map(|span| span.trace_id.clone()).collect();
    spans.retain(|span| ours.contains(&span.trace_id));
    spans
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a path as the owner of `pair`, as a part of a trace.
async fn traced(server: &TestServer, pair: &Pair, path: &str, flags: &str) -> Result<Reply> {
    let request = Request::builder()
        .uri(path)
        .header("host", "api.example:6443")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-{flags}"))
        .header("tracestate", "vendor=1")
        .body(Bytes::new())?;
    server.send(Some(pair), request).await
}

#[tokio::test]
async fn a_request_and_its_steps_are_one_trace() -> Result<()> {
    let collector = Collector::start().await?;
    let server = server(&collector.endpoint, ALL).await?;
    let body = json!({"metadata": {"name": "m"}});
    let reply = server.json(Method::POST, MAPS, &body).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    server.get(&format!("{MAPS}/m?pretty=1")).await?;
    server.get("/apis/apps/v1/deployments?limit=1").await?;
    server.get("/healthz").await?;

    let spans = of_tests(all(server, &collector).await?);
    let root = find(&spans, "POST /api/v1/namespaces/{:namespace}/configmaps")?;
    assert_eq!((root.kind, root.parent_span_id.as_slice(), root.links.len()), (2, &[][..], 0));
    for (key, expect) in [
        ("http.request.method", "POST"),
        ("url.scheme", "https"),
        ("url.path", MAPS),
        ("http.target", MAPS),
        ("network.peer.address", "127.0.0.1"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "gantry-testing/1"),
        ("http.request.body.size", &body.to_string().len().to_string()),
        ("http.response.body.size", &reply.bytes.len().to_string()),
        ("http.response.status_code", "201"),
        ("audit-id", reply.headers["audit-id"].to_str()?),
    ] {
        assert_eq!(root.said(key), expect, "{key}");
    }
    let trace: Vec<Span> = spans.iter().filter(|span| span.trace_id == root.trace_id).cloned().collect();
    let create = find(&trace, "Create")?;
    for (parent, name) in [
        (root, "authentication"),
        (root, "priorityandfairness"),
        (root, "authorization"),
        (root, "Create"),
        (create, "Create storage"),
    ] {
        let span = find(&trace, name)?;
        assert_eq!((&span.parent_span_id, span.kind), (&parent.span_id, 1), "{name}");
        assert!(root.start <= span.start && span.start <= span.end && span.end <= root.end, "{name}");
    }
    assert_eq!(create.said("user-agent"), "gantry-testing/1");
    assert_eq!(
        (create.said("resource"), create.said("audit-id")),
        ("configmaps".into(), root.said("audit-id"))
    );
    let stored = find(&trace, "Create storage")?;
    assert_eq!(stored.said("key"), "/registry/configmaps/default/m");
    let expect = [
        "limitedReadBody succeeded",
        "Conversion done",
        "About to store object in database",
        "Write to database call succeeded",
    ];
    assert_eq!(create.events(), expect);

    let read = find(&spans, "GET /api/v1/namespaces/{:namespace}/configmaps/{:name}")?;
    assert_ne!(read.trace_id, root.trace_id);
    assert_eq!(read.said("http.target"), format!("{MAPS}/m?pretty=1"));
    let step = find(&spans, "cacher.Get")?;
    assert_eq!(find(&spans, "Get")?.span_id, step.parent_span_id);
    find(&spans, "GET /apis/apps/v1/deployments")?;
    assert_eq!(find(&spans, "cacher list")?.said("type"), "deployments.apps");
    assert_eq!(find(&spans, "GET")?.said("url.path"), "/healthz");
    Ok(())
}

#[tokio::test]
async fn who_is_trusted_decides_what_is_kept() -> Result<()> {
    let collector = Collector::start().await?;
    let server = server(&collector.endpoint, 0).await?;
    let jane = server.authority.issue("jane", &[])?;
    let monitor = server.authority.issue("monitor", &["system:monitoring"])?;
    server.get("/version").await?;
    traced(&server, &jane, "/version", "01").await?;
    let admin = server.admin.clone();
    traced(&server, &admin, "/version", "00").await?;
    traced(&server, &admin, "/api/v1/nodes", "01").await?;
    traced(&server, &monitor, "/livez", "01").await?;

    let spans = all(server, &collector).await?;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE && span.trace_state == "vendor=1"));
    let requests: Vec<&Span> = spans.iter().filter(|span| span.kind == 2).collect();
    let names: Vec<&str> = requests.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["GET /api/v1/nodes", "GET"]);
    assert!(requests.iter().all(|span| hex(&span.parent_span_id) == SPAN && span.links.is_empty()));
    assert_eq!(
        (requests[0].said("server.address"), requests[0].said("server.port")),
        ("api.example".into(), "6443".into())
    );
    Ok(())
}

#[tokio::test]
async fn what_others_say_of_traces_is_linked() -> Result<()> {
    let collector = Collector::start().await?;
    let server = server(&collector.endpoint, ALL).await?;
    let jane = server.authority.issue("jane", &[])?;
    let reply = traced(&server, &jane, "/api/v1/nodes", "01").await?;
    assert_eq!(reply.code, 403);
    // Who is nobody leaves no trace.
    let nobody = Request::builder().uri("/api/v1/pods").header("host", "api.example").body(Bytes::new())?;
    assert_eq!(server.send(None, nobody).await?.code, 401);

    let spans = all(server, &collector).await?;
    let span = find(&spans, "GET /api/v1/nodes")?;
    assert_ne!(hex(&span.trace_id), TRACE);
    assert!(span.parent_span_id.is_empty() && span.trace_state.is_empty());
    let links: Vec<_> = span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect();
    assert_eq!(links, [(TRACE.to_owned(), SPAN.to_owned())]);
    assert_eq!(span.said("http.response.status_code"), "403");
    assert!(find(&spans, "GET /api/v1/pods").is_err());
    Ok(())
}

#[tokio::test]
async fn webhooks_learn_of_the_trace() -> Result<()> {
    let collector = Collector::start().await?;
    let server = server(&collector.endpoint, 0).await?;
    let hook = WebhookServer::start(&server.authority, &[], |_, review| {
        let response = json!({"uid": review["request"]["uid"], "allowed": true});
        let kind = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"});
        Answer::Json(json!({"apiVersion": kind["apiVersion"], "kind": kind["kind"], "response": response}))
    })
    .await?;
    for kind in ["mutating", "validating"] {
        let configuration = json!({"metadata": {"name": kind}, "webhooks": [{
            "name": format!("{kind}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": hook.url("/"), "caBundle": STANDARD.encode(&hook.ca)},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        }]});
        let path = format!("/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations");
        assert_eq!(server.json(Method::POST, &path, &configuration).await?.code, 201);
    }
    let request = Request::post(MAPS)
        .header("host", "api.example")
        .header("content-type", "application/json")
        .header("traceparent", format!("00-{TRACE}-{SPAN}-01"))
        .header("tracestate", "vendor=1")
        .header("baggage", "who=me")
        .body(Bytes::from(json!({"metadata": {"name": "m"}}).to_string()))?;
    let reply = server.send(Some(&server.admin), request).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    let calls = hook.calls_with_headers();
    let spans = all(server, &collector).await?;

    assert_eq!(calls.len(), 2);
    for (at, kind) in ["mutating", "validating"].into_iter().enumerate() {
        let call = find(&spans, &format!("Call {kind} webhook"))?;
        assert_eq!(call.said("webhook"), format!("{kind}.example.com"));
        assert_eq!(
            (call.said("configuration"), call.said("operation")),
            (kind.to_owned(), "CREATE".to_owned())
        );
        let sent = spans.iter().find(|span| span.parent_span_id == call.span_id).context("a request")?;
        assert_eq!(
            (&*sent.name, sent.kind, sent.said("http.response.status_code")),
            ("HTTP POST", 3, "200".into())
        );
        assert!(sent.said("url.full").starts_with(&hook.url("/")), "{}", sent.said("url.full"));
        let headers = &calls[at].1;
        let expect = format!("00-{TRACE}-{}-01", hex(&sent.span_id));
        assert_eq!(headers["traceparent"], expect);
        assert_eq!((&headers["tracestate"], &headers["baggage"]), (&"vendor=1".parse()?, &"who=me".parse()?));
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_is_a_span_until_it_ends() -> Result<()> {
    let collector = Collector::start().await?;
    let server = server(&collector.endpoint, ALL).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(server.connect(Some(&server.admin)).await?))
            .await?;
    let connection = tokio::spawn(connection);
    let path = "/api/v1/namespaces/default/services?watch=1";
    let request = Request::get(path).header("host", "api.example").body(Empty::<Bytes>::new())?;
    let mut body = sender.send_request(request).await?.into_body();
    let event = body.frame().await.context("an event")??.into_data().unwrap_or_default();
    let event: Value = gantry_json::from_slice(&event)?;
    assert_eq!(event["type"], "ADDED");
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let spans = all(server, &collector).await?;
    let watch = find(&spans, "GET /api/v1/namespaces/{:namespace}/services")?;
    assert!(u128::from(watch.end) > before, "the span ended before the watch");
    assert_eq!(watch.said("http.response.status_code"), "200");
    connection.abort();
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_nobody_up() -> Result<()> {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = taken.local_addr()?.to_string();
    drop(taken);
    let mut server = server(&endpoint, ALL).await?;
    assert_eq!(server.get("/api/v1/nodes").await?.code, 200);
    server.stop();
    server.stopped().await
}
