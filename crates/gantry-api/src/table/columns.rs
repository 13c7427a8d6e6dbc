//! The columns of each kind. A kind without an entry shows its name and age.

mod extensions;
mod limits;
mod networking;
mod storage;
mod workloads;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use crate::registry::Kind;

/// One column.
pub(super) struct Column {
    pub name: &'static str,
    pub kind: &'static str,
    /// Above 0: shown in wide tables only.
    pub priority: u8,
    pub cell: fn(&Value, Timestamp) -> Value,
}

type Cell = fn(&Value, Timestamp) -> Value;

const fn column(name: &'static str, kind: &'static str, priority: u8, cell: Cell) -> Column {
    Column { name, kind, priority, cell }
}

const NAME: Column = column("Name", "string", 0, |object, _| object["metadata"]["name"].clone());
const AGE: Column =
    column("Age", "string", 0, |object, now| json!(age(&object["metadata"]["creationTimestamp"], now)));

/// The columns of a Scale.
pub(super) const SCALE: &[Column] = &[
    NAME,
    column("Desired", "integer", 0, |object, _| count(&object["spec"]["replicas"]).into()),
    column("Available", "integer", 0, |object, _| count(&object["status"]["replicas"]).into()),
    AGE,
];

/// The columns of a kind.
pub(super) fn of(kind: &Kind) -> &'static [Column] {
    match (&*kind.group, &*kind.kind) {
        ("", "Pod") => POD,
        ("", "Node") => NODE,
        ("", "Namespace") => NAMESPACE,
        ("", "Service") => SERVICE,
        ("", "Endpoints") => ENDPOINTS,
        ("", "ConfigMap") => CONFIG_MAP,
        ("", "Secret") => SECRET,
        ("", "ServiceAccount") => SERVICE_ACCOUNT,
        ("" | "events.k8s.io", "Event") => EVENT,
        ("apps", "Deployment") => DEPLOYMENT,
        ("apps", "ReplicaSet") => REPLICA_SET,
        ("", "ReplicationController") => workloads::REPLICATION_CONTROLLER,
        ("", "PodTemplate") => workloads::POD_TEMPLATE,
        ("", "PersistentVolume") => storage::PERSISTENT_VOLUME,
        ("", "PersistentVolumeClaim") => storage::PERSISTENT_VOLUME_CLAIM,
        ("", "ResourceQuota") => limits::RESOURCE_QUOTA,
        ("", "LimitRange") => CREATED,
        ("", "ComponentStatus") => limits::COMPONENT_STATUS,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => extensions::POLICY,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => extensions::MUTATING_POLICY,
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => extensions::POLICY_BINDING,
        ("admissionregistration.k8s.io", _) => extensions::WEBHOOK_CONFIGURATION,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => CREATED,
        ("apiregistration.k8s.io", "APIService") => extensions::API_SERVICE,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => extensions::FLOW_SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => extensions::PRIORITY_LEVEL,
        ("resource.k8s.io", "ResourceClaim") => extensions::RESOURCE_CLAIM,
        ("resource.k8s.io", "ResourceSlice") => extensions::RESOURCE_SLICE,
        ("networking.k8s.io", "Ingress") => networking::INGRESS,
        ("networking.k8s.io", "IngressClass") => networking::INGRESS_CLASS,
        ("networking.k8s.io", "NetworkPolicy") => networking::NETWORK_POLICY,
        ("networking.k8s.io", "IPAddress") => networking::IP_ADDRESS,
        ("networking.k8s.io", "ServiceCIDR") => networking::SERVICE_CIDR,
        ("storage.k8s.io", "StorageClass") => storage::STORAGE_CLASS,
        ("storage.k8s.io", "VolumeAttributesClass") => storage::VOLUME_ATTRIBUTES_CLASS,
        ("storage.k8s.io", "VolumeAttachment") => storage::VOLUME_ATTACHMENT,
        ("storage.k8s.io", "CSIDriver") => storage::CSI_DRIVER,
        ("storage.k8s.io", "CSINode") => storage::CSI_NODE,
        ("storage.k8s.io", "CSIStorageCapacity") => storage::CSI_STORAGE_CAPACITY,
        ("apps", "DaemonSet") => workloads::DAEMON_SET,
        ("apps", "StatefulSet") => workloads::STATEFUL_SET,
        ("apps", "ControllerRevision") => workloads::CONTROLLER_REVISION,
        ("batch", "Job") => workloads::JOB,
        ("batch", "CronJob") => workloads::CRON_JOB,
        ("autoscaling", "HorizontalPodAutoscaler") => workloads::HORIZONTAL_POD_AUTOSCALER,
        ("policy", "PodDisruptionBudget") => workloads::POD_DISRUPTION_BUDGET,
        ("certificates.k8s.io", "CertificateSigningRequest") => CERTIFICATE_SIGNING_REQUEST,
        ("coordination.k8s.io", "Lease") => LEASE,
        ("coordination.k8s.io", "LeaseCandidate") => LEASE_CANDIDATE,
        ("discovery.k8s.io", "EndpointSlice") => ENDPOINT_SLICE,
        ("scheduling.k8s.io", "PriorityClass") => PRIORITY_CLASS,
        ("node.k8s.io", "RuntimeClass") => RUNTIME_CLASS,
        (_, "RoleBinding" | "ClusterRoleBinding") => BINDING,
        (_, "Role" | "ClusterRole") => CREATED,
        _ => PLAIN,
    }
}

