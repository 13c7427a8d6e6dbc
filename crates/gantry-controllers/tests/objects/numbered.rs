//! DaemonSets and StatefulSets, with a scheduler and a node agent that only do what they are told.

use std::sync::Arc;

use anyhow::Result;
use gantry_client::{Change, PodView};
use gantry_controllers::{daemonset, serviceaccount, statefulset};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};

use crate::cluster::Cluster;

const APPS: &str = "/apis/apps/v1/namespaces/default";

async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("daemon-set-controller", daemonset::run);
    cluster.run("statefulset-controller", statefulset::run);
    agent(&cluster);
    Ok(cluster)
}

/// The node that a pod asks for; `anywhere` where it asks for none.
fn wanted(pod: &Value) -> String {
    let terms =
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let name = pod.pointer(terms).map(|terms| &terms[0]["matchFields"][0]["values"][0]);
    name.and_then(Value::as_str).unwrap_or("anywhere").to_owned()
}

/// Binds every pod and reports it as ready.
fn agent(cluster: &Cluster) {
    let mut changes = cluster.informers.get::<PodView>().changes();
    let client = cluster.server.client();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let Change::Applied { new, .. } = change else { continue };
            if new.is_ready() || new.is_deleted() {
                continue;
            }
            let name = new.metadata.name.as_deref().unwrap_or_default();
            let api: Api<Pod> = Api::namespaced(client.clone(), "default");
            if new.node_name.is_none() {
                let Ok(pod) = api.get(name).await else { continue };
                let node = wanted(&json!(pod));
                let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
                let request = http::Request::post(format!("/api/v1/namespaces/default/pods/{name}/binding"))
                    .header("content-type", "application/json")
                    .body(binding.to_string().into_bytes());
                let Ok(request) = request else { continue };
                // The pod may be gone meanwhile.
                let _ = client.request::<Value>(request).await;
            }
            let status =
                json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
            let _ = api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    });
}

fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": image}]}})
}

fn images(all: &[Arc<Pod>]) -> Vec<String> {
    let image = |pod: &Arc<Pod>| pod.spec.as_ref().and_then(|spec| spec.containers[0].image.clone());
    all.iter().filter_map(image).collect()
}

async fn change(cluster: &Cluster, path: &str, patch: &Value) -> Result<()> {
    let reply = cluster
        .server
        .request(Method::PATCH, path, "application/merge-patch+json", patch.to_string())
        .await?;
    anyhow::ensure!(reply.code.is_success(), "{path}: {}", reply.text());
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_waits_for_its_node_is_counted() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("daemon-set-controller", daemonset::run);
    cluster.send(Method::POST, "/api/v1/nodes", &json!({"metadata": {"name": "one"}})).await?;
    change(&cluster, "/api/v1/nodes/one", &json!({"spec": {"taints": null}})).await?;
    let set = json!({"metadata": {"name": "log"}, "spec": {
        "selector": {"matchLabels": {"app": "log"}}, "template": template("log", "one")}});
    cluster.send(Method::POST, &format!("{APPS}/daemonsets"), &set).await?;
    cluster
        .until("the pod, which nobody schedules", |all: &[Arc<DaemonSet>]| {
            let status = all.first().and_then(|set| set.status.clone()).unwrap_or_default();
            (status.desired_number_scheduled, status.current_number_scheduled) == (1, 1)
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_daemon_runs_on_every_node_that_fits() -> Result<()> {
    let cluster = start().await?;
    let node = |name: &str, used: &str| json!({"metadata": {"name": name, "labels": {"use": used}}});
    for (name, used) in [("one", "yes"), ("two", "yes"), ("three", "no")] {
        cluster.send(Method::POST, "/api/v1/nodes", &node(name, used)).await?;
        // As the node's controllers do when a node is ready.
        change(&cluster, &format!("/api/v1/nodes/{name}"), &json!({"spec": {"taints": null}})).await?;
    }
    let mut log = template("log", "one");
    log["spec"]["nodeSelector"] = json!({"use": "yes"});
    let set = json!({"metadata": {"name": "log"}, "spec": {
        "selector": {"matchLabels": {"app": "log"}}, "template": log}});
    cluster.send(Method::POST, &format!("{APPS}/daemonsets"), &set).await?;
    let counts = |all: &[Arc<DaemonSet>], expect: (i32, i32, i32)| {
        let status = all.first().and_then(|set| set.status.clone()).unwrap_or_default();
        let updated = status.updated_number_scheduled.unwrap_or(0);
        (status.desired_number_scheduled, status.number_ready, updated) == expect
    };
    cluster.until("two pods", |all| counts(all, (2, 2, 2))).await?;
    change(&cluster, "/api/v1/nodes/three", &json!({"metadata": {"labels": {"use": "yes"}}})).await?;
    cluster.until("three pods", |all| counts(all, (3, 3, 3))).await?;
    let path = format!("{APPS}/daemonsets/log");
    let mut two = cluster.server.get(&path).await?.json();
    two["spec"]["template"]["spec"]["containers"][0]["image"] = "two".into();
    cluster.send(Method::PUT, &path, &two).await?;
    cluster.until("new pods", |all: &[Arc<Pod>]| images(all) == ["two", "two", "two"]).await?;
    cluster.until("three new pods", |all| counts(all, (3, 3, 3))).await?;
    cluster.until("both revisions", |all: &[Arc<ControllerRevision>]| all.len() == 2).await?;
    Ok(())
}

#[tokio::test]
async fn pods_with_numbers_keep_their_names_and_claims() -> Result<()> {
    let cluster = start().await?;
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let set = json!({"metadata": {"name": "db"}, "spec": {
        "replicas": 3, "serviceName": "peers", "selector": {"matchLabels": {"app": "db"}},
        "template": template("db", "one"), "volumeClaimTemplates": [claim]}});
    cluster.send(Method::POST, &format!("{APPS}/statefulsets"), &set).await?;
    let counts = |all: &[Arc<StatefulSet>], expect: (i32, i32, i32)| {
        let status = all.first().and_then(|set| set.status.clone()).unwrap_or_default();
        let done = status.current_revision == status.update_revision;
        done && (status.replicas, status.ready_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0))
            == expect
    };
    cluster.until("three pods", |all| counts(all, (3, 3, 3))).await?;
    let path = format!("{APPS}/statefulsets/db");
    let mut two = cluster.server.get(&path).await?.json();
    two["spec"]["template"]["spec"]["containers"][0]["image"] = "two".into();
    cluster.send(Method::PUT, &path, &two).await?;
    let pods = cluster.until("new pods", |all: &[Arc<Pod>]| images(all) == ["two", "two", "two"]).await?;
    let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert_eq!(names, ["db-0", "db-1", "db-2"]);
    cluster.until("the update's end", |all| counts(all, (3, 3, 3))).await?;
    change(&cluster, &path, &json!({"spec": {"replicas": 1}})).await?;
    cluster.until("one pod", |all| counts(all, (1, 1, 1))).await?;
    let claims = cluster.until("the claims", |all: &[Arc<PersistentVolumeClaim>]| !all.is_empty()).await?;
    let names: Vec<_> = claims.iter().filter_map(|claim| claim.metadata.name.as_deref()).collect();
    assert_eq!(names, ["data-db-0", "data-db-1", "data-db-2"], "claims stay");
    Ok(())
}
