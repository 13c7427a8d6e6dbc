//! What of a pod may change, and how its status may.

use std::net::IpAddr;

use gantry_json::Value;

use super::common::{dns_subdomain, immutable, legacy_ip, list, qualified_name, restore, sloppy_ip, text};
use super::pod_spec::MIRROR;
use super::{app_armor, security_context};
use crate::diff::diff;
use crate::field::{FieldError, Path};

/// A pod's spec is fixed but for images, deadlines that shrink, added tolerations and removed scheduling
/// gates; before it is scheduled, where it may go can be narrowed.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = annotations(new, old);
    let (path, spec, before) = (Path::new("spec"), &new["spec"], &old["spec"]);
    let mut allowed = spec.clone();
    for field in ["containers", "initContainers"] {
        let olds = list(before, field);
        if list(spec, field).len() != olds.len() {
            let words = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(&path.child(field), words));
            return errors;
        }
        let news = allowed.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        news.zip(olds).for_each(|(each, other)| restore(each, other, "image"));
    }
    let (at, deadline) = (path.child("activeDeadlineSeconds"), &spec["activeDeadlineSeconds"]);
    match (deadline.as_i64(), before["activeDeadlineSeconds"].as_i64()) {
        (Some(now), _) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            let words = "must be between 0 and 2147483647, inclusive";
            errors.push(FieldError::invalid(&at, now, words));
            return errors;
        }
        (Some(now), Some(earlier)) if earlier < now => {
            errors.push(FieldError::invalid(&at, now, "must be less than or equal to previous value"));
            return errors;
        }
        (None, Some(_)) => {
            let words = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(&at, Value::Null, words));
        }
        _ => {}
    }
    tolerations(&path.child("tolerations"), spec, before, &mut errors);
    gates(&path.child("schedulingGates"), spec, before, &mut errors);
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        restore(&mut allowed, before, field);
    }
    // Once it is being deleted, a pod may be given less time.
    let grace = |spec: &Value| spec["terminationGracePeriodSeconds"].as_i64();
    if grace(before).is_some_and(|seconds| seconds < 0) && grace(&allowed) == Some(1) {
        restore(&mut allowed, before, "terminationGracePeriodSeconds");
    }
    if !list(before, "schedulingGates").is_empty() {
        narrow(&path, &mut allowed, before, &mut errors);
    }
    if allowed != *before {
        let words = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        let words = format!("{words}\n{}", diff(before, &allowed));
        errors.push(FieldError::forbidden(&path, words));
    }
    errors
}

/// Checks annotations that stay as they were.
fn annotations(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::new("metadata").child("annotations");
    let (now, before) = (&new["metadata"]["annotations"], &old["metadata"]["annotations"]);
    let kind = |key: &str| match key {
        MIRROR => Some("mirror pod annotation"),
        key if key.starts_with(app_armor::PREFIX) => Some("AppArmor annotations"),
        _ => None,
    };
    for (key, value) in before.as_object().into_iter().flatten() {
        if let Some(kind) = kind(key).filter(|_| now[key] != *value) {
            errors.push(FieldError::forbidden(&path.key(key), format!("may not remove or update {kind}")));
        }
    }
    for key in now.as_object().into_iter().flatten().map(|(key, _)| key) {
        if let Some(kind) = kind(key).filter(|_| before[key].is_null()) {
            errors.push(FieldError::forbidden(&path.key(key), format!("may not add {kind}")));
        }
    }
    errors
}

fn tolerations(path: &Path, spec: &Value, before: &Value, errors: &mut Vec<FieldError>) {
    let timeless = |toleration: &Value| {
        let mut toleration = toleration.clone();
        restore(&mut toleration, &Value::Null, "tolerationSeconds");
        toleration
    };
    let kept: Vec<Value> = list(spec, "tolerations").iter().map(timeless).collect();
    if list(before, "tolerations").iter().any(|each| !kept.contains(&timeless(each))) {
        let words = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(path, words));
    }
}

fn gates(path: &Path, spec: &Value, before: &Value, errors: &mut Vec<FieldError>) {
    let earlier = list(before, "schedulingGates");
    for (at, gate) in list(spec, "schedulingGates").iter().enumerate() {
        if !earlier.contains(gate) {
            let name = text(gate, "name");
            let words = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(&path.index(at).child("name"), words));
        }
    }
}

