//! The server as a client's transport: components in the same process go through the same
//! pipeline under their own identity, without a socket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};

use crate::body::{Body, BoxError};
use crate::{ApiServer, User};

/// A tower service that hands requests to the server as made by one user; made for
/// `kube::Client::new`.
#[derive(Clone)]
pub struct ClientService {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) user: Arc<User>,
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
        let request = request.map(Body::boxed);
        Box::pin(async move { Ok(server.handle(request, Some(User::clone(&user))).await) })
    }
}
