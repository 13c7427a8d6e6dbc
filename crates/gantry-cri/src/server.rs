//! Serves a runtime to other processes over gRPC: the services as `tower` services that a
//! [`tonic::transport::Server`] can carry.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{StreamExt, stream::BoxStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;

use crate::{
    CriError, ImageArchive, ImageService, RuntimeService, archive::ArchiveServer, rpc::with_calls, v1::*,
};

/// Serves all services of `runtime` on `listener` until `shutdown`.
pub async fn serve<T>(
    runtime: Arc<T>,
    listener: UnixListener,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error>
where
    T: RuntimeService + ImageService + ImageArchive + 'static,
{
    tonic::transport::Server::builder()
        .add_service(RuntimeServer::new(runtime.clone()))
        .add_service(ImageServer::new(runtime.clone()))
        .add_service(ArchiveServer::new(runtime))
        .serve_with_incoming_shutdown(UnixListenerStream::new(listener), shutdown.cancelled_owned())
        .await
}

pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// `runtime.v1.RuntimeService` over any implementation.
pub struct RuntimeServer<T>(Arc<T>);

/// `runtime.v1.ImageService` over any implementation.
pub struct ImageServer<T>(Arc<T>);

macro_rules! common {
    ($server:ident $name:literal) => {
        impl<T> $server<T> {
            /// Serves `runtime`.
            pub fn new(runtime: Arc<T>) -> Self {
                Self(runtime)
            }
        }
        impl<T> Clone for $server<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone())
            }
        }
        impl<T> NamedService for $server<T> {
            const NAME: &'static str = $name;
        }
    };
}
common!(RuntimeServer "runtime.v1.RuntimeService");
common!(ImageServer "runtime.v1.ImageService");

/// One unary method as tonic wants it.
pub(crate) struct Unary<F>(pub(crate) F);

impl<A, B, F, Fut> UnaryService<A> for Unary<F>
where
    A: Send + 'static,
    F: FnMut(A) -> Fut,
    Fut: Future<Output = Result<B, CriError>> + Send + 'static,
{
    type Response = B;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Status>> + Send>>;

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let answer = (self.0)(request.into_inner());
        Box::pin(async move { answer.await.map(Response::new).map_err(Status::from) })
    }
}

struct Events<T>(Arc<T>);

impl<T: RuntimeService + 'static> ServerStreamingService<GetEventsRequest> for Events<T> {
    type Response = ContainerEventResponse;
    type ResponseStream = BoxStream<'static, Result<ContainerEventResponse, Status>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<GetEventsRequest>) -> Self::Future {
        let runtime = self.0.clone();
        Box::pin(async move {
            let events = runtime.get_container_events(request.into_inner()).await?;
            Ok(Response::new(events.map(|event| event.map_err(Status::from)).boxed()))
        })
    }
}

pub(crate) fn unimplemented() -> Answer {
    Box::pin(async { Ok(Status::unimplemented("unknown method").into_http()) })
}

macro_rules! runtime_calls {
    ($($method:ident $wire:literal $request:ident $response:ident;)*) => {
        impl<T: RuntimeService + 'static> Service<http::Request<Body>> for RuntimeServer<T> {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Answer;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Answer {
                let runtime = self.0.clone();
                match request.uri().path() {
                    $(concat!("/runtime.v1.RuntimeService/", $wire) => Box::pin(async move {
                        let method = Unary(move |message: $request| {
                            let runtime = runtime.clone();
                            async move { runtime.$method(message).await }
                        });
                        let codec = ProstCodec::<$response, $request>::default();
                        Ok(Grpc::new(codec).unary(method, request).await)
                    }),)*
                    "/runtime.v1.RuntimeService/GetContainerEvents" => Box::pin(async move {
                        let codec =
                            ProstCodec::<ContainerEventResponse, GetEventsRequest>::default();
                        Ok(Grpc::new(codec).server_streaming(Events(runtime), request).await)
                    }),
                    _ => unimplemented(),
                }
            }
        }
    };
}

macro_rules! image_calls {
    ($($method:ident $wire:literal $request:ident $response:ident;)*) => {
        impl<T: ImageService + 'static> Service<http::Request<Body>> for ImageServer<T> {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Answer;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Answer {
                let runtime = self.0.clone();
                match request.uri().path() {
                    $(concat!("/runtime.v1.ImageService/", $wire) => Box::pin(async move {
                        let method = Unary(move |message: $request| {
                            let runtime = runtime.clone();
                            async move { runtime.$method(message).await }
                        });
                        let codec = ProstCodec::<$response, $request>::default();
                        Ok(Grpc::new(codec).unary(method, request).await)
                    }),)*
                    _ => unimplemented(),
                }
            }
        }
    };
}

with_calls!(runtime_calls, image_calls);
