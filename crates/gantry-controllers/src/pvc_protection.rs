//! Keeps PersistentVolumeClaims that are deleted until no pod uses them.
//!
//! Flow: a claim that has to get or to lose its finalizer is queued; a pod that is gone queues the deleted
//! claims of its namespace. Guarantee: the pods are read from the API itself before a claim is let go.
//! A pod without a node uses nothing: no node starts one whose claim is deleted.

use gantry_client::{Change, ObjectKey, PodView, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use crate::Context;
use crate::protection::{Step, keep, step};

const FINALIZER: &str = "kubernetes.io/pvc-protection";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let pods = context.informers.get::<PodView>();
    claims.synced().await;
    let queue = WorkQueue::new();
    let of_claims = claims.changes().each(|change| {
        if let Change::Applied { new, .. } = change
            && step(&*new, FINALIZER) != Step::Leave
        {
            queue.add(ObjectKey::of(&new.metadata));
        }
    });
    let of_pods = pods.changes().each(|change| {
        if let Change::Deleted(pod) = change {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            let claims = claims.in_namespace(&namespace).into_iter();
            for claim in claims.filter(|claim| step(&**claim, FINALIZER) == Step::RemoveUnlessUsed) {
                queue.add(ObjectKey::of(&claim.metadata));
            }
        }
    });
    let work = async |key: ObjectKey| {
        let Some(claim) = claims.get(&key) else { return Ok(None) };
        let api: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), &key.namespace);
        let used = async || {
            let pods: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
            let pods = pods.list(&ListParams::default()).await?;
            Ok(pods.items.iter().any(|pod| uses(pod, &claim)))
        };
        keep(&api, &claim, FINALIZER, used).await
    };
    let workers = run_workers("pvc-protection", queue.clone(), 4, work, context.shutdown.clone());
    tokio::join!(of_claims, of_pods, workers);
}

/// Whether a node may be using the claim for the pod.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let Some(spec) =
        pod.spec.as_ref().filter(|spec| spec.node_name.as_ref().is_some_and(|node| !node.is_empty()))
    else {
        return false;
    };
    let name = claim.name_any();
    spec.volumes.iter().flatten().any(|volume| {
        let named = volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == name);
        let own = volume.ephemeral.is_some() && name == format!("{}-{}", pod.name_any(), volume.name);
        named
            || (own
                && claim.owner_references().iter().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref()))
    })
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_on_a_node_uses_what_it_names() {
        let check = |claim: Value, spec: Value, expect: bool| {
            let claim: PersistentVolumeClaim =
                gantry_json::from_value(json!({"metadata": claim})).expect("a claim");
            let metadata = json!({"name": "web", "uid": "u"});
            let pod: Pod =
                gantry_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a pod");
            assert_eq!(uses(&pod, &claim), expect, "{spec}");
        };
        let pod =
            |node: &str, volume: Value| json!({"nodeName": node, "containers": [], "volumes": [volume]});
        let named = || json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        check(json!({"name": "data"}), pod("n", named()), true);
        check(json!({"name": "data"}), pod("", named()), false);
        check(json!({"name": "other"}), pod("n", named()), false);
        let own = || json!({"name": "v", "ephemeral": {}});
        let owners = |uid: &str| json!([{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": uid}]);
        check(json!({"name": "web-v", "ownerReferences": owners("u")}), pod("n", own()), true);
        check(json!({"name": "web-v", "ownerReferences": owners("w")}), pod("n", own()), false);
    }
}
