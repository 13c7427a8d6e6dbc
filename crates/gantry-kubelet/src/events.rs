//! Events about pods, their containers and the node.

use gantry_client::{Recorder, reference};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::Client;

use crate::pod::Sort;

/// Hands events to the task that writes them; never blocks.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// Starts the writer; it ends when the last handle is dropped.
    pub fn start(client: Client, node_name: String) -> Self {
        Self(Recorder::on_host(client, "kubelet", Some(node_name)))
    }

    /// About a pod.
    pub fn pod(&self, pod: &Pod, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.0.event(reference(pod), warning, reason, message);
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
        let about = ObjectReference { field_path: Some(sort.field_path(name)), ..reference(pod) };
        self.0.event(about, warning, reason, message);
    }

    /// About the node.
    pub fn node(&self, name: &str, warning: bool, reason: &'static str, message: impl Into<String>) {
        let object = ObjectReference {
            kind: Some("Node".into()),
            name: Some(name.into()),
            uid: Some(name.into()),
            ..Default::default()
        };
        self.0.event(object, warning, reason, message);
    }
}
