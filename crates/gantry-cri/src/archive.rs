//! Importing image archives, which CRI has no call for: a service of ours beside CRI's two.

use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService};
use tonic_prost::ProstCodec;

use crate::CriError;
use crate::client::Client;
use crate::server::{Answer, Unary, unimplemented};

/// Path of the one method.
const IMPORT: &str = "/gantry.runtime.v1.ImageArchive/Import";

/// Asks for an archive on this machine to be imported.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImportRequest {
    /// Absolute path of the archive, in docker's or OCI's layout, plain or compressed.
    #[prost(string, tag = "1")]
    pub path: String,
}

/// What was imported.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ImportResponse {
    /// Names of the images, or their ids where the archive names none.
    #[prost(string, repeated, tag = "1")]
    pub images: Vec<String>,
}

/// A store of images that archives can be imported into.
#[async_trait]
pub trait ImageArchive: Send + Sync {
    /// Adds the images of an archive.
    async fn import(&self, request: ImportRequest) -> Result<ImportResponse, CriError>;
}

#[async_trait]
impl ImageArchive for Client {
    async fn import(&self, request: ImportRequest) -> Result<ImportResponse, CriError> {
        self.unary(IMPORT, request).await
    }
}

/// `gantry.runtime.v1.ImageArchive` over any implementation.
pub struct ArchiveServer<T>(Arc<T>);

impl<T> ArchiveServer<T> {
    /// Serves `images`.
    pub fn new(images: Arc<T>) -> Self {
        Self(images)
    }
}

impl<T> Clone for ArchiveServer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> NamedService for ArchiveServer<T> {
    const NAME: &'static str = "gantry.runtime.v1.ImageArchive";
}

impl<T: ImageArchive + 'static> Service<http::Request<Body>> for ArchiveServer<T> {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let images = self.0.clone();
        if request.uri().path() != IMPORT {
            return unimplemented();
        }
        Box::pin(async move {
            let method = Unary(move |message: ImportRequest| {
                let images = images.clone();
                async move { images.import(message).await }
            });
            let codec = ProstCodec::<ImportResponse, ImportRequest>::default();
            Ok(Grpc::new(codec).unary(method, request).await)
        })
    }
}
