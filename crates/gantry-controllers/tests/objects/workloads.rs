//! Deployments and ReplicaSets, with a node agent that only says that every pod is ready.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use gantry_client::{Change, PodView};
use gantry_controllers::{deployment, replicaset, serviceaccount};
use gantry_json::{Value, json};
use http::Method;
use jiff::{Timestamp, Unit};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};

use crate::cluster::Cluster;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn start() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    cluster.run("deployment-controller", deployment::run);
    cluster.run("replicaset-controller", replicaset::run);
    Ok(cluster)
}

/// Reports every pod as ready.
fn agent(cluster: &Cluster) {
    let mut changes = cluster.informers.get::<PodView>().changes();
    let client = cluster.server.client();
    tokio::spawn(async move {
        while let Some(change) = changes.next().await {
            let Change::Applied { new, .. } = change else { continue };
            if new.is_ready() || new.is_deleted() {
                continue;
            }
            let meta = &new.metadata;
            let api: Api<Pod> =
                Api::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
            let now = Timestamp::now().round(Unit::Second).unwrap_or_default();
            let status = json!({"status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": now.to_string()}]}});
            // The pod may be gone meanwhile.
            let name = meta.name.as_deref().unwrap_or_default();
            let _ = api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await;
        }
    });
}

fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn deployment(app: &str, replicas: i32) -> Value {
    json!({"metadata": {"name": app}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template(app, "one")}})
}

fn set(app: &str, replicas: i32) -> Value {
    json!({"metadata": {"name": app, "labels": {"app": app}}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": app}}, "template": template(app, "one")}})
}

/// Waits until the only Deployment is complete at its present generation.
async fn complete(cluster: &Cluster, replicas: i32) -> Result<Arc<Deployment>> {
    let done = |deployment: &Arc<Deployment>| {
        let Some(status) = &deployment.status else { return false };
        let finished = status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "Progressing" && condition.reason.as_deref() == Some("NewReplicaSetAvailable")
        });
        let count = |count: Option<i32>| count.unwrap_or(0) == replicas;
        finished
            && status.observed_generation == deployment.metadata.generation
            && count(deployment.spec.as_ref().and_then(|spec| spec.replicas))
            && count(status.replicas)
            && count(status.updated_replicas)
            && count(status.available_replicas)
    };
    let all = cluster.until("the rollout", |all| all.iter().any(done)).await?;
    all.into_iter().find(done).context("the Deployment")
}

/// The images of the pods that are not on their way out.
async fn images(cluster: &Cluster) -> Result<Vec<String>> {
    let pods = cluster.server.get(PODS).await?.json();
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let active = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(active
        .map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned())
        .collect())
}

async fn merge(cluster: &Cluster, path: &str, patch: &Value) -> Result<Value> {
    let reply = cluster
        .server
        .request(Method::PATCH, path, "application/merge-patch+json", patch.to_string())
        .await?;
    anyhow::ensure!(reply.code.is_success(), "{path}: {}", reply.text());
    Ok(reply.json())
}

async fn said(cluster: &Cluster, reason: &str, message: &str) -> Result<()> {
    let matches = |event: &Arc<Event>| {
        event.reason.as_deref() == Some(reason)
            && event.message.as_deref().unwrap_or_default().starts_with(message)
    };
    cluster.until(&format!("{reason}: {message}"), |all| all.iter().any(matches)).await.map(drop)
}

