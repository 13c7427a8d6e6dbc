//! The container runtime interface: its messages, the two services as traits, the network a runtime
//! attaches sandboxes to, and a client and server that carry them over a unix socket.
//!
//! In one process the kubelet calls the embedded runtime through the traits; an external runtime is
//! reached through [`client::Client`], which implements the same traits.

pub mod archive;
pub mod client;
pub mod error;
pub mod network;
mod rpc;
pub mod server;
pub mod service;
pub mod v1;

pub use archive::{ImageArchive, ImportRequest, ImportResponse};
pub use error::{Code, CriError};
pub use network::{NetworkError, PodIps, PortMap, SandboxNetwork, SandboxNetworkRequest};
pub use service::{EventStream, ImageService, RuntimeService};
