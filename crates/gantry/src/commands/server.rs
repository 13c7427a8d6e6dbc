//! `gantry server`: a control plane without a node.

use std::sync::Arc;

use anyhow::Result;
use gantry_store::Pace;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::{logging, memory, output};

/// Runs until it is told to end.
pub fn run(config: &Config) -> Result<()> {
    logging::start(&config.log_level, config.log_json)?;
    let pace = Arc::default();
    memory::runtime(&pace)?.block_on(serve(config, pace))
}

async fn serve(config: &Config, pace: Arc<Pace>) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let plane = ControlPlane::open(config, pace).await?;
    tokio::spawn(memory::forget_start_later());
    output::tell(format_args!("The API server listens on {}.", config.local_url()));
    output::tell(format_args!("Use it with: export KUBECONFIG={}", config.kubeconfig().display()));
    let shutdown = CancellationToken::new();
    let serving = plane.start(config, shutdown.clone());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    shutdown.cancel();
    serving.await?;
    Ok(())
}
