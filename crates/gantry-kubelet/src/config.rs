//! The node agent's configuration and errors.

use std::{net::IpAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Notify;

use crate::eviction::Thresholds;

/// How full the disk may usually get before unused images go, and down to what they go, in percent.
pub const IMAGE_GC_PERCENT: (u8, u8) = (85, 80);

/// Settings of the node agent.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node_name: String,
    /// Pods' directories: `/var/lib/gantry/kubelet`.
    pub root_dir: PathBuf,
    /// Pods' logs: `/var/log/pods`.
    pub pod_logs_dir: PathBuf,
    /// The node's address, shown as its InternalIP.
    pub node_ip: IpAddr,
    /// Address the node's API listens on.
    pub address: IpAddr,
    /// Port the node's API listens on: 10250.
    pub port: u16,
    /// What the node's API shows as its certificate, where that changes while the node runs; it goes
    /// before the two fields below.
    pub serving: Option<Arc<dyn rustls::server::ResolvesServerCert>>,
    /// Serving certificate chain, PEM.
    pub serving_cert: Vec<u8>,
    /// Serving key, PEM.
    pub serving_key: Vec<u8>,
    /// CA that client certificates are checked against, PEM.
    pub client_ca: Vec<u8>,
    /// Addresses of the cluster DNS.
    pub cluster_dns: Vec<String>,
    /// The cluster's domain: `cluster.local`.
    pub cluster_domain: String,
    /// Parent of all pods' cgroups: `/kubepods`.
    pub cgroup_root: String,
    /// Labels the node registers with beside its own.
    pub node_labels: std::collections::BTreeMap<String, String>,
    /// Most pods on the node.
    pub max_pods: u32,
    /// The node's resolver file.
    pub resolv_conf: PathBuf,
    /// Version shown as `kubeletVersion`.
    pub version: String,
    /// Largest container log before rotation, in bytes.
    pub log_max_bytes: u64,
    /// Log files kept per container.
    pub log_max_files: u32,
    /// What of the machine stays free: the node tells of pressure and ends pods before it goes.
    pub eviction_hard: Thresholds,
    /// How full the disk may get before unused images go, 100 for never, and down to what they go, in percent.
    pub image_gc_percent: (u8, u8),
    /// How long an image stays at least.
    pub image_gc_min_age: Duration,
    /// Told when the runtime or the pod network has become able to run pods, or unable: CRI has no event
    /// for it. The node's conditions are looked at then, not only when their time has come.
    pub readiness_changed: Arc<Notify>,
}

impl Config {
    /// Usual settings for a node of that name and address; certificates are still to be set.
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr) -> Self {
        Self {
            node_name: node_name.into(),
            root_dir: "/var/lib/gantry/kubelet".into(),
            pod_logs_dir: "/var/log/pods".into(),
            node_ip,
            address: IpAddr::from([0, 0, 0, 0]),
            port: 10250,
            serving: None,
            serving_cert: Vec::new(),
            serving_key: Vec::new(),
            client_ca: Vec::new(),
            cluster_dns: vec!["10.43.0.10".into()],
            cluster_domain: "cluster.local".into(),
            cgroup_root: "/kubepods".into(),
            node_labels: Default::default(),
            max_pods: 110,
            resolv_conf: "/etc/resolv.conf".into(),
            version: "v1.35.0".into(),
            log_max_bytes: 10 << 20,
            log_max_files: 5,
            eviction_hard: Thresholds::default(),
            image_gc_percent: IMAGE_GC_PERCENT,
            image_gc_min_age: Duration::from_secs(120),
            readiness_changed: Default::default(),
        }
    }
}

/// Why the node agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener or a directory.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The serving certificate or the client CA.
    #[error("TLS of the node's API: {0}")]
    Tls(String),
    /// The runtime does not answer.
    #[error("container runtime: {0}")]
    Runtime(#[from] gantry_cri::CriError),
}
