//! The runtime's own errors, turned into CRI errors at the service's edge.

use std::{io, path::Path};

use gantry_cri::{Code, CriError};

/// What can fail in the runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// A file could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// The operation and its object.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such object.
    #[error("{0} not found")]
    NotFound(String),
    /// The request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The object's state forbids it.
    #[error("{0}")]
    Precondition(String),
    /// The shim of a pod refused or failed.
    #[error("{0}")]
    Shim(String),
    /// An image could not be fetched, read or unpacked.
    #[error("image {image}: {message}")]
    Image {
        /// The image or archive.
        image: String,
        /// Why.
        message: String,
    },
    /// A cgroup could not be made or changed.
    #[error(transparent)]
    Cgroup(#[from] crate::cgroup::CgroupError),
    /// The pod network failed.
    #[error(transparent)]
    Network(#[from] gantry_cri::NetworkError),
}

/// Result of the runtime's own operations.
pub type Result<T> = std::result::Result<T, RuntimeError>;

impl RuntimeError {
    /// For `map_err` on file operations.
    pub fn io<D: std::fmt::Display>(what: D) -> impl FnOnce(io::Error) -> Self + use<D> {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }

    /// As [`RuntimeError::io`], naming a path.
    pub fn path(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        Self::io(format!("{verb} {}", path.display()))
    }

    /// An image's error.
    pub fn image(image: impl std::fmt::Display, message: impl std::fmt::Display) -> Self {
        Self::Image { image: image.to_string(), message: message.to_string() }
    }
}

impl From<RuntimeError> for CriError {
    fn from(error: RuntimeError) -> Self {
        let code = match &error {
            RuntimeError::NotFound(_) => Code::NotFound,
            RuntimeError::Invalid(_) => Code::InvalidArgument,
            RuntimeError::Precondition(_) => Code::FailedPrecondition,
            _ => Code::Internal,
        };
        Self::new(code, error)
    }
}
