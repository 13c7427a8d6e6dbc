//! The loads: rates, latencies and the objects they work on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::http::Client;

/// A rate over a window.
pub struct Rate {
    /// Answers per second.
    pub per_second: f64,
}

/// Latencies.
pub struct Latency {
    /// Median.
    pub p50: Duration,
    /// 99th percentile.
    pub p99: Duration,
}

/// A pod as a microservice's Deployment makes it, about 1.4 KB once stored.
fn pod(name: &str, scheduler: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "tier": "backend", "pod-template-hash": "5d9c7b8f6d"},
                     "annotations": {"example.com/revision": "42"}},
        "spec": {"schedulerName": scheduler, "containers": [{"name": "app", "image": "registry.example.com/team/app:1.2.3",
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "MODE", "value": "production"}, {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}}}]}})
}

/// Creates `count` pods nobody schedules over `connections`; returns how many were created.
pub async fn creates(client: &Client, connections: usize, count: usize) -> Result<usize> {
    create_pods(client, connections, count, "pod", "none").await
}

async fn create_pods(
    client: &Client,
    connections: usize,
    count: usize,
    prefix: &str,
    scheduler: &str,
) -> Result<usize> {
    let next = Arc::new(AtomicUsize::new(0));
    try_join_all((0..connections).map(|_| {
        let (client, next) = (client.clone(), next.clone());
        let (prefix, scheduler) = (prefix.to_owned(), scheduler.to_owned());
        flatten(tokio::spawn(async move {
            let mut connection = client.connect().await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok(());
                }
                let body = pod(&format!("{prefix}-{number:06}"), &scheduler).to_string();
                let (status, text) = connection.post("/api/v1/namespaces/bench/pods", body.into()).await?;
                ensure!(status.as_u16() == 201, "creating a pod: {status} {text:?}");
            }
        }))
    }))
    .await?;
    Ok(count)
}

/// GETs `path` on `connections` for `window`.
pub async fn rate(client: &Client, connections: usize, window: Duration, path: &str) -> Result<Rate> {
    let started = Instant::now();
    let counts = try_join_all((0..connections).map(|_| {
        let (client, path) = (client.clone(), path.to_owned());
        flatten(tokio::spawn(async move {
            let mut connection = client.connect().await?;
            let mut count = 0usize;
            while started.elapsed() < window {
                let (status, _) = connection.get(&path).await?;
                ensure!(status.is_success(), "GET {path}: {status}");
                count += 1;
            }
            Ok(count)
        }))
    }))
    .await?;
    let total: usize = counts.into_iter().sum();
    Ok(Rate { per_second: total as f64 / started.elapsed().as_secs_f64() })
}

/// The median time of `times` GETs of `path`, one after the other.
pub async fn median(client: &Client, times: usize, path: &str) -> Result<Duration> {
    let mut connection = client.connect().await?;
    let mut took = Vec::new();
    for _ in 0..times {
        let before = Instant::now();
        let (status, _) = connection.get(path).await?;
        ensure!(status.is_success(), "GET {path}: {status}");
        took.push(before.elapsed());
    }
    took.sort();
    Ok(took[times / 2])
}

/// How long after a write's start each of `watchers` sees it, at `per_second` writes.
pub async fn watch_delivery(
    client: &Client,
    watchers: usize,
    per_second: u32,
    window: Duration,
) -> Result<Latency> {
    let origin = Instant::now();
    let (report, mut latencies) = mpsc::unbounded_channel();
    for _ in 0..watchers {
        let mut connection = client.connect().await?;
        let path = "/api/v1/namespaces/bench/configmaps?watch=true&timeoutSeconds=600";
        let body = connection.watch(path).await?;
        let report = report.clone();
        tokio::spawn(async move {
            let _connection = connection;
            lines(body, |line| {
                // The namespace has objects of others, too.
                let Some(sent) = find_number(line, b"\"sent\":\"") else { return Some(()) };
                let now = origin.elapsed().as_micros() as u64;
                report.send(now.saturating_sub(sent)).ok()
            })
            .await
        });
    }
    drop(report);
    let writers = 8;
    let mut tick = tokio::time::interval(Duration::from_secs(1) * writers / per_second);
    let mut connections = try_join_all((0..writers).map(|_| client.connect())).await?;
    let mut number = 0usize;
    let started = Instant::now();
    while started.elapsed() < window {
        tick.tick().await;
        try_join_all(
            connections.iter_mut().map(|connection| {
                number += 1;
                let body = json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("tick-{number}")},
                "data": {"sent": origin.elapsed().as_micros().to_string()}});
                async move {
                    connection.post("/api/v1/namespaces/bench/configmaps", body.to_string().into()).await
                }
            }),
        )
        .await?;
    }
    let expected = number * watchers;
    let mut seen = Vec::with_capacity(expected);
    while seen.len() < expected {
        let next = tokio::time::timeout(Duration::from_secs(10), latencies.recv()).await;
        match next.context("watch events are missing")? {
            Some(latency) => seen.push(Duration::from_micros(latency)),
            None => break,
        }
    }
    percentiles(seen)
}

