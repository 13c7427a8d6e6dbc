//! Cluster DNS: names of Services, their endpoints and pods, by the Kubernetes DNS specification
//! 1.1.0; every other name is asked for at the node's own name servers.
//!
//! An [`Index`] is kept up from Services, EndpointSlices and Namespaces and answers from memory,
//! without IO: [`Index::lookup`]. Around it stand the server and the forwarder.
//!
//! Pods resolve names for nearly everything they do, so names have to outlive the agent as containers
//! do: a small process of its own answers ([`process_main`]). The agent ([`Dns`]) starts it, tells it
//! what exists in the cluster, and starts another should it end. When the agent ends, killed or not,
//! the process answers on from what it was told. The next agent starts a process of its own version
//! with the same open sockets; as soon as that one knows the cluster both read them for a moment, then
//! the old one finishes what it has read and ends. So no question is lost on either occasion, and there
//! is no file to be out of date or broken: what is known is in the memory of the process.

mod config;
mod dns;
mod error;
mod feed;
mod forward;
mod handler;
mod index;
mod lookup;
mod process;
mod reply;
mod server;
mod sockets;
mod sys;
mod update;

pub use config::{DnsConfig, Upstreams};
pub use dns::{Dns, Readiness};
pub use error::DnsError;
pub use index::Index;
pub use lookup::Answer;
pub use process::{end, main as process_main};
