//! The Node object: registration, status, lease.

mod lease;
mod status;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use gantry_json::json;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeSpec, NodeStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher::watch_object},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use status::pressures;

use crate::{agent::Agent, machine::Machine};

/// How often the conditions are looked at.
const CHECK: Duration = Duration::from_secs(10);
/// How often an unchanged status is written.
const REPORT: Duration = Duration::from_secs(300);

fn labels(agent: &Agent) -> std::collections::BTreeMap<String, String> {
    let mut labels = agent.config.node_labels.clone();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/os"), "linux".into());
        labels.insert(format!("{prefix}/arch"), Machine::architecture().into());
    }
    labels.insert("kubernetes.io/hostname".into(), agent.config.node_name.clone());
    labels
}

/// Registers the node and keeps its status and lease until shutdown. `tx` carries the latest object.
pub async fn run(agent: Arc<Agent>, tx: watch::Sender<Option<Arc<Node>>>, shutdown: CancellationToken) {
    let api: Api<Node> = Api::all(agent.client.clone());
    let mut delay = Duration::from_millis(50);
    let node = loop {
        match register(&agent, &api).await {
            Ok(node) => break node,
            Err(error) => tracing::warn!(%error, "node not registered yet"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(Duration::from_secs(7)),
        }
    };
    agent.events.node(&agent.config.node_name, false, "Starting", "Starting kubelet.");
    let uid = node.metadata.uid.clone().unwrap_or_default();
    tx.send_replace(Some(Arc::new(node)));
    let lease = tokio::spawn(lease::run(agent.clone(), uid, shutdown.clone()));
    let mut last_report = Timestamp::now();
    // Conditions come from counters of the machine, which send no events.
    let mut timer = tokio::time::interval(CHECK);
    // Others write the object too: what they say about a node that was silent is put right at once.
    let mut written = watch_object(api.clone(), &agent.config.node_name).default_backoff().boxed();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = timer.tick() => {}
            () = agent.config.readiness_changed.notified() => {}
            Some(object) = written.next() => match object {
                Ok(Some(node)) => drop(tx.send_replace(Some(Arc::new(node)))),
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(%error, "watch of the node interrupted; it resumes");
                    continue;
                }
            },
        }
        let Some(current) = tx.borrow().clone() else { continue };
        let old = current.status.clone().unwrap_or_default();
        let fresh = status::make(&agent, &old, Timestamp::now()).await;
        let age = Duration::try_from(Timestamp::now().duration_since(last_report)).unwrap_or_default();
        if !status::differs(&old, &fresh) && age < REPORT {
            continue;
        }
        match write(&agent, &api, &old, &fresh).await {
            Ok(node) => {
                last_report = Timestamp::now();
                tx.send_replace(Some(Arc::new(node)));
            }
            Err(error) => tracing::warn!(%error, "node status not written"),
        }
    }
    lease.abort();
}

async fn write(agent: &Agent, api: &Api<Node>, old: &NodeStatus, status: &NodeStatus) -> kube::Result<Node> {
    let mut body = json!({ "status": status });
    // A merge keeps what it does not name.
    for (list, before) in [("capacity", &old.capacity), ("allocatable", &old.allocatable)] {
        for name in before.iter().flatten().map(|(name, _)| name) {
            if body["status"][list].get(name).is_none() {
                body["status"][list][name] = gantry_json::Value::Null;
            }
        }
    }
    api.patch_status(&agent.config.node_name, &PatchParams::default(), &Patch::Strategic(body)).await
}

async fn register(agent: &Agent, api: &Api<Node>) -> kube::Result<Node> {
    let name = &agent.config.node_name;
    let wanted = labels(agent);
    let existing = api.get_opt(name).await?;
    let old = existing.as_ref().and_then(|n| n.status.clone()).unwrap_or_default();
    let status = status::make(agent, &old, Timestamp::now()).await;
    if existing.is_none() {
        let node = Node {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some(wanted.clone()),
                ..Default::default()
            },
            spec: Some(NodeSpec::default()),
            status: Some(status.clone()),
        };
        match api.create(&PostParams::default(), &node).await {
            Ok(_) => {}
            Err(kube::Error::Api(e)) if e.code == 409 => {}
            Err(error) => return Err(error),
        }
    } else {
        let body = json!({"metadata": {"labels": wanted}});
        api.patch(name, &PatchParams::default(), &Patch::Strategic(body)).await?;
    }
    write(agent, api, &old, &status).await
}
