//! A webhook over HTTPS that answers as a test says and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use bytes::Bytes;
use gantry_json::Value;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::Authority;

/// What a webhook does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Answers with JSON.
    Json(Value),
    /// Answers with a code and a text.
    Text(u16, String),
    /// Never answers.
    Never,
}

type Calls = Arc<Mutex<Vec<(String, HeaderMap, Value)>>>;
type Answering = Arc<dyn Fn(&str, &Value) -> Answer + Send + Sync>;

/// A running webhook. It stops when this is dropped.
pub struct WebhookServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate of its authority, in PEM.
    pub ca: String,
    calls: Calls,
    serving: JoinHandle<()>,
}

impl WebhookServer {
    /// Starts a webhook on the loopback, with a certificate for `names` too, that answers requests for a
    /// path and query with a body by `answer`.
    pub async fn start(
        authority: &Authority,
        names: &[&str],
        answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Result<Self> {
        let pair = authority.issue_for("webhook", &[], names)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?],
                PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?,
            )?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let calls = Calls::default();
        let (known, answer): (Calls, Answering) = (calls.clone(), Arc::new(answer));
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, known, answer) = (acceptor.clone(), known.clone(), answer.clone());
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| reply(known.clone(), answer.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is no fault of the webhook's.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, ca: authority.certificate(), calls, serving })
    }

    /// Its URL with this path.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// What it was asked since this was last called: path and query, and body.
    pub fn calls(&self) -> Vec<(String, Value)> {
        self.calls_with_headers().into_iter().map(|(path, _, body)| (path, body)).collect()
    }

    /// As [`WebhookServer::calls`], with the headers before the bodies.
    pub fn calls_with_headers(&self) -> Vec<(String, HeaderMap, Value)> {
        std::mem::take(&mut self.calls.lock().expect("no test panics while it holds it"))
    }
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn reply(
    calls: Calls,
    answer: Answering,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().to_string();
    let headers = request.headers().clone();
    let bytes = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = gantry_json::from_slice(&bytes).unwrap_or_default();
    let answered = answer(&path, &body);
    calls.lock().expect("no test panics while it holds it").push((path, headers, body));
    let (code, text) = match answered {
        Answer::Json(value) => (200, value.to_string()),
        Answer::Text(code, text) => (code, text),
        Answer::Never => std::future::pending().await,
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    Ok(response)
}
