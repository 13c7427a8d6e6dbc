//! The audit webhook: events are gathered and sent in batches to somebody else's server. What could not
//! be sent is tried again, longer apart each time; what does not fit into the buffer is lost.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::server::listener;
use crate::{Error, Identity};

/// How often a batch is sent before it is given up.
const ATTEMPTS: u32 = 5;

/// Where events are sent, and how.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// The address that takes EventLists.
    pub url: String,
    /// The CA of its certificate, in PEM.
    pub ca: String,
    /// How this server shows who it is; `None`: it does not.
    pub identity: Option<Identity>,
    /// A bearer token.
    pub token: Option<String>,
    /// How many events may wait.
    pub buffer: usize,
    /// How many events are sent at once.
    pub batch: usize,
    /// How long an event waits for others.
    pub wait: Duration,
    /// How long after a failure the next attempt is made; each time longer.
    pub backoff: Duration,
}

impl Webhook {
    /// A webhook with upstream's batches.
    pub fn new(url: String) -> Self {
        Self {
            url,
            ca: String::new(),
            identity: None,
            token: None,
            buffer: 10_000,
            batch: 400,
            wait: Duration::from_secs(30),
            backoff: Duration::from_secs(10),
        }
    }
}

/// The events that wait, and who sends them.
pub(super) struct Sender {
    settings: Webhook,
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    waiting: mpsc::Sender<Bytes>,
    arriving: Mutex<mpsc::Receiver<Bytes>>,
}

impl Sender {
    pub fn new(settings: &Webhook) -> Result<Self, Error> {
        let uri = settings.url.parse().map_err(|cause| Error::config("audit webhook", cause))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::tls("choose protocol versions", cause))?
            .with_root_certificates(listener::roots(&settings.ca)?);
        let tls = match &settings.identity {
            Some(identity) => {
                let (chain, key) = listener::identity(identity)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|cause| Error::tls("use the audit webhook's client certificate", cause))?
            }
            None => builder.with_no_client_auth(),
        };
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let (waiting, arriving) = mpsc::channel(settings.buffer.max(1));
        Ok(Self { settings: settings.clone(), uri, client, waiting, arriving: Mutex::new(arriving) })
    }

    /// Takes an event; false: there is no room.
    pub fn push(&self, event: &Value) -> bool {
        self.waiting.try_send(Bytes::from(event.to_string())).is_ok()
    }

    /// Sends batches until `stopping`, and then what waits. `lost` is told how many were given up.
    pub async fn run(&self, stopping: &CancellationToken, lost: impl Fn(u64)) {
        let mut arriving = self.arriving.lock().await;
        loop {
            let mut batch = Vec::new();
            let first = tokio::select! {
                first = arriving.recv() => first,
                () = stopping.cancelled() => arriving.try_recv().ok(),
            };
            let Some(first) = first else { return };
            batch.push(first);
            let full = async {
                while batch.len() < self.settings.batch {
                    match arriving.recv().await {
                        Some(event) => batch.push(event),
                        None => return,
                    }
                }
            };
            tokio::select! {
                () = full => {}
                () = tokio::time::sleep(self.settings.wait) => {}
                () = stopping.cancelled() => {}
            }
            while batch.len() < self.settings.batch
                && let Ok(event) = arriving.try_recv()
            {
                batch.push(event);
            }
            if let Err(error) = self.send(&batch, stopping).await {
                lost(batch.len() as u64);
                tracing::error!(%error, events = batch.len(), "audit events could not be sent");
            }
        }
    }

    async fn send(&self, batch: &[Bytes], stopping: &CancellationToken) -> Result<(), String> {
        let mut body =
            br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_vec();
        for (at, event) in batch.iter().enumerate() {
            if at > 0 {
                body.push(b',');
            }
            body.extend_from_slice(event);
        }
        body.extend_from_slice(b"]}");
        let body = Bytes::from(body);
        let mut pause = self.settings.backoff;
        for attempt in 1.. {
            let error = match self.post(body.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // A server that stops tries once.
            if attempt == ATTEMPTS || stopping.is_cancelled() {
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => {}
            }
            pause = pause.mul_f64(1.5);
        }
        Ok(())
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(http::header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.settings.token {
            request = request.header(http::header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| error.to_string())?;
        let code = response.status();
        // Read to its end, so that the connection can be used again.
        let _ = response.into_body().collect().await;
        if code.is_success() { Ok(()) } else { Err(json!({"code": code.as_u16()}).to_string()) }
    }
}
