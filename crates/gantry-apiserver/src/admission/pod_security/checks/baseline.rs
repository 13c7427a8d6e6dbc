//! The baseline level: what is known to lead out of a container.

use std::collections::BTreeSet;

use gantry_api::{
    rules::common::{list, text},
    sysctls::is_safe,
};
use gantry_json::Value;

use super::{Check, Pod, Violation, bad_setters, containers, name, plural, quoted, setters};

pub(super) const CHECKS: &[Check] = &[
    Check { id: "appArmorProfile", replaces: None, since: &[(0, app_armor)] },
    Check { id: "capabilities_baseline", replaces: None, since: &[(0, capabilities)] },
    Check { id: "hostNamespaces", replaces: None, since: &[(0, host_namespaces)] },
    Check { id: "hostPathVolumes", replaces: None, since: &[(0, host_paths)] },
    Check { id: "hostPorts", replaces: None, since: &[(0, host_ports)] },
    Check { id: "hostProbesAndHostLifecycle", replaces: None, since: &[(34, probe_hosts)] },
    Check { id: "privileged", replaces: None, since: &[(0, privileged)] },
    Check { id: "procMount", replaces: None, since: &[(0, proc_mount), (35, proc_mount_of_own_users)] },
    Check { id: "seLinuxOptions", replaces: None, since: &[(0, se_linux), (31, se_linux_31)] },
    Check {
        id: "seccompProfile_baseline",
        replaces: None,
        since: &[(0, seccomp_annotations), (19, seccomp)],
    },
    Check {
        id: "sysctls",
        replaces: None,
        since: &[(0, sysctls), (27, sysctls_27), (29, sysctls_29), (32, sysctls_32)],
    },
    Check { id: "windowsHostProcess", replaces: None, since: &[(0, host_process)] },
];

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn app_armor(pod: Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let (whole, names, bad) = bad_setters(pod, "appArmorProfile", |profile| {
        Some(text(profile, "type")).filter(|kind| !matches!(*kind, "RuntimeDefault" | "Localhost"))
    });
    let annotations = pod.metadata["annotations"].as_object().into_iter().flatten();
    let allowed =
        |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let annotations: BTreeSet<String> = annotations
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(key, value)| key.starts_with(PREFIX) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let marks = plural(annotations.len(), "annotation", "annotations");
    let who = match (setters(whole, &names), annotations.is_empty()) {
        (None, true) => return None,
        (Some(who), true) => who,
        (None, false) => marks.to_owned(),
        (Some(who), false) => format!("{who} and {marks}"),
    };
    let bad: Vec<&str> = bad.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    Violation::new(
        plural(bad.len(), "forbidden AppArmor profile", "forbidden AppArmor profiles"),
        format!("{who} must not set AppArmor profile type to {}", quoted(bad)),
    )
}

fn capabilities(pod: Pod<'_>) -> Option<Violation> {
    let (names, added) = adding(pod, |capability| CAPABILITIES.contains(&capability));
    if names.is_empty() {
        return None;
    }
    Violation::new("non-default capabilities", adds(&names, added))
}

/// The containers that add capabilities which are not allowed, and those.
pub(super) fn adding<'a>(pod: Pod<'a>, allowed: impl Fn(&str) -> bool) -> (Vec<&'a str>, BTreeSet<&'a str>) {
    let mut all = BTreeSet::new();
    let names = pod.containers_that(|container| {
        let capabilities = &container["securityContext"]["capabilities"];
        let added = list(capabilities, "add").iter().filter_map(Value::as_str);
        let bad: Vec<&str> = added.filter(|capability| !allowed(capability)).collect();
        all.extend(bad.iter().copied());
        !bad.is_empty()
    });
    (names, all)
}

pub(super) fn adds(names: &[&str], added: BTreeSet<&str>) -> String {
    format!("{} must not include {} in securityContext.capabilities.add", containers(names), quoted(added))
}

fn host_namespaces(pod: Pod<'_>) -> Option<Violation> {
    let fields = ["hostNetwork", "hostPID", "hostIPC"].into_iter();
    let shared = fields.filter(|field| pod.spec[*field] == true).map(|field| format!("{field}=true"));
    let shared: Vec<_> = shared.collect();
    if shared.is_empty() {
        return None;
    }
    Violation::new("host namespaces", shared.join(", "))
}

fn host_paths(pod: Pod<'_>) -> Option<Violation> {
    let volumes = list(pod.spec, "volumes").iter().filter(|volume| volume["hostPath"].is_object());
    let names: Vec<&str> = volumes.map(name).collect();
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} {}", plural(names.len(), "volume", "volumes"), quoted(names));
    Violation::new("hostPath volumes", detail)
}

fn host_ports(pod: Pod<'_>) -> Option<Violation> {
    let mut ports = BTreeSet::new();
    let names = pod.containers_that(|container| {
        let own = list(container, "ports").iter().filter_map(|port| port["hostPort"].as_i64());
        let own: Vec<String> = own.filter(|port| *port != 0).map(|port| port.to_string()).collect();
        let any = !own.is_empty();
        ports.extend(own);
        any
    });
    if names.is_empty() {
        return None;
    }
    let numbers: Vec<String> = ports.into_iter().collect();
    Violation::new(
        "hostPort",
        format!(
            "{} {} {} {}",
            containers(&names),
            plural(names.len(), "uses", "use"),
            plural(numbers.len(), "hostPort", "hostPorts"),
            numbers.join(", ")
        ),
    )
}

