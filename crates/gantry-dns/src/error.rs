//! Why DNS could not run.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Cluster DNS could not start or end.
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
    /// The process of an earlier start could not be spoken to.
    #[error("DNS process in {}: {source}", run_dir.display())]
    Process {
        /// Its directory.
        run_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
