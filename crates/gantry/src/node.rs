//! A node in this process: runtime, pod network, kubelet and DNS.

mod network;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use gantry_client::Informers;
use gantry_cri::SandboxNetwork;
use gantry_dns::{Dns, DnsConfig, Upstreams};
use gantry_kubelet::Kubelet;
use gantry_network::Network;
use gantry_runtime::{Runtime, RuntimeConfig};
use kube::Client;
use tokio::net::UnixListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::join::Certificate;
use crate::pki::Leaf;
use network::PodNetwork;

pub use network::remove as remove_network;

/// What a node is to the cluster.
pub struct Identity {
    /// The API as `system:node:NAME`.
    pub client: Client,
    /// The certificate that the node's API shows, whichever is current.
    pub serving: Arc<Certificate>,
    /// The authority that the node's callers are checked against, PEM.
    pub authority: String,
}

/// A running node. Its pods go on when it ends, and can resolve names.
pub struct Node {
    kubelet: Kubelet,
    tasks: JoinSet<()>,
}

impl Node {
    /// Starts the node; returns when its API listens and pods can have addresses.
    pub async fn start(config: &Config, identity: Identity, shutdown: CancellationToken) -> Result<Self> {
        let network = Arc::new(PodNetwork::open(config)?);
        let runtime = Runtime::open(runtime_config(config, network.clone())).await?;
        let runtime = Arc::new(runtime);
        let mut tasks = JoinSet::new();
        let listener = listen(&config.runtime_socket())?;
        let served = gantry_cri::server::serve(runtime.clone(), listener, shutdown.clone());
        tasks.spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the runtime's socket is closed");
            }
        });
        let settings = gantry_kubelet::Config {
            root_dir: config.data_dir.join("kubelet"),
            pod_logs_dir: config.pod_logs_dir.clone(),
            address: config.bind_address,
            port: config.kubelet_port,
            serving: Some(identity.serving),
            client_ca: identity.authority.into_bytes(),
            cluster_dns: vec![config.cluster_dns.to_string()],
            cluster_domain: config.cluster_domain.clone(),
            cgroup_root: config.cgroup_root.clone(),
            eviction_hard: config.node_limits.eviction_hard.clone(),
            image_gc_percent: config.node_limits.image_gc_percent,
            version: crate::commands::version::KUBERNETES.into(),
            ..gantry_kubelet::Config::new(&config.node_name, config.node_ip)
        };
        let telling = tell_when_ready(network.0.clone(), settings.readiness_changed.clone());
        let ends = shutdown.clone();
        tasks.spawn(async move { ends.run_until_cancelled(telling).await.unwrap_or_default() });
        let client = identity.client;
        let kubelet =
            Kubelet::start(client.clone(), runtime.clone(), runtime.clone(), settings, shutdown.clone())
                .await?;
        let informers = Informers::new(client, shutdown.clone());
        tasks.spawn(network.0.clone().run(informers.clone(), shutdown.clone()));
        let dns = Dns::bind(dns_config(config, runtime.lasting_cgroups()?))?;
        let mut answering = dns.readiness();
        tasks.spawn(async move { dns.serve(&informers, shutdown).await });
        answering.ready().await;
        Ok(Self { kubelet, tasks })
    }

    /// Waits until everything has ended after shutdown.
    pub async fn join(mut self) {
        self.kubelet.join().await;
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Tells the kubelet once pods can have addresses.
async fn tell_when_ready(network: Arc<Network>, kubelet: Arc<Notify>) {
    let mut applied = network.applied();
    while network.not_ready().is_some() {
        if applied.changed().await.is_err() {
            return;
        }
    }
    kubelet.notify_one();
}

/// The runtime's settings.
pub fn runtime_config(config: &Config, network: Arc<dyn SandboxNetwork>) -> RuntimeConfig {
    RuntimeConfig {
        root: config.data_dir.join("runtime"),
        run: config.run_dir.clone(),
        cgroup_root: config.cgroup_root.clone(),
        ..RuntimeConfig::new(network)
    }
}

/// The certificate of the node's API, where it is made from the cluster's authority.
pub fn serving(config: &Config) -> Leaf {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    Leaf {
        file: "kubelet",
        common_name: format!("system:node:{}", config.node_name),
        organizations: &["system:nodes"],
        names: vec![
            config.node_name.clone(),
            "localhost".into(),
            config.node_ip.to_string(),
            loopback.to_string(),
        ],
    }
}

fn dns_config(config: &Config, cgroups: Vec<PathBuf>) -> DnsConfig {
    DnsConfig {
        listen: vec![SocketAddr::new(config.cluster_dns, 53)],
        domain: config.cluster_domain.clone(),
        upstreams: Upstreams::ResolvConf("/etc/resolv.conf".into()),
        own_addresses: vec![config.cluster_dns],
        command: vec!["/proc/self/exe".into(), "dns".into()],
        run_dir: config.run_dir.clone(),
        cgroups,
    }
}

fn listen(path: &Path) -> Result<UnixListener> {
    // What an earlier process left there; it is gone, or its claim on the directory would stand.
    let _ = std::fs::remove_file(path);
    UnixListener::bind(path).with_context(|| format!("listening on {}", path.display()))
}