/// Takes back what a pod that waits at a gate may say more of where it goes.
fn narrow(path: &Path, allowed: &mut Value, before: &Value, errors: &mut Vec<FieldError>) {
    let (now, earlier) = (&allowed["nodeSelector"], &before["nodeSelector"]);
    if now != earlier {
        if earlier.as_object().into_iter().flatten().any(|(key, value)| now[key] != *value) {
            let words = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid(&path.child("nodeSelector"), now.clone(), words));
        }
        restore(allowed, before, "nodeSelector");
    }
    let (now, earlier) = (allowed["affinity"]["nodeAffinity"].clone(), &before["affinity"]["nodeAffinity"]);
    if now == *earlier {
        return;
    }
    node_affinity(&path.child("affinity").child("nodeAffinity"), &now, earlier, errors);
    let others =
        |affinity: &Value| ["podAffinity", "podAntiAffinity"].iter().all(|key| affinity[*key].is_null());
    if before["affinity"].is_null() && others(&allowed["affinity"]) {
        restore(allowed, before, "affinity");
    } else if allowed["affinity"].is_object() {
        restore(&mut allowed["affinity"], &before["affinity"], "nodeAffinity");
    } else {
        allowed["affinity"] = gantry_json::json!({"nodeAffinity": earlier});
    }
}

fn node_affinity(path: &Path, now: &Value, earlier: &Value, errors: &mut Vec<FieldError>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let path = path.child(REQUIRED).child("nodeSelectorTerms");
    let terms = |affinity: &Value| list(&affinity[REQUIRED], "nodeSelectorTerms").to_vec();
    let (news, olds) = (terms(now), terms(earlier));
    if !olds.is_empty() && olds.len() != news.len() {
        let words = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.push(FieldError::invalid(&path, news, words));
    }
    for (at, (new, old)) in news.iter().zip(&olds).enumerate() {
        let part = |term: &Value, key: &str| list(term, key).to_vec();
        let keys = ["matchExpressions", "matchFields"];
        let empty = |term: &Value| keys.iter().all(|key| list(term, key).is_empty());
        let grown = keys.iter().all(|key| part(new, key).starts_with(&part(old, key)));
        if !grown || (empty(old) && !empty(new)) {
            let words = "only additions are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid(&path.index(at), new.clone(), words));
        }
    }
}

/// Checks that containers that were added to a running pod stay what they are.
fn ephemeral(new: &Value, old: &Value) -> Vec<FieldError> {
    if old["metadata"]["annotations"].get(MIRROR).is_some() {
        let words = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden(&Path::new(""), words)];
    }
    let mut errors = annotations(new, old);
    let path = Path::new("spec").child("ephemeralContainers");
    let now = list(&new["spec"], "ephemeralContainers");
    for before in list(&old["spec"], "ephemeralContainers") {
        let name = text(before, "name");
        let words = match now.iter().find(|each| text(each, "name") == name) {
            None => format!("existing ephemeral containers {name:?} may not be removed\n"),
            Some(same) if same == before => continue,
            Some(other) => {
                let changes = diff(before, other);
                format!("existing ephemeral containers {name:?} may not be changed\n{changes}")
            }
        };
        errors.push(FieldError::forbidden(&path, words));
    }
    errors
}

