//! The `proxy` subresources of pods, Services and nodes, with a workload that tells what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::TestServer;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

const SERVICE: &str = "/api/v1/namespaces/default/services";

/// A workload on the loopback; it stops when this is dropped.
struct Workload {
    address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Workload {
    async fn start(tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => speak(stream).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            speak(stream).await;
                        }
                    }
                });
            }
        });
        Ok(Self { address, _serving: AbortOnDropHandle::new(serving) })
    }

    /// With a certificate that nobody has reason to trust.
    async fn with_tls(server: &TestServer, mutual: bool) -> Result<Self> {
        let other = gantry_testing::Authority::new()?;
        let authority = if mutual { &server.authority } else { &other };
        let pair = authority.issue("workload", &[])?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?,
            )?;
        Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await
    }
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .with_upgrades();
    drop(served.await);
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| {
        request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let host = header("host").unwrap_or_default();
    let mut response = Response::new(Full::default());
    match request.uri().path() {
        "/page" => {
            *response.body_mut() = "<a href=\"/x\">y</a><a href=\"z\">".into();
            response
                .headers_mut()
                .insert("content-type", HeaderValue::from_static("text/html; charset=utf-8"));
            response.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("*"));
        }
        "/moved" => {
            *response.status_mut() = http::StatusCode::FOUND;
            let location = format!("http://{host}/there/?a=b");
            response.headers_mut().insert("location", location.parse().expect("a header"));
        }
        "/shout" if request.headers().contains_key("upgrade") => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgraded.await else { return };
                let mut stream = TokioIo::new(upgraded);
                let mut buffer = [0; 5];
                if stream.read_exact(&mut buffer).await.is_ok() {
                    drop(stream.write_all(&buffer.to_ascii_uppercase()).await);
                }
            });
            *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert("connection", HeaderValue::from_static("Upgrade"));
            response.headers_mut().insert("upgrade", HeaderValue::from_static("shout"));
        }
        _ => {
            let said = json!({
                "method": request.method().as_str(), "target": request.uri().to_string(), "host": host,
                "authorization": header("authorization"), "forwarded": header("x-forwarded-for"),
                "uri": header("x-forwarded-uri"), "connection": header("keep-alive"),
            });
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let mut said = said;
            said["body"] = String::from_utf8_lossy(&body).into();
            *response.body_mut() = said.to_string().into();
        }
    }
    Ok(response)
}

/// A pod with the workload's address, a Service and the Endpoints between them.
async fn publish(server: &TestServer, name: &str, address: SocketAddr) -> Result<()> {
    let pods = "/api/v1/namespaces/default/pods";
    let account = json!({"metadata": {"name": "default"}});
    server.json(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let reply = server.json(Method::POST, pods, &pod).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}).to_string();
    let path = format!("{pods}/{name}/status");
    let reply = server.request(Method::PATCH, &path, "application/merge-patch+json", status).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"name": "web", "port": 80}]}});
    let reply = server.json(Method::POST, SERVICE, &service).await?;
    assert_eq!(reply.code, 201, "{}", reply.text());
    // Endpoints on the loopback cannot be written through the API.
    let endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": name, "namespace": "default"},
        "subsets": [{
            "addresses": [{"ip": "127.0.0.1", "targetRef": {"kind": "Pod", "namespace": "default", "name": name}}],
            "ports": [{"name": "web", "port": address.port()}],
        }],
    });
    let key = format!("/registry/endpoints/default/{name}");
    server.store.create(&key, endpoints.to_string().into_bytes(), None).await?;
    Ok(())
}

