//! Netlink as this crate speaks it: one encoder of messages and attributes for routing, nftables and
//! connection tracking, and a socket that sends them and reads the answers. Everything here is
//! synchronous: the kernel answers a netlink request before `send` returns.

pub mod conntrack;
pub mod message;
pub mod route;
pub mod socket;

pub use socket::Socket;
