//! Pod, and pod templates.

use gantry_json::{Map, Value, json};

use super::common::{default, items, keep_status, list, object, restore, text};
use super::{app_armor, container, pod_spec, pod_update, volume};
use crate::field::Path;
use crate::pod_resources::{self, ResourceList};
use crate::registry::Rules;

/// The fields that pods are selected by.
pub const SELECTABLE: &[&str] = &[
    "spec.hostNetwork",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

/// The rules.
pub const RULES: Rules = Rules {
    default: |pod| {
        if let Some(pod) = pod.as_object_mut() {
            let spec = object(pod, "spec");
            set_defaults(spec);
            set_pod_only_defaults(spec);
        }
    },
    prepare_create,
    prepare_update: keep_status,
    validate: |pod| {
        let mut errors = Vec::new();
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        let at = Path::new("metadata").child("annotations");
        pod_spec::annotations(&at, &metadata["annotations"], spec, &mut errors);
        let name = text(metadata, "name");
        pod_spec::validate(&Path::new("spec"), spec, Some(name), &mut errors);
        errors
    },
    validate_create: |pod| {
        let mut errors = Vec::new();
        pod_spec::validate_new(&Path::new("spec"), &pod["spec"], &mut errors);
        errors
    },
    validate_update: pod_update::validate,
    prepare_status: |pod, old, _| {
        if let Some(status) = pod.get_mut("status").filter(|status| status["qosClass"].is_null()) {
            restore(status, &old["status"], "qosClass");
        }
    },
    validate_status: pod_update::validate_status,
    selectable: |pod| {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let ips: Vec<_> = list(status, "podIPs").iter().map(|each| text(each, "ip")).collect();
        vec![
            ("spec.nodeName", text(spec, "nodeName").into()),
            ("spec.restartPolicy", text(spec, "restartPolicy").into()),
            ("spec.schedulerName", text(spec, "schedulerName").into()),
            ("spec.serviceAccountName", text(spec, "serviceAccountName").into()),
            ("spec.hostNetwork", (spec["hostNetwork"] == true).to_string()),
            ("status.phase", text(status, "phase").into()),
            ("status.podIP", text(status, "podIP").into()),
            ("status.podIPs", ips.join(",")),
            ("status.nominatedNodeName", text(status, "nominatedNodeName").into()),
        ]
    },
    warn_given: app_armor::warnings,
    // Changes of pods are frequent, and hardly any is a person's.
    warn: |pod, old| match old {
        None => {
            let name = super::pod_warnings::of_name(pod).into_iter();
            name.chain(super::pod_warnings::of(&Path::default(), pod)).collect()
        }
        Some(_) => Vec::new(),
    },
};

fn prepare_create(pod: &mut Value) {
    pod["status"] = json!({"phase": "Pending", "qosClass": qos_class(&pod["spec"])});
    if !list(&pod["spec"], "schedulingGates").is_empty() {
        pod["status"]["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": pod["metadata"]["creationTimestamp"],
        }]);
    }
    app_armor::to_fields(pod);
    if pod["spec"]["topologySpreadConstraints"].is_null() && pod["spec"]["affinity"].is_null() {
        return;
    }
    let labels = pod["metadata"]["labels"].clone();
    let spec = &mut pod["spec"];
    let constraints = spec.get_mut("topologySpreadConstraints").and_then(Value::as_array_mut);
    constraints.into_iter().flatten().for_each(|constraint| select_own(constraint, &labels));
    for kind in ["podAffinity", "podAntiAffinity"] {
        for (when, weighed) in [
            ("requiredDuringSchedulingIgnoredDuringExecution", false),
            ("preferredDuringSchedulingIgnoredDuringExecution", true),
        ] {
            let terms = spec.pointer_mut(&format!("/affinity/{kind}/{when}")).and_then(Value::as_array_mut);
            for term in terms.into_iter().flatten() {
                match weighed {
                    true => {
                        term.get_mut("podAffinityTerm").into_iter().for_each(|term| select_own(term, &labels))
                    }
                    false => select_own(term, &labels),
                }
            }
        }
    }
}

