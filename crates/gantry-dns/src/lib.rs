//! Cluster DNS: names of Services, their endpoints and pods, by the Kubernetes DNS specification
//! 1.1.0; every other name is asked for at the node's own name servers.
//!
//! An [`Index`] is kept up from Services, EndpointSlices and Namespaces and answers from memory,
//! without IO: [`Index::lookup`]. Around it stand the sockets ([`Dns`]) and the forwarder.

mod config;
mod error;
mod feed;
mod forward;
mod handler;
mod index;
mod lookup;
mod reply;
mod server;

pub use config::{DnsConfig, Upstreams};
pub use error::DnsError;
pub use index::Index;
pub use lookup::Answer;
pub use server::{Dns, Readiness};

use gantry_client::Informers;
use tokio_util::sync::CancellationToken;

/// Binds what `config` says and answers until `shutdown`.
pub async fn run(
    informers: Informers,
    config: DnsConfig,
    shutdown: CancellationToken,
) -> Result<(), DnsError> {
    Dns::bind(config).await?.serve(&informers, shutdown).await
}
