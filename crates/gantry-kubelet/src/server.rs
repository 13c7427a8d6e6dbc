//! The node's HTTPS API on port 10250.

mod access;
mod log;
mod route;
mod stats;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::Agent,
    config::{Config, Error},
    tls,
};

/// What every route answers with.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body that is all there.
pub(crate) fn full(data: impl Into<Bytes>) -> Body {
    Full::new(data.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A response of plain text.
pub(crate) fn text(status: u16, message: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(full(message.into()));
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A JSON response.
pub(crate) fn json(value: &impl serde::Serialize) -> Response<Body> {
    match gantry_json::to_vec(value) {
        Ok(data) => {
            let mut response = Response::new(full(data));
            response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => text(500, error.to_string()),
    }
}

/// Binds the listener and reads the certificates.
pub async fn bind(config: &Config) -> Result<(TcpListener, TlsAcceptor), Error> {
    let acceptor = tls::acceptor(config)?;
    let address = (config.address, config.port);
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Io {
        what: format!("listen on {}:{}", config.address, config.port),
        source,
    })?;
    Ok((listener, acceptor))
}

/// Serves until shutdown.
pub async fn run(
    agent: Arc<Agent>,
    (listener, acceptor): (TcpListener, TlsAcceptor),
    shutdown: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (agent, acceptor, shutdown) = (agent.clone(), acceptor.clone(), shutdown.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = connection(agent, acceptor, stream) => {}
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "connection to the node's API not accepted"),
        }
    }
}

async fn connection(agent: Arc<Agent>, acceptor: TlsAcceptor, stream: TcpStream) {
    let stream = match acceptor.accept(stream).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "TLS handshake with the node's API failed");
            return;
        }
    };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first()).map(|c| c.to_vec());
    let peer = certificate.as_deref().and_then(access::from_certificate).map(Arc::new);
    let service = service_fn(move |request: Request<Incoming>| {
        let (agent, peer) = (agent.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(route::handle(agent, peer, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, "connection to the node's API ended");
    }
}
