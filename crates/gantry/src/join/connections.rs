//! Connections that prove a node's identity: once there is another certificate, those that were made
//! with the earlier one are not used for new requests.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error, ResponseFuture};
use hyper_util::rt::TokioExecutor;
use kube::client::Body;
use rustls::sign::CertifiedKey;
use tower::Service;

use super::Certificate;

/// A pool of connections.
pub(super) struct Connections {
    certificate: Arc<Certificate>,
    connector: HttpsConnector<HttpConnector>,
    /// The pool, and what its connections have shown.
    pool: Client<HttpsConnector<HttpConnector>, Body>,
    shown: Arc<CertifiedKey>,
}

impl Connections {
    /// None yet; `connector` shows `certificate`.
    pub(super) fn new(connector: HttpsConnector<HttpConnector>, certificate: Arc<Certificate>) -> Self {
        let (pool, shown) = (pool(&connector), certificate.key());
        Self { certificate, connector, pool, shown }
    }
}

fn pool(connector: &HttpsConnector<HttpConnector>) -> Client<HttpsConnector<HttpConnector>, Body> {
    Client::builder(TokioExecutor::new()).build(connector.clone())
}

impl Service<Request<Body>> for Connections {
    type Response = Response<Incoming>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> ResponseFuture {
        let current = self.certificate.key();
        if !Arc::ptr_eq(&current, &self.shown) {
            // Requests that are under way end on the connections that they have.
            self.pool = pool(&self.connector);
            self.shown = current;
        }
        self.pool.request(request)
    }
}