/// Registers ready nodes that no agent stands behind.
pub async fn fake_nodes(client: &Client, count: usize) -> Result<()> {
    let mut connection = client.connect().await?;
    for number in 0..count {
        let name = format!("fake-{number:04}");
        let size = json!({"cpu": "32", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"});
        let body = json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"capacity": size, "allocatable": size, "conditions": [{"type": "Ready", "status": "True",
                "reason": "KubeletReady", "message": "ready", "lastHeartbeatTime": "2030-01-01T00:00:00Z",
                "lastTransitionTime": "2030-01-01T00:00:00Z"}]}});
        let (status, text) = connection.post("/api/v1/nodes", body.to_string().into()).await?;
        ensure!(status.as_u16() == 201, "creating a node: {status} {text:?}");
        // New nodes are tainted until a controller finds them ready; none has to watch over these.
        let body = json!({"spec": {"taints": null}}).to_string();
        let (status, text) = connection.merge(&format!("/api/v1/nodes/{name}"), body.into()).await?;
        ensure!(status.is_success(), "removing a node's taints: {status} {text:?}");
    }
    Ok(())
}

/// Creates `count` pods and waits until all are bound; returns pods per second over the whole. One
/// more goes first, so that the scheduler's start is not measured.
pub async fn schedule(client: &Client, connections: usize, count: usize) -> Result<f64> {
    tokio::try_join!(create_pods(client, 1, 1, "first", "default-scheduler"), bound(client, 1))?;
    let started = Instant::now();
    let creating = create_pods(client, connections, count, "pod", "default-scheduler");
    tokio::try_join!(creating, bound(client, count + 1))?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

/// Returns once `count` pods have nodes.
async fn bound(client: &Client, count: usize) -> Result<()> {
    let mut watching = client.connect().await?;
    let path = "/api/v1/namespaces/bench/pods?watch=true&timeoutSeconds=300&fieldSelector=spec.nodeName!%3D";
    let body = watching.watch(path).await?;
    let mut bound = 0;
    lines(body, |line| {
        bound += usize::from(line.starts_with(b"{\"type\":\"ADDED\""));
        (bound < count).then_some(())
    })
    .await?;
    ensure!(bound == count, "only {bound} of {count} pods were bound");
    Ok(())
}

/// Creates `count` pods one after the other and times each until it is Running.
pub async fn create_to_running(client: &Client, count: usize) -> Result<Latency> {
    let mut connection = client.connect().await?;
    let mut took = Vec::new();
    for number in 0..count {
        let name = format!("run-{number}");
        let mut watching = client.connect().await?;
        let path = format!(
            "/api/v1/namespaces/bench/pods?watch=true&timeoutSeconds=60&fieldSelector=metadata.name%3D{name}"
        );
        let body = watching.watch(&path).await?;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "gantry.local/busybox:1",
                     "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]}});
        let before = Instant::now();
        let (status, text) = connection.post("/api/v1/namespaces/bench/pods", pod.to_string().into()).await?;
        ensure!(status.as_u16() == 201, "creating a pod: {status} {text:?}");
        let mut running = false;
        lines(body, |line| {
            running = line.windows(17).any(|part| part == b"\"phase\":\"Running\"");
            (!running).then_some(())
        })
        .await?;
        ensure!(running, "pod {name} is not Running after 60 s");
        took.push(before.elapsed());
    }
    percentiles(took)
}

/// Waits until the node is ready and has no taint.
pub async fn node_takes_pods(client: &Client) -> Result<()> {
    let mut watching = client.connect().await?;
    let body = watching.watch("/api/v1/nodes?watch=true&timeoutSeconds=60").await?;
    let mut takes = false;
    lines(body, |line| {
        let event: Value = serde_json::from_slice(line).unwrap_or_default();
        let node = &event["object"];
        let conditions = node["status"]["conditions"].as_array();
        let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
        takes = conditions.is_some_and(|all| all.iter().any(ready))
            && node["spec"]["taints"].as_array().is_none_or(Vec::is_empty);
        (!takes).then_some(())
    })
    .await?;
    ensure!(takes, "the node takes no pods after 60 s");
    Ok(())
}

/// Hands each line of `body` to `each` until that returns `None` or the body ends.
async fn lines(mut body: Incoming, mut each: impl FnMut(&[u8]) -> Option<()>) -> Result<()> {
    let mut rest = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            rest.extend_from_slice(&data);
            let mut start = 0;
            while let Some(length) = rest[start..].iter().position(|byte| *byte == b'\n') {
                if each(&rest[start..start + length]).is_none() {
                    return Ok(());
                }
                start += length + 1;
            }
            rest.drain(..start);
        }
    }
    Ok(())
}

fn find_number(line: &[u8], key: &[u8]) -> Option<u64> {
    let at = line.windows(key.len()).position(|part| part == key)? + key.len();
    let digits: Vec<u8> = line[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

fn percentiles(mut seen: Vec<Duration>) -> Result<Latency> {
    ensure!(!seen.is_empty(), "nothing was measured");
    seen.sort();
    Ok(Latency { p50: seen[seen.len() / 2], p99: seen[seen.len() * 99 / 100] })
}

async fn flatten<T>(task: tokio::task::JoinHandle<Result<T>>) -> Result<T> {
    task.await?
}
