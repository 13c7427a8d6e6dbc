//! The TLS listener: HTTP/1.1 and HTTP/2 on one port, client certificates where they are shown.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::server::WebPkiClientVerifier;
use rustls::{CipherSuite, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::certificate::Shown;
use super::leftover::Leftover;
use crate::audit::PeerAddress;
use crate::body::Body;
use crate::{ApiServer, Config, Error, Identity};

/// The certificates that the peer of a connection showed, verified against the client CA.
#[derive(Clone, Debug, Default)]
pub struct PeerCertificates {
    /// Leaf first; empty: it showed none.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// Tells leaves apart: what is known of one is looked up by it with each request.
    pub(crate) fingerprint: Fingerprint,
}

/// The SHA-256 of a certificate.
pub(crate) type Fingerprint = [u8; 32];

impl PeerCertificates {
    /// A chain, leaf first.
    pub fn new(chain: Arc<[CertificateDer<'static>]>) -> Self {
        let digest = |leaf: &CertificateDer<'_>| ring::digest::digest(&ring::digest::SHA256, leaf);
        let fingerprint = chain.first().and_then(|leaf| digest(leaf).as_ref().try_into().ok());
        Self { chain, fingerprint: fingerprint.unwrap_or_default() }
    }
}

/// Reads a PEM chain and its key.
pub(crate) fn identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|cause| Error::tls("read a certificate", cause))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
        .map_err(|cause| Error::tls("read a private key", cause))?;
    Ok((chain, key))
}

/// The certificates of a PEM bundle, as roots of trust.
pub(crate) fn roots(pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|cause| Error::tls("read a CA certificate", cause))?;
        roots.add(certificate).map_err(|cause| Error::tls("trust a CA certificate", cause))?;
    }
    Ok(roots)
}

pub(crate) fn acceptor(config: &Config, serving: Arc<Shown>) -> Result<TlsAcceptor, Error> {
    let mut provider = rustls::crypto::ring::default_provider();
    // The server chooses, as upstream's does: the shorter key is long enough and takes less time.
    provider.cipher_suites.sort_by_key(|each| {
        use CipherSuite::*;
        matches!(
            each.suite(),
            TLS13_AES_256_GCM_SHA384
                | TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                | TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
        )
    });
    let provider = Arc::new(provider);
    // Whose certificate stands for whom is for authentication to tell.
    let front_proxies = config.request_header.as_ref().map(|each| each.ca.as_str()).unwrap_or_default();
    let roots = Arc::new(roots(&format!("{}\n{front_proxies}", config.client_ca))?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|cause| Error::tls("verify client certificates", cause))?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| Error::tls("choose protocol versions", cause))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(serving);
    tls.ignore_client_order = true;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

/// Accepts connections until `shutdown`, then lets open requests end for a short while.
pub(crate) async fn serve(server: Arc<ApiServer>, listener: TcpListener, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (server, shutdown) = (server.clone(), shutdown.clone());
                connections.spawn(async move {
                    if let Err(error) = connection(server, stream, PeerAddress(peer), shutdown).await {
                        tracing::debug!(%error, "connection ended");
                    }
                });
            }
            // Out of file descriptors, mostly: pause, or this loop takes the processor.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(server.config.limits.drain, connections.wait()).await.is_err() {
        tracing::debug!("connections were still open when the server stopped");
    }
}

async fn connection(
    server: Arc<ApiServer>,
    stream: TcpStream,
    address: PeerAddress,
    shutdown: CancellationToken,
) -> Result<(), crate::body::BoxError> {
    stream.set_nodelay(true)?;
    let limits = &server.config.limits;
    let patience = Instant::now() + limits.handshake;
    let late = |what: &'static str| io::Error::new(io::ErrorKind::TimedOut, what);
    let handshake = server.acceptor.accept(stream);
    let stream = tokio::time::timeout_at(patience, handshake)
        .await
        .map_err(|_| late("the TLS handshake took too long"))??;
    let session = stream.get_ref().1;
    let h2 = session.alpn_protocol() == Some(b"h2");
    let peers = session.peer_certificates().unwrap_or_default();
    let peers = PeerCertificates::new(peers.iter().map(|each| each.clone().into_owned()).collect());
    let spoken = Arc::new(AtomicBool::new(false));
    let service = {
        let (server, spoken) = (server.clone(), spoken.clone());
        service_fn(move |request: http::Request<Incoming>| {
            spoken.store(true, Ordering::Relaxed);
            let (server, peers) = (server.clone(), peers.clone());
            // On the heap, where the last request's memory is still at hand; within the connection it would be
            // as cold as the connection, and stay with it.
            Box::pin(async move {
                let mut request = request.map(|body| match h2 && !body.is_end_stream() {
                    true => Body::boxed(Leftover::new(body)),
                    false => Body::Incoming(body),
                });
                request.extensions_mut().insert(peers);
                request.extensions_mut().insert(address);
                Ok::<_, std::convert::Infallible>(server.handle(request, None).await)
            })
        })
    };
    // The protocol is settled by now: waiting for bytes to guess it by would have no end.
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut builder = if h2 { builder.http2_only() } else { builder.http1_only() };
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut waiting = true;
    loop {
        tokio::select! {
            result = connection.as_mut() => return result,
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep_until(patience), if waiting => {
                if !spoken.load(Ordering::Relaxed) {
                    return Err(late("the first request's header took too long").into());
                }
                waiting = false;
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}
