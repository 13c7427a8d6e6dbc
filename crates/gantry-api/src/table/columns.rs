//! The columns of each kind. A kind without an entry shows its name and age.

mod extensions;
mod limits;
mod networking;
mod pods;
mod storage;
mod workloads;

use gantry_json::{Value, json};
use jiff::Timestamp;
use k8s_openapi::api::{apps, autoscaling, certificates, coordination, core, discovery, rbac, scheduling};
use k8s_openapi::apimachinery::pkg::apis::meta;

use super::about::{About, field, words};
use super::age;
use crate::registry::Kind;

/// One column.
pub(super) struct Column {
    pub name: &'static str,
    pub kind: &'static str,
    /// Above 0: shown in wide tables only.
    pub priority: u8,
    /// What it is for.
    pub about: About,
    pub cell: fn(&Value, Timestamp) -> Value,
}

impl Column {
    /// What clients are told of its values: that they name the object.
    pub fn format(&self) -> &'static str {
        if matches!(self.name, "Name" | "Attacher") { "name" } else { "" }
    }
}

type Cell = fn(&Value, Timestamp) -> Value;

const fn column(name: &'static str, kind: &'static str, priority: u8, about: About, cell: Cell) -> Column {
    Column { name, kind, priority, about, cell }
}

/// What the name is for.
pub(crate) const NAMED: About = field::<meta::v1::ObjectMeta>("name");
/// What the time of creation is for.
pub(crate) const CREATION: About = field::<meta::v1::ObjectMeta>("creationTimestamp");
/// Nothing is said of it.
const NOTHING: About = words("");

const NAME: Column = column("Name", "string", 0, NAMED, |object, _| object["metadata"]["name"].clone());
const AGE: Column = column("Age", "string", 0, CREATION, |object, now| {
    json!(age(&object["metadata"]["creationTimestamp"], now))
});

/// The columns of a Scale.
pub(super) const SCALE: &[Column] = &[
    NAME,
    column("Desired", "integer", 0, field::<autoscaling::v1::ScaleSpec>("replicas"), |object, _| {
        count(&object["spec"]["replicas"]).into()
    }),
    column("Available", "integer", 0, field::<autoscaling::v1::ScaleStatus>("replicas"), |object, _| {
        count(&object["status"]["replicas"]).into()
    }),
    AGE,
];

/// The columns of a kind.
pub(super) fn of(kind: &Kind) -> &'static [Column] {
    match (&*kind.group, &*kind.kind) {
        ("", "Pod") => pods::POD,
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
        ("storagemigration.k8s.io", "StorageVersionMigration") => extensions::STORAGE_VERSION_MIGRATION,
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
    value.as_object().map_or(0, gantry_json::Map::len)
}

fn joined(parts: impl Iterator<Item = String>) -> Value {
    let text = parts.collect::<Vec<_>>().join(",");
    json!(if text.is_empty() { "<none>".to_owned() } else { text })
}

