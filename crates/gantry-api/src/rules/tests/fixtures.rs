//! A minimal valid object of each kind, and checks against it.

use gantry_json::{Value, json};

use crate::field::FieldError;
use crate::registry::{Kind, Registry};

/// The kind of that API version and name.
pub(super) fn kind(api_version: &str, name: &str) -> &'static Kind {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let found = Registry::known().by_gvk(group, version, name);
    found.unwrap_or_else(|| panic!("{api_version} {name} is not served"))
}

pub(super) fn kind_of(object: &Value) -> &'static Kind {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    kind(text("apiVersion"), text("kind"))
}

fn words(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// The object as a create leaves it.
pub(super) fn created(mut object: Value) -> Value {
    let kind = kind_of(&object);
    object["metadata"]["uid"] = "u".into();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    kind.default(&mut object);
    kind.prepare_create(&mut object);
    object
}

/// The faults of a new object.
pub(super) fn faults(object: &Value) -> Vec<String> {
    let kind = kind_of(object);
    let mut errors = super::super::metadata::validate(kind, object);
    errors.extend(kind.validate(object));
    errors.extend(kind.validate_create(object));
    words(&errors)
}

/// Creates the minimal object with `patch` merged into it, and compares what is wrong with it.
#[track_caller]
pub(super) fn refused(name: &str, patch: Value, expected: &[&str]) {
    let mut object = minimal(name);
    crate::patch::merge(&mut object, &patch);
    assert_eq!(faults(&created(object)), expected, "{name} with {patch}");
}

/// Updates the minimal object with `patch`, and compares what is wrong with that.
#[track_caller]
pub(super) fn change_refused(name: &str, patch: Value, expected: &[&str]) {
    change_of(created(minimal(name)), patch, expected);
}

/// Updates `old` with `patch`, and compares what is wrong with that.
#[track_caller]
pub(super) fn change_of(old: Value, patch: Value, expected: &[&str]) {
    let kind = kind_of(&old);
    let mut new = old.clone();
    crate::patch::merge(&mut new, &patch);
    kind.default(&mut new);
    kind.prepare_update(&mut new, &old);
    let mut errors = kind.validate(&new);
    errors.extend(kind.validate_update(&new, &old));
    assert_eq!(words(&errors), expected, "{} with {patch}", kind.kind);
}

/// Changes the status of the minimal object, and compares what is wrong with that.
#[track_caller]
pub(super) fn status_refused(name: &str, status: Value, expected: &[&str]) {
    let old = created(minimal(name));
    let kind = kind_of(&old);
    let mut new = old.clone();
    crate::patch::merge(&mut new, &json!({"status": status}));
    let errors = kind.validate_status(&new, &old, "status", &mut Vec::new());
    assert_eq!(words(&errors), expected, "{name} with {status}");
}

/// Checks that a create makes `expected` of the minimal object with `patch`, besides what was sent.
#[track_caller]
pub(super) fn becomes(name: &str, patch: Value, expected: Value) {
    let mut object = minimal(name);
    crate::patch::merge(&mut object, &patch);
    let object = created(object);
    let mut merged = object.clone();
    crate::patch::merge(&mut merged, &expected);
    assert_eq!(object, merged, "{name}");
}

/// Compares what is said about the minimal object with `patch` merged into it.
#[track_caller]
pub(super) fn warned(name: &str, patch: Value, expected: &[&str]) {
    let mut object = minimal(name);
    crate::patch::merge(&mut object, &patch);
    let object = created(object);
    assert_eq!(kind_of(&object).warnings(&object, None), expected, "{name} with {patch}");
}

/// A list of that many items.
pub(super) fn many(count: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..count).map(item).collect()
}

fn labelled() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}})
}

fn workload(api_version: &str, kind: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "m", "namespace": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": labelled()}})
}

fn job_spec() -> Value {
    let mut template = labelled();
    template["spec"]["restartPolicy"] = "Never".into();
    json!({"template": template})
}

fn is_unstable(version: &str) -> bool {
    version.contains("alpha") || version.contains("beta")
}