/// Adds what the keys of a term say to its selector: the values that the pod's own labels have.
fn select_own(term: &mut Value, labels: &Value) {
    for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        let keys: Vec<Value> = list(term, keys).to_vec();
        let Some(Value::Object(selector)) = term.get_mut("labelSelector") else { return };
        for key in keys {
            let Some(value) = key.as_str().and_then(|key| labels.get(key)) else { continue };
            let expressions = selector.entry("matchExpressions").or_insert_with(|| json!([]));
            if let Some(expressions) = expressions.as_array_mut() {
                expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
            }
        }
    }
}

/// Sets the defaults of a pod's spec.
pub fn set_defaults(spec: &mut Map) {
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    // It is not taken where its feature is off, which it is.
    spec.remove("workloadRef");
    if let Some(name) = spec.get("serviceAccountName").or(spec.get("serviceAccount")).cloned() {
        spec.insert("serviceAccount".into(), name.clone());
        spec.insert("serviceAccountName".into(), name);
    }
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        items(spec, field).for_each(container::set_defaults);
    }
    for constraint in items(spec, "topologySpreadConstraints") {
        default(constraint, "nodeAffinityPolicy", "Honor");
        default(constraint, "nodeTaintsPolicy", "Ignore");
    }
    items(spec, "volumes").for_each(volume::set_defaults);
}

/// Sets defaults that pods have and templates have not.
pub fn set_pod_only_defaults(spec: &mut Map) {
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for field in ["initContainers", "containers"] {
        for each in items(spec, field) {
            container::request_limits(each);
            for port in items(each, "ports").filter(|_| host_network) {
                if let Some(number) = port.get("containerPort").cloned() {
                    super::common::default_zero(port, "hostPort", number.as_i64().unwrap_or(0));
                }
            }
        }
    }
    default_requests(spec);
    default(spec, "enableServiceLinks", true);
}

/// A pod that says what it asks for altogether asks for what its containers do where it says no amount, and
/// for what it is limited to where they do not either.
fn default_requests(spec: &mut Map) {
    let given = spec.get("resources").cloned().unwrap_or_default();
    let said = |field: &str| given[field].as_object().is_some_and(|amounts| !amounts.is_empty());
    if !said("requests") && !said("limits") {
        return;
    }
    let containers =
        json!({"containers": spec.get("containers"), "initContainers": spec.get("initContainers")});
    let mut wanted: ResourceList = pod_resources::requests(&containers);
    wanted.retain(|name, _| pod_resources::is_for_pods(name) && super::resources::may_be_overcommitted(name));
    let limits = pod_resources::read(&given["limits"]);
    for (name, limit) in limits.into_iter().filter(|(name, _)| pod_resources::is_for_pods(name)) {
        wanted.entry(name).or_insert(limit);
    }
    let requests = object(object(spec, "resources"), "requests");
    for (name, amount) in wanted {
        requests.entry(name).or_insert_with(|| amount.to_string().into());
    }
}

/// The quality of service that the requests and limits of a spec give: `Guaranteed` where every
/// container limits CPU and memory to what it requests, `BestEffort` where none names either. What the
/// pod says of itself counts instead.
pub fn qos_class(spec: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    let whole = Some(spec).filter(|spec| spec["resources"].is_object()).into_iter();
    let containers = list(spec, "containers").iter().chain(list(spec, "initContainers"));
    let containers = containers.filter(|_| !spec["resources"].is_object());
    for each in whole.chain(containers) {
        let (requests, limits) = (&each["resources"]["requests"], &each["resources"]["limits"]);
        for name in ["cpu", "memory"] {
            let set = |list: &Value| list[name].as_str().is_some_and(|amount| amount != "0");
            any |= set(requests) || set(limits);
            guaranteed &= set(limits) && requests[name] == limits[name];
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
