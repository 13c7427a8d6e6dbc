//! The objects that loads are made of.

use gantry_json::{Value, json};

/// The pods that are measured.
pub const PODS: &str = "/api/v1/namespaces/bench/pods";
/// The custom resources that are measured.
pub const WIDGETS: &str = "/apis/bench.example.com/v1/namespaces/bench/widgets";
/// The registry that their images come from.
pub const REGISTRY: &str = "registry.example.com/";

/// A pod as a microservice's Deployment makes it, about 1.4 KB once stored.
pub fn pod(name: &str, scheduler: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": {"example.com/revision": "42"},
            "labels": {"app": "bench", "tier": "backend", "pod-template-hash": "5d9c7b8f6d"}},
        "spec": {"schedulerName": scheduler, "containers": [{"name": "app", "image": format!("{REGISTRY}team/app:1.2.3"),
            "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
            "env": [{"name": "MODE", "value": "production"},
                {"name": "POD", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http", "scheme": "HTTP"}}}]}})
}

/// A pod that nobody schedules.
pub fn idle_pod(name: &str) -> Value {
    pod(name, "none")
}

/// One of a few pods among many: on a node, with a label of its own.
pub fn canary(name: &str, node: &str) -> Value {
    let mut pod = idle_pod(name);
    pod["metadata"]["labels"]["track"] = "canary".into();
    pod["spec"]["nodeName"] = node.into();
    pod
}

/// A ready node that no agent stands behind.
pub fn node(name: &str) -> Value {
    let size = json!({"cpu": "32", "memory": "64Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": size, "allocatable": size, "conditions": [{"type": "Ready", "status": "True",
            "reason": "KubeletReady", "message": "ready", "lastHeartbeatTime": "2030-01-01T00:00:00Z",
            "lastTransitionTime": "2030-01-01T00:00:00Z"}]}})
}

/// The definition of a custom resource as an operator's generator writes it: a structural schema with
/// defaults, bounds, a rule in CEL, a list map, a status and columns.
pub fn widget_definition() -> Value {
    let condition = json!({"type": "object", "required": ["type", "status"], "properties": {
        "type": {"type": "string", "maxLength": 316}, "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "reason": {"type": "string"}, "message": {"type": "string"},
        "lastTransitionTime": {"type": "string", "format": "date-time"}}});
    let port = json!({"type": "object", "required": ["name", "port"], "properties": {
        "name": {"type": "string", "maxLength": 63},
        "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string", "default": "TCP"}}});
    let spec = json!({"type": "object", "required": ["image"],
        "x-kubernetes-validations": [{"rule": "self.minReplicas <= self.replicas",
            "message": "replicas are at least minReplicas"}],
        "properties": {
            "image": {"type": "string", "minLength": 1, "maxLength": 512},
            "replicas": {"type": "integer", "format": "int32", "minimum": 0, "default": 1},
            "minReplicas": {"type": "integer", "format": "int32", "minimum": 0, "default": 0},
            "size": {"type": "string", "pattern": "^[0-9]+(Mi|Gi)$"},
            "mode": {"type": "string", "enum": ["fast", "safe"], "default": "safe"},
            "config": {"type": "object", "additionalProperties": {"type": "string"}},
            "ports": {"type": "array", "maxItems": 32, "items": port,
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}}});
    let status = json!({"type": "object", "properties": {
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": {"type": "array", "items": condition,
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Image", "type": "string", "jsonPath": ".spec.image"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}}});
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.bench.example.com"},
        "spec": {"group": "bench.example.com", "scope": "Namespaced", "versions": [version],
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}}})
}

/// A custom resource, about 1 KB once stored.
pub fn widget(name: &str) -> Value {
    json!({"apiVersion": "bench.example.com/v1", "kind": "Widget",
        "metadata": {"name": name, "labels": {"app": "bench", "tier": "backend"},
            "annotations": {"example.com/revision": "42"}},
        "spec": {"image": format!("{REGISTRY}team/widget:1.2.3"), "replicas": 3, "minReplicas": 1, "size": "16Mi",
            "config": {"log-level": "info", "endpoint": "https://example.com/v1"},
            "ports": [{"name": "http", "port": 8080}, {"name": "metrics", "port": 9090}]}})
}

/// A policy that images come from the registry, and its binding to everything.
pub fn image_policy() -> [Value; 2] {
    let group = "admissionregistration.k8s.io/v1";
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let policy = json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "images"},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"message": "images come from the registry",
                "expression": format!("object.spec.containers.all(c, c.image.startsWith('{REGISTRY}'))")}]}});
    let binding = json!({"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "images"}, "spec": {"policyName": "images", "validationActions": ["Deny"]}});
    [policy, binding]
}

/// The registration of a validating webhook for new pods.
pub fn webhook(url: &str, ca: &str) -> Value {
    use base64::Engine as _;
    let bundle = base64::engine::general_purpose::STANDARD.encode(ca);
    let rule =
        json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "bench"},
        "webhooks": [{"name": "pods.bench.example.com", "rules": [rule], "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "clientConfig": {"url": url, "caBundle": bundle}}]})
}
