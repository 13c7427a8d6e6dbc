//! Pod, and pod templates.

use serde_json::{Map, Value, json};

use super::common::{
    default, dns_label, dns_subdomain, items, keep_status, list, not_negative, object, one_of, restore, text,
};
use super::{container, placement, security_context, volume};
use crate::diff::diff;
use crate::field::{FieldError, Path};
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
    prepare_create: |pod| {
        pod["status"] = json!({"phase": "Pending", "qosClass": qos_class(&pod["spec"])});
        if !list(&pod["spec"], "schedulingGates").is_empty() {
            pod["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": pod["metadata"]["creationTimestamp"],
            }]);
        }
    },
    prepare_update: keep_status,
    validate: |pod| {
        let mut errors = Vec::new();
        validate_spec(&Path::new("spec"), &pod["spec"], &mut errors);
        errors
    },
    validate_update,
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
    ..Rules::NONE
};

/// Sets the defaults of a pod's spec.
pub fn set_defaults(spec: &mut Map<String, Value>) {
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "restartPolicy", "Always");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    if let Some(name) = spec.get("serviceAccountName").or(spec.get("serviceAccount")).cloned() {
        spec.insert("serviceAccount".into(), name.clone());
        spec.insert("serviceAccountName".into(), name);
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        for each in items(spec, field) {
            container::set_defaults(each);
            if host_network {
                for port in items(each, "ports") {
                    if let Some(number) = port.get("containerPort").cloned() {
                        default(port, "hostPort", number);
                    }
                }
            }
        }
    }
    for constraint in items(spec, "topologySpreadConstraints") {
        default(constraint, "nodeAffinityPolicy", "Honor");
        default(constraint, "nodeTaintsPolicy", "Ignore");
    }
    items(spec, "volumes").for_each(volume_defaults);
}

/// Sets defaults that pods have and templates have not.
pub fn set_pod_only_defaults(spec: &mut Map<String, Value>) {
    default(spec, "enableServiceLinks", true);
}

fn volume_defaults(volume: &mut Map<String, Value>) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".into(), json!({}));
    }
    for (kind, value) in volume.iter_mut().filter_map(|(kind, value)| Some((kind, value.as_object_mut()?))) {
        match kind.as_str() {
            "configMap" | "secret" | "projected" | "downwardAPI" => default(value, "defaultMode", 420),
            "hostPath" => default(value, "type", ""),
            _ => {}
        }
        downward_defaults(value);
        if kind == "projected" {
            for source in items(value, "sources") {
                if let Some(Value::Object(token)) = source.get_mut("serviceAccountToken") {
                    default(token, "expirationSeconds", 3600);
                }
                if let Some(Value::Object(downward)) = source.get_mut("downwardAPI") {
                    downward_defaults(downward);
                }
            }
        }
    }
}

fn downward_defaults(volume: &mut Map<String, Value>) {
    for item in items(volume, "items") {
        if let Some(Value::Object(field)) = item.get_mut("fieldRef") {
            default(field, "apiVersion", "v1");
        }
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

/// Checks a pod's spec.
pub fn validate_spec(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let mut volumes: Vec<&str> = Vec::new();
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        let path = path.child("volumes").index(at);
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        } else {
            dns_label(&path.child("name"), name, errors);
        }
        if volumes.contains(&name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        volume::validate(&path, volume, errors);
        if volume.as_object().is_some_and(|map| map.len() > 2) {
            let second =
                volume.as_object().into_iter().flat_map(Map::keys).filter(|key| *key != "name").nth(1);
            let path = path.child(second.map_or("", String::as_str));
            errors.push(FieldError::forbidden(&path, "may not specify more than 1 volume type"));
        }
        volumes.push(name);
    }
    let containers = list(spec, "containers");
    if containers.is_empty() {
        errors.push(FieldError::required(&path.child("containers"), ""));
    }
    container::validate_all(&path.child("containers"), containers, &volumes, errors);
    let init = list(spec, "initContainers");
    container::validate_all(&path.child("initContainers"), init, &volumes, errors);
    container::validate_files(path, spec, errors);
    for (at, each) in init.iter().enumerate() {
        // One that runs to its end has no life to look after.
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if each["restartPolicy"] != "Always" && each[field].is_object() {
                let path = path.child("initContainers").index(at).child(field);
                let words = "may not be set for init containers without restartPolicy=Always";
                errors.push(FieldError::forbidden(&path, words));
            }
        }
        let name = text(each, "name");
        if containers.iter().any(|other| text(other, "name") == name) {
            let path = path.child("initContainers").index(at).child("name");
            errors.push(FieldError::duplicate(&path, name));
        }
    }
    one_of(
        &path.child("restartPolicy"),
        text(spec, "restartPolicy"),
        &["Always", "Never", "OnFailure"],
        errors,
    );
    one_of(
        &path.child("dnsPolicy"),
        text(spec, "dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        errors,
    );
    if text(spec, "dnsPolicy") == "None" && list(&spec["dnsConfig"], "nameservers").is_empty() {
        errors.push(FieldError::required(
            &path.child("dnsConfig").child("nameservers"),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ));
    }
    not_negative(
        &path.child("terminationGracePeriodSeconds"),
        &spec["terminationGracePeriodSeconds"],
        errors,
    );
    if spec["activeDeadlineSeconds"]
        .as_i64()
        .is_some_and(|seconds| !(1..=i64::from(i32::MAX)).contains(&seconds))
    {
        errors.push(FieldError::invalid(
            &path.child("activeDeadlineSeconds"),
            spec["activeDeadlineSeconds"].clone(),
            "must be between 1 and 2147483647, inclusive",
        ));
    }
    for (key, check) in [
        ("hostname", dns_label as fn(&Path, &str, &mut Vec<FieldError>)),
        ("subdomain", dns_label),
        ("nodeName", dns_subdomain),
        ("serviceAccountName", dns_subdomain),
    ] {
        if !text(spec, key).is_empty() {
            check(&path.child(key), text(spec, key), errors);
        }
    }
    super::common::labels(&path.child("nodeSelector"), &spec["nodeSelector"], errors);
    tolerations(&path.child("tolerations"), list(spec, "tolerations"), errors);
    placement::affinity(&path.child("affinity"), &spec["affinity"], errors);
    let constraints = list(spec, "topologySpreadConstraints");
    placement::spread(&path.child("topologySpreadConstraints"), constraints, errors);
    security_context::of_pod(&path.child("securityContext"), &spec["securityContext"], errors);
    host_ports(&path.child("containers"), spec, errors);
    for (at, each) in list(spec, "hostAliases").iter().enumerate() {
        let (path, address) = (path.child("hostAliases").index(at), text(each, "ip"));
        if address.parse::<std::net::IpAddr>().is_err() {
            let words = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(&path.child("ip"), address, words));
        }
        for name in list(each, "hostnames") {
            dns_subdomain(&path.child("hostnames"), name.as_str().unwrap_or_default(), errors);
        }
    }
    for (at, gate) in list(spec, "readinessGates").iter().enumerate() {
        let path = path.child("readinessGates").index(at).child("conditionType");
        super::common::qualified_name(&path, text(gate, "conditionType"), errors);
    }
}

