//! `gantry up`: a whole cluster in one process.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use gantry_store::Pace;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::background::Start;
use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::instance::Instance;
use crate::join::Certificate;
use crate::node::{Identity, Node};
use crate::{components, logging, memory, node, output};

/// The start of the last line that is printed.
const LAST: &str = "Use it with: ";

/// How to start.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    start: Start,
}

/// Runs until it is told to end; with `--background`, until the cluster is up.
pub fn run(config: &Config, arguments: &Arguments) -> Result<()> {
    if !arguments.start.here(config, LAST)? {
        return Ok(());
    }
    logging::start(&config.log_level, config.log_json)?;
    let pace = Arc::default();
    memory::runtime(&pace)?.block_on(serve(config, pace))
}

async fn serve(config: &Config, pace: Arc<Pace>) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let _instance = Instance::claim(&config.run_dir)?;
    tokio::spawn(memory::forget_start_later());
    let shutdown = CancellationToken::new();
    let _ends_on_error = shutdown.clone().drop_guard();
    let mut plane = ControlPlane::open(config, pace).await?;
    output::tell(format_args!("The API server listens on {}.", config.local_url()));
    let user = components::node(&config.node_name);
    let leaf = node::serving(config);
    let serving = Arc::new(Certificate::new(&plane.authority.leaf(&leaf)?)?);
    let shown = serving.clone();
    plane.rotation.keep(leaf, move |pair| shown.replace(pair))?;
    let identity = Identity {
        client: components::client(&plane.server, user),
        serving,
        authority: plane.authority.certificate.clone(),
    };
    let server = plane.server.clone();
    let serving = plane.start(config, shutdown.clone());
    let started = async {
        server.ready().await;
        let node = Node::start(config, identity, shutdown.clone()).await?;
        output::tell(format_args!("The node {} runs pods.", config.node_name));
        output::tell(format_args!("{LAST}export KUBECONFIG={}", config.kubeconfig().display()));
        anyhow::Ok(node)
    };
    let mut running = None;
    tokio::select! {
        started = started => running = Some(started?),
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    if running.is_some() {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    shutdown.cancel();
    if let Some(node) = running {
        node.join().await;
    }
    serving.await?;
    Ok(())
}