/// The objects in the order of their rows: flow schemas by whose turn it is first, the rest as they are.
pub(super) fn rows<'a>(kind: &Kind, objects: &'a [Value]) -> Vec<&'a Value> {
    let mut rows: Vec<&Value> = objects.iter().collect();
    if (&*kind.group, &*kind.kind) == ("flowcontrol.apiserver.k8s.io", "FlowSchema") {
        let turn = |schema: &Value| schema["spec"]["matchingPrecedence"].as_i64();
        let name = |schema: &'a Value| schema["metadata"]["name"].as_str();
        rows.sort_by(|a, b| (turn(a), name(a)).cmp(&(turn(b), name(b))));
    }
    rows
}

/// The condition of a row whose object has come to its end.
pub(super) fn over(kind: &Kind, object: &Value) -> Option<Value> {
    let reason = match object["status"]["phase"].as_str() {
        Some(phase @ ("Succeeded" | "Failed")) if kind.group.is_empty() && kind.kind == "Pod" => phase,
        _ => return None,
    };
    let message = match reason {
        "Succeeded" => "The pod has completed successfully.",
        _ => "The pod failed.",
    };
    Some(json!({"type": "Completed", "status": "True", "reason": reason, "message": message}))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value, otherwise: &str) -> Value {
    json!(value.as_str().filter(|text| !text.is_empty()).unwrap_or(otherwise))
}

fn count(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn length(value: &Value) -> usize {
    value.as_object().map_or(0, serde_json::Map::len)
}

fn joined(parts: impl Iterator<Item = String>) -> Value {
    let text = parts.collect::<Vec<_>>().join(",");
    json!(if text.is_empty() { "<none>".to_owned() } else { text })
}

/// The first three parts, and how many more there are.
fn shortened(parts: impl Iterator<Item = String>) -> Value {
    let parts: Vec<String> = parts.collect();
    match parts.len() {
        0 => json!("<none>"),
        1..=3 => json!(parts.join(",")),
        count => json!(format!("{} + {} more...", parts[..3].join(","), count - 3)),
    }
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let wanted = list(&binding["subjects"]).filter(|each| each["kind"] == kind);
    let names = wanted.map(|each| match each["namespace"].as_str() {
        Some(namespace) if !namespace.is_empty() => format!("{namespace}/{}", named(each, "name")),
        _ => named(each, "name"),
    });
    json!(names.collect::<Vec<_>>().join(", "))
}

fn labels(selector: &Value) -> Value {
    let pairs = selector.as_object().into_iter().flatten();
    joined(pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())))
}

fn containers(object: &Value) -> impl Iterator<Item = &Value> {
    list(&object["spec"]["template"]["spec"]["containers"])
}