/// Checks how a pod's status changes, or the containers that were added to it.
pub(super) fn validate_status(new: &Value, old: &Value, part: &str) -> Vec<FieldError> {
    if part == "ephemeralcontainers" {
        return ephemeral(new, old);
    }
    let mut errors = annotations(new, old);
    let (path, status, before) = (Path::new("status"), &new["status"], &old["status"]);
    for (at, condition) in list(status, "conditions").iter().enumerate() {
        let kind = text(condition, "type");
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            // The path is upstream's.
            let path = Path::new("metadata").child("conditions").index(at).child("Type");
            qualified_name(&path, kind, &mut errors);
        }
    }
    let nominated = text(status, "nominatedNodeName");
    if !nominated.is_empty() && nominated != text(before, "nominatedNodeName") {
        dns_subdomain(&path.child("nominatedNodeName"), nominated, &mut errors);
    }
    immutable(&path.child("qosClass"), &status["qosClass"], &before["qosClass"], &mut errors);
    for field in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        ended(&path.child(field), field, new, old, &mut errors);
    }
    claims(&path.child("resourceClaimStatuses"), new, &mut errors);
    addresses(&path.child("podIPs"), list(status, "podIPs"), &mut errors);
    let hosts = list(status, "hostIPs");
    if let Some(first) = hosts.first().filter(|first| text(first, "ip") != text(status, "hostIP")) {
        let path = path.child("hostIPs").index(0).child("ip");
        errors.push(FieldError::invalid(&path, text(first, "ip"), "must be equal to `hostIP`"));
    }
    addresses(&path.child("hostIPs"), hosts, &mut errors);
    for field in ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"] {
        for (at, each) in list(status, field).iter().enumerate() {
            let (path, user) = (path.child(field).index(at).child("linux"), &each["user"]["linux"]);
            if !user.is_object() {
                continue;
            }
            if text(&new["spec"]["os"], "name") == "windows" {
                errors.push(FieldError::forbidden(&path, "cannot be set for a windows pod"));
                continue;
            }
            for key in ["uid", "gid"] {
                security_context::id(&path.child(key), &user[key], &mut errors);
            }
            for (at, group) in list(user, "supplementalGroups").iter().enumerate() {
                security_context::id(&path.child("supplementalGroups").index(at), group, &mut errors);
            }
        }
    }
    errors
}

/// Checks that what ended for good does not run again.
fn ended(path: &Path, field: &str, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let policy = match field {
        "ephemeralContainerStatuses" => "Never",
        _ => text(&old["spec"], "restartPolicy"),
    };
    if policy == "Always" {
        return;
    }
    let specs = match field {
        "initContainerStatuses" => list(&old["spec"], "initContainers"),
        _ => list(&old["spec"], "containers"),
    };
    let now = list(&new["status"], field);
    for (at, before) in list(&old["status"], field).iter().enumerate() {
        let (ended, name) = (&before["state"]["terminated"], text(before, "name"));
        let failed = ended["exitCode"].as_i64().unwrap_or(0) != 0;
        // A container may have a word of its own on whether it starts again.
        let own = specs.iter().any(|spec| text(spec, "name") == name && !spec["restartPolicy"].is_null());
        if !ended.is_object() || (failed && policy == "OnFailure") || own {
            continue;
        }
        let again = |each: &&Value| text(each, "name") == name && !each["state"]["terminated"].is_object();
        for _ in now.iter().filter(again) {
            let words = "may not be transitioned to non-terminated state";
            errors.push(FieldError::forbidden(&path.index(at).child("state"), words));
        }
    }
}

fn claims(path: &Path, pod: &Value, errors: &mut Vec<FieldError>) {
    let statuses = list(&pod["status"], "resourceClaimStatuses");
    let known = list(&pod["spec"], "resourceClaims");
    for (at, status) in statuses.iter().enumerate() {
        let (path, name) = (path.index(at).child("name"), text(status, "name"));
        if !known.iter().any(|claim| text(claim, "name") == name) {
            let words = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(FieldError::invalid(&path, name, words));
        }
        if statuses[..at].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        if let Some(claim) = status["resourceClaimName"].as_str() {
            dns_subdomain(&path, claim, errors);
        }
    }
}

/// Checks addresses: at most one of each family.
fn addresses(path: &Path, addresses: &[Value], errors: &mut Vec<FieldError>) {
    for (at, each) in addresses.iter().enumerate() {
        legacy_ip(&path.index(at), text(each, "ip"), errors);
        if addresses[..at].iter().any(|other| text(other, "ip") == text(each, "ip")) {
            errors.push(FieldError::duplicate(&path.index(at), each.clone()));
        }
    }
    let families: Vec<bool> = addresses
        .iter()
        .filter_map(|each| sloppy_ip(text(each, "ip")))
        .map(|ip| matches!(ip, IpAddr::V4(_)))
        .collect();
    if addresses.len() > 2 || (addresses.len() == 2 && families.first() == families.get(1)) {
        let words = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(path, addresses.to_vec(), words));
    }
}