/// An address with a port.
fn joined_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The first three parts, and how many more there are; `otherwise` where there is none.
fn shortened(parts: impl Iterator<Item = String>, otherwise: &str) -> Value {
    let parts: Vec<String> = parts.collect();
    match parts.len() {
        0 => json!(otherwise),
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
const CREATED: &[Column] = &[
    NAME,
    column("Created At", "date", 0, CREATION, |object, _| object["metadata"]["creationTimestamp"].clone()),
];
const BINDING: &[Column] = &[
    NAME,
    column("Role", "string", 0, field::<rbac::v1::RoleBinding>("roleRef"), |object, _| {
        let role = &object["roleRef"];
        json!(format!("{}/{}", named(role, "kind"), named(role, "name")))
    }),
    AGE,
    column("Users", "string", 1, words("The users that have the role."), |object, _| {
        subjects(object, "User")
    }),
    column("Groups", "string", 1, words("The groups that have the role."), |object, _| {
        subjects(object, "Group")
    }),
    column("ServiceAccounts", "string", 1, words("The service accounts that have the role."), |object, _| {
        subjects(object, "ServiceAccount")
    }),
];
const NAMESPACE: &[Column] = &[
    NAME,
    column(
        "Status",
        "string",
        0,
        words("Whether the namespace is in use or on its way out."),
        |object, _| text(&object["status"]["phase"], "Active"),
    ),
    AGE,
];
const CONFIG_MAP: &[Column] = &[
    NAME,
    column("Data", "string", 0, field::<core::v1::ConfigMap>("data"), |object, _| {
        json!(length(&object["data"]) + length(&object["binaryData"]))
    }),
    AGE,
];
const SECRET: &[Column] = &[
    NAME,
    column("Type", "string", 0, field::<core::v1::Secret>("type"), |object, _| {
        text(&object["type"], "Opaque")
    }),
    column("Data", "string", 0, field::<core::v1::Secret>("data"), |object, _| {
        json!(length(&object["data"]))
    }),
    AGE,
];
const SERVICE_ACCOUNT: &[Column] = &[
    NAME,
    column("Secrets", "string", 0, field::<core::v1::ServiceAccount>("secrets"), |object, _| {
        json!(list(&object["secrets"]).count())
    }),
    AGE,
];
const CERTIFICATE_SIGNING_REQUEST: &[Column] = &[
    NAME,
    AGE,
    column(
        "SignerName",
        "string",
        0,
        field::<certificates::v1::CertificateSigningRequestSpec>("signerName"),
        |object, _| text(&object["spec"]["signerName"], "<none>"),
    ),
    column(
        "Requestor",
        "string",
        0,
        field::<certificates::v1::CertificateSigningRequestSpec>("request"),
        |object, _| json!(named(&object["spec"], "username")),
    ),
    column(
        "RequestedDuration",
        "string",
        0,
        field::<certificates::v1::CertificateSigningRequestSpec>("expirationSeconds"),
        |object, _| {
            json!(object["spec"]["expirationSeconds"].as_i64().map_or("<none>".to_owned(), super::duration))
        },
    ),
    column(
        "Condition",
        "string",
        0,
        field::<certificates::v1::CertificateSigningRequestStatus>("conditions"),
        |object, _| {
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
        },
    ),
];
const LEASE: &[Column] = &[
    NAME,
    column("Holder", "string", 0, field::<coordination::v1::LeaseSpec>("holderIdentity"), |object, _| {
        text(&object["spec"]["holderIdentity"], "")
    }),
    AGE,
];
const LEASE_CANDIDATE: &[Column] = &[
    NAME,
    column(
        "LeaseName",
        "string",
        0,
        field::<coordination::v1beta1::LeaseCandidateSpec>("leaseName"),
        |object, _| text(&object["spec"]["leaseName"], ""),
    ),
    column("BinaryVersion", "string", 0, NOTHING, |object, _| text(&object["spec"]["binaryVersion"], "")),
    column("EmulationVersion", "string", 0, NOTHING, |object, _| {
        text(&object["spec"]["emulationVersion"], "")
    }),
    column(
        "Strategy",
        "string",
        0,
        field::<coordination::v1beta1::LeaseCandidateSpec>("strategy"),
        |object, _| text(&object["spec"]["strategy"], ""),
    ),
    AGE,
];
const PRIORITY_CLASS: &[Column] = &[
    NAME,
    column("Value", "integer", 0, field::<scheduling::v1::PriorityClass>("value"), |object, _| {
        json!(count(&object["value"]))
    }),
    column(
        "Global-Default",
        "boolean",
        0,
        field::<scheduling::v1::PriorityClass>("globalDefault"),
        |object, _| json!(object["globalDefault"] == true),
    ),
    AGE,
    column(
        "PreemptionPolicy",
        "string",
        0,
        field::<scheduling::v1::PriorityClass>("preemptionPolicy"),
        |object, _| object["preemptionPolicy"].clone(),
    ),
];
const RUNTIME_CLASS: &[Column] =
    &[NAME, column("Handler", "string", 0, NOTHING, |object, _| object["handler"].clone()), AGE];

const EVENT: &[Column] = &[
    column("Last Seen", "string", 0, field::<core::v1::Event>("lastTimestamp"), |object, now| {
        let times = [&object["series"]["lastObservedTime"], &object["lastTimestamp"], &object["eventTime"]];
        let time = times.into_iter().find(|time| time.is_string());
        json!(age(time.unwrap_or(&object["metadata"]["creationTimestamp"]), now))
    }),
    column("Type", "string", 0, field::<core::v1::Event>("type"), |object, _| text(&object["type"], "")),
    column("Reason", "string", 0, field::<core::v1::Event>("reason"), |object, _| {
        text(&object["reason"], "")
    }),
    column("Object", "string", 0, field::<core::v1::Event>("involvedObject"), |object, _| {
        let about = &object["involvedObject"];
        json!(format!("{}/{}", named(about, "kind").to_lowercase(), named(about, "name")))
    }),
    column("Subobject", "string", 1, field::<core::v1::ObjectReference>("fieldPath"), |object, _| {
        text(&object["involvedObject"]["fieldPath"], "")
    }),
    column("Source", "string", 1, field::<core::v1::Event>("source"), |object, _| {
        let component = text(&object["source"]["component"], "");
        let component = if component == "" { text(&object["reportingComponent"], "") } else { component };
        let host = text(&object["source"]["host"], "");
        let parts = [component, host];
        let parts = parts.iter().filter_map(Value::as_str).filter(|part| !part.is_empty());
        json!(parts.collect::<Vec<_>>().join(", "))
    }),
    column("Message", "string", 0, field::<core::v1::Event>("message"), |object, _| {
        json!(named(object, "message").trim())
    }),
    column("First Seen", "string", 1, field::<core::v1::Event>("firstTimestamp"), |object, now| {
        let time =
            [&object["firstTimestamp"], &object["eventTime"]].into_iter().find(|time| time.is_string());
        json!(age(time.unwrap_or(&Value::Null), now))
    }),
    column("Count", "string", 1, field::<core::v1::Event>("count"), |object, _| {
        let counted = [&object["series"]["count"], &object["count"]].into_iter().find_map(Value::as_i64);
        json!(counted.unwrap_or(1).max(1))
    }),
    column("Name", "string", 1, NAMED, |object, _| object["metadata"]["name"].clone()),
];

const DEPLOYMENT: &[Column] = &[
    NAME,
    column("Ready", "string", 0, words("How many pods are ready, of how many."), |object, _| {
        json!(format!("{}/{}", count(&object["status"]["readyReplicas"]), count(&object["spec"]["replicas"])))
    }),
    column("Up-to-date", "string", 0, field::<apps::v1::DeploymentStatus>("updatedReplicas"), |object, _| {
        json!(count(&object["status"]["updatedReplicas"]))
    }),
    column(
        "Available",
        "string",
        0,
        field::<apps::v1::DeploymentStatus>("availableReplicas"),
        |object, _| json!(count(&object["status"]["availableReplicas"])),
    ),
    AGE,
    workloads::CONTAINERS,
    workloads::IMAGES,
    column("Selector", "string", 1, field::<apps::v1::DeploymentSpec>("selector"), |object, _| {
        labels(&object["spec"]["selector"]["matchLabels"])
    }),
];
const REPLICA_SET: &[Column] = &[
    NAME,
    column("Desired", "integer", 0, field::<apps::v1::ReplicaSetSpec>("replicas"), |object, _| {
        json!(count(&object["spec"]["replicas"]))
    }),
    column("Current", "integer", 0, field::<apps::v1::ReplicaSetStatus>("replicas"), |object, _| {
        json!(count(&object["status"]["replicas"]))
    }),
    column("Ready", "integer", 0, field::<apps::v1::ReplicaSetStatus>("readyReplicas"), |object, _| {
        json!(count(&object["status"]["readyReplicas"]))
    }),
    AGE,
    workloads::CONTAINERS,
    workloads::IMAGES,
    column("Selector", "string", 1, field::<apps::v1::ReplicaSetSpec>("selector"), |object, _| {
        labels(&object["spec"]["selector"]["matchLabels"])
    }),
];

const SERVICE: &[Column] = &[
    NAME,
    column("Type", "string", 0, field::<core::v1::ServiceSpec>("type"), |object, _| {
        text(&object["spec"]["type"], "ClusterIP")
    }),
    column("Cluster-IP", "string", 0, field::<core::v1::ServiceSpec>("clusterIP"), |object, _| {
        text(&object["spec"]["clusterIP"], "<none>")
    }),
    column("External-IP", "string", 0, field::<core::v1::ServiceSpec>("externalIPs"), |object, _| {
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
    column("Port(s)", "string", 0, field::<core::v1::ServiceSpec>("ports"), |object, _| {
        joined(list(&object["spec"]["ports"]).map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            match port["nodePort"].as_i64() {
                Some(node) if node > 0 => format!("{}:{node}/{protocol}", count(&port["port"])),
                _ => format!("{}/{protocol}", count(&port["port"])),
            }
        }))
    }),
    AGE,
    column("Selector", "string", 1, field::<core::v1::ServiceSpec>("selector"), |object, _| {
        labels(&object["spec"]["selector"])
    }),
];
const ENDPOINTS: &[Column] = &[
    NAME,
    column("Endpoints", "string", 0, field::<core::v1::Endpoints>("subsets"), |object, _| {
        let host = |address: &Value| named(address, "ip");
        let each = list(&object["subsets"]).flat_map(|subset| {
            let alone = list(&subset["addresses"]).filter(|_| list(&subset["ports"]).next().is_none());
            let with_ports = list(&subset["ports"]).flat_map(|port| {
                list(&subset["addresses"]).map(|address| joined_port(&host(address), count(&port["port"])))
            });
            alone.map(host).chain(with_ports)
        });
        shortened(each, "<none>")
    }),
    AGE,
];
const ENDPOINT_SLICE: &[Column] = &[
    NAME,
    column("AddressType", "string", 0, field::<discovery::v1::EndpointSlice>("addressType"), |object, _| {
        object["addressType"].clone()
    }),
    column("Ports", "string", 0, field::<discovery::v1::EndpointSlice>("ports"), |object, _| {
        let shown = |port: &Value| match (port["port"].as_i64(), port["name"].as_str()) {
            (Some(number), _) => number.to_string(),
            (None, name) => name.unwrap_or("*").to_owned(),
        };
        shortened(list(&object["ports"]).map(shown), "<unset>")
    }),
    column("Endpoints", "string", 0, field::<discovery::v1::EndpointSlice>("endpoints"), |object, _| {
        let addresses = list(&object["endpoints"]).flat_map(|each| list(&each["addresses"]));
        shortened(addresses.filter_map(|each| each.as_str().map(str::to_owned)), "<unset>")
    }),
    AGE,
];

const NODE: &[Column] = &[
    NAME,
    column("Status", "string", 0, words("Whether the node is ready, and takes pods."), |object, _| {
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
    column("Roles", "string", 0, words("What the node is for, by its labels."), |object, _| {
        let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
        joined(labels.filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/").map(str::to_owned)))
    }),
    AGE,
    column("Version", "string", 0, field::<core::v1::NodeSystemInfo>("kubeletVersion"), |object, _| {
        text(&object["status"]["nodeInfo"]["kubeletVersion"], "")
    }),
    column("Internal-IP", "string", 1, field::<core::v1::NodeStatus>("addresses"), |object, _| {
        address(object, "InternalIP")
    }),
    column("External-IP", "string", 1, field::<core::v1::NodeStatus>("addresses"), |object, _| {
        address(object, "ExternalIP")
    }),
    column("OS-Image", "string", 1, field::<core::v1::NodeSystemInfo>("osImage"), |object, _| {
        text(&object["status"]["nodeInfo"]["osImage"], "<unknown>")
    }),
    column("Kernel-Version", "string", 1, field::<core::v1::NodeSystemInfo>("kernelVersion"), |object, _| {
        text(&object["status"]["nodeInfo"]["kernelVersion"], "<unknown>")
    }),
    column(
        "Container-Runtime",
        "string",
        1,
        field::<core::v1::NodeSystemInfo>("containerRuntimeVersion"),
        |object, _| text(&object["status"]["nodeInfo"]["containerRuntimeVersion"], "<unknown>"),
    ),
];

fn address(node: &Value, kind: &str) -> Value {
    let found = list(&node["status"]["addresses"]).find(|each| each["type"] == kind);
    text(found.map_or(&Value::Null, |each| &each["address"]), "<none>")
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn cells(columns: &[Column], object: &Value) -> Vec<Value> {
        let now = "2026-01-01T01:00:00Z".parse().expect("a time");
        columns.iter().map(|column| (column.cell)(object, now)).collect()
    }

    #[test]
    fn services_and_endpoints() {
        let service = json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.43.0.1",
            "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}]}});
        assert_eq!(cells(SERVICE, &service)[3..5], [json!("<pending>"), json!("80:30000/TCP")]);
        let slice = json!({"endpoints": [{"addresses": ["1", "2"]}, {"addresses": ["3", "4", "5"]}]});
        assert_eq!(cells(ENDPOINT_SLICE, &slice)[2..4], [json!("<unset>"), json!("1,2,3 + 2 more...")]);
        let endpoints = json!({"subsets": [{"addresses": [{"ip": "fd00::1"}]}, {
            "addresses": [{"ip": "10.0.0.1"}, {"ip": "fd00::2"}], "ports": [{"port": 80}, {"port": 81}]}]});
        let expect = "fd00::1,10.0.0.1:80,[fd00::2]:80 + 2 more...";
        assert_eq!(cells(ENDPOINTS, &endpoints)[1], json!(expect));
    }
}