fn probe_hosts(pod: Pod<'_>) -> Option<Violation> {
    const PLACES: [&str; 5] =
        ["/livenessProbe", "/readinessProbe", "/startupProbe", "/lifecycle/postStart", "/lifecycle/preStop"];
    let mut hosts = BTreeSet::new();
    let names = pod.containers_that(|container| {
        let actions = PLACES.iter().filter_map(|place| container.pointer(place));
        let own =
            actions.flat_map(|action| [text(&action["httpGet"], "host"), text(&action["tcpSocket"], "host")]);
        let own: Vec<&str> = own.filter(|host| !host.is_empty()).collect();
        hosts.extend(own.iter().copied());
        !own.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    let names: BTreeSet<&str> = names.into_iter().collect();
    let names: Vec<&str> = names.into_iter().collect();
    Violation::new(
        "probe or lifecycle host",
        format!(
            "{} {} {} {}",
            containers(&names),
            plural(names.len(), "uses", "use"),
            plural(hosts.len(), "probe or lifecycle host", "probe or lifecycle hosts"),
            quoted(hosts)
        ),
    )
}

fn privileged(pod: Pod<'_>) -> Option<Violation> {
    let names = pod.containers_that(|container| container["securityContext"]["privileged"] == true);
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", containers(&names));
    Violation::new("privileged", detail)
}

pub(super) fn proc_mount(pod: Pod<'_>) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let names = pod.containers_that(|container| {
        let kind = container["securityContext"]["procMount"].as_str().filter(|kind| *kind != "Default");
        kinds.extend(kind);
        kind.is_some()
    });
    if names.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not set securityContext.procMount to {}", containers(&names), quoted(kinds));
    Violation::new("procMount", detail)
}

fn proc_mount_of_own_users(pod: Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { proc_mount(pod) }
}

fn se_linux(pod: Pod<'_>) -> Option<Violation> {
    se_linux_beside(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

fn se_linux_31(pod: Pod<'_>) -> Option<Violation> {
    se_linux_beside(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn se_linux_beside(pod: Pod<'_>, allowed: &[&str]) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut bad = |object: &Value| {
        let options = &object["securityContext"]["seLinuxOptions"];
        let kind = text(options, "type");
        let set = |field: &str| !text(options, field).is_empty();
        if !allowed.contains(&kind) {
            types.insert(kind.to_owned());
        }
        user |= set("user");
        role |= set("role");
        !allowed.contains(&kind) || set("user") || set("role")
    };
    let whole = bad(pod.spec);
    let names = pod.containers_that(bad);
    let who = setters(whole, &names)?;
    let mut what = Vec::new();
    if !types.is_empty() {
        let names = quoted(types.iter().map(String::as_str));
        what.push(format!("{} {names}", plural(types.len(), "type", "types")));
    }
    if user {
        what.push("user may not be set".to_owned());
    }
    if role {
        what.push("role may not be set".to_owned());
    }
    let what = what.join("; ");
    Violation::new("seLinuxOptions", format!("{who} set forbidden securityContext.seLinuxOptions: {what}"))
}

/// Before there were fields, annotations chose the profile.
fn seccomp_annotations(pod: Pod<'_>) -> Option<Violation> {
    const POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let keys = pod.containers().map(|container| format!("{CONTAINER}{}", name(container)));
    let mut bad = BTreeSet::new();
    for key in std::iter::once(POD.to_owned()).chain(keys) {
        let Some(value) = pod.annotation(&key) else { continue };
        let known = matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
        if !known {
            bad.insert(format!("{key}={value:?}"));
        }
    }
    if bad.is_empty() {
        return None;
    }
    let count = plural(bad.len(), "annotation", "annotations");
    let bad: Vec<String> = bad.into_iter().collect();
    Violation::new("seccompProfile", format!("forbidden {count} {}", bad.join(", ")))
}

pub(super) fn seccomp(pod: Pod<'_>) -> Option<Violation> {
    let (whole, names, bad) = bad_setters(pod, "seccompProfile", |profile| {
        Some(text(profile, "type")).filter(|kind| !matches!(*kind, "RuntimeDefault" | "Localhost"))
    });
    let who = setters(whole, &names)?;
    let what = quoted(bad);
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {what}");
    Violation::new("seccompProfile", detail)
}

fn sysctls(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 0)
}

fn sysctls_27(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 27)
}

fn sysctls_29(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 29)
}

fn sysctls_32(pod: Pod<'_>) -> Option<Violation> {
    unsafe_sysctls(pod, 32)
}

fn unsafe_sysctls(pod: Pod<'_>, minor: u32) -> Option<Violation> {
    let set = list(&pod.spec["securityContext"], "sysctls").iter().map(name);
    let bad: Vec<&str> = set.filter(|each| !is_safe(each, minor)).collect();
    if bad.is_empty() { None } else { Violation::new("forbidden sysctls", bad.join(", ")) }
}

fn host_process(pod: Pod<'_>) -> Option<Violation> {
    let is = |object: &Value| object["securityContext"]["windowsOptions"]["hostProcess"] == true;
    let who = setters(is(pod.spec), &pod.containers_that(is))?;
    Violation::new(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}
