//! What can go wrong with the network of a node.

use std::{io, net::IpAddr, path::PathBuf};

/// Why an operation on the node's network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused a request.
    #[error("{operation}: {source}")]
    Kernel {
        /// What was asked for, and of what.
        operation: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The node has no range of pod addresses yet.
    #[error("node {0} has no pod CIDR yet")]
    NoPodCidr(String),
    /// Every address of the node's range is taken.
    #[error("no address left in {0}")]
    Exhausted(ipnet::IpNet),
    /// The id cannot be the name of a file.
    #[error("invalid pod id {0:?}")]
    InvalidId(String),
    /// The machine has no interface with the node's address.
    #[error("no interface has the node's address {0}")]
    NoInterface(IpAddr),
}

/// A result with [`NetworkError`].
pub type Result<T> = std::result::Result<T, NetworkError>;

/// Names the operation that the kernel refused.
pub(crate) trait During<T> {
    /// The same result with the operation in its error.
    fn during(self, operation: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| NetworkError::Kernel { operation: operation(), source })
    }
}
