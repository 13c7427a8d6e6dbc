//! The Service proxy: a node's network in a network namespace of its own, told by an API server in
//! this process.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use gantry_client::Informers;
use gantry_json::{from_value, json};
use gantry_network::{Network, NetworkConfig};
use gantry_testing::TestServer;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, Patch, PatchParams, PostParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::load::Latency;
use super::report::{Report, Row};
use super::{Arguments, netns};

/// Endpoints of each Service.
const ENDPOINTS: usize = 10;
/// Longest wait for the network to follow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time without anything done after which nothing is under way.
const QUIET: Duration = Duration::from_millis(500);

/// Changes that are timed.
const CHANGES: usize = 500;

/// Measures.
pub async fn measure(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let count = arguments.services;
    let server = TestServer::start().await?;
    let client = server.client();
    let services: Api<Service> = Api::namespaced(client.clone(), "default");
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
    let parameters = PostParams::default();
    for number in 0..count {
        services.create(&parameters, &from_value(service(number))?).await?;
        slices.create(&parameters, &from_value(slice(number))?).await?;
    }
    let state = tempfile::tempdir()?;
    let node_ip = netns::ADDRESS.parse()?;
    let network = Network::open(NetworkConfig::new(state.path().into(), "here".into(), vec![node_ip]))?;
    let mut applied = network.applied();
    let shutdown = CancellationToken::new();
    let informers = Informers::new(client, shutdown.clone());
    let before = Instant::now();
    let running = tokio::spawn(network.run(informers, shutdown.clone()));
    next(&mut applied).await?;
    let start = before.elapsed();
    // The network looks once more when it hears of its own table.
    while tokio::time::timeout(QUIET, applied.changed()).await.is_ok() {}
    let mut taken = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let name = format!("bench-{}", change % count);
        let fewer = json!({"endpoints": endpoints(change % count, ENDPOINTS - 1 - change / count % 2)});
        let before = Instant::now();
        slices.patch(&name, &PatchParams::default(), &Patch::Merge(fewer)).await?;
        next(&mut applied).await?;
        taken.push(before.elapsed());
    }
    shutdown.cancel();
    running.await?;
    let changes = Latency::of(taken)?;
    let figures = [
        ("start to rules", start, "0.4-1.0 s (nft alone)", "once, from the proxy's start"),
        (
            "change to rules p50",
            changes.p50,
            "32 ms (nft alone)",
            "from the patch to the kernel, 500 changes",
        ),
        ("change to rules p99", changes.p99, "-", "from the patch to the kernel, 500 changes"),
    ];
    for (what, took, upstream, method) in figures {
        let what = format!("{count} Services with {ENDPOINTS} endpoints: {what}");
        report.row(Row::milliseconds(what, took, method).upstream(upstream));
    }
    Ok(())
}

async fn next(applied: &mut watch::Receiver<u64>) -> Result<()> {
    let waited = tokio::time::timeout(PATIENCE, applied.changed()).await;
    waited.context("the network does not follow")?.context("the network has ended")
}

fn service(number: usize) -> gantry_json::Value {
    json!({
        "metadata": {"name": format!("bench-{number}")},
        "spec": {"ports": [{"port": 80, "targetPort": 8080}]},
    })
}

fn slice(number: usize) -> gantry_json::Value {
    let name = format!("bench-{number}");
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints(number, ENDPOINTS),
    })
}

fn endpoints(number: usize, count: usize) -> Vec<gantry_json::Value> {
    let address = |i| format!("10.42.{}.{}", number / 25 % 256, number % 25 * ENDPOINTS + i + 1);
    let endpoint = |i| json!({"addresses": [address(i)], "conditions": {"ready": true}});
    (0..count).map(endpoint).collect()
}
