//! Allocation of what Services share: cluster IPs and node ports. Pure state machines: the caller
//! gives the randomness and serialises the calls; nothing here does IO.

pub mod band;
mod ip;
mod port;
pub mod service;

pub use ip::{IpAllocator, IpError};
pub use port::{PortAllocator, PortError};
pub use service::{AllocationError, Reservation, ServiceAllocator};
