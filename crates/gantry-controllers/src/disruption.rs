//! Pods that are removed from outside: the condition that says so, and their deletion.

use gantry_client::{ObjectKey, PodView};
use gantry_json::{Value, json};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};

use crate::writes::{is_gone, is_stale};

/// The reference of an event to the pod.
pub(crate) fn reference(pod: &PodView) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: None,
    }
}

/// Says in the pod's condition `DisruptionTarget` why it is removed.
pub(crate) fn target(pod: &PodView, reason: &str, message: &str, now: Timestamp) -> PodCondition {
    PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..Default::default()
    }
}

/// Writes `status` into the pod's where it is not null, and deletes the pod, with its own grace period
/// unless one is given. A pod that is gone, or is another one by now, needs nothing.
pub(crate) async fn remove(
    client: &Client,
    pod: &PodView,
    status: Value,
    grace_seconds: Option<u32>,
) -> kube::Result<()> {
    let key = ObjectKey::of(&pod.metadata);
    let api = Api::<Pod>::namespaced(client.clone(), &key.namespace);
    let outcome = async {
        if !status.is_null() {
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
            api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        }
        let params = DeleteParams {
            grace_period_seconds: grace_seconds,
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        api.delete(&key.name, &params).await.map(drop)
    };
    match outcome.await {
        Err(error) if is_gone(&error) || is_stale(&error) => Ok(()),
        outcome => outcome,
    }
}
