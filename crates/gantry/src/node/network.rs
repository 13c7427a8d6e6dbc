//! The pod network as the runtime asks for it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use gantry_cri::{NetworkError, PodIps, PortMap, SandboxNetwork, SandboxNetworkRequest};
use gantry_network::{HostPort, Network, NetworkConfig, local_address};

use crate::config::Config;

/// The pod network behind the runtime's interface.
pub struct PodNetwork(pub Arc<Network>);

impl PodNetwork {
    /// Opens the network of this node.
    pub fn open(config: &Config) -> Result<Self> {
        let settings = NetworkConfig {
            cluster_cidrs: vec![config.cluster_cidr],
            service_cidrs: vec![config.service_cidr],
            ..NetworkConfig::new(state_dir(config), config.node_name.clone(), vec![config.node_ip])
        };
        local_address::add(config.cluster_dns)?;
        Ok(Self(Network::open(settings)?))
    }
}

#[async_trait]
impl SandboxNetwork for PodNetwork {
    async fn attach(&self, request: &SandboxNetworkRequest) -> Result<PodIps, NetworkError> {
        let failed = |message: String| NetworkError { sandbox_id: request.sandbox_id.clone(), message };
        let ports: Result<Vec<HostPort>, String> = request.port_maps.iter().map(host_port).collect();
        let ports = ports.map_err(failed)?;
        let attached = self.0.attach(&request.sandbox_id, Path::new(&request.netns_path), &ports).await;
        attached.map(PodIps).map_err(|error| failed(error.to_string()))
    }

    async fn detach(&self, request: &SandboxNetworkRequest) -> Result<(), NetworkError> {
        let detached = self.0.detach(&request.sandbox_id).await;
        detached.map_err(|error| NetworkError {
            sandbox_id: request.sandbox_id.clone(),
            message: error.to_string(),
        })
    }

    fn not_ready(&self) -> Option<String> {
        self.0.not_ready()
    }
}

fn host_port(map: &PortMap) -> Result<HostPort, String> {
    let host_ip = match map.host_ip.as_str() {
        "" | "0.0.0.0" | "::" => None,
        address => Some(address.parse().map_err(|_| format!("hostIP {address:?} is no address"))?),
    };
    Ok(HostPort {
        host_ip,
        host_port: map.host_port,
        container_port: map.container_port,
        protocol: map.protocol.parse().map_err(|error| format!("hostPort {}: {error}", map.host_port))?,
    })
}

/// Removes what the pod network made on this machine.
pub fn remove(config: &Config) -> Result<()> {
    gantry_network::cleanup(&state_dir(config)).context("removing the pod network")?;
    local_address::remove(config.cluster_dns).context("removing the pod network")
}

fn state_dir(config: &Config) -> std::path::PathBuf {
    config.data_dir.join("network")
}
