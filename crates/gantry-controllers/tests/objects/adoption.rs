//! Pods and revisions without a controller are taken in by whoever selects them, and claims go with whom they belong to.

use std::sync::Arc;

use anyhow::Result;
use gantry_controllers::{daemonset, job, serviceaccount, statefulset};
use gantry_json::{Value, json};
use http::Method;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ServiceAccount};

use crate::cluster::Cluster;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start().await?;
    cluster.run("service-account-controller", serviceaccount::run);
    let there = |all: &[Arc<ServiceAccount>]| {
        all.iter().any(|account| account.metadata.namespace.as_deref() == Some("default"))
    };
    cluster.until("the account", there).await?;
    Ok(cluster)
}

async fn orphan(cluster: &Cluster, name: &str, spec: Value) -> Result<()> {
    let mut all = json!({"containers": [{"name": "c", "image": "i"}]});
    all.as_object_mut().expect("an object").extend(spec.as_object().cloned().unwrap_or_default());
    let pod = json!({"metadata": {"name": name, "labels": {"app": "a"}}, "spec": all});
    cluster.send(Method::POST, PODS, &pod).await.map(drop)
}

/// Waits until the only pod is `name`, controlled by an object of that kind, or by none.
async fn until(cluster: &Cluster, name: &str, kind: Option<&str>) -> Result<Arc<Pod>> {
    let is = |all: &[Arc<Pod>]| {
        let owners = |pod: &Arc<Pod>| pod.metadata.owner_references.clone().unwrap_or_default();
        let pod = all.iter().find(|pod| pod.metadata.name.as_deref() == Some(name));
        pod.is_some_and(|pod| owners(pod).first().map(|owner| owner.kind.as_str()) == kind)
    };
    let pods = cluster.until(&format!("{name} to belong to {kind:?}"), is).await?;
    Ok(pods.into_iter().find(|pod| pod.metadata.name.as_deref() == Some(name)).expect("it was found"))
}

fn template(restart: &str) -> Value {
    let spec = json!({"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]});
    json!({"metadata": {"labels": {"app": "a"}}, "spec": spec})
}

async fn relabel(cluster: &Cluster, name: &str) -> Result<()> {
    let patch = json!({"metadata": {"labels": {"app": "b"}}}).to_string();
    let path = format!("{PODS}/{name}");
    let reply = cluster.server.request(Method::PATCH, &path, "application/merge-patch+json", patch).await?;
    anyhow::ensure!(reply.code == 200, "{}", reply.text());
    Ok(())
}

#[tokio::test]
async fn a_daemon_set_takes_in_and_lets_go() -> Result<()> {
    let cluster = cluster().await?;
    cluster.run("daemon-set-controller", daemonset::run);
    cluster.send(Method::POST, "/api/v1/nodes", &json!({"metadata": {"name": "n"}})).await?;
    orphan(&cluster, "p", json!({"nodeName": "n"})).await?;
    let set = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"app": "a"}},
        "updateStrategy": {"type": "OnDelete"}, "template": template("Always")}});
    cluster.send(Method::POST, "/apis/apps/v1/namespaces/default/daemonsets", &set).await?;
    until(&cluster, "p", Some("DaemonSet")).await?;
    relabel(&cluster, "p").await?;
    until(&cluster, "p", None).await?;
    Ok(())
}

#[tokio::test]
async fn a_job_takes_in_and_lets_go() -> Result<()> {
    let cluster = cluster().await?;
    cluster.run("job-controller", job::run);
    orphan(&cluster, "p", json!({"restartPolicy": "Never"})).await?;
    let job = json!({"metadata": {"name": "j"}, "spec": {"manualSelector": true,
        "selector": {"matchLabels": {"app": "a"}}, "template": template("Never")}});
    cluster.send(Method::POST, "/apis/batch/v1/namespaces/default/jobs", &job).await?;
    let pod = until(&cluster, "p", Some("Job")).await?;
    let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
    assert_eq!(finalizers, ["batch.kubernetes.io/job-tracking"]);
    relabel(&cluster, "p").await?;
    let pod = until(&cluster, "p", None).await?;
    assert_eq!(pod.metadata.finalizers.clone().unwrap_or_default().len(), 0);
    Ok(())
}

