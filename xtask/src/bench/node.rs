//! Pods on a node.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use gantry_json::{Value, json};

use super::call::Call;
use super::cluster::Cluster;
use super::http::Client;
use super::load::Latency;
use super::objects::PODS;
use super::report::{Budget, Report, Row};
use super::{Arguments, netns, watch};

/// The image that the pods run.
const IMAGE: &str = "target/images/busybox.tar";
/// Pods that are timed.
const COUNT: usize = 30;

/// An error where the node cannot be measured here.
pub fn check() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "containers and pod networks are made by root");
    ensure!(Path::new(IMAGE).exists(), "{IMAGE} is missing: make images");
    Ok(())
}

/// Measures, in a network namespace of its own.
pub async fn measure(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let before = Instant::now();
    let mut cluster = Cluster::start(&arguments.gantry, &["up", "--node-ip", netns::ADDRESS], true).await?;
    let client = cluster.client().await?;
    takes_pods(&client).await?;
    let method = "once, from the process's start";
    report.row(Row::seconds("start to a node that takes pods", before.elapsed(), method));
    cluster.import_image(IMAGE).context("importing the test image")?;
    client.create_namespace("bench").await?;
    cluster.settle().await;
    let idle = cluster.memory("idle memory, whole node")?;
    report.row(idle.budget(Budget::AtMost(80.0)).upstream("500 MB (k3s)"));
    let running = create_to_running(&client).await?;
    let budgets = [("p50", running.p50, Budget::AtMost(0.3)), ("p99", running.p99, Budget::Reported)];
    for (name, took, budget) in budgets {
        let what = format!("pod create to Running {name}, image present");
        report.row(Row::seconds(what, took, format!("{COUNT} pods, one after the other")).budget(budget));
    }
    cluster.stop()
}

/// Creates pods one after the other and times each until it is Running.
async fn create_to_running(client: &Client) -> Result<Latency> {
    let mut connection = client.connect().await?;
    let mut took = Vec::new();
    for number in 0..COUNT {
        let name = format!("run-{number}");
        let watching = client.connect().await?;
        let query = format!("watch=true&timeoutSeconds=60&fieldSelector=metadata.name%3D{name}");
        let body = watching.open(&Call::get(format!("{PODS}?{query}")).request(0)).await?;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "gantry.local/busybox:1",
                     "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]}});
        let before = Instant::now();
        connection.exchange(&Call::post(PODS, &pod).request(0)).await?;
        let late = format!("pod {name} is not Running after 60 s");
        watch::until(body, &late, |pod| pod["status"]["phase"] == "Running").await?;
        took.push(before.elapsed());
    }
    Latency::of(took)
}

/// Waits until the node is ready and has no taint.
async fn takes_pods(client: &Client) -> Result<()> {
    let connection = client.connect().await?;
    let watch = Call::get("/api/v1/nodes?watch=true&timeoutSeconds=60").request(0);
    let body = connection.open(&watch).await?;
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    watch::until(body, "the node takes no pods after 60 s", |node| {
        let conditions = node["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(ready))
            && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty)
    })
    .await
}
