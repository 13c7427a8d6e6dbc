//! Where the server listens, whom it asks, and what process it is.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Program and first arguments of the process that answers. It ends in [`crate::process_main`],
    /// which gets the arguments that follow.
    pub command: Vec<OsString>,
    /// Directory of the socket by which the next process takes over.
    pub run_dir: PathBuf,
    /// Directories of the cgroups that the process moves to, so that it does not end with its parent's.
    pub cgroups: Vec<PathBuf>,
}

/// Name servers for names outside the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Upstreams {
    /// The `nameserver` lines of a file in the format of resolv.conf(5), read again when it changes.
    ResolvConf(PathBuf),
    /// These.
    Servers(Vec<SocketAddr>),
}
