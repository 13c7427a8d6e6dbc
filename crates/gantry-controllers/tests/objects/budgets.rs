//! Disruption budgets let as many pods go as are more than needed.

use std::sync::Arc;

use anyhow::Result;
use gantry_controllers::{deployment, pod_disruption, replicaset, serviceaccount};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn evictions_stop_where_the_budget_ends() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("deployment-controller", deployment::run);
    cluster.run("replicaset-controller", replicaset::run);
    cluster.run("disruption-controller", pod_disruption::run);
    let web = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    cluster.send(Method::POST, "/apis/apps/v1/namespaces/default/deployments", &web).await?;
    let budget = json!({"metadata": {"name": "web"}, "spec": {
        "maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    cluster.send(Method::POST, "/apis/policy/v1/namespaces/default/poddisruptionbudgets", &budget).await?;
    let pods = cluster.until("the pods", |all: &[Arc<Pod>]| all.len() == 3).await?;
    for pod in &pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let node = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n1"}});
        cluster.send(Method::POST, &format!("{PODS}/{name}/binding"), &node).await?;
        let status =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let path = format!("{PODS}/{name}/status");
        let reply = cluster
            .server
            .request(Method::PATCH, &path, "application/merge-patch+json", status.to_string())
            .await?;
        assert_eq!(reply.code, 200, "{}", reply.text());
    }
    let allowed = |all: &[Arc<PodDisruptionBudget>], expect: (i32, i32, i32)| {
        let status = all.first().and_then(|budget| budget.status.clone()).unwrap_or_default();
        (status.expected_pods, status.current_healthy, status.disruptions_allowed) == expect
    };
    cluster.until("a pod may go", |all| allowed(all, (3, 3, 1))).await?;
    let evict = async |at: usize| -> Result<(u16, Value)> {
        let name = pods[at].metadata.name.as_deref().unwrap_or_default();
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
        let reply = cluster.server.json(Method::POST, &format!("{PODS}/{name}/eviction"), &eviction).await?;
        Ok((reply.code.as_u16(), reply.json()))
    };
    assert_eq!(evict(0).await?.0, 201);
    let (code, refused) = evict(1).await?;
    assert_eq!(code, 429, "{refused}");
    cluster.until("none may go", |all| allowed(all, (3, 2, 0))).await?;
    Ok(())
}
