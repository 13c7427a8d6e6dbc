//! The network of a node: an address and a routed link per pod, Services in nftables, routes to the
//! pods of other nodes.
//!
//! Everything goes through netlink; no other program is run. What is wanted follows from Services,
//! EndpointSlices, Nodes and the pods attached here by pure functions; what changes in the kernel is
//! the difference to what was wanted before.

mod cleanup;
mod error;
mod lease;
pub mod local_address;
mod namespace;
mod netlink;
mod network;
mod nft;
mod overlay;
mod pod_link;
mod protocol;
mod proxy;
mod run;
mod sysctl;
#[cfg(test)]
mod tests;

pub use cleanup::cleanup;
pub use error::{NetworkError, Result};
pub use lease::{HostPort, Lease};
pub use network::{Network, NetworkConfig};
pub use protocol::{Protocol, UnknownProtocol};
