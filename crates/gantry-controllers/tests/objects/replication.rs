//! ReplicationControllers keep pods as ReplicaSets do.

use std::sync::Arc;

use anyhow::Result;
use gantry_controllers::{replicaset, serviceaccount};
use gantry_json::json;
use http::Method;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn pods_are_made_adopted_released_and_counted() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("replication-controller", replicaset::run_replication_controllers);
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let orphan = json!({"metadata": {"name": "orphan", "labels": {"app": "web"}}, "spec": spec});
    cluster
        .until("the account", |all: &[Arc<k8s_openapi::api::core::v1::ServiceAccount>]| {
            all.iter().any(|account| account.metadata.namespace.as_deref() == Some("default"))
        })
        .await?;
    cluster.send(Method::POST, PODS, &orphan).await?;
    let controller = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "selector": {"app": "web"},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec}}});
    let path = "/api/v1/namespaces/default/replicationcontrollers";
    cluster.send(Method::POST, path, &controller).await?;
    let owned = |pod: &Pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| owner.kind == "ReplicationController" && owner.api_version == "v1")
    };
    let three = |all: &[Arc<Pod>]| all.iter().filter(|pod| owned(pod)).count() == 3;
    let pods = cluster.until("three pods", three).await?;
    assert_eq!(pods.len(), 3, "one of them was there");
    let reports = |count: i32| {
        move |all: &[Arc<ReplicationController>]| {
            let status = all.first().and_then(|each| each.status.clone()).unwrap_or_default();
            status.replicas == count && status.fully_labeled_replicas.unwrap_or(0) == count
        }
    };
    cluster.until("the count", reports(3)).await?;

    let relabelled = json!({"metadata": {"labels": {"app": "other"}}}).to_string();
    let path_of = format!("{PODS}/orphan");
    cluster.server.request(Method::PATCH, &path_of, "application/merge-patch+json", relabelled).await?;
    let pods = cluster.until("a pod in its place", |all: &[Arc<Pod>]| all.len() == 4 && three(all)).await?;
    let released = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some("orphan"));
    assert!(released.is_some_and(|pod| !owned(pod)));

    let scale = json!({"spec": {"replicas": 1}}).to_string();
    cluster
        .server
        .request(Method::PATCH, &format!("{path}/web/scale"), "application/merge-patch+json", scale)
        .await?;
    cluster.until("one pod and the other", |all: &[Arc<Pod>]| all.len() == 2).await?;
    cluster.until("the count", reports(1)).await?;
    Ok(())
}
