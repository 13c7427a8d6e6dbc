//! The server of an aggregated API: it answers over TLS to who shows a certificate of the front proxy's
//! authority, and tells what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Authority, TestServer};
use http::header::{CONNECTION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::runtime::wait::await_condition;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// The group that the server answers for.
pub const GROUP: &str = "wardle.example.com";

/// A running server; it stops when this is dropped.
pub struct Extension {
    /// Where it listens.
    pub address: SocketAddr,
    /// The authority of its certificate.
    pub authority: Authority,
    _serving: AbortOnDropHandle<()>,
}

impl Extension {
    /// Starts a server that is named `NAME.NAMESPACE.svc` and believes the front proxy of `server`.
    pub async fn start(server: &TestServer, service: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::listen(server, service, listener)
    }

    /// As [`Extension::start`], but it has no OpenAPI documents of version 3.
    pub async fn start_older(server: &TestServer, service: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::serve(server, service, listener, false)
    }

    /// As [`Extension::start`], on a port that was taken before.
    pub fn listen(server: &TestServer, service: &str, listener: TcpListener) -> Result<Self> {
        Self::serve(server, service, listener, true)
    }

    fn serve(server: &TestServer, service: &str, listener: TcpListener, has_v3: bool) -> Result<Self> {
        let authority = Authority::new()?;
        let address = listener.local_addr()?;
        let pair = authority.issue_for("extension", &[], &[&format!("{service}.default.svc")])?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(server.front_proxy.certificate().as_bytes())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()?;
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?,
            )?;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let answer = service_fn(move |request| answer(request, has_v3));
                    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), answer);
                    drop(served.await);
                });
            }
        });
        Ok(Self { address, authority, _serving: AbortOnDropHandle::new(serving) })
    }

    /// Makes the Service `name` that stands for the server, outside of the cluster, and its APIService.
    pub async fn register(&self, server: &TestServer, name: &str) -> Result<()> {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        });
        let reply = server.json(Method::POST, "/api/v1/namespaces/default/services", &service).await?;
        assert_eq!(reply.code, 201, "{}", reply.text());
        let reply = self.register_as(server, name, self.address.port(), json!({})).await?;
        assert_eq!(reply.code, 201, "{}", reply.text());
        Ok(())
    }

    /// Makes the APIService alone, with more in its specification.
    pub async fn register_as(
        &self,
        server: &TestServer,
        name: &str,
        port: u16,
        more: Value,
    ) -> Result<gantry_testing::Reply> {
        use base64::Engine as _;
        let bundle = base64::engine::general_purpose::STANDARD.encode(self.authority.certificate());
        let mut object = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("v1.{GROUP}")},
            "spec": {
                "group": GROUP, "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 10,
                "caBundle": bundle, "service": {"namespace": "default", "name": name, "port": port},
            },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            match value.is_null() {
                true => drop(object["spec"].as_object_mut().map(|spec| spec.remove(key))),
                false => object["spec"][key] = value.clone(),
            }
        }
        server.json(Method::POST, "/apis/apiregistration.k8s.io/v1/apiservices", &object).await
    }
}

/// Returns when the condition Available of the APIService has this reason; what it says.
pub async fn reason(server: &TestServer, reason: &str) -> Result<String> {
    let services: Api<APIService> = Api::all(server.client());
    let name = format!("v1.{GROUP}");
    let condition = |service: Option<&APIService>| {
        let conditions = service.and_then(|service| service.status.as_ref()?.conditions.as_ref());
        conditions.into_iter().flatten().any(|each| each.reason.as_deref() == Some(reason))
    };
    let found =
        tokio::time::timeout(std::time::Duration::from_secs(30), await_condition(services, &name, condition));
    let service = found.await.with_context(|| format!("never {reason}"))??.context("an APIService")?;
    let conditions = service.status.and_then(|status| status.conditions).unwrap_or_default();
    let condition = &conditions[0];
    assert_eq!(condition.type_, "Available");
    assert_eq!(condition.status == "True", matches!(reason, "Passed" | "Local"));
    Ok(condition.message.clone().unwrap_or_default())
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

fn reply(code: u16, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn resources() -> Value {
    json!([{
        "resource": "flunders", "singularResource": "flunder", "scope": "Namespaced", "verbs": ["get", "list"],
        "responseKind": {"group": GROUP, "version": "v1", "kind": "Flunder"}, "shortNames": ["fl"],
    }])
}

async fn answer(mut request: Request<Incoming>, has_v3: bool) -> Result<Reply, Infallible> {
    const JSON: &str = "application/json";
    let path = request.uri().path().to_owned();
    let aggregated = request.headers().get("accept").is_some_and(|accept| {
        accept.to_str().is_ok_and(|accept| accept.contains("as=APIGroupDiscoveryList"))
    });
    Ok(match path.strip_prefix(&format!("/apis/{GROUP}/v1")).unwrap_or(&path) {
        "" => reply(
            200,
            JSON,
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/v1"),
                "resources": [{"name": "flunders", "singularName": "flunder", "namespaced": true,
                    "kind": "Flunder", "verbs": ["get", "list"], "shortNames": ["fl"]}]})
            .to_string(),
        ),
        "/apis" if aggregated => reply(
            200,
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
            "items": [{"metadata": {"name": GROUP}, "versions": [
                {"version": "v1", "freshness": "Current", "resources": resources()},
            ]}]})
            .to_string(),
        ),
        path if path.starts_with("/openapi/v3") && !has_v3 => reply(404, JSON, "{}"),
        "/openapi/v3" => reply(
            200,
            JSON,
            json!({"paths": {format!("apis/{GROUP}/v1"): {
                "serverRelativeURL": format!("/openapi/v3/apis/{GROUP}/v1?hash=ABC"),
            }, "version": {"serverRelativeURL": "/openapi/v3/version?hash=1"}}})
            .to_string(),
        ),
        path if path == format!("/openapi/v3/apis/{GROUP}/v1") => reply(
            200,
            JSON,
            json!({"openapi": "3.0.0", "info": {"title": "Wardle", "version": "1"},
                "paths": {format!("/apis/{GROUP}/v1/"): {"get": {"responses": {}}}}})
            .to_string(),
        ),
        "/openapi/v2" => openapi_v2(&request),
        "/watch" => watch(),
        "/redirect" => {
            let mut response = reply(302, JSON, "");
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("https://elsewhere.example/"));
            response
        }
        "/upgrade" => upgrade(&mut request),
        _ => echo(request).await,
    })
}

