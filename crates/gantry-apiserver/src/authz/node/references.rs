//! What a pod or a volume refers to.

use std::collections::HashSet;

use gantry_json::{Value, json};
use serde::Deserialize;

/// The parts of a pod in which it refers to anything.
#[derive(Deserialize)]
struct Parts {
    metadata: Metadata,
    spec: Value,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    #[serde(default)]
    annotations: Value,
}

/// A pod as far as its references go: without its status and its managed fields, which are most of it.
pub(super) fn read_pod(bytes: &[u8]) -> Option<Value> {
    let Parts { metadata, spec } = gantry_json::from_slice(bytes).ok()?;
    let Metadata { name, namespace, annotations } = metadata;
    let mut pod = json!({"metadata": {"name": name, "namespace": namespace}});
    pod["metadata"]["annotations"] = annotations;
    pod["spec"] = spec;
    Some(pod)
}

/// An object that a node may be allowed to read; `namespace/name`, or the name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Object {
    Secret(String),
    ConfigMap(String),
    Claim(String),
    ServiceAccount(String),
    Volume(String),
}

impl Object {
    pub(super) fn claim(place: &str) -> Self {
        Self::Claim(place.to_owned())
    }
}

/// The objects that a pod refers to.
#[derive(Default)]
pub(super) struct References(HashSet<Object>);

impl References {
    pub(super) fn has(&self, object: &Object) -> bool {
        self.0.contains(object)
    }

    pub(super) fn of_pod(pod: &Value) -> Self {
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or("");
        let mut found = HashSet::new();
        let spec = &pod["spec"];
        let mut add = |make: fn(String) -> Object, name: &Value| {
            if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
                found.insert(make(format!("{namespace}/{name}")));
            }
        };
        // A mirror pod is the node's own invention: it opens nothing.
        if pod.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some() {
            return Self::default();
        }
        add(Object::ServiceAccount, &spec["serviceAccountName"]);
        for secret in items(&spec["imagePullSecrets"]) {
            add(Object::Secret, &secret["name"]);
        }
        for volume in items(&spec["volumes"]) {
            add(Object::Secret, &volume["secret"]["secretName"]);
            add(Object::ConfigMap, &volume["configMap"]["name"]);
            add(Object::Claim, &volume["persistentVolumeClaim"]["claimName"]);
            for driver in ["rbd", "cephfs", "iscsi", "flexVolume", "scaleIO", "storageos"] {
                add(Object::Secret, &volume[driver]["secretRef"]["name"]);
            }
            add(Object::Secret, &volume["azureFile"]["secretName"]);
            add(Object::Secret, &volume["csi"]["nodePublishSecretRef"]["name"]);
            if volume.get("ephemeral").is_some_and(Value::is_object) {
                let pod_name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("");
                let claim = format!("{pod_name}-{}", volume["name"].as_str().unwrap_or(""));
                add(Object::Claim, &Value::from(claim));
            }
            for source in items(&volume["projected"]["sources"]) {
                add(Object::Secret, &source["secret"]["name"]);
                add(Object::ConfigMap, &source["configMap"]["name"]);
            }
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            for container in items(&spec[list]) {
                for env in items(&container["env"]) {
                    add(Object::Secret, &env["valueFrom"]["secretKeyRef"]["name"]);
                    add(Object::ConfigMap, &env["valueFrom"]["configMapKeyRef"]["name"]);
                }
                for env in items(&container["envFrom"]) {
                    add(Object::Secret, &env["secretRef"]["name"]);
                    add(Object::ConfigMap, &env["configMapRef"]["name"]);
                }
            }
        }
        Self(found)
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The claim that a volume is bound to, and the secrets that mounting it needs.
pub(super) fn of_volume(volume: &Value) -> Option<(String, HashSet<Object>)> {
    let claim = volume.pointer("/spec/claimRef")?;
    let namespace = claim["namespace"].as_str()?;
    let mut secrets = HashSet::new();
    let spec = volume["spec"].as_object()?;
    for source in spec.values().filter_map(Value::as_object) {
        let references = ["secretRef", "nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];
        for reference in references.iter().filter_map(|field| source.get(field)) {
            let home = reference["namespace"].as_str().unwrap_or(namespace);
            if let Some(name) = reference["name"].as_str() {
                secrets.insert(Object::Secret(format!("{home}/{name}")));
            }
        }
    }
    Some((format!("{namespace}/{}", claim["name"].as_str()?), secrets))
}
