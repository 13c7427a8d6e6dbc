//! `xtask bench`: measures what the design budgets and prints one table, with budget, upstream's figure
//! and method beside each. The load generator shares the machine's cores with the server, as it did when
//! upstream was measured.
//!
//! Flow: each part starts a server of its own with a directory of its own, measures, and ends it, also
//! after a failure and when it is interrupted. Errors: a part that fails does not keep the others from
//! being measured; the table is printed, and the command fails.

mod bare;
mod call;
mod cluster;
mod compare;
mod control_plane;
mod custom_resources;
mod http;
mod load;
mod measurement;
mod netns;
mod node;
mod objects;
mod report;
mod scheduling;
mod services;
mod user;
mod watch;
mod webhook;
mod writes;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use load::Load;
use report::Report;

pub use bare::{Arguments as BareServer, serve as serve_bare};

/// How to measure.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The release binary to measure.
    #[arg(long, default_value = "target/release/gantry")]
    gantry: PathBuf,
    /// Pods to hold for the LIST and memory figures.
    #[arg(long, default_value_t = 25_000)]
    pods: usize,
    /// Custom resources to hold.
    #[arg(long, default_value_t = 10_000)]
    custom_resources: usize,
    /// Seconds of each rate.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Pods to schedule onto the fake nodes.
    #[arg(long, default_value_t = 5_000)]
    schedule: usize,
    /// Services of the Service proxy.
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// Also start a node and measure pods on it (needs root and the test images).
    #[arg(long)]
    node: bool,
    /// Another release binary: only how the two do in turns is measured.
    #[arg(long, conflicts_with_all = ["only", "node"])]
    against: Option<PathBuf>,
    /// Measure these parts only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Requests, watches and memory of the API server with many pods.
    ControlPlane,
    /// Creates, applies and patches, and what admission costs.
    Writes,
    /// Custom resources.
    CustomResources,
    /// The scheduler on fake nodes.
    Scheduling,
    /// The Service proxy (needs root).
    Services,
    /// Pods on a node (needs root).
    Node,
}

/// Connections of the load generator.
const CONNECTIONS: usize = 64;
/// Time before a rate counts.
const WARM_UP: Duration = Duration::from_millis(500);

impl Arguments {
    fn load(&self) -> Load {
        let window = Duration::from_secs_f64(self.seconds);
        Load { connections: CONNECTIONS, warm_up: WARM_UP, window, first: 0 }
    }

    /// The parts to measure; what is left out is noted.
    fn parts(&self, report: &mut Report) -> Vec<Part> {
        if !self.only.is_empty() {
            return self.only.clone();
        }
        let mut parts = vec![Part::ControlPlane, Part::Writes, Part::CustomResources, Part::Scheduling];
        match nix::unistd::geteuid().is_root() {
            true => parts.push(Part::Services),
            false => report.note("Not measured: the Service proxy, which needs root.".to_owned()),
        }
        match self.node {
            true => parts.push(Part::Node),
            false => report.note("Not measured: pods on a node (--node).".to_owned()),
        }
        parts
    }
}

/// Runs every measurement and prints the table.
pub async fn run(arguments: Arguments) -> Result<()> {
    if let Some(other) = &arguments.against {
        return unless_interrupted(compare::run(&arguments, other)).await;
    }
    let mut report = Report::default();
    let parts = arguments.parts(&mut report);
    for part in &parts {
        check(&arguments, *part).with_context(|| format!("{} cannot be measured", name(*part)))?;
    }
    let mut failed = Vec::new();
    let measuring = async {
        for part in &parts {
            if let Err(error) = measure(&arguments, *part, &mut report).await {
                eprintln!("{}: {error:#}", name(*part));
                failed.push(format!("{}: {error:#}", name(*part)));
            }
        }
        Ok(())
    };
    let ended = unless_interrupted(measuring).await;
    // What was measured before a failure is still worth its table.
    report.print();
    ended?;
    ensure!(failed.is_empty(), "not everything could be measured: {}", failed.join("; "));
    Ok(())
}

fn name(part: Part) -> String {
    part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// An error where a part cannot be measured here.
fn check(arguments: &Arguments, part: Part) -> Result<()> {
    let gantry = arguments.gantry.display();
    ensure!(arguments.gantry.is_file(), "there is no {gantry}: make build, or name another with --gantry");
    ensure!(arguments.pods > 0 && arguments.custom_resources > 0 && arguments.seconds > 0.0, "nothing to do");
    match part {
        Part::Services => netns::check(),
        Part::Node => netns::check().and_then(|()| node::check()),
        _ => Ok(()),
    }
}

async fn measure(arguments: &Arguments, part: Part, report: &mut Report) -> Result<()> {
    match part {
        Part::ControlPlane => control_plane::measure(arguments, report).await,
        Part::Writes => writes::measure(arguments, report).await,
        Part::CustomResources => custom_resources::measure(arguments, report).await,
        Part::Scheduling => scheduling::measure(arguments, report).await,
        Part::Services => netns::run(async || services::measure(arguments, report).await),
        Part::Node => netns::run(async || node::measure(arguments, report).await),
    }
}

/// Does `work` unless it is interrupted, so that what it has started is ended then as well.
async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        _ = terminated.recv() => bail!("terminated"),
    }
}