fn named(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

const PLAIN: &[Column] = &[NAME, AGE];
const CREATED: &[Column] =
    &[NAME, column("Created At", "date", 0, |object, _| object["metadata"]["creationTimestamp"].clone())];
const BINDING: &[Column] = &[
    NAME,
    column("Role", "string", 0, |object, _| {
        let role = &object["roleRef"];
        json!(format!("{}/{}", named(role, "kind"), named(role, "name")))
    }),
    AGE,
    column("Users", "string", 1, |object, _| subjects(object, "User")),
    column("Groups", "string", 1, |object, _| subjects(object, "Group")),
    column("ServiceAccounts", "string", 1, |object, _| subjects(object, "ServiceAccount")),
];
const NAMESPACE: &[Column] =
    &[NAME, column("Status", "string", 0, |object, _| text(&object["status"]["phase"], "Active")), AGE];
const CONFIG_MAP: &[Column] = &[
    NAME,
    column("Data", "string", 0, |object, _| json!(length(&object["data"]) + length(&object["binaryData"]))),
    AGE,
];
const SECRET: &[Column] = &[
    NAME,
    column("Type", "string", 0, |object, _| text(&object["type"], "Opaque")),
    column("Data", "string", 0, |object, _| json!(length(&object["data"]))),
    AGE,
];
const SERVICE_ACCOUNT: &[Column] =
    &[NAME, column("Secrets", "string", 0, |object, _| json!(list(&object["secrets"]).count())), AGE];
const CERTIFICATE_SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    column("SignerName", "string", 0, |object, _| text(&object["spec"]["signerName"], "<none>")),
    column("Requestor", "string", 0, |object, _| json!(named(&object["spec"], "username"))),
    column("RequestedDuration", "string", 0, |object, _| {
        json!(object["spec"]["expirationSeconds"].as_i64().map_or("<none>".to_owned(), super::duration))
    }),
    column("Condition", "string", 0, |object, _| {
        let has = |kind: &str| list(&object["status"]["conditions"]).any(|each| each["type"] == kind);
        let mut shown = match (has("Denied"), has("Approved")) {
            (true, _) => "Denied",
            (false, true) => "Approved",
            (false, false) => "Pending",
        }
        .to_owned();
        if has("Failed") {
            shown += ",Failed";
        }
        if object["status"]["certificate"].as_str().is_some_and(|certificate| !certificate.is_empty()) {
            shown += ",Issued";
        }
        json!(shown)
    }),
];
const LEASE: &[Column] =
    &[NAME, column("Holder", "string", 0, |object, _| text(&object["spec"]["holderIdentity"], "")), AGE];
const LEASE_CANDIDATE: &[Column] = &[
    NAME,
    column("LeaseName", "string", 0, |object, _| text(&object["spec"]["leaseName"], "")),
    column("BinaryVersion", "string", 0, |object, _| text(&object["spec"]["binaryVersion"], "")),
    column("EmulationVersion", "string", 0, |object, _| text(&object["spec"]["emulationVersion"], "")),
    column("Strategy", "string", 0, |object, _| text(&object["spec"]["strategy"], "")),
    AGE,
];
const PRIORITY_CLASS: &[Column] = &[
    NAME,
    column("Value", "integer", 0, |object, _| json!(count(&object["value"]))),
    column("Global-Default", "boolean", 0, |object, _| json!(object["globalDefault"] == true)),
    AGE,
    column("PreemptionPolicy", "string", 0, |object, _| object["preemptionPolicy"].clone()),
];
const RUNTIME_CLASS: &[Column] =
    &[NAME, column("Handler", "string", 0, |object, _| object["handler"].clone()), AGE];

const EVENT: &[Column] = &[
    column("Last Seen", "string", 0, |object, now| {
        let times = [&object["series"]["lastObservedTime"], &object["lastTimestamp"], &object["eventTime"]];
        let time = times.into_iter().find(|time| time.is_string());
        json!(age(time.unwrap_or(&object["metadata"]["creationTimestamp"]), now))
    }),
    column("Type", "string", 0, |object, _| text(&object["type"], "")),
    column("Reason", "string", 0, |object, _| text(&object["reason"], "")),
    column("Object", "string", 0, |object, _| {
        let about = &object["involvedObject"];
        json!(format!("{}/{}", named(about, "kind").to_lowercase(), named(about, "name")))
    }),
    column("Subobject", "string", 1, |object, _| text(&object["involvedObject"]["fieldPath"], "")),
    column("Source", "string", 1, |object, _| {
        let component = text(&object["source"]["component"], "");
        let component = if component == "" { text(&object["reportingComponent"], "") } else { component };
        let host = text(&object["source"]["host"], "");
        let parts = [component, host];
        let parts = parts.iter().filter_map(Value::as_str).filter(|part| !part.is_empty());
        json!(parts.collect::<Vec<_>>().join(", "))
    }),
    column("Message", "string", 0, |object, _| json!(named(object, "message").trim())),
    column("First Seen", "string", 1, |object, now| {
        let time =
            [&object["firstTimestamp"], &object["eventTime"]].into_iter().find(|time| time.is_string());
        json!(age(time.unwrap_or(&Value::Null), now))
    }),
    column("Count", "string", 1, |object, _| {
        let counted = [&object["series"]["count"], &object["count"]].into_iter().find_map(Value::as_i64);
        json!(counted.unwrap_or(1).max(1))
    }),
    column("Name", "string", 1, |object, _| object["metadata"]["name"].clone()),
];

