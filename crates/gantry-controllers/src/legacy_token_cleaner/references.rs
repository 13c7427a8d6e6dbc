//! Which Secrets pods refer to.

use std::collections::BTreeSet;

use gantry_json::Value;
use k8s_openapi::api::core::v1::Pod;

/// The names of the Secrets that `pods` of one namespace refer to.
pub(super) fn secrets(pods: &[Pod]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pod in pods {
        let spec = gantry_json::to_value(&pod.spec).unwrap_or_default();
        let mut add = |name: &Value| found.extend(name.as_str().map(str::to_owned));
        for pull in items(&spec["imagePullSecrets"]) {
            add(&pull["name"]);
        }
        for volume in items(&spec["volumes"]) {
            for source in volume.as_object().into_iter().flatten().map(|(_, source)| source) {
                add(&source["secretName"]);
                for reference in ["secretRef", "nodePublishSecretRef"] {
                    add(&source[reference]["name"]);
                }
            }
            for source in items(&volume["projected"]["sources"]) {
                add(&source["secret"]["name"]);
            }
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in items(&spec[list]) {
                for variable in items(&container["env"]) {
                    add(&variable["valueFrom"]["secretKeyRef"]["name"]);
                }
                for source in items(&container["envFrom"]) {
                    add(&source["secretRef"]["name"]);
                }
            }
        }
    }
    found
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn every_way_to_refer_to_a_secret_counts() {
        let pod = json!({"spec": {
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "from"}}]}],
            "containers": [{"name": "c", "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "k"}}}]}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "volume"}},
                {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
                {"name": "c", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "csi"}}},
                {"name": "d", "flexVolume": {"driver": "d", "secretRef": {"name": "flex"}}},
                {"name": "e", "configMap": {"name": "map"}},
            ],
        }});
        let pod: Pod = gantry_json::from_value(pod).expect("a Pod");
        let found: Vec<_> = secrets(&[pod]).into_iter().collect();
        assert_eq!(found, ["csi", "env", "flex", "from", "projected", "pull", "volume"]);
    }
}
