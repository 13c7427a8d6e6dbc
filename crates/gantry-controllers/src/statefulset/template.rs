//! Pods and claims as a StatefulSet makes them: each with a name that stays.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::claim::controller_reference;
use crate::history::REVISION_LABEL;

const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The claims of a pod, by the names of its volumes.
pub(super) fn claims(set: &StatefulSet, ordinal: i32) -> Vec<(String, PersistentVolumeClaim)> {
    let templates = set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref());
    let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let claim = |template: &PersistentVolumeClaim| {
        let volume = template.name_any();
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(selector.clone());
        let claim = PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(format!("{volume}-{}-{ordinal}", set.name_any())),
                namespace: set.namespace(),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                ..Default::default()
            },
            spec: template.spec.clone(),
            status: None,
        };
        (volume, claim)
    };
    templates.unwrap_or_default().iter().map(claim).collect()
}

/// The pod with this number, from `template`, which is the one of `revision`.
pub(super) fn pod(set: &StatefulSet, template: PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let name = format!("{}-{ordinal}", set.name_any());
    let meta = template.metadata.unwrap_or_default();
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(NAME_LABEL.into(), name.clone());
    labels.insert(INDEX_LABEL.into(), ordinal.to_string());
    labels.insert(REVISION_LABEL.into(), revision.into());
    let mut spec = template.spec.unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain =
        set.spec.as_ref().and_then(|spec| spec.service_name.clone()).filter(|name| !name.is_empty());
    let claims = claims(set, ordinal);
    let volumes = spec.volumes.get_or_insert_default();
    volumes.retain(|volume| !claims.iter().any(|(name, _)| *name == volume.name));
    volumes.extend(claims.into_iter().map(|(name, claim)| Volume {
        name,
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.name_any(),
            read_only: Some(false),
        }),
        ..Default::default()
    }));
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: set.namespace(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..Default::default()
        },
        spec: Some(spec),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn a_pod_keeps_its_name_and_its_claims() {
        let set: StatefulSet = gantry_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "u"},
            "spec": {"serviceName": "peers", "selector": {"matchLabels": {"app": "db"}}, "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "c"}], "volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp"}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"storageClassName": "fast"}}]}}))
        .expect("a StatefulSet");
        let claim = gantry_json::to_value(&claims(&set, 1)[0].1).expect("JSON");
        assert_eq!(claim["metadata"]["name"], "data-db-1");
        assert_eq!(
            (&claim["metadata"]["labels"]["app"], &claim["spec"]["storageClassName"]),
            (&json!("db"), &json!("fast"))
        );
        let template = set.spec.clone().expect("a spec").template;
        let pod = gantry_json::to_value(pod(&set, template, "db-x", 1)).expect("JSON");
        assert_eq!(pod["metadata"]["name"], "db-1");
        assert_eq!(
            pod["metadata"]["labels"],
            json!({
            "app": "db", "controller-revision-hash": "db-x", "statefulset.kubernetes.io/pod-name": "db-1",
            "apps.kubernetes.io/pod-index": "1"})
        );
        assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-1"), &json!("peers")));
        let volumes: Vec<_> =
            pod["spec"]["volumes"].as_array().expect("volumes").iter().map(|each| &each["name"]).collect();
        assert_eq!(volumes, ["tmp", "data"]);
        assert_eq!(pod["spec"]["volumes"][1]["persistentVolumeClaim"]["claimName"], "data-db-1");
    }
}
