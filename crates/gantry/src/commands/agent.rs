//! `gantry agent`: a node of a cluster whose control plane runs elsewhere.

use std::sync::Arc;

use anyhow::Result;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::background::Start;
use crate::config::Config;
use crate::instance::Instance;
use crate::join::{self, Certificate, Membership, Options};
use crate::node::{Identity, Node};
use crate::{cluster_settings, logging, memory, output};

/// The start of the last line that is printed.
const LAST: &str = "The node ";

/// Which cluster to join, and how to start.
#[derive(Debug, Args)]
pub struct Arguments {
    /// URL of an API server of the cluster, such as https://192.0.2.1:6443.
    #[arg(long, env = "GANTRY_SERVER", value_name = "URL")]
    server: String,
    /// What `gantry token create` printed; once the machine has joined it is not needed any more.
    #[arg(long, env = "GANTRY_TOKEN", hide_env_values = true)]
    token: Option<String>,
    #[command(flatten)]
    start: Start,
}

/// Runs until it is told to end; with `--background`, until the node is up.
pub fn run(config: &Config, arguments: &Arguments) -> Result<()> {
    if !arguments.start.here(config, LAST)? {
        return Ok(());
    }
    logging::start(&config.log_level, config.log_json)?;
    memory::runtime(&Arc::default())?.block_on(serve(config, arguments))
}

async fn serve(config: &Config, arguments: &Arguments) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let _instance = Instance::claim(&config.run_dir)?;
    tokio::spawn(memory::forget_start_later());
    let shutdown = CancellationToken::new();
    let _ends_on_error = shutdown.clone().drop_guard();
    let started = start(config, arguments, shutdown.clone());
    let joined = tokio::select! {
        started = started => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let Joined { node, membership, serving } = joined;
    tokio::select! {
        () = membership.renew(Some(serving)) => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    shutdown.cancel();
    node.join().await;
    Ok(())
}

/// A node of a cluster.
struct Joined {
    node: Node,
    membership: Membership,
    serving: Arc<Certificate>,
}

/// Joins, and starts the node.
async fn start(config: &Config, arguments: &Arguments, shutdown: CancellationToken) -> Result<Joined> {
    let membership = join::join(&Options {
        server: &arguments.server,
        token: arguments.token.as_deref(),
        node_name: &config.node_name,
        directory: &config.data_dir.join("agent"),
    })
    .await?;
    let client = membership.client().await?;
    let config = cluster_settings::wait(client.clone(), config).await;
    let serving = membership.serving(&[config.node_ip]).await?;
    let identity =
        Identity { client, serving: serving.clone(), authority: membership.authority().to_owned() };
    let node = Node::start(&config, identity, shutdown).await?;
    let (name, server) = (&config.node_name, &arguments.server);
    output::tell(format_args!("{LAST}{name} of the cluster at {server} runs pods."));
    Ok(Joined { node, membership, serving })
}
