//! A validating webhook that allows everything, with as little work as it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use gantry_testing::Authority;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// A webhook over TLS on the loopback. It stops when this is dropped.
pub struct Webhook {
    /// Where it is.
    pub url: String,
    /// The certificate of its authority, in PEM.
    pub ca: String,
    asked: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl Webhook {
    /// Starts it.
    pub async fn start() -> Result<Self> {
        let authority = Authority::new()?;
        let pair = authority.issue("webhook", &[])?;
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?,
        )?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}/validate", listener.local_addr()?);
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), count.clone());
                connections.spawn(async move {
                    let _ = stream.set_nodelay(true);
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(count.clone(), request));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is no fault of the webhook's.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let _serving = AbortOnDropHandle::new(serving);
        Ok(Self { url, ca: authority.certificate(), asked, _serving })
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(asked: Arc<AtomicUsize>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    const UID: &[u8] = b"\"uid\":\"";
    asked.fetch_add(1, Ordering::Relaxed);
    let body = request.into_body().collect().await?.to_bytes();
    // The review's own uid is the first in it.
    let at = memchr::memmem::find(&body, UID).context("a review without a uid")? + UID.len();
    let length = memchr::memchr(b'"', &body[at..]).context("a review that breaks off")?;
    let uid = std::str::from_utf8(&body[at..at + length])?;
    let answer = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{{"uid":"{uid}","allowed":true}}}}"#
    );
    Ok(Response::new(Full::from(answer)))
}
