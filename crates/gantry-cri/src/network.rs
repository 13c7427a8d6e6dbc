//! What a runtime asks of the pod network. The network crate knows nothing of runtimes; the binary
//! adapts it to this trait.

use std::net::IpAddr;

/// A port of the host that leads to a port of the pod (`hostPort`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMap {
    /// Address on the host; empty means all.
    pub host_ip: String,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the pod.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// The sandbox to attach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxNetworkRequest {
    /// The sandbox's id, unique on the node.
    pub sandbox_id: String,
    /// File the network namespace is bound to.
    pub netns_path: String,
    /// Pod's namespace.
    pub pod_namespace: String,
    /// Pod's name.
    pub pod_name: String,
    /// Pod's uid.
    pub pod_uid: String,
    /// Host ports to map.
    pub port_maps: Vec<PortMap>,
}

/// The addresses a sandbox was given, the primary one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIps(pub Vec<IpAddr>);

/// Why a sandbox could not be attached or detached.
#[derive(Debug, thiserror::Error)]
#[error("network of sandbox {sandbox_id}: {message}")]
pub struct NetworkError {
    /// The sandbox.
    pub sandbox_id: String,
    /// What failed.
    pub message: String,
}

/// The pod network as the runtime sees it.
#[async_trait::async_trait]
pub trait SandboxNetwork: Send + Sync {
    /// Gives the sandbox its interface and addresses. Idempotent: attaching again returns the same.
    async fn attach(&self, request: &SandboxNetworkRequest) -> Result<PodIps, NetworkError>;

    /// Takes everything back that `attach` made. Succeeds when there is nothing left, also when the
    /// namespace is already gone.
    async fn detach(&self, request: &SandboxNetworkRequest) -> Result<(), NetworkError>;

    /// `None` when sandboxes can be attached now, else why not: the `NetworkReady` condition.
    fn not_ready(&self) -> Option<String> {
        None
    }
}
