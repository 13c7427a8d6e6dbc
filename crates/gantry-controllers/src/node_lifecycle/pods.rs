//! Pods on a node that is silent are not ready: nobody knows.

use gantry_client::{Informer, ObjectKey, PodView, Recorder};
use gantry_json::json;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};

use crate::writes::is_gone;

/// Marks the ready pods of `node`, each of them once.
pub(super) async fn mark_all(
    client: &Client,
    recorder: &Recorder,
    pods: &Informer<PodView>,
    node: &str,
) -> kube::Result<()> {
    for pod in pods.list().iter().filter(|pod| pod.node_name.as_deref() == Some(node)) {
        mark(client, recorder, pod).await?;
    }
    Ok(())
}

/// Marks the pod, where it is ready.
pub(super) async fn mark(client: &Client, recorder: &Recorder, pod: &PodView) -> kube::Result<()> {
    let Some(condition) = pod.condition("Ready").filter(|condition| condition.status == "True") else {
        return Ok(());
    };
    let mut condition = condition.clone();
    condition.status = "False".into();
    condition.last_transition_time =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::now()));
    let key = ObjectKey::of(&pod.metadata);
    let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [condition]}});
    let api = Api::<Pod>::namespaced(client.clone(), &key.namespace);
    match api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await {
        // The pod is gone, or is another one by now.
        Err(error) if is_gone(&error) || crate::writes::is_stale(&error) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => {
            recorder.event(about(pod), true, "NodeNotReady", "Node is not ready");
            Ok(())
        }
    }
}

fn about(pod: &PodView) -> ObjectReference {
    crate::disruption::reference(pod)
}