/// A minimal valid object of the kind; of kinds of the same name, that of the group or of the version after a
/// dot.
pub(super) fn minimal(name: &str) -> Value {
    if let Some((name, version)) = name.split_once('.').filter(|(_, version)| is_unstable(version)) {
        let mut object = minimal(name);
        let group = object["apiVersion"].as_str().and_then(|text| text.split_once('/')).expect("a group").0;
        object["apiVersion"] = format!("{group}/{version}").into();
        return object;
    }
    let rest = match name {
        "DaemonSet" | "StatefulSet" | "Deployment" | "ReplicaSet" => return workload("apps/v1", name),
        "ControllerRevision" => json!({"apiVersion": "apps/v1", "revision": 1, "data": {"spec": {}}}),
        "Job" => json!({"apiVersion": "batch/v1", "spec": job_spec()}),
        "CronJob" => json!({"apiVersion": "batch/v1",
            "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job_spec()}}}),
        "HorizontalPodAutoscaler" => json!({"apiVersion": "autoscaling/v2", "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}}),
        "HorizontalPodAutoscaler.v1" => {
            json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}})
        }
        "PodDisruptionBudget" => json!({"apiVersion": "policy/v1",
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}),
        "PriorityClass" => json!({"apiVersion": "scheduling.k8s.io/v1", "value": 10}),
        "RuntimeClass" => json!({"apiVersion": "node.k8s.io/v1", "handler": "runc"}),
        "Pod" => json!({"apiVersion": "v1", "spec": labelled()["spec"]}),
        "Service" => json!({"apiVersion": "v1", "spec": {"ports": [{"port": 80}]}}),
        "Node" | "Namespace" | "ConfigMap" | "Secret" | "ServiceAccount" | "Endpoints" => {
            json!({"apiVersion": "v1"})
        }
        "Event" => {
            json!({"apiVersion": "v1", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "d"}})
        }
        "Event.events.k8s.io" => json!({"apiVersion": "events.k8s.io/v1", "kind": "Event",
            "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "a.b/c", "reportingInstance": "i",
            "action": "a", "reason": "r", "type": "Normal", "regarding": {"namespace": "d"}}),
        "EndpointSlice" => {
            json!({"apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"]}]})
        }
        "LeaseCandidate" => json!({"apiVersion": "coordination.k8s.io/v1beta1", "spec": {"leaseName": "l",
            "binaryVersion": "1.35.0", "emulationVersion": "1.34.0", "strategy": "OldestEmulationVersion"}}),
        "StorageVersionMigration" => json!({"apiVersion": "storagemigration.k8s.io/v1beta1",
            "spec": {"resource": {"group": "apps", "resource": "deployments"}}}),
        "Lease" => json!({"apiVersion": "coordination.k8s.io/v1"}),
        "CertificateSigningRequest" => json!({"apiVersion": "certificates.k8s.io/v1",
            "spec": {"request": super::NODE_REQUEST, "usages": ["client auth"],
                "signerName": "kubernetes.io/kube-apiserver-client"}}),
        "Role" | "ClusterRole" => json!({"apiVersion": "rbac.authorization.k8s.io/v1",
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        "RoleBinding" | "ClusterRoleBinding" => json!({"apiVersion": "rbac.authorization.k8s.io/v1",
            "roleRef": {"kind": "ClusterRole", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}}),
        _ => more(name),
    };
    let mut object = json!({"kind": name, "metadata": {"name": "m"}});
    crate::patch::merge(&mut object, &rest);
    if kind_of(&object).namespaced {
        object["metadata"]["namespace"] = "d".into();
    }
    object
}

