//! Connections to webhooks: to the address that a URL names, or to an endpoint of a Service.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use gantry_store::Store;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::target::{Place, Target};
use crate::service_endpoints::resolve;

/// A tower service that connects to one webhook.
#[derive(Clone)]
pub(super) struct Dial {
    store: Store,
    place: Place,
}

impl Dial {
    pub fn new(store: &Store, target: &Target) -> Self {
        Self { store: store.clone(), place: target.place().clone() }
    }

    /// The addresses to try, in order.
    fn addresses(&self, uri: &Uri) -> io::Result<Vec<String>> {
        match &self.place {
            Place::Url(_) => {
                let host = uri.host().ok_or_else(|| io::Error::other("the URL names no host"))?;
                Ok(vec![format!("{host}:{}", uri.port_u16().unwrap_or(443))])
            }
            Place::Service { namespace, name, port, .. } => {
                let found = resolve(&self.store.snapshot(), namespace, name, *port);
                let found = found.map_err(io::Error::other)?;
                Ok(found.iter().map(|endpoint| endpoint.authority()).collect())
            }
        }
    }

    async fn connect(self, uri: Uri) -> io::Result<TokioIo<TcpStream>> {
        let mut failure = io::Error::other("there is no address");
        for address in self.addresses(&uri)? {
            match TcpStream::connect(&address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(TokioIo::new(stream));
                }
                Err(error) => {
                    let why = match error.kind() {
                        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
                        _ => error.to_string(),
                    };
                    failure = io::Error::other(format!("dial tcp {address}: {why}"));
                }
            }
        }
        Err(failure)
    }
}

impl tower::Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
