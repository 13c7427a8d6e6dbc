//! Nodes that fall silent, and what becomes of their pods.

use std::time::Duration;

use anyhow::{Context, Result};
use gantry_json::{Value, json};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};

use crate::support::{Cluster, until};

async fn cluster() -> Result<Cluster> {
    Cluster::start(|config| {
        config.nodes.grace = Duration::from_secs(1);
        config.nodes.startup_grace = Duration::from_secs(300);
        config.nodes.quarantine = Duration::from_millis(100);
    })
    .await
}

async fn post_status(cluster: &Cluster, name: &str, ready: &str) -> Result<()> {
    let now = Timestamp::now();
    let conditions = json!([{"type": "Ready", "status": ready, "reason": "KubeletReady", "lastHeartbeatTime": now,
        "lastTransitionTime": now}]);
    let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
    cluster.all::<Node>().patch_status(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn node(cluster: &Cluster, name: &str) -> Result<()> {
    let node = gantry_json::from_value(json!({"metadata": {"name": name}}))?;
    cluster.all::<Node>().create(&PostParams::default(), &node).await?;
    post_status(cluster, name, "True").await
}

/// A pod that runs and is ready.
async fn pod(cluster: &Cluster, name: &str, node: Option<&str>, tolerations: Value) -> Result<()> {
    let pods = pods(cluster);
    let pod = json!({"metadata": {"name": name}, "spec": {
        "nodeName": node, "tolerations": tolerations, "containers": [{"name": "c", "image": "i"}]}});
    pods.create(&PostParams::default(), &gantry_json::from_value(pod)?).await?;
    if node.is_some() {
        let status =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    }
    Ok(())
}

fn pods(cluster: &Cluster) -> Api<Pod> {
    Api::namespaced(cluster.server.client(), "default")
}

fn taints(node: &Node) -> Vec<String> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let short = |key: &str| key.trim_start_matches("node.kubernetes.io/").to_owned();
    let mut all: Vec<_> = taints.map(|taint| format!("{}:{}", short(&taint.key), taint.effect)).collect();
    all.sort();
    all
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, Option<&'a str>)> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let found = conditions.into_iter().find(|each| each.type_ == kind)?;
    Some((found.status.as_str(), found.reason.as_deref()))
}

fn says<'a>(reason: &'a str, message: &'a str) -> impl Fn(&Event) -> bool + 'a {
    move |event| event.reason.as_deref() == Some(reason) && event.message.as_deref() == Some(message)
}

/// Keeps a node alive until the guard is dropped.
fn heartbeat(cluster: &Cluster, name: &'static str) -> tokio_util::task::AbortOnDropHandle<()> {
    let client = cluster.server.client();
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        let leases = Api::<k8s_openapi::api::coordination::v1::Lease>::namespaced(client, "kube-node-lease");
        let mut timer = tokio::time::interval(Duration::from_millis(50));
        loop {
            timer.tick().await;
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
                "spec": {"holderIdentity": name, "renewTime": k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime(Timestamp::now())}});
            let params = PatchParams::apply("kubelet").force();
            if leases.patch(name, &params, &Patch::Apply(lease)).await.is_err() {
                return;
            }
        }
    }))
}

#[tokio::test]
async fn a_silent_node_is_told_tainted_and_emptied() -> Result<()> {
    let cluster = cluster().await?;
    node(&cluster, "alive").await?;
    let _beats = heartbeat(&cluster, "alive");
    node(&cluster, "silent").await?;
    let forever = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists"}]);
    pod(&cluster, "stays", Some("silent"), forever).await?;
    let brief = json!([{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
        "tolerationSeconds": 0}]);
    pod(&cluster, "leaves", Some("silent"), brief).await?;

    let wanted = ["unreachable:NoExecute", "unreachable:NoSchedule"];
    let tainted =
        until(cluster.all::<Node>(), "silent", |node| node.is_some_and(|node| taints(node) == wanted));
    let tainted = tainted.await?.context("it is there")?;
    let conditions = tainted.status.and_then(|status| status.conditions).unwrap_or_default();
    assert!(conditions.iter().all(|each| each.status == "Unknown"), "{conditions:?}");
    let of_ready = conditions.iter().find(|each| each.type_ == "Ready").context("Ready")?;
    assert_eq!(of_ready.reason.as_deref(), Some("NodeStatusUnknown"));
    assert_eq!(of_ready.message.as_deref(), Some("Kubelet stopped posting node status."));
    cluster.event(says("NodeNotReady", "Node silent status is now: NodeNotReady")).await?;
    cluster.event(says("NodeNotReady", "Node is not ready")).await?;
    until(pods(&cluster), "stays", |pod| {
        pod.is_some_and(|pod| condition(pod, "Ready") == Some(("False", None)))
    })
    .await?;

    cluster.event(says("TaintManagerEviction", "Marking for deletion Pod default/leaves")).await?;
    let leaving = until(pods(&cluster), "leaves", |pod| {
        pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
    });
    let leaving = leaving.await?.context("it is there")?;
    assert_eq!(condition(&leaving, "DisruptionTarget"), Some(("True", Some("DeletionByTaintManager"))));

    let alive = cluster.all::<Node>().get("alive").await?;
    assert_eq!(taints(&alive), Vec::<String>::new());

    post_status(&cluster, "silent", "True").await?;
    let _beats = heartbeat(&cluster, "silent");
    until(cluster.all::<Node>(), "silent", |node| node.is_some_and(|node| taints(node).is_empty())).await?;
    Ok(())
}

#[tokio::test]
async fn a_node_is_told_how_long_it_may_keep_things() -> Result<()> {
    let cluster = cluster().await?;
    node(&cluster, "one").await?;
    let told = |node: &Node| {
        let annotations = node.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get("node.alpha.kubernetes.io/ttl")).is_some_and(|ttl| ttl == "0")
    };
    until(cluster.all::<Node>(), "one", |node| node.is_some_and(told)).await?;
    Ok(())
}

#[tokio::test]
async fn where_no_node_is_heard_of_nothing_is_evicted() -> Result<()> {
    let cluster = cluster().await?;
    node(&cluster, "only").await?;
    until(cluster.all::<Node>(), "only", |node| {
        node.is_some_and(|node| taints(node) == ["unreachable:NoSchedule"])
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn pods_that_nobody_removes_are_removed() -> Result<()> {
    let cluster = cluster().await?;
    node(&cluster, "gone").await?;
    pod(&cluster, "orphan", Some("gone"), json!([{"operator": "Exists"}])).await?;
    let finalized = json!({"metadata": {"finalizers": ["example.com/keep"]}});
    let keep = Patch::Merge(finalized);
    pods(&cluster).patch("orphan", &PatchParams::default(), &keep).await?;
    cluster.all::<Node>().delete("gone", &DeleteParams::default()).await?;
    let orphan = until(pods(&cluster), "orphan", |pod| {
        pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
    });
    let orphan = orphan.await?.context("it is there")?;
    assert_eq!(condition(&orphan, "DisruptionTarget"), Some(("True", Some("DeletionByPodGC"))));
    assert_eq!(orphan.status.and_then(|status| status.phase).as_deref(), Some("Failed"));

    let off = json!({"metadata": {"name": "off"}, "spec": {"taints":
        [{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoSchedule"}]}});
    cluster.all::<Node>().create(&PostParams::default(), &gantry_json::from_value(off)?).await?;
    pod(&cluster, "stuck", Some("off"), json!([])).await?;
    pods(&cluster).delete("stuck", &DeleteParams::default()).await?;
    until(pods(&cluster), "stuck", |pod| pod.is_none()).await?;
    Ok(())
}
