//! A client of an external runtime on a unix socket. It implements the service traits, so that the
//! kubelet does not know which runtime it drives.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{CriError, EventStream, ImageService, RuntimeService, error::Code, rpc::with_calls, v1::*};

/// Largest message accepted, as containerd and kubelet have it.
const MAX_MESSAGE: usize = 16 << 20;

/// A connection to a runtime; clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
}

impl Client {
    /// Connects to the socket at `path`, which is tried again on every call if it goes away.
    pub fn connect(path: &Path) -> Result<Self, CriError> {
        let uri = format!("unix://{}", path.display());
        let endpoint = Endpoint::from_shared(uri)
            .map_err(|e| CriError::invalid(format_args!("runtime socket {}: {e}", path.display())))?
            .connect_timeout(Duration::from_secs(5));
        Ok(Self { channel: endpoint.connect_lazy() })
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, CriError> {
        let mut grpc = Grpc::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        grpc.ready()
            .await
            .map_err(|e| CriError::new(Code::Unavailable, format_args!("container runtime: {e}")))?;
        Ok(grpc)
    }

    pub(crate) async fn unary<A, B>(&self, path: &'static str, message: A) -> Result<B, CriError>
    where
        A: prost::Message + Send + Sync + 'static,
        B: prost::Message + Default + Send + Sync + 'static,
    {
        let codec = ProstCodec::<A, B>::default();
        let request = tonic::Request::new(message);
        let response = self.grpc().await?.unary(request, PathAndQuery::from_static(path), codec).await?;
        Ok(response.into_inner())
    }
}

macro_rules! runtime_calls {
    ($($method:ident $wire:literal $request:ident $response:ident;)*) => {
        #[async_trait]
        impl RuntimeService for Client {
            $(async fn $method(&self, request: $request) -> Result<$response, CriError> {
                self.unary(concat!("/runtime.v1.RuntimeService/", $wire), request).await
            })*

            async fn get_container_events(
                &self,
                request: GetEventsRequest,
            ) -> Result<EventStream, CriError> {
                let codec = ProstCodec::<GetEventsRequest, ContainerEventResponse>::default();
                let path = "/runtime.v1.RuntimeService/GetContainerEvents";
                let response = self
                    .grpc()
                    .await?
                    .server_streaming(
                        tonic::Request::new(request),
                        PathAndQuery::from_static(path),
                        codec,
                    )
                    .await?;
                Ok(Box::pin(response.into_inner().map(|event| event.map_err(CriError::from))))
            }
        }
    };
}

macro_rules! image_calls {
    ($($method:ident $wire:literal $request:ident $response:ident;)*) => {
        #[async_trait]
        impl ImageService for Client {
            $(async fn $method(&self, request: $request) -> Result<$response, CriError> {
                self.unary(concat!("/runtime.v1.ImageService/", $wire), request).await
            })*
        }
    };
}

with_calls!(runtime_calls, image_calls);
