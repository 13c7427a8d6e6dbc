//! Other people's servers: HTTPS on the loopback, with answers that a test can change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use gantry_json::{Value, json};
use gantry_testing::{Authority, Reply, TestServer};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What a server says to a path and a body.
pub type Answer = Box<dyn Fn(&str, &Value) -> (u16, Value) + Send + Sync>;

/// A server of somebody else. It ends when this is dropped.
pub struct Remote {
    pub url: String,
    pub asked: Arc<Mutex<Vec<(String, Value)>>>,
    answer: Arc<Mutex<Answer>>,
    task: JoinHandle<()>,
}

impl Remote {
    pub async fn start(authority: &Authority, answer: Answer) -> Result<Self> {
        let pair = authority.issue("remote", &[])?;
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}", listener.local_addr()?);
        let answer = Arc::new(Mutex::new(answer));
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let (say, heard) = (answer.clone(), asked.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, say, heard) = (acceptor.clone(), say.clone(), heard.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                        let (say, heard) = (say.clone(), heard.clone());
                        async move {
                            let path = request.uri().path().to_owned();
                            let bytes = request.into_body().collect().await?.to_bytes();
                            let body = gantry_json::from_slice(&bytes).unwrap_or_default();
                            let (code, answer) = say.lock().expect("no panic")(&path, &body);
                            heard.lock().expect("no panic").push((path, body));
                            let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                            *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
                            Ok::<_, hyper::Error>(response)
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self { url, asked, answer, task })
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().expect("no panic") = answer;
    }

    pub fn count(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }

    /// A kubeconfig that names the server.
    pub fn kubeconfig(&self, authority: &Authority, file: &Path) -> Result<()> {
        let ca = base64::engine::general_purpose::STANDARD.encode(authority.certificate());
        let config = json!({
            "clusters": [{"name": "c", "cluster": {
                "server": format!("{}/ask", self.url), "certificate-authority-data": ca}}],
            "users": [{"name": "u", "user": {"token": "of-the-server"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        Ok(std::fs::write(file, config.to_string())?)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A key of an identity provider.
pub struct Key {
    pub id: String,
    pair: EcdsaKeyPair,
}

impl Key {
    pub fn new(id: &str) -> Result<Self> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let wrong = |error: &dyn std::fmt::Display| anyhow::anyhow!("{error}");
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|error| wrong(&error))?;
        let pair =
            EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).map_err(|error| wrong(&error))?;
        Ok(Self { id: id.to_owned(), pair })
    }

    pub fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "alg": "ES256", "use": "sig",
               "x": encode(&point[1..33]), "y": encode(&point[33..65])})
    }

    pub fn token(&self, claims: &Value) -> String {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "ES256", "kid": self.id});
        let message = format!("{}.{}", encode(&header), encode(claims));
        let signed = self.pair.sign(&SystemRandom::new(), message.as_bytes()).expect("signs");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signed.as_ref()))
    }
}

/// The answers of an identity provider with these keys.
pub fn provider(url: String, keys: &[&Key]) -> Answer {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    Box::new(move |path, _| match path {
        "/.well-known/openid-configuration" => {
            (200, json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
        }
        "/keys" => (200, json!({"keys": keys})),
        _ => (404, Value::Null),
    })
}

/// Sends a request with a token; nothing: without credentials.
pub async fn send(
    server: &TestServer,
    method: Method,
    path: &str,
    token: &str,
    body: &Value,
) -> Result<Reply> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "x")
        .header("content-type", "application/json");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    server.send(None, request.body(body)?).await
}

/// Who a token's user is; the error is the status code.
pub async fn who(server: &TestServer, token: &str) -> Result<Result<Value, u16>> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let reply = send(server, Method::POST, path, token, &review).await?;
    Ok(match reply.code.as_u16() {
        201 => Ok(reply.json()["status"]["userInfo"].clone()),
        code => Err(code),
    })
}

/// Seconds since the Unix epoch.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Claims of a token that is good.
pub fn claims(issuer: &str, more: Value) -> Value {
    let mut claims =
        json!({"iss": issuer, "aud": "kubernetes", "exp": now() + 600, "iat": now(), "sub": "jane"});
    for (key, value) in more.as_object().cloned().unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>()
    {
        claims[key] = value;
    }
    claims
}
