//! An API server with a scheduler, and ways to wait for what it does.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use gantry_json::{Value, json};
use gantry_scheduler::SchedulerConfig;
use gantry_testing::{TestServer, User};
use k8s_openapi::api::core::v1::{Event, Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Fixture {
    _server: TestServer,
    client: Client,
    shutdown: CancellationToken,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub fn node(name: &str, cpu: &str) -> Value {
    let size = json!({"cpu": cpu, "memory": "4Gi", "pods": "110"});
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": size, "allocatable": size}})
}

pub fn pod(name: &str, cpu: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}})
}

impl Fixture {
    pub async fn start() -> Result<Self> {
        let server = TestServer::start().await?;
        let client = server.client();
        let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
        let account = gantry_json::from_value(json!({"metadata": {"name": "default"}}))?;
        accounts.create(&PostParams::default(), &account).await?;
        let shutdown = CancellationToken::new();
        let identity = server.client_as(User::new("system:kube-scheduler", []));
        tokio::spawn(gantry_scheduler::run(identity, SchedulerConfig::new("test"), shutdown.clone()));
        Ok(Self { _server: server, client, shutdown })
    }

    fn pods(&self) -> Api<Pod> {
        Api::default_namespaced(self.client.clone())
    }

    pub async fn node(&self, node: Value) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        nodes.create(&PostParams::default(), &gantry_json::from_value(node.clone())?).await?;
        // As the node's controller does when it is ready.
        self.patch_node(&name, json!({"spec": {"taints": node["spec"]["taints"]}})).await
    }

    pub async fn patch_node(&self, name: &str, patch: Value) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub async fn pod(&self, pod: Value) -> Result<()> {
        self.pods().create(&PostParams::default(), &gantry_json::from_value(pod)?).await?;
        Ok(())
    }

    pub async fn patch(&self, name: &str, patch: Value) -> Result<()> {
        self.pods().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Deletes a pod at once.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.pods().delete(name, &DeleteParams::default().grace_period(0)).await?;
        Ok(())
    }

    /// The pod once it has a node.
    pub async fn bound(&self, name: &str) -> Result<Pod> {
        let has_node = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        self.until(name, has_node).await.with_context(|| format!("pod {name} gets no node"))
    }

    /// The pod once it is being deleted.
    pub async fn terminating(&self, name: &str) -> Result<Pod> {
        self.until(name, |pod| pod.metadata.deletion_timestamp.is_some()).await
    }

    /// Returns once the pod's condition gives this reason to wait.
    pub async fn waits(&self, name: &str, why: &str) -> Result<()> {
        let says = |pod: &Pod| {
            let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.any(|each| {
                each.type_ == "PodScheduled"
                    && each.status == "False"
                    && each.reason.as_deref() == Some("Unschedulable")
                    && each.message.as_deref() == Some(why)
            })
        };
        self.until(name, says).await.with_context(|| format!("pod {name} does not say: {why}"))?;
        Ok(())
    }

    /// The reason why the pod is not scheduled, where it says one.
    pub async fn reason(&self, name: &str) -> Result<Option<String>> {
        let conditions = self.pods().get(name).await?.status.and_then(|status| status.conditions);
        let mut conditions = conditions.into_iter().flatten();
        Ok(conditions.find(|each| each.type_ == "PodScheduled").and_then(|each| each.reason))
    }

    pub async fn nominated(&self, name: &str) -> Result<Option<String>> {
        Ok(self.pods().get(name).await?.status.and_then(|status| status.nominated_node_name))
    }

    async fn until(&self, name: &str, is: impl Fn(&Pod) -> bool) -> Result<Pod> {
        first(self.pods(), |pod: &Pod| pod.metadata.name.as_deref() == Some(name) && is(pod)).await
    }

    /// An event with this reason, once there is one.
    pub async fn event(&self, reason: &str) -> Result<Event> {
        let events: Api<Event> = Api::default_namespaced(self.client.clone());
        first(events, |event: &Event| event.reason.as_deref() == Some(reason)).await
    }

    /// The nodes of all bound pods, once there are so many.
    pub async fn bound_pods(&self, count: usize) -> Result<Vec<String>> {
        let mut seen = std::collections::BTreeMap::new();
        let note = |pod: &Pod| {
            if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) {
                seen.insert(pod.metadata.name.clone(), node);
            }
            seen.len() >= count
        };
        first(self.pods(), note).await?;
        let list = self.pods().list(&kube::api::ListParams::default()).await?;
        Ok(list.items.into_iter().filter_map(|pod| pod.spec?.node_name).collect())
    }

    /// How many pods have been told that they wait, once there are so many.
    pub async fn waiting(&self, count: usize) -> Result<usize> {
        let mut seen = std::collections::BTreeSet::new();
        let note = |pod: &Pod| {
            let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            if conditions.any(|each| each.type_ == "PodScheduled" && each.status == "False") {
                seen.insert(pod.metadata.name.clone());
            }
            seen.len() >= count
        };
        first(self.pods(), note).await?;
        Ok(seen.len())
    }
}

/// The first object that `is` says yes for.
async fn first<K>(api: Api<K>, mut is: impl FnMut(&K) -> bool) -> Result<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut stream = watcher(api, watcher::Config::default()).applied_objects().boxed();
    let found = async {
        while let Some(object) = stream.next().await {
            let object = object?;
            if is(&object) {
                return Ok(object);
            }
        }
        anyhow::bail!("the watch ended")
    };
    tokio::time::timeout(PATIENCE, found).await.context("it did not happen in time")?
}
