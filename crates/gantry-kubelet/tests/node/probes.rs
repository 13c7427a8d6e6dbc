//! Probes of all sorts against real processes.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use bytes::Bytes;
use gantry_json::json;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::support::{Node, phase, pod, ready, status, with};

/// An HTTP server on the node's address that answers with the status code it is told to.
async fn serve(code: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let code = code.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let agent = request.headers().get("user-agent").is_some_and(|a| a == "kube-probe/1.35");
                let wanted =
                    agent && request.uri() == "/health?deep=1" && request.headers()["x-who"] == "kubelet";
                let code = if wanted { code.load(Ordering::SeqCst) } else { 418 };
                async move {
                    Ok::<_, Infallible>(
                        Response::builder().status(code).body(Full::<Bytes>::default()).unwrap(),
                    )
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_what_probes_find() {
    Node::with(async |node| {
        let code = Arc::new(AtomicU16::new(503));
        let port = serve(code.clone()).await;
        let make = |name: &str, probe: gantry_json::Value| {
            let probe = with(probe, json!({"periodSeconds": 1, "failureThreshold": 1}));
            with(
                pod(name, "sleep 1000"),
                json!({"spec": {"hostNetwork": true, "containers": [{"readinessProbe": probe}]}}),
            )
        };
        let headers = json!([{"name": "X-Who", "value": "kubelet"}]);
        node.create(make(
            "http",
            json!({"httpGet": {"path": "/health?deep=1", "port": port, "httpHeaders": headers}}),
        ))
        .await;
        node.create(make("tcp", json!({"tcpSocket": {"port": port}}))).await;
        node.create(make("exec", json!({"exec": {"command": ["test", "-e", "/ok"]}}))).await;
        node.create(make("grpc", json!({"grpc": {"port": grpc().await, "service": "db"}}))).await;
        node.wait("tcp", ready).await;
        node.wait("grpc", ready).await;
        assert_eq!(
            node.event("http", "Unhealthy").await,
            "Readiness probe failed: HTTP probe failed with statuscode: 503"
        );
        assert!(phase(&node.pods().get("http").await.unwrap()) == "Running");
        code.store(200, Ordering::SeqCst);
        node.wait("http", ready).await;
        code.store(500, Ordering::SeqCst);
        node.wait("http", |pod| !ready(pod)).await;
        assert!(!ready(&node.pods().get("exec").await.unwrap()));
        node.kubectl_prints(&["exec", "exec", "--", "touch", "/ok"]).await;
        node.wait("exec", ready).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn liveness_restarts_and_startup_holds_back() {
    Node::with(async |node| {
        let fails = json!({"exec": {"command": ["sh", "-c", "echo broken; false"]}, "periodSeconds": 1, "failureThreshold": 1});
        let liveness = json!({"spec": {"containers": [{"livenessProbe": fails}]}});
        node.create(with(pod("ill", "sleep 1000"), liveness)).await;
        let startup = json!({"spec": {"containers": [{"livenessProbe": fails,
            "startupProbe": {"exec": {"command": ["test", "-e", "/ok"]}, "periodSeconds": 1, "failureThreshold": 100}}]}});
        node.create(with(pod("slow", "sleep 1000"), startup)).await;
        let ill = node.wait("ill", |pod| status(pod, "main").is_some_and(|s| s.restart_count >= 1)).await;
        let last = status(&ill, "main").unwrap().last_state.clone().unwrap().terminated.unwrap();
        assert_eq!((last.exit_code, last.reason.as_deref()), (137, Some("Error")), "{last:?}");
        assert_eq!(node.event("ill", "Unhealthy").await, "Liveness probe failed: broken\n");
        assert_eq!(node.event("ill", "Killing").await, "Container main failed liveness probe, will be restarted");
        let slow = node.pods().get("slow").await.unwrap();
        let container = status(&slow, "main").unwrap();
        assert_eq!((container.restart_count, container.started, container.ready), (0, Some(false), false), "{container:?}");
        node.kubectl_prints(&["exec", "slow", "--", "touch", "/ok"]).await;
        node.wait("slow", |pod| status(pod, "main").is_some_and(|s| s.restart_count >= 1)).await;
    })
    .await;
}

/// A health service that knows `db` only.
async fn grpc() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = service_fn(|request: Request<Incoming>| async move {
        use http_body_util::{BodyExt, StreamBody};
        let known = request.uri().path() == "/grpc.health.v1.Health/Check";
        let asked = request.into_body().collect().await.unwrap().to_bytes();
        // A message of five bytes' prefix: field 1 of the request is the service, of the answer SERVING.
        let serving = known && asked.ends_with(b"\x0a\x02db");
        let status = if serving { "0" } else { "5" };
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        let data = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
        let frames =
            [Ok::<_, Infallible>(hyper::body::Frame::data(data)), Ok(hyper::body::Frame::trailers(trailers))];
        let body = StreamBody::new(futures::stream::iter(frames));
        Ok::<_, Infallible>(
            Response::builder().header("content-type", "application/grpc").body(body).unwrap(),
        )
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}
