//! `xtask bench`: measures what the design budgets and prints one table, budget and upstream's
//! figure beside each. The load generator shares the machine's cores with the server, as it did
//! when upstream was measured.

mod cluster;
mod http;
mod load;
mod netns;
mod report;
mod services;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use cluster::Cluster;
use report::Report;

/// How to measure.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The release binary to measure.
    #[arg(long, default_value = "target/release/gantry")]
    gantry: PathBuf,
    /// Pods to hold for the LIST and memory figures.
    #[arg(long, default_value_t = 25_000)]
    pods: usize,
    /// Seconds of each rate.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pods to schedule onto the fake nodes.
    #[arg(long, default_value_t = 5_000)]
    schedule: usize,
    /// Services of the Service proxy.
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// Also start a node and measure pods on it (needs root and the test images).
    #[arg(long)]
    node: bool,
    /// Measure this part only.
    #[arg(long)]
    only: Option<Part>,
}

/// What is measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Requests, watches and memory of the API server.
    ControlPlane,
    /// The scheduler on fake nodes.
    Scheduling,
    /// The Service proxy (needs root).
    Services,
    /// Pods on a node.
    Node,
}

/// Connections of the load generator.
const CONNECTIONS: usize = 64;

/// Runs every measurement and prints the table.
pub async fn run(arguments: Arguments) -> Result<()> {
    let mut report = Report::default();
    let window = Duration::from_secs(arguments.seconds);
    let outcome = measure(&arguments, window, &mut report).await;
    // What was measured before a failure is still worth its table.
    report.print();
    outcome
}

async fn measure(arguments: &Arguments, window: Duration, report: &mut Report) -> Result<()> {
    let wanted = |part| arguments.only.is_none_or(|only| only == part);
    if wanted(Part::ControlPlane) {
        control_plane(arguments, window, report).await?;
    }
    if wanted(Part::Scheduling) {
        scheduling(arguments, report).await?;
    }
    if wanted(Part::Services) && (arguments.only.is_some() || nix::unistd::geteuid().is_root()) {
        services(arguments, report)?;
    }
    if arguments.node || arguments.only == Some(Part::Node) {
        netns::run(async || node(arguments, report).await)?;
    }
    Ok(())
}

async fn control_plane(arguments: &Arguments, window: Duration, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::start(&arguments.gantry, &["server"], false).await?;
    report.row("start to /readyz, empty", cluster.ready_after.as_secs_f64(), "s", "0.1 s", "4.1 s");
    cluster.settle().await;
    report.row("idle memory, control plane", cluster.rss_mib()?, "MiB", "30 MB", "312 MB");
    let client = cluster.client()?;
    client.create_namespace("bench").await?;

    let before = Instant::now();
    let created = load::creates(&client, CONNECTIONS, arguments.pods).await?;
    let seconds = before.elapsed().as_secs_f64();
    report.row("durable POST of a pod", created as f64 / seconds, "/s", "8,000/s", "1,247/s");

    let name = "/api/v1/namespaces/bench/pods/pod-000000";
    let gets = load::rate(&client, CONNECTIONS, window, name).await?;
    report.row("GET of a pod", gets.per_second, "/s", "40,000/s", "2,794/s");
    let lists = load::rate(&client, CONNECTIONS, window, "/api/v1/namespaces/bench/pods?limit=500").await?;
    report.row("LIST, limit=500", lists.per_second, "/s", "600/s", "64/s");
    let full = load::median(&client, 7, "/api/v1/pods").await?;
    report.row("LIST of all pods", full.as_secs_f64(), "s", "0.15 s", "1.3-1.9 s");
    report.row("memory with all pods after LISTs", cluster.rss_mib()?, "MiB", "200 MB", "2,048 MB");

    let delivery = load::watch_delivery(&client, 100, 1_000, window).await?;
    report.row("watch delivery p50, 100 watchers", delivery.p50.as_secs_f64() * 1e3, "ms", "3 ms", "-");
    report.row("watch delivery p99, 100 watchers", delivery.p99.as_secs_f64() * 1e3, "ms", "7 ms", "-");

    cluster.restart().await?;
    report.row("start to /readyz, with all pods", cluster.ready_after.as_secs_f64(), "s", "0.6 s", "-");
    cluster.stop().await
}

async fn scheduling(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::start(&arguments.gantry, &["server"], false).await?;
    let client = cluster.client()?;
    client.create_namespace("bench").await?;
    load::fake_nodes(&client, 1_000).await?;
    let rate = load::schedule(&client, CONNECTIONS, arguments.schedule).await?;
    report.row("scheduling on 1,000 nodes", rate, "/s", "2,000/s", "205/s");
    cluster.stop().await
}

fn services(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let measured = services::run(arguments.services, 500)?;
    let milliseconds = |share: f64| {
        let last = measured.changes.len().saturating_sub(1);
        measured.changes.get((last as f64 * share) as usize).map_or(0.0, |d| d.as_secs_f64() * 1e3)
    };
    let count = arguments.services;
    let what = |what: &str| format!("{count} Services with 10 endpoints: {what}");
    report.row(&what("start to rules"), measured.start.as_secs_f64(), "s", "-", "0.4-1.0 s (nft alone)");
    report.row(&what("change to rules p50"), milliseconds(0.5), "ms", "-", "32 ms (nft alone)");
    report.row(&what("change to rules p99"), milliseconds(0.99), "ms", "-", "-");
    Ok(())
}

async fn node(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let before = Instant::now();
    let mut cluster = Cluster::start(&arguments.gantry, &["up", "--node-ip", netns::ADDRESS], true).await?;
    let client = cluster.client()?;
    load::node_takes_pods(&client).await?;
    report.row("start to a node that takes pods", before.elapsed().as_secs_f64(), "s", "-", "-");
    cluster.import_image("target/images/busybox.tar").await.context("importing the test image")?;
    client.create_namespace("bench").await?;
    cluster.settle().await;
    report.row("idle memory, whole node", cluster.rss_mib()?, "MiB", "80 MB", "500 MB (k3s)");
    let running = load::create_to_running(&client, 30).await?;
    report.row("pod create to Running p50", running.p50.as_secs_f64(), "s", "0.3 s", "-");
    report.row("pod create to Running p99", running.p99.as_secs_f64(), "s", "-", "-");
    cluster.stop().await
}
