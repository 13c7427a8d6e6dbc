//! The pod network as the runtime asks for it, and what runs beside it on a node.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use gantry_cri::{NetworkError, PodIps, SandboxNetwork, SandboxNetworkRequest};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The pod network once the node knows its addresses.
#[derive(Default)]
pub struct PodNetwork {}

impl PodNetwork {
    /// Waits for the node's addresses.
    pub async fn start(
        self: Arc<Self>,
        _config: &Config,
        _client: Client,
        _tasks: &mut JoinSet<()>,
        _shutdown: CancellationToken,
    ) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl SandboxNetwork for PodNetwork {
    async fn attach(&self, _: &SandboxNetworkRequest) -> Result<PodIps, NetworkError> {
        Ok(PodIps::default())
    }

    async fn detach(&self, _: &SandboxNetworkRequest) -> Result<(), NetworkError> {
        Ok(())
    }
}

/// Removes what the pod network made on this machine.
pub async fn remove(_config: &Config) -> Result<()> {
    Ok(())
}
