//! What Services share, and what each of them gets: cluster IPs and node ports. Pure functions of what is in
//! use, with the randomness given by the caller; nothing here does IO or keeps anything.

pub mod band;
mod port;
mod range;
pub mod service;

pub use port::{PortError, Ports};
pub use range::{IpError, Range};
pub use service::{AllocationError, Claim, Held, InUse, Pool, ServiceAllocator};
