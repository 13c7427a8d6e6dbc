//! The scheduler on nodes that no agent stands behind.

use std::time::Instant;

use anyhow::{Result, ensure};
use gantry_json::json;

use super::call::Call;
use super::cluster::Cluster;
use super::http::Client;
use super::load::Load;
use super::objects::{PODS, node, pod};
use super::report::{Budget, Report, Row};
use super::{Arguments, watch};

const NODES: usize = 1_000;

/// Measures.
pub async fn measure(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let (load, count) = (arguments.load(), arguments.schedule);
    let mut cluster = Cluster::start(&arguments.gantry, &["server"], false).await?;
    let client = cluster.client().await?;
    client.create_namespace("bench").await?;
    load.all(&client, &Call::post("/api/v1/nodes", &node("fake-OBJECT")), NODES).await?;
    // New nodes are tainted until a controller finds them ready; none has to watch over these.
    let untainted = json!({"spec": {"taints": null}});
    let untaint = Call::patch("/api/v1/nodes/fake-OBJECT", "application/merge-patch+json", &untainted);
    load.all(&client, &untaint, NODES).await?;
    // One more goes first, so that the scheduler's start is not measured.
    schedule(&client, load, "first", 1, 1).await?;
    let started = Instant::now();
    schedule(&client, load, "pod", count, count + 1).await?;
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let method = format!("{count} pods, from the first create to the last binding");
    let row = Row::new("scheduling on 1,000 nodes", rate, "/s", method);
    report.row(row.budget(Budget::AtLeast(2_000.0)).upstream("205/s"));
    cluster.stop()
}

/// Creates so many pods and waits until there are `all` with a node.
async fn schedule(client: &Client, load: Load, prefix: &str, count: usize, all: usize) -> Result<()> {
    let create = Call::post(PODS, &pod(&format!("{prefix}-OBJECT"), "default-scheduler"));
    tokio::try_join!(load.all(client, &create, count), bound(client, all))?;
    Ok(())
}

/// Returns once `count` pods have nodes.
async fn bound(client: &Client, count: usize) -> Result<()> {
    let connection = client.connect().await?;
    let query = "watch=true&timeoutSeconds=300&fieldSelector=spec.nodeName!%3D";
    let body = connection.open(&Call::get(format!("{PODS}?{query}")).request(0)).await?;
    let mut bound = 0;
    watch::lines(body, |line| {
        bound += usize::from(line.starts_with(b"{\"type\":\"ADDED\""));
        (bound < count).then_some(())
    })
    .await?;
    ensure!(bound == count, "only {bound} of {count} pods were bound");
    Ok(())
}