const DEPLOYMENT: &[Column] = &[
    NAME,
    column("Ready", "string", 0, |object, _| {
        json!(format!("{}/{}", count(&object["status"]["readyReplicas"]), count(&object["spec"]["replicas"])))
    }),
    column("Up-to-date", "string", 0, |object, _| json!(count(&object["status"]["updatedReplicas"]))),
    column("Available", "string", 0, |object, _| json!(count(&object["status"]["availableReplicas"]))),
    AGE,
    workloads::CONTAINERS,
    workloads::IMAGES,
    column("Selector", "string", 1, |object, _| labels(&object["spec"]["selector"]["matchLabels"])),
];
const REPLICA_SET: &[Column] = &[
    NAME,
    column("Desired", "integer", 0, |object, _| json!(count(&object["spec"]["replicas"]))),
    column("Current", "integer", 0, |object, _| json!(count(&object["status"]["replicas"]))),
    column("Ready", "integer", 0, |object, _| json!(count(&object["status"]["readyReplicas"]))),
    AGE,
    workloads::CONTAINERS,
    workloads::IMAGES,
    column("Selector", "string", 1, |object, _| labels(&object["spec"]["selector"]["matchLabels"])),
];

const SERVICE: &[Column] = &[
    NAME,
    column("Type", "string", 0, |object, _| text(&object["spec"]["type"], "ClusterIP")),
    column("Cluster-IP", "string", 0, |object, _| text(&object["spec"]["clusterIP"], "<none>")),
    column("External-IP", "string", 0, |object, _| {
        let kind = &object["spec"]["type"];
        if kind == "ExternalName" {
            return object["spec"]["externalName"].clone();
        }
        let balanced = list(&object["status"]["loadBalancer"]["ingress"])
            .filter(|_| kind == "LoadBalancer")
            .filter_map(|each| each["ip"].as_str().or(each["hostname"].as_str()));
        let given = list(&object["spec"]["externalIPs"]).filter_map(Value::as_str);
        let shown = joined(balanced.chain(given).map(str::to_owned));
        if kind == "LoadBalancer" && shown == "<none>" { json!("<pending>") } else { shown }
    }),
    column("Port(s)", "string", 0, |object, _| {
        joined(list(&object["spec"]["ports"]).map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{}:{node}/{protocol}", count(&port["port"])),
                _ => format!("{}/{protocol}", count(&port["port"])),
            }
        }))
    }),
    AGE,
    column("Selector", "string", 1, |object, _| labels(&object["spec"]["selector"])),
];
const ENDPOINTS: &[Column] = &[
    NAME,
    column("Endpoints", "string", 0, |object, _| {
        shortened(list(&object["subsets"]).flat_map(|subset| {
            list(&subset["addresses"]).flat_map(move |address| {
                list(&subset["ports"])
                    .map(move |port| format!("{}:{}", named(address, "ip"), count(&port["port"])))
            })
        }))
    }),
    AGE,
];
const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    column("AddressType", "string", 0, |object, _| object["addressType"].clone()),
    column("Ports", "string", 0, |object, _| {
        shortened(list(&object["ports"]).map(|port| count(&port["port"]).to_string()))
    }),
    column("Endpoints", "string", 0, |object, _| {
        shortened(
            list(&object["endpoints"])
                .flat_map(|each| list(&each["addresses"]))
                .filter_map(|each| each.as_str().map(str::to_owned)),
        )
    }),
    AGE,
];