fn more(name: &str) -> Value {
    let storage = |rest: Value| {
        let mut object = json!({"apiVersion": "storage.k8s.io/v1"});
        crate::patch::merge(&mut object, &rest);
        object
    };
    let networking = |spec: Value| json!({"apiVersion": "networking.k8s.io/v1", "spec": spec});
    match name {
        "ReplicationController" => json!({"apiVersion": "v1", "spec": {"template": labelled()}}),
        "PodTemplate" => json!({"apiVersion": "v1", "template": labelled()}),
        "PersistentVolume" => json!({"apiVersion": "v1", "spec": {"capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/v"}}}),
        "PersistentVolumeClaim" => json!({"apiVersion": "v1", "spec": {"accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}}),
        "ResourceQuota" => json!({"apiVersion": "v1", "spec": {"hard": {"pods": "10"}}}),
        "LimitRange" => {
            json!({"apiVersion": "v1", "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}})
        }
        "Ingress" => networking(
            json!({"rules": [{"host": "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}),
        ),
        "IngressClass" => networking(json!({"controller": "a.b/c"})),
        "NetworkPolicy" => networking(json!({"podSelector": {"matchLabels": {"a": "b"}}})),
        "IPAddress" => json!({"apiVersion": "networking.k8s.io/v1", "metadata": {"name": "10.43.0.1"},
            "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}}),
        "ServiceCIDR" => networking(json!({"cidrs": ["10.43.0.0/16"]})),
        "StorageClass" => storage(json!({"provisioner": "a.b/c"})),
        "VolumeAttributesClass" => storage(json!({"driverName": "a.b", "parameters": {"iops": "5"}})),
        "VolumeAttachment" => storage(
            json!({"spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
        ),
        "CSIDriver" => storage(json!({"spec": {}})),
        "CSINode" => {
            storage(json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "n", "topologyKeys": ["a/b"]}]}}))
        }
        "CSIStorageCapacity" => storage(json!({"storageClassName": "s", "capacity": "1Gi"})),
        _ => extension(name),
    }
}

fn extension(name: &str) -> Value {
    let webhook = json!({"name": "a.b.c", "clientConfig": {"url": "https://a.b/c"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"]});
    let resources =
        json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]);
    let admission = |rest: Value| {
        let mut object = json!({"apiVersion": "admissionregistration.k8s.io/v1"});
        crate::patch::merge(&mut object, &rest);
        object
    };
    let flow = |spec: Value| json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "spec": spec});
    let resource = |spec: Value| json!({"apiVersion": "resource.k8s.io/v1", "spec": spec});
    let devices = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}});
    match name {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            admission(json!({"webhooks": [webhook]}))
        }
        "ValidatingAdmissionPolicy" => {
            admission(json!({"spec": {"matchConstraints": {"resourceRules": resources},
            "validations": [{"expression": "true"}]}}))
        }
        "ValidatingAdmissionPolicyBinding" => {
            admission(json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}))
        }
        "MutatingAdmissionPolicy" => json!({"apiVersion": "admissionregistration.k8s.io/v1beta1",
            "spec": {"matchConstraints": {"resourceRules": resources}, "reinvocationPolicy": "Never",
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}]}}),
        "MutatingAdmissionPolicyBinding" => {
            json!({"apiVersion": "admissionregistration.k8s.io/v1beta1", "spec": {"policyName": "p"}})
        }
        "CustomResourceDefinition" => {
            json!({"apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "things.a.b"},
            "spec": {"group": "a.b", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
        }
        "APIService" => json!({"apiVersion": "apiregistration.k8s.io/v1", "metadata": {"name": "v1.a.b"},
            "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
                "insecureSkipTLSVerify": true, "service": {"namespace": "d", "name": "s"}}}),
        "FlowSchema" => flow(json!({"priorityLevelConfiguration": {"name": "p"}, "rules": [{
            "subjects": [{"kind": "Group", "group": {"name": "g"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]})),
        "PriorityLevelConfiguration" => flow(json!({"type": "Limited",
            "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}})),
        "ResourceClaim" => resource(devices),
        "ResourceClaimTemplate" => resource(json!({"spec": devices})),
        "DeviceClass" => resource(json!({"selectors": [{"cel": {"expression": "true"}}]})),
        "ResourceSlice" => resource(json!({"driver": "a.b", "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
            "devices": [{"name": "d", "attributes": {"model": {"string": "x"}}}]})),
        _ => panic!("{name} needs a minimal object"),
    }
}

/// The name under which `minimal` knows a kind.
pub(super) fn name_of(kind: &Kind) -> String {
    let alike = |other: &Kind| other.group == kind.group && other.kind == kind.kind;
    let first = Registry::known().iter().find(|other| alike(other));
    if is_unstable(&kind.version) && first.is_some_and(|first| first.version != kind.version) {
        return format!("{}.{}", kind.kind, kind.version);
    }
    match (&*kind.group, &*kind.version, &*kind.kind) {
        ("events.k8s.io", _, name) => format!("{name}.events.k8s.io"),
        ("autoscaling", "v1", name) => format!("{name}.v1"),
        (_, _, name) => name.to_owned(),
    }
}
