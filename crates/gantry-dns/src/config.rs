//! Where the server listens and whom it asks.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// How cluster DNS is to run.
#[derive(Clone, Debug)]
pub struct DnsConfig {
    /// Addresses to answer on, each by UDP and TCP. Port 0 picks a free one.
    pub listen: Vec<SocketAddr>,
    /// The cluster's domain, such as `cluster.local`.
    pub domain: String,
    /// Who answers what is not of the cluster.
    pub upstreams: Upstreams,
    /// Addresses that lead back to this server, such as the ClusterIP of its Service: never asked.
    pub own_addresses: Vec<IpAddr>,
}

/// Name servers for names outside the cluster.
#[derive(Clone, Debug)]
pub enum Upstreams {
    /// The `nameserver` lines of a file in the format of resolv.conf(5), read again when it changes.
    ResolvConf(PathBuf),
    /// These.
    Servers(Vec<SocketAddr>),
}
