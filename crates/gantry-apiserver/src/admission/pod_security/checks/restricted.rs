//! The restricted level: what is not needed by a pod that was made with care.

use std::collections::BTreeSet;

use gantry_api::rules::common::list;
use gantry_json::Value;

use super::baseline::{adding, adds, proc_mount, seccomp as forbidden_seccomp};
use super::{Check, Pod, Violation, containers, name, plural, quoted, setters};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "allowPrivilegeEscalation",
        replaces: None,
        since: &[(8, escalation), (25, |pod| on_linux(pod, escalation))],
    },
    Check {
        id: "capabilities_restricted",
        replaces: Some("capabilities_baseline"),
        since: &[(22, capabilities), (25, |pod| on_linux(pod, capabilities))],
    },
    Check { id: "procMount_restricted", replaces: Some("procMount"), since: &[(35, proc_mount)] },
    Check { id: "restrictedVolumes", replaces: Some("hostPathVolumes"), since: &[(0, volumes)] },
    Check { id: "runAsNonRoot", replaces: None, since: &[(0, non_root)] },
    Check { id: "runAsUser", replaces: None, since: &[(23, user)] },
    Check {
        id: "seccompProfile_restricted",
        replaces: Some("seccompProfile_baseline"),
        since: &[(19, seccomp), (25, |pod| on_linux(pod, seccomp))],
    },
];

/// Pods of Windows have none of this.
fn on_linux(pod: Pod<'_>, check: fn(Pod<'_>) -> Option<Violation>) -> Option<Violation> {
    if pod.is_windows() { None } else { check(pod) }
}

fn escalation(pod: Pod<'_>) -> Option<Violation> {
    let names =
        pod.containers_that(|container| container["securityContext"]["allowPrivilegeEscalation"] != false);
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
    Violation::new("allowPrivilegeEscalation != false", detail)
}

fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    let keeping = pod.containers_that(|container| {
        let dropped = list(&container["securityContext"]["capabilities"], "drop");
        !dropped.iter().any(|capability| capability == "ALL")
    });
    let (names, added) = adding(pod, |capability| capability == "NET_BIND_SERVICE");
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details
            .push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !names.is_empty() {
        details.push(adds(&names, added));
    }
    if details.is_empty() {
        return None;
    }
    Violation::new("unrestricted capabilities", details.join("; "))
}

const ALLOWED_VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const OTHER_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

fn volumes(pod: Pod<'_>) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let is_bad = |volume: &&Value| !ALLOWED_VOLUMES.iter().any(|kind| volume[*kind].is_object());
    let mut names = Vec::new();
    for volume in list(pod.spec, "volumes").iter().filter(is_bad) {
        names.push(name(volume));
        kinds.insert(*OTHER_VOLUMES.iter().find(|kind| volume[**kind].is_object()).unwrap_or(&"unknown"));
    }
    if names.is_empty() {
        return None;
    }
    Violation::new(
        "restricted volume types",
        format!(
            "{} {} {} {} {}",
            plural(names.len(), "volume", "volumes"),
            quoted(names.iter().copied()),
            plural(names.len(), "uses", "use"),
            plural(kinds.len(), "restricted volume type", "restricted volume types"),
            quoted(kinds)
        ),
    )
}

fn non_root(pod: Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if pod.has_own_users() {
        return None;
    }
    let set = |object: &Value| object["securityContext"]["runAsNonRoot"].as_bool();
    let whole = set(pod.spec);
    let root = pod.containers_that(|container| set(container) == Some(false));
    if let Some(who) = setters(whole == Some(false), &root) {
        return Violation::new(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    let silent = pod.containers_that(|container| set(container).is_none() && whole != Some(true));
    if silent.is_empty() {
        return None;
    }
    Violation::new(
        REASON,
        format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)),
    )
}

fn user(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() {
        return None;
    }
    let is_root = |object: &Value| object["securityContext"]["runAsUser"] == 0;
    let who = setters(is_root(pod.spec), &pod.containers_that(is_root))?;
    Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

fn seccomp(pod: Pod<'_>) -> Option<Violation> {
    if let Some(forbidden) = forbidden_seccomp(pod) {
        return Some(forbidden);
    }
    let set = |object: &Value| object["securityContext"]["seccompProfile"].is_object();
    let silent = pod.containers_that(|container| !set(container) && !set(pod.spec));
    if silent.is_empty() {
        return None;
    }
    Violation::new(
        "seccompProfile",
        format!(
            "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
            containers(&silent)
        ),
    )
}