#[tokio::test]
async fn a_stateful_set_takes_in_and_its_claims_go_with_it() -> Result<()> {
    let cluster = cluster().await?;
    cluster.run("statefulset-controller", statefulset::run);
    orphan(&cluster, "s-0", json!({})).await?;
    orphan(&cluster, "other", json!({})).await?;
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let set = json!({"metadata": {"name": "s"}, "spec": {"serviceName": "s", "replicas": 2,
        "selector": {"matchLabels": {"app": "a"}}, "template": template("Always"),
        "updateStrategy": {"type": "OnDelete"}, "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
        "volumeClaimTemplates": [claim]}});
    let sets = "/apis/apps/v1/namespaces/default/statefulsets";
    cluster.send(Method::POST, sets, &set).await?;
    until(&cluster, "s-0", Some("StatefulSet")).await?;
    until(&cluster, "s-1", Some("StatefulSet")).await?;
    until(&cluster, "other", None).await?;
    let belongs = |kind: &'static str| {
        move |all: &[Arc<PersistentVolumeClaim>]| {
            let claim = all.iter().find(|claim| claim.metadata.name.as_deref() == Some("data-s-1"));
            let owners = claim.and_then(|claim| claim.metadata.owner_references.clone()).unwrap_or_default();
            owners.first().is_some_and(|owner| owner.kind == kind)
        }
    };
    cluster.until("the claim to be the set's", belongs("StatefulSet")).await?;
    let scale = json!({"spec": {"replicas": 1}}).to_string();
    let path = format!("{sets}/s/scale");
    cluster.server.request(Method::PATCH, &path, "application/merge-patch+json", scale).await?;
    cluster.until("the claim to be the pod's", belongs("Pod")).await?;
    let gone = |all: &[Arc<Pod>]| !all.iter().any(|pod| pod.metadata.name.as_deref() == Some("s-1"));
    cluster.until("the pod to go", gone).await?;
    Ok(())
}

#[tokio::test]
async fn revisions_left_behind_are_taken_in() -> Result<()> {
    let cluster = cluster().await?;
    cluster.run("daemon-set-controller", daemonset::run);
    cluster.run("statefulset-controller", statefulset::run);
    for (plural, kind) in [("daemonsets", "DaemonSet"), ("statefulsets", "StatefulSet")] {
        let path = format!("/apis/apps/v1/namespaces/default/{plural}");
        let template = json!({"metadata": {"labels": {"app": plural}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let set = json!({"metadata": {"name": "r"}, "spec": {"serviceName": "r", "replicas": 0,
            "selector": {"matchLabels": {"app": plural}}, "template": template}});
        let labelled = move |each: &&Arc<ControllerRevision>| {
            let labels = each.metadata.labels.as_ref();
            labels.and_then(|all| all.get("app")).is_some_and(|app| app == plural)
        };
        let of_set = |uid: Option<String>| {
            move |all: &[Arc<ControllerRevision>]| {
                let owner = |each: &Arc<ControllerRevision>| {
                    let owners = each.metadata.owner_references.clone().unwrap_or_default();
                    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid)
                };
                let owners: Vec<_> = all.iter().filter(labelled).map(owner).collect();
                owners == [uid.clone()]
            }
        };
        let uid = |set: &Value| set["metadata"]["uid"].as_str().map(str::to_owned);
        let made = cluster.send(Method::POST, &path, &set).await?;
        let first = cluster.until(&format!("a revision of the {kind}"), of_set(uid(&made))).await?;
        // Nobody collects garbage here: the revision is released by hand, as it is when its owner is
        // deleted without what it owns.
        cluster.send(Method::DELETE, &format!("{path}/r"), &Value::Null).await?;
        let name =
            first.iter().find(labelled).and_then(|each| each.metadata.name.clone()).unwrap_or_default();
        let release = json!({"metadata": {"ownerReferences": null}}).to_string();
        let revision = format!("/apis/apps/v1/namespaces/default/controllerrevisions/{name}");
        let reply =
            cluster.server.request(Method::PATCH, &revision, "application/merge-patch+json", release).await?;
        anyhow::ensure!(reply.code == 200, "{}", reply.text());
        cluster.until("an orphan", of_set(None)).await?;
        let made = cluster.send(Method::POST, &path, &set).await?;
        cluster.until(&format!("the new {kind} to own it"), of_set(uid(&made))).await?;
    }
    Ok(())
}
