//! Custom resources: creating, listing, and the memory that they take.

use anyhow::Result;
use gantry_json::Value;

use super::Arguments;
use super::call::Call;
use super::cluster::Cluster;
use super::http::Client;
use super::measurement::{How, Measurement, Measuring};
use super::objects::{WIDGETS, widget, widget_definition};
use super::report::{Report, Row};
use super::watch;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Measures.
pub async fn measure(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let load = arguments.load();
    let count = arguments.custom_resources;
    let mut cluster = Cluster::start(&arguments.gantry, &["server"], false).await?;
    cluster.settle().await;
    let client = cluster.client().await?;
    client.create_namespace("bench").await?;
    client.create(DEFINITIONS, &widget_definition()).await?;
    established(&client).await?;
    let before = cluster.memory_mb()?;
    let create = Call::post(WIDGETS, &widget("widget-OBJECT"));
    let list = |query: &str| Call::get(format!("{WIDGETS}{query}"));
    let measurements = [
        Measurement::new("create of a custom resource", How::All(count), create),
        Measurement::new("LIST of custom resources, limit=500", How::Rate, list("?limit=500")),
        Measurement::new(format!("LIST of all {count} custom resources"), How::Time, list("")),
    ];
    Measuring { cluster: &cluster, client: &client, load }.run(&measurements, report).await?;
    let what = format!("memory added by {count} custom resources");
    let method = "VmRSS after the LISTs, less before the first create";
    report.row(Row::new(what, cluster.memory_mb()? - before, "MB", method));
    cluster.stop()
}

/// Waits until the definition's resources are served.
async fn established(client: &Client) -> Result<()> {
    let connection = client.connect().await?;
    let watch = Call::get(format!("{DEFINITIONS}?watch=true&timeoutSeconds=60"));
    let body = connection.open(&watch.request(0)).await?;
    let is_true = |condition: &Value| condition["type"] == "Established" && condition["status"] == "True";
    watch::until(body, "the definition is not established after 60 s", |definition| {
        definition["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is_true))
    })
    .await
}