const NODE: &[Column] = &[
    NAME,
    column("Status", "string", 0, |object, _| {
        let ready = list(&object["status"]["conditions"]).find(|each| each["type"] == "Ready");
        let mut status = match ready.map(|each| each["status"] == "True") {
            Some(true) => "Ready",
            Some(false) => "NotReady",
            None => "Unknown",
        }
        .to_owned();
        if object["spec"]["unschedulable"] == true {
            status += ",SchedulingDisabled";
        }
        json!(status)
    }),
    column("Roles", "string", 0, |object, _| {
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        joined(labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/").map(str::to_owned)))
    }),
    AGE,
    column("Version", "string", 0, |object, _| text(&object["status"]["nodeInfo"]["kubeletVersion"], "")),
    column("Internal-IP", "string", 1, |object, _| address(object, "InternalIP")),
    column("External-IP", "string", 1, |object, _| address(object, "ExternalIP")),
    column("OS-Image", "string", 1, |object, _| text(&object["status"]["nodeInfo"]["osImage"], "<unknown>")),
    column("Kernel-Version", "string", 1, |object, _| {
        text(&object["status"]["nodeInfo"]["kernelVersion"], "<unknown>")
    }),
    column("Container-Runtime", "string", 1, |object, _| {
        text(&object["status"]["nodeInfo"]["containerRuntimeVersion"], "<unknown>")
    }),
];

fn address(node: &Value, kind: &str) -> Value {
    let found = list(&node["status"]["addresses"]).find(|each| each["type"] == kind);
    text(found.map_or(&Value::Null, |each| &each["address"]), "<none>")
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

/// The statuses of the containers that run for the pod's whole life.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    let sidecars = list(&pod["status"]["initContainerStatuses"]).filter(move |status| {
        list(&pod["spec"]["initContainers"]).any(|each| is_sidecar(each) && each["name"] == status["name"])
    });
    list(&pod["status"]["containerStatuses"]).chain(sidecars)
}

/// Whether an init container has not done its part yet.
fn is_initializing(pod: &Value) -> bool {
    list(&pod["status"]["initContainerStatuses"]).any(|each| {
        let ended = &each["state"]["terminated"];
        let done = ended.is_object() && count(&ended["exitCode"]) == 0;
        let started = each["started"] == true && each["state"]["running"].is_object();
        !done && !started
    })
}

const POD: &[Column] = &[
    NAME,
    column("Ready", "string", 0, |object, _| {
        let ready = statuses(object).filter(|each| each["ready"] == true).count();
        let sidecars = list(&object["spec"]["initContainers"]).filter(|each| is_sidecar(each)).count();
        json!(format!("{ready}/{}", list(&object["spec"]["containers"]).count() + sidecars))
    }),
    column("Status", "string", 0, |object, _| json!(pod_status(object))),
    column("Restarts", "string", 0, |object, now| {
        let shown: Vec<&Value> = match is_initializing(object) {
            true => list(&object["status"]["initContainerStatuses"]).collect(),
            false => statuses(object).collect(),
        };
        let restarts: i64 = shown.iter().map(|each| count(&each["restartCount"])).sum();
        let ended =
            shown.iter().filter_map(|each| each["lastState"]["terminated"]["finishedAt"].as_str()).max();
        match ended {
            Some(ended) if restarts > 0 => json!(format!("{restarts} ({} ago)", age(&json!(ended), now))),
            _ => json!(restarts.to_string()),
        }
    }),
    AGE,
    column("IP", "string", 1, |object, _| text(&object["status"]["podIP"], "<none>")),
    column("Node", "string", 1, |object, _| text(&object["spec"]["nodeName"], "<none>")),
    column("Nominated Node", "string", 1, |object, _| text(&object["status"]["nominatedNodeName"], "<none>")),
    column("Readiness Gates", "string", 1, |object, _| {
        let gates: Vec<&Value> = list(&object["spec"]["readinessGates"]).collect();
        if gates.is_empty() {
            return json!("<none>");
        }
        let open = gates.iter().filter(|gate| {
            let kind = &gate["conditionType"];
            list(&object["status"]["conditions"])
                .any(|each| each["type"] == *kind && each["status"] == "True")
        });
        json!(format!("{}/{}", open.count(), gates.len()))
    }),
];