/// Ports of the node: no two containers' alike, and with the node's network those of the container.
fn host_ports(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let mut taken = Vec::new();
    for (at, container) in list(spec, "containers").iter().enumerate() {
        for (index, port) in list(container, "ports").iter().enumerate() {
            let path = path.index(at).child("ports").index(index);
            let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else { continue };
            let here = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if taken.contains(&here) {
                errors.push(FieldError::duplicate(&path.child("hostPort"), here.as_str()));
            }
            taken.push(here);
            if spec["hostNetwork"] == true && port["containerPort"] != number {
                let words = "must match `hostPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(
                    &path.child("containerPort"),
                    port["containerPort"].clone(),
                    words,
                ));
            }
        }
    }
}

/// Checks tolerations.
pub(super) fn tolerations(path: &Path, tolerations: &[Value], errors: &mut Vec<FieldError>) {
    for (at, toleration) in tolerations.iter().enumerate() {
        let path = path.index(at);
        let (key, value, effect) =
            (text(toleration, "key"), text(toleration, "value"), text(toleration, "effect"));
        let operator = text(toleration, "operator");
        if !key.is_empty() {
            super::common::qualified_name(&path.child("key"), key, errors);
        } else if operator != "Exists" {
            errors.push(FieldError::invalid(
                &path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if operator == "Exists" && !value.is_empty() {
            errors.push(FieldError::invalid(
                &path.child("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            ));
        }
        if !matches!(operator, "" | "Exists" | "Equal") {
            errors.push(FieldError::not_supported(&path.child("operator"), operator, &["Equal", "Exists"]));
        }
        if !effect.is_empty() {
            one_of(&path.child("effect"), effect, &["NoExecute", "NoSchedule", "PreferNoSchedule"], errors);
        }
        if toleration["tolerationSeconds"].is_i64() && effect != "NoExecute" {
            errors.push(FieldError::invalid(
                &path.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ));
        }
    }
}

/// A pod's spec is fixed but for images, deadlines that shrink, added tolerations and removed
/// scheduling gates.
fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut allowed = new["spec"].clone();
    let before = &old["spec"];
    for field in ["containers", "initContainers"] {
        let olds = list(before, field);
        if let Some(news) = allowed.get_mut(field).and_then(Value::as_array_mut) {
            if news.len() != olds.len() {
                let path = Path::new("spec").child(field);
                return vec![FieldError::forbidden(&path, "pod updates may not add or remove containers")];
            }
            for (each, other) in news.iter_mut().zip(olds) {
                each["image"] = other["image"].clone();
            }
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        restore(&mut allowed, before, field);
    }
    // Once it is being deleted, a pod may be given less time.
    if before["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        restore(&mut allowed, before, "terminationGracePeriodSeconds");
    }
    let mut errors = Vec::new();
    if allowed != *before {
        let words = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        let words = format!("{words}\n{}", diff(before, &allowed));
        errors.push(FieldError::forbidden(&Path::new("spec"), words));
    }
    let (tolerations, earlier) = (list(&new["spec"], "tolerations"), list(before, "tolerations"));
    let timeless = |toleration: &Value| {
        let mut toleration = toleration.clone();
        restore(&mut toleration, &Value::Null, "tolerationSeconds");
        toleration
    };
    let kept: Vec<Value> = tolerations.iter().map(timeless).collect();
    if earlier.iter().any(|each| !kept.contains(&timeless(each))) {
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
    let gates = list(before, "schedulingGates");
    if list(&new["spec"], "schedulingGates").iter().any(|gate| !gates.contains(gate)) {
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("schedulingGates"),
            "only deletion is allowed, but found new scheduling gate",
        ));
    }
    errors
}
