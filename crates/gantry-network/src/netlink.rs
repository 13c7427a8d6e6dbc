//! Netlink as this crate speaks it: one encoder of messages and attributes for routing, nftables and
//! connection tracking, and a socket that sends them and reads the answers. All of it is synchronous, as
//! the kernel answers a netlink request before `send` returns; but what it tells unasked is awaited.

pub mod conntrack;
pub mod message;
pub mod monitor;
pub mod route;
pub mod socket;

pub use socket::Socket;
