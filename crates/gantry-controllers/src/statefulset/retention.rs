//! What becomes of a pod's claims when the StatefulSet is deleted, and when it needs fewer pods: whom they
//! belong to, and with whom they go.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use crate::claim::{controller_of, controller_reference};

/// A pod that has claims: its name, its uid where it is there, and whether its number is too large.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder<'a> {
    pub name: &'a str,
    pub uid: Option<&'a str>,
    pub surplus: bool,
}

/// The owners that a claim should have, where they are others. One that somebody else controls is left
/// alone.
pub(super) fn owners(
    set: &StatefulSet,
    pod: Holder<'_>,
    claim: &PersistentVolumeClaim,
) -> Option<Vec<OwnerReference>> {
    let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
    let deleted = deletes(policy.and_then(|policy| policy.when_deleted.as_ref()));
    let scaled = deletes(policy.and_then(|policy| policy.when_scaled.as_ref()));
    let of_pod = scaled && pod.surplus;
    let of_set = deleted && !of_pod;
    let is_set = |owner: &OwnerReference| Some(&owner.uid) == set.metadata.uid.as_ref();
    let is_pod = |owner: &OwnerReference| owner.kind == "Pod" && Some(owner.uid.as_str()) == pod.uid;
    if controller_of(&claim.metadata).is_some_and(|owner| !is_set(owner) && !is_pod(owner)) {
        return None;
    }
    let before = claim.owner_references();
    let mut owners: Vec<OwnerReference> =
        before.iter().filter(|owner| !is_set(owner) && !is_pod(owner)).cloned().collect();
    if of_set {
        owners.push(controller_reference(set));
    }
    if let Some(uid) = pod.uid.filter(|_| of_pod) {
        owners.push(OwnerReference {
            api_version: "v1".into(),
            kind: "Pod".into(),
            name: pod.name.into(),
            uid: uid.into(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        });
    }
    let same = |wanted: &OwnerReference| before.iter().any(|owner| owner.uid == wanted.uid);
    (owners.len() != before.len() || !owners.iter().all(same)).then_some(owners)
}

/// Whether a claim is on its way out, so that a new pod must wait for the next one: it is deleted, or it
/// belongs to an earlier pod of the name.
pub(super) fn is_leaving(claim: &PersistentVolumeClaim, pod: Holder<'_>) -> bool {
    let stale = |owner: &OwnerReference| {
        owner.kind == "Pod" && owner.name == pod.name && Some(owner.uid.as_str()) != pod.uid
    };
    claim.metadata.deletion_timestamp.is_some() || claim.owner_references().iter().any(stale)
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    fn claim(owners: &[(&str, &str)]) -> PersistentVolumeClaim {
        let owner = |(kind, uid): &(&str, &str)| json!({"apiVersion": "v1", "kind": kind, "name": "web-1", "uid": uid, "controller": true});
        let owners: Vec<Value> = owners.iter().map(owner).collect();
        gantry_json::from_value(json!({"metadata": {"name": "data-web-1", "ownerReferences": owners}}))
            .expect("a claim")
    }

    #[test]
    fn claims_go_with_whom_the_policy_says() {
        let check =
            |deleted: &str, scaled: &str, surplus: bool, before: &[(&str, &str)], expect: Option<&[&str]>| {
                let set: StatefulSet = gantry_json::from_value(json!({
                "metadata": {"name": "web", "uid": "set"},
                "spec": {"selector": {}, "serviceName": "", "template": {},
                    "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}},
            }))
            .expect("a StatefulSet");
                let pod = Holder { name: "web-1", uid: Some("pod"), surplus };
                let found = owners(&set, pod, &claim(before));
                let found =
                    found.as_ref().map(|all| all.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>());
                assert_eq!(found.as_deref(), expect, "{deleted} {scaled} {surplus} {before:?}");
            };
        let (set, pod) = (("StatefulSet", "set"), ("Pod", "pod"));
        check("Retain", "Retain", false, &[], None);
        check("Retain", "Retain", true, &[set], Some(&[]));
        check("Delete", "Retain", false, &[], Some(&["set"]));
        check("Delete", "Retain", true, &[set], None);
        check("Retain", "Delete", false, &[], None);
        check("Retain", "Delete", true, &[], Some(&["pod"]));
        check("Retain", "Delete", false, &[pod], Some(&[]));
        check("Delete", "Delete", false, &[pod], Some(&["set"]));
        check("Delete", "Delete", true, &[set], Some(&["pod"]));
        check("Delete", "Delete", true, &[("Other", "x")], None);
    }

    #[test]
    fn a_claim_of_an_earlier_pod_is_leaving() {
        let pod = |uid| Holder { name: "web-1", uid, surplus: false };
        assert!(!is_leaving(&claim(&[("Pod", "pod")]), pod(Some("pod"))));
        assert!(is_leaving(&claim(&[("Pod", "pod")]), pod(None)));
        assert!(!is_leaving(&claim(&[("StatefulSet", "set")]), pod(None)));
        let mut deleted = claim(&[]);
        deleted.metadata.deletion_timestamp =
            gantry_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time");
        assert!(is_leaving(&deleted, pod(None)));
    }
}