/// The version 2 document, which has a definition of its own and one that everybody has.
fn openapi_v2(request: &Request<Incoming>) -> Reply {
    let tag = HeaderValue::from_static("\"wardle-1\"");
    let mut response = match request.headers().get(IF_NONE_MATCH) == Some(&tag) {
        true => reply(304, "application/json", ""),
        false => reply(
            200,
            "application/json",
            json!({"swagger": "2.0", "info": {"title": "Wardle", "version": "1"},
                "paths": {
                    format!("/apis/{GROUP}/v1/namespaces/{{namespace}}/flunders"): {"get": {"responses": {"200": {
                        "description": "OK", "schema": {"$ref": "#/definitions/com.example.wardle.v1.FlunderList"},
                    }}}},
                    "/version/": {"get": {"responses": {}}},
                },
                "definitions": {
                    "com.example.wardle.v1.FlunderList": {"type": "object", "properties": {
                        "metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"},
                    }},
                    "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta": {"type": "object", "properties": {
                        "mine": {"type": "string"},
                    }},
                }})
            .to_string(),
        ),
    };
    response.headers_mut().insert(ETAG, tag);
    response
}

/// What was asked, and by whom.
async fn echo(request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut headers = gantry_json::Map::new();
    for (name, value) in &parts.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let values = headers.entry(name.to_string()).or_insert_with(|| json!([]));
        values.as_array_mut().expect("a list").push(value.into());
    }
    let target = parts.uri.path_and_query().map(ToString::to_string);
    let said = json!({"method": parts.method.as_str(), "target": target, "headers": headers,
        "body": String::from_utf8_lossy(&body), "http2": parts.version == http::Version::HTTP_2});
    let code = if parts.uri.path().ends_with("/teapot") { 418 } else { 200 };
    let mut response = reply(code, "application/json", said.to_string());
    response.headers_mut().insert("access-control-allow-origin", HeaderValue::from_static("*"));
    response.headers_mut().insert("x-extension", HeaderValue::from_static("yes"));
    response
}

/// Two events, of which the second comes when the first was read, as far as anybody can tell.
fn watch() -> Reply {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        let event = |number: u8| Bytes::from(format!("{{\"type\":\"ADDED\",\"object\":{number}}}\n"));
        for number in 1..=2 {
            if sender.send_data(event(number)).await.is_err() {
                return;
            }
        }
        // The watch goes on.
        std::future::pending::<()>().await;
    });
    let body = body.map_err(|error: Infallible| error).boxed();
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Says everything back in capitals, and who it speaks with.
fn upgrade(request: &mut Request<Incoming>) -> Reply {
    let protocol = request.headers().get(UPGRADE).cloned();
    let user = request.headers().get("x-remote-user").cloned();
    let Some((protocol, user)) = protocol.zip(user) else { return reply(400, "text/plain", "who?") };
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let (mut buffer, (said, mut heard)) = ([0; 64], mpsc::unbounded_channel());
        drop(said.send(user.as_bytes().to_vec()));
        loop {
            tokio::select! {
                Some(text) = heard.recv() => {
                    if stream.write_all(&text).await.is_err() {
                        return;
                    }
                }
                read = stream.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(length) => drop(said.send(buffer[..length].to_ascii_uppercase())),
                },
            }
        }
    });
    let mut response = reply(101, "text/plain", "");
    response.headers_mut().insert(UPGRADE, protocol);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}