#[tokio::test]
async fn a_deployment_is_rolled_out_and_back_and_scaled() -> Result<()> {
    let cluster = start().await?;
    agent(&cluster);
    let path = format!("{DEPLOYMENTS}/web");
    cluster.send(Method::POST, DEPLOYMENTS, &deployment("web", 3)).await?;
    complete(&cluster, 3).await?;
    let sets = cluster.server.get(SETS).await?.json();
    let set = &sets["items"][0];
    let name = set["metadata"]["name"].as_str().context("a name")?.to_owned();
    assert_eq!(set["metadata"]["ownerReferences"][0]["name"], "web");
    assert_eq!(set["status"]["terminatingReplicas"], 0);
    assert_eq!(set["status"]["fullyLabeledReplicas"], 3);
    let pods = cluster.server.get(PODS).await?.json();
    for pod in pods["items"].as_array().context("pods")? {
        assert!(pod["metadata"]["name"].as_str().is_some_and(|pod| pod.starts_with(&format!("{name}-"))));
        assert_eq!(pod["metadata"]["ownerReferences"][0]["uid"], set["metadata"]["uid"]);
        assert_eq!(
            pod["metadata"]["labels"]["pod-template-hash"],
            set["metadata"]["labels"]["pod-template-hash"]
        );
        said(
            &cluster,
            "SuccessfulCreate",
            &format!("Created pod: {}", pod["metadata"]["name"].as_str().unwrap_or_default()),
        )
        .await?;
    }
    said(&cluster, "ScalingReplicaSet", &format!("Scaled up replica set {name} from 0 to 3")).await?;

    merge(&cluster, &path, &json!({"spec": {"template": template("web", "two")}})).await?;
    let rolled = complete(&cluster, 3).await?;
    assert_eq!(rolled.annotations()["deployment.kubernetes.io/revision"], "2");
    assert_eq!(images(&cluster).await?, ["two", "two", "two"]);
    said(&cluster, "ScalingReplicaSet", &format!("Scaled down replica set {name} from 1 to 0")).await?;

    merge(&cluster, &path, &json!({"spec": {"template": template("web", "one")}})).await?;
    let back = complete(&cluster, 3).await?;
    assert_eq!(back.annotations()["deployment.kubernetes.io/revision"], "3");
    assert_eq!(images(&cluster).await?, ["one", "one", "one"]);
    let set = cluster.server.get(&format!("{SETS}/{name}")).await?.json();
    assert_eq!(set["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");

    for replicas in [7, 1, 0] {
        merge(&cluster, &format!("{path}/scale"), &json!({"spec": {"replicas": replicas}})).await?;
        complete(&cluster, replicas).await?;
        assert_eq!(images(&cluster).await?.len(), usize::try_from(replicas)?);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_selected_is_adopted_and_what_is_not_released() -> Result<()> {
    let cluster = start().await?;
    cluster
        .until("the account", |all: &[Arc<k8s_openapi::api::core::v1::ServiceAccount>]| {
            all.iter().any(|account| account.namespace().as_deref() == Some("default"))
        })
        .await?;
    let mut stray = template("a", "one");
    stray["metadata"]["name"] = "stray".into();
    cluster.send(Method::POST, PODS, &stray).await?;
    let made = cluster.send(Method::POST, SETS, &set("a", 2)).await?;
    let uid = made["metadata"]["uid"].as_str().context("a uid")?.to_owned();
    let owned = |pod: &PodView| {
        pod.metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.uid == uid && owner.controller == Some(true))
    };
    let two = |all: &[Arc<PodView>]| all.len() == 2 && all.iter().all(|pod| owned(pod));
    cluster.until("a pod beside the adopted one", two).await?;
    merge(&cluster, &format!("{PODS}/stray"), &json!({"metadata": {"labels": {"app": "b"}}})).await?;
    let released = |all: &[Arc<PodView>]| {
        let stray = all.iter().find(|pod| pod.metadata.name.as_deref() == Some("stray"));
        all.len() == 3 && stray.is_some_and(|stray| !owned(stray))
    };
    cluster.until("a pod for the released one", released).await?;
    // Back again, there is one too many.
    merge(&cluster, &format!("{PODS}/stray"), &json!({"metadata": {"labels": {"app": "a"}}})).await?;
    cluster.until("two pods again", two).await?;

    let name = made["metadata"]["name"].as_str().context("a name")?;
    cluster.send(Method::POST, DEPLOYMENTS, &deployment("a", 2)).await?;
    let adopted = |all: &[Arc<ReplicaSet>]| {
        all.iter().any(|set| {
            set.name_any() == name && set.owner_references().iter().any(|owner| owner.kind == "Deployment")
        })
    };
    let sets = cluster.until("the adopted ReplicaSet", adopted).await?;
    assert_eq!(sets.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_refused_pod_is_reported_until_it_can_be_made() -> Result<()> {
    let cluster = start().await?;
    agent(&cluster);
    let mut broken = deployment("web", 2);
    broken["spec"]["template"]["spec"]["serviceAccountName"] = "nobody".into();
    cluster.send(Method::POST, DEPLOYMENTS, &broken).await?;
    let failure = |deployment: &Arc<Deployment>| {
        let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut failed = conditions.filter(|condition| condition.type_ == "ReplicaFailure");
        failed
            .next()
            .map(|condition| (condition.reason.clone(), condition.message.clone().unwrap_or_default()))
    };
    let all = cluster.until("the failure", |all| all.iter().any(|each| failure(each).is_some())).await?;
    let (reason, message) = all.iter().find_map(failure).context("a failure")?;
    assert_eq!(reason.as_deref(), Some("FailedCreate"));
    assert!(message.contains("service account default/nobody"), "{message}");
    said(&cluster, "FailedCreate", "Error creating: pods \"").await?;
    let account = json!({"metadata": {"name": "nobody"}});
    cluster.send(Method::POST, "/api/v1/namespaces/default/serviceaccounts", &account).await?;
    let whole = complete(&cluster, 2).await?;
    assert!(failure(&whole).is_none());
    Ok(())
}

#[tokio::test]
async fn all_pods_at_once_means_none_of_both_at_a_time() -> Result<()> {
    let cluster = start().await?;
    agent(&cluster);
    let mut changes = cluster.informers.get::<PodView>().changes();
    let mut all_at_once = deployment("web", 3);
    all_at_once["spec"]["strategy"] = json!({"type": "Recreate"});
    cluster.send(Method::POST, DEPLOYMENTS, &all_at_once).await?;
    complete(&cluster, 3).await?;
    let patch = json!({"spec": {"template": template("web", "two")}});
    merge(&cluster, &format!("{DEPLOYMENTS}/web"), &patch).await?;
    complete(&cluster, 3).await?;
    let mut alive = std::collections::BTreeMap::new();
    while let Some(change) = changes.try_next() {
        let meta = &change.object().metadata;
        match &change {
            Change::Applied { .. } => {
                let hash = meta.labels.as_ref().and_then(|labels| labels.get("pod-template-hash")).cloned();
                alive.insert(meta.name.clone(), hash);
            }
            Change::Deleted(_) => drop(alive.remove(&meta.name)),
        }
        let mut hashes: Vec<_> = alive.values().collect();
        hashes.sort();
        hashes.dedup();
        assert!(hashes.len() <= 1, "pods of two templates at a time");
    }
    assert_eq!(alive.len(), 3);
    Ok(())
}