/// One word for how a pod is: the phase, unless its containers say something more telling.
fn pod_status(pod: &Value) -> String {
    let status = &pod["status"];
    let mut reason = [&status["reason"], &status["phase"]]
        .into_iter()
        .find_map(|value| value.as_str().filter(|text| !text.is_empty()))
        .unwrap_or_default()
        .to_owned();
    if list(&status["conditions"])
        .any(|each| each["type"] == "PodScheduled" && each["reason"] == "SchedulingGated")
    {
        reason = "SchedulingGated".to_owned();
    }
    let total = list(&pod["spec"]["initContainers"]).count();
    let is_sidecar = |name: &Value| {
        list(&pod["spec"]["initContainers"])
            .any(|each| each["name"] == *name && each["restartPolicy"] == "Always")
    };
    let initialized =
        list(&status["conditions"]).any(|each| each["type"] == "Initialized" && each["status"] == "True");
    let mut initializing = false;
    for (index, container) in list(&status["initContainerStatuses"]).enumerate() {
        let state = &container["state"];
        if state["terminated"].is_object() && count(&state["terminated"]["exitCode"]) == 0 {
            continue;
        }
        if container["started"] == true && is_sidecar(&container["name"]) {
            continue;
        }
        let waiting =
            state["waiting"]["reason"].as_str().filter(|text| !text.is_empty() && *text != "PodInitializing");
        reason = match (state["terminated"].is_object(), waiting) {
            (true, _) => format!("Init:{}", ended(&state["terminated"])),
            (false, Some(waiting)) => format!("Init:{waiting}"),
            (false, None) => format!("Init:{index}/{total}"),
        };
        initializing = true;
        break;
    }
    if !initializing || initialized {
        let mut running = false;
        for container in list(&status["containerStatuses"]).collect::<Vec<_>>().into_iter().rev() {
            let state = &container["state"];
            if let Some(waiting) = state["waiting"]["reason"].as_str().filter(|text| !text.is_empty()) {
                reason = waiting.to_owned();
            } else if state["terminated"].is_object() {
                reason = ended(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
            }
        }
        if reason == "Completed" && running {
            let ready =
                list(&status["conditions"]).any(|each| each["type"] == "Ready" && each["status"] == "True");
            reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        let lost = status["reason"] == "NodeLost";
        let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        if lost {
            return "Unknown".to_owned();
        }
        if !over {
            return "Terminating".to_owned();
        }
    }
    reason
}

fn ended(terminated: &Value) -> String {
    if let Some(reason) = terminated["reason"].as_str().filter(|text| !text.is_empty()) {
        return reason.to_owned();
    }
    match count(&terminated["signal"]) {
        0 => format!("ExitCode:{}", count(&terminated["exitCode"])),
        signal => format!("Signal:{signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(columns: &[Column], object: &Value) -> Vec<Value> {
        let now = "2026-01-01T01:00:00Z".parse().expect("a time");
        columns.iter().map(|column| (column.cell)(object, now)).collect()
    }

    #[test]
    fn pods() {
        let pod = json!({"metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "started": true, "state": {"running": {}}}]}});
        assert_eq!(
            cells(POD, &pod)[..5],
            [json!("p"), json!("0/1"), json!("Init:0/1"), json!("0"), json!("60m")]
        );
        // A sidecar that was stopped in the end says nothing of how the pod ended.
        let mut over = pod.clone();
        over["spec"]["initContainers"][0]["restartPolicy"] = "Always".into();
        over["status"] = json!({"phase": "Succeeded", "conditions": [{"type": "Initialized", "status": "True"}],
            "initContainerStatuses": [
                {"name": "i", "started": false, "state": {"terminated": {"exitCode": 7, "reason": "Error"}}}],
            "containerStatuses": [
                {"name": "c", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]});
        assert_eq!(cells(POD, &over)[2], json!("Completed"));
        let mut crashed = pod.clone();
        crashed["status"] = json!({"phase": "Running", "containerStatuses": [{"name": "c", "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-01T00:50:00Z"}}}]});
        assert_eq!(cells(POD, &crashed)[2..4], [json!("CrashLoopBackOff"), json!("3 (10m ago)")]);
        crashed["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:00Z".into();
        assert_eq!(cells(POD, &crashed)[2], json!("Terminating"));
    }

    #[test]
    fn services_and_endpoints() {
        let service = json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.43.0.1",
            "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}]}});
        assert_eq!(cells(SERVICE, &service)[3..5], [json!("<pending>"), json!("80:30000/TCP")]);
        let slice = json!({"endpoints": [{"addresses": ["1", "2"]}, {"addresses": ["3", "4", "5"]}]});
        assert_eq!(cells(ENDPOINT_SLICE, &slice)[3], json!("1,2,3 + 2 more..."));
    }
}
