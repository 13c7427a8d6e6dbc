//! Why DNS could not run.

use std::io;
use std::net::SocketAddr;

use hickory_server::net::NetError;

/// Cluster DNS could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The configured domain is no domain name.
    #[error("cluster domain {0:?} is not a domain name")]
    Domain(String),
    /// An address could not be bound.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket failed while it was served.
    #[error("serving DNS: {0}")]
    Serve(#[from] NetError),
}
