//! Events about pods and the node, written in the background and counted when they repeat.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;

use crate::{pod::Sort, status::whole_seconds};

/// Hands events to the task that writes them; never blocks.
#[derive(Clone)]
pub struct Events {
    tx: mpsc::UnboundedSender<Record>,
}

struct Record {
    object: ObjectReference,
    warning: bool,
    reason: &'static str,
    message: String,
}

impl Events {
    /// Starts the writer; it ends when the last handle is dropped.
    pub fn start(client: Client, node_name: String) -> Self {
        let (tx, rx) = mpsc::unbounded_channel();
        tokio::spawn(write(client, node_name, rx));
        Self { tx }
    }

    /// About a pod.
    pub fn pod(&self, pod: &Pod, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.send(pod_reference(pod, None), warning, reason, message.into());
    }

    /// About a container of a pod.
    pub fn container(
        &self,
        pod: &Pod,
        (sort, name): (Sort, &str),
        warning: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.send(pod_reference(pod, Some(sort.field_path(name))), warning, reason, message.into());
    }

    /// About the node.
    pub fn node(&self, name: &str, warning: bool, reason: &'static str, message: impl Into<String>) {
        let object = ObjectReference {
            kind: Some("Node".into()),
            name: Some(name.into()),
            uid: Some(name.into()),
            ..Default::default()
        };
        self.send(object, warning, reason, message.into());
    }

    fn send(&self, object: ObjectReference, warning: bool, reason: &'static str, message: String) {
        // The writer is gone only when the process ends.
        let _ = self.tx.send(Record { object, warning, reason, message });
    }
}

fn pod_reference(pod: &Pod, field_path: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path,
    }
}

async fn write(client: Client, node_name: String, mut rx: mpsc::UnboundedReceiver<Record>) {
    let mut seen: HashMap<(String, String, &'static str, String), (String, i32)> = HashMap::new();
    while let Some(record) = rx.recv().await {
        let now = Time(whole_seconds(Timestamp::now()));
        let namespace = record.object.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
        let key = (
            record.object.uid.clone().unwrap_or_default(),
            record.object.field_path.clone().unwrap_or_default(),
            record.reason,
            record.message.clone(),
        );
        if let Some((name, count)) = seen.get_mut(&key) {
            *count += 1;
            let patch = serde_json::json!({"count": *count, "lastTimestamp": now});
            if api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.is_ok() {
                continue;
            }
        }
        let name = format!(
            "{}.{:x}",
            record.object.name.as_deref().unwrap_or_default(),
            Timestamp::now().as_nanosecond()
        );
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..Default::default()
            },
            involved_object: record.object,
            reason: Some(record.reason.into()),
            message: Some(record.message.chars().take(1024).collect()),
            type_: Some(if record.warning { "Warning" } else { "Normal" }.into()),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource { component: Some("kubelet".into()), host: Some(node_name.clone()) }),
            reporting_component: Some("kubelet".into()),
            reporting_instance: Some(node_name.clone()),
            ..Default::default()
        };
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {
                if seen.len() > 4096 {
                    seen.clear();
                }
                seen.insert(key, (name, 1));
            }
            Err(error) => tracing::debug!(%error, reason = record.reason, "event not written"),
        }
    }
}
