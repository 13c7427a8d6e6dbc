//! `gantry up`: a whole cluster in one process.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control_plane::ControlPlane;
use crate::instance::Instance;
use crate::node::{Identity, Node};
use crate::{components, logging, node};

/// The start of the last line that is printed.
const LAST: &str = "Use it with: ";

/// How to start.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Return once the cluster is up, and go on in the background.
    #[arg(long)]
    background: bool,
    /// End the gantry that runs here already, and take its pods over.
    #[arg(long)]
    replace: bool,
    /// Where logs go with --background.
    #[arg(long, default_value = "/var/log/gantry.log")]
    log_file: PathBuf,
}

/// Runs until it is told to end; with `--background`, until the cluster is up.
pub fn run(config: &Config, arguments: &Arguments) -> Result<()> {
    if arguments.replace {
        Instance::end(&config.run_dir)?;
    }
    if arguments.background {
        return detach(arguments);
    }
    logging::start(&config.log_level, config.log_json)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(config))
}

async fn serve(config: &Config) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let _instance = Instance::claim(&config.run_dir)?;
    let shutdown = CancellationToken::new();
    let _ends_on_error = shutdown.clone().drop_guard();
    let plane = ControlPlane::open(config).await?;
    println!("The API server listens on {}.", config.local_url());
    let user = components::node(&config.node_name);
    let identity = Identity {
        client: components::client(&plane.server, user),
        serving: node::serving(config, &plane.authority)?,
        authority: plane.authority.certificate.clone(),
    };
    let server = plane.server.clone();
    let serving = plane.start(config, shutdown.clone());
    let started = async {
        server.ready().await;
        let node = Node::start(config, identity, shutdown.clone()).await?;
        println!("The node {} runs pods.", config.node_name);
        println!("{LAST}export KUBECONFIG={}", config.kubeconfig().display());
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

/// Starts this program again without a terminal and passes on what it says until it is up.
fn detach(arguments: &Arguments) -> Result<()> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&arguments.log_file)
        .with_context(|| format!("opening {}", arguments.log_file.display()))?;
    let done = ["--background", "--replace"];
    let words = std::env::args_os().skip(1).filter(|word| !done.iter().any(|done| word == done));
    let mut child = Command::new("/proc/self/exe")
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("starting in the background")?;
    let output = child.stdout.take().context("no output to read")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        println!("{line}");
        if line.starts_with(LAST) {
            return Ok(());
        }
    }
    let status = child.wait()?;
    bail!("ended with {status} before it was up; its log is {}", arguments.log_file.display())
}
