//! The server as a client's transport: components in the same process go through the same
//! pipeline under their own identity, without a socket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};

use crate::body::{Body, BoxError};
use crate::{ApiServer, User};

/// A tower service that hands requests to the server as made by one user; made for
/// `kube::Client::new`.
#[derive(Clone)]
pub struct ClientService {
    server: Arc<ApiServer>,
    user: Arc<User>,
    unmanaged: bool,
}

/// On a watch whose client reads no managed fields: objects come without, as far as that costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unmanaged;

impl ClientService {
    pub(crate) fn new(server: Arc<ApiServer>, user: User) -> Self {
        Self { server, user: Arc::new(user), unmanaged: false }
    }

    /// The same for who reads no managed fields: they are often half of an object's bytes, and JSON that
    /// nobody reads is read all the same. Watches may leave them out then.
    #[must_use]
    pub fn unmanaged(self) -> Self {
        Self { unmanaged: true, ..self }
    }
}

impl<B> tower::Service<Request<B>> for ClientService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (server, user) = (self.server.clone(), self.user.clone());
        let mut request = request.map(Body::boxed);
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(agent(&user.name)));
        if self.unmanaged {
            request.extensions_mut().insert(Unmanaged);
        }
        Box::pin(async move { Ok(server.handle(request, Some(user)).await) })
    }
}

/// What a component is called that does not say so itself: whose the fields are that it writes.
fn agent(user: &str) -> &'static str {
    match user {
        "system:kube-scheduler" => "kube-scheduler",
        _ if user.starts_with("system:node:") => "kubelet",
        _ if user.starts_with("system:serviceaccount:kube-system:") => "kube-controller-manager",
        _ => "gantry",
    }
}

#[cfg(test)]
mod tests {
    use super::agent;

    #[test]
    fn components_are_called_as_upstream_calls_them() {
        let controller = "system:serviceaccount:kube-system:deployment-controller";
        assert_eq!(
            [controller, "system:kube-scheduler", "system:node:a", "x"].map(agent),
            ["kube-controller-manager", "kube-scheduler", "kubelet", "gantry"]
        );
    }
}