#[tokio::test]
async fn a_service_is_reached_as_it_is_named() -> Result<()> {
    let server = TestServer::start().await?;
    let workload = Workload::start(None).await?;
    publish(&server, "s", workload.address).await?;
    let get = async |path: &str| server.get(&format!("{SERVICE}/{path}")).await;
    for name in ["s:web", "s:80", "http:s:web", ":s:80"] {
        let reply = get(&format!("{name}/proxy/a%2Fb/c/?x=%20y&z")).await?;
        assert_eq!(reply.code, 200, "{name}: {}", reply.text());
        assert_eq!(reply.json()["target"], "/a%2Fb/c/?x=%20y&z");
    }
    let said = get("s:web/proxy/a/../../b").await?.json();
    assert_eq!(said["target"], "/b");
    assert_eq!(said["host"], server.address.to_string());
    assert_eq!(said["forwarded"], "127.0.0.1");
    assert_eq!(said["uri"], format!("{SERVICE}/s:web/proxy/b"));

    let moved = get("s:web/proxy?x=y").await?;
    assert_eq!(moved.code, 301);
    assert_eq!(moved.headers["location"], format!("{SERVICE}/s:web/proxy/?x=y"));

    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let path = format!("{SERVICE}/s:web/proxy/form");
        let reply = server.request(method.clone(), &path, "text/plain", "said").await?;
        let said = reply.json();
        assert_eq!((&said["method"], &said["body"]), (&json!(method.as_str()), &json!("said")));
    }

    let check = async |path: &str, code: u16, message: &str| -> Result<()> {
        let reply = get(path).await?;
        assert_eq!((reply.code.as_u16(), &reply.json()["message"]), (code, &json!(message)), "{path}");
        Ok(())
    };
    check("s/proxy/", 503, "no endpoints available for service \"s\"").await?;
    check("s:other/proxy/", 503, "no endpoints available for service \"s:other\"").await?;
    check("s:81/proxy/", 503, "no service port 81 found for service \"s\"").await?;
    check("ftp:s:web/proxy/", 400, "invalid service request \"ftp:s:web\"").await?;
    check("none:web/proxy/", 404, "endpoints \"none\" not found").await?;
    check("none:80/proxy/", 404, "services \"none\" not found").await?;
    drop(workload);
    let reply = get("s:web/proxy/x").await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["reason"]), (503, &json!("ServiceUnavailable")));
    assert!(reply.text().contains("error trying to reach service: dial tcp 127.0.0.1:"), "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn answers_lead_back_through_the_proxy() -> Result<()> {
    let server = TestServer::start().await?;
    let workload = Workload::start(None).await?;
    publish(&server, "s", workload.address).await?;
    let page = server.get(&format!("{SERVICE}/s:web/proxy/page")).await?;
    assert_eq!(page.text(), format!("<a href=\"{SERVICE}/s:web/proxy/x\">y</a><a href=\"z\">"));
    assert!(!page.headers.contains_key("access-control-allow-origin"));
    let moved = server.get(&format!("{SERVICE}/s:web/proxy/moved")).await?;
    assert_eq!(moved.code, 302);
    let expect = format!("http://{}{SERVICE}/s:web/proxy/there/?a=b", server.address);
    assert_eq!(moved.headers["location"], expect);

    let mut stream = server.connect(Some(&server.admin)).await?;
    let request = format!(
        "GET {SERVICE}/s:web/proxy/shout HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: shout\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream.write_all(b"hello").await?;
    let mut said = [0; 5];
    stream.read_exact(&mut said).await?;
    assert_eq!(&said, b"HELLO");

    // What does not upgrade, but answers as if nothing was, is no answer.
    let request = Request::builder()
        .uri(format!("{SERVICE}/s:web/proxy/x"))
        .header("host", "x")
        .header("connection", "upgrade")
        .header("upgrade", "shout")
        .body(Bytes::new())?;
    let reply = server.send(Some(&server.admin), request).await?;
    assert_eq!(reply.code, 500);
    assert_eq!(reply.json()["message"], "invalid upgrade response: status code 200");
    Ok(())
}

#[tokio::test]
async fn tls_pods_and_nodes() -> Result<()> {
    let server = TestServer::start().await?;
    let workload = Workload::with_tls(&server, false).await?;
    publish(&server, "s", workload.address).await?;
    let reply = server.get(&format!("{SERVICE}/https:s:web/proxy/x")).await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["target"]), (200, &json!("/x")), "{}", reply.text());

    let pods = "/api/v1/namespaces/default/pods";
    let reply = server.get(&format!("{pods}/s:80/proxy/x")).await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["message"]), (400, &json!("address not allowed")));
    assert_eq!(server.get(&format!("{pods}/none/proxy/x")).await?.code, 404);
    let reply = server.get(&format!("{pods}/a:b:c:d/proxy/x")).await?;
    assert_eq!(reply.json()["message"], "invalid pod request \"a:b:c:d\"");

    let kubelet = Workload::with_tls(&server, true).await?;
    let node = json!({"metadata": {"name": "n"}});
    assert_eq!(server.json(Method::POST, "/api/v1/nodes", &node).await?.code, 201);
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.address.port()}},
    }});
    let merge = "application/merge-patch+json";
    let reply = server.request(Method::PATCH, "/api/v1/nodes/n/status", merge, status.to_string()).await?;
    assert_eq!(reply.code, 200, "{}", reply.text());
    for name in [
        "n".to_owned(),
        format!("n:{}", kubelet.address.port()),
        format!("https:n:{}", kubelet.address.port()),
    ] {
        let reply = server.get(&format!("/api/v1/nodes/{name}/proxy/pods?x=y")).await?;
        assert_eq!((reply.code.as_u16(), &reply.json()["target"]), (200, &json!("/pods?x=y")), "{name}");
    }
    let reply = server.get("/api/v1/nodes/n:1/proxy/").await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["message"]), (400, &json!("address not allowed")));
    let reply = server.get("/api/v1/nodes/none/proxy/").await?;
    assert_eq!((reply.code.as_u16(), &reply.json()["message"]), (404, &json!("nodes \"none\" not found")));
    let nobody: Value = server.get("/api/v1/nodes/n/proxy").await?.json();
    assert_eq!(nobody, Value::Null);
    Ok(())
}
