//! As whom and with which rights processes run.

use gantry_json::Value;

use super::common::{dns_subdomain, list, one_of, required_one_of, text};
use super::volume_source::descending;
use crate::field::{FieldError, Path};

const IDS: std::ops::RangeInclusive<i64> = 0..=2_147_483_647;
/// The longest name of an AppArmor profile, in bytes.
const LONGEST_PROFILE: usize = 4095;
/// The largest credentials of a Windows account, in KiB.
const LARGEST_CREDENTIALS: usize = 64;
/// The longest domain and the longest name of a Windows user.
const LONGEST_DOMAIN: usize = 256;
const LONGEST_USER: usize = 104;
/// Words for what a pod for Windows has not.
const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";

/// Checks the number of a user or a group.
pub(super) fn id(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|id| !IDS.contains(&id)) {
        let words = "must be between 0 and 2147483647, inclusive";
        errors.push(FieldError::invalid(path, value.clone(), words));
    }
}

fn seccomp(path: &Path, profile: &Value, errors: &mut Vec<FieldError>) {
    if !profile.is_object() {
        return;
    }
    let (kind, at) = (text(profile, "type"), path.child("localhostProfile"));
    match kind {
        "" => {
            let words = "type is required when seccompProfile is set";
            errors.push(FieldError::required(&path.child("type"), words));
        }
        kind => one_of(&path.child("type"), kind, &["Localhost", "RuntimeDefault", "Unconfined"], errors),
    }
    match (kind, profile["localhostProfile"].as_str()) {
        ("Localhost", None) => {
            errors.push(FieldError::required(&at, "must be set when seccomp type is Localhost"));
        }
        ("Localhost", Some(local)) => descending(&at, local, errors),
        (_, Some(_)) => {
            let words = "can only be set when seccomp type is Localhost";
            errors.push(FieldError::invalid(&at, profile.clone(), words));
        }
        (_, None) => {}
    }
}

pub(super) fn app_armor(path: &Path, profile: &Value, errors: &mut Vec<FieldError>) {
    if !profile.is_object() {
        return;
    }
    let (kind, at) = (text(profile, "type"), path.child("localhostProfile"));
    match (kind, profile["localhostProfile"].as_str()) {
        ("Localhost", Some(local)) if local.trim() != local => {
            errors.push(FieldError::invalid(&at, local, "must not be padded with whitespace"));
        }
        ("Localhost", None | Some("")) => {
            errors.push(FieldError::required(&at, "must be set when AppArmor type is Localhost"));
        }
        ("Localhost", Some(local)) if local.len() > LONGEST_PROFILE => {
            errors.push(FieldError::too_long(&at, LONGEST_PROFILE));
        }
        ("RuntimeDefault" | "Unconfined", Some(local)) => {
            let words = "can only be set when AppArmor type is Localhost";
            errors.push(FieldError::invalid(&at, local, words));
        }
        ("", _) => {
            let words = "type is required when appArmorProfile is set";
            errors.push(FieldError::required(&path.child("type"), words));
        }
        (kind, _) => {
            one_of(&path.child("type"), kind, &["Localhost", "RuntimeDefault", "Unconfined"], errors)
        }
    }
}

/// Checks the security context of a pod of that spec.
pub(super) fn of_pod(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let context = &spec["securityContext"];
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&path.child(key), &context[key], errors);
    }
    for (at, group) in list(context, "supplementalGroups").iter().enumerate() {
        id(&path.child("supplementalGroups").index(at), group, errors);
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let words = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(FieldError::invalid(&path.child("shareProcessNamespace"), true, words));
    }
    sysctls(&path.child("sysctls"), spec, list(context, "sysctls"), errors);
    let choice = |key: &str, known: &[&str], errors: &mut Vec<FieldError>| {
        if let Some(value) = context[key].as_str() {
            one_of(&path.child(key), value, known, errors);
        }
    };
    choice("fsGroupChangePolicy", &["Always", "OnRootMismatch"], errors);
    seccomp(&path.child("seccompProfile"), &context["seccompProfile"], errors);
    windows(&path.child("windowsOptions"), &context["windowsOptions"], errors);
    app_armor(&path.child("appArmorProfile"), &context["appArmorProfile"], errors);
    choice("supplementalGroupsPolicy", &["Merge", "Strict"], errors);
    // The other policy waits for a feature that is off.
    choice("seLinuxChangePolicy", &["Recursive"], errors);
}

fn sysctls(path: &Path, spec: &Value, sysctls: &[Value], errors: &mut Vec<FieldError>) {
    for (at, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(at).child("name");
        let name = text(sysctl, "name");
        let part = |part: &str| {
            let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            part.starts_with(fine)
                && part.ends_with(fine)
                && part.chars().all(|c| fine(c) || "-_".contains(c))
        };
        if name.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if name.len() > 253 || !name.split(['.', '/']).all(part) {
            let words = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(FieldError::invalid(&path, name, words));
        } else if sysctls[..at].iter().any(|other| other["name"] == name) {
            errors.push(FieldError::duplicate(&path, name));
        }
        let plain = name.replace('/', ".");
        let ipc = plain.starts_with("kernel.shm")
            || plain.starts_with("kernel.msg")
            || plain == "kernel.sem"
            || plain.starts_with("fs.mqueue.");
        for (host, shared) in [("hostNetwork", plain.starts_with("net.")), ("hostIPC", ipc)] {
            if shared && spec[host] == true {
                let words = format!("may not be specified when '{host}' is true");
                errors.push(FieldError::invalid(&path, name, words));
            }
        }
    }
}

/// Checks a container's security context; `host_users` says whether its users are the node's.
pub(super) fn of_container(path: &Path, context: &Value, host_users: bool, errors: &mut Vec<FieldError>) {
    for key in ["runAsUser", "runAsGroup"] {
        id(&path.child(key), &context[key], errors);
    }
    if let Some(mount) = context["procMount"].as_str() {
        one_of(&path.child("procMount"), mount, &["Default", "Unmasked"], errors);
        if mount == "Unmasked" && host_users {
            let words = "`hostUsers` must be false to use `Unmasked`";
            errors.push(FieldError::invalid(&path.child("procMount"), mount, words));
        }
    }
    seccomp(&path.child("seccompProfile"), &context["seccompProfile"], errors);
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            let words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(path, context.clone(), words));
        }
        let added = list(&context["capabilities"], "add");
        for _ in added.iter().filter(|capability| *capability == "CAP_SYS_ADMIN") {
            let words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, context.clone(), words));
        }
    }
    windows(&path.child("windowsOptions"), &context["windowsOptions"], errors);
    app_armor(&path.child("appArmorProfile"), &context["appArmorProfile"], errors);
}

fn windows(path: &Path, options: &Value, errors: &mut Vec<FieldError>) {
    if let Some(name) = options["gmsaCredentialSpecName"].as_str() {
        dns_subdomain(&path.child("gmsaCredentialSpecName"), name, errors);
    }
    let at = path.child("gmsaCredentialSpec");
    match options["gmsaCredentialSpec"].as_str() {
        Some("") => {
            errors.push(FieldError::invalid(&at, "", "gmsaCredentialSpec cannot be an empty string"));
        }
        Some(spec) if spec.len() > LARGEST_CREDENTIALS << 10 => {
            let words = format!("gmsaCredentialSpec size must be under {LARGEST_CREDENTIALS} KiB");
            errors.push(FieldError::invalid(&at, spec, words));
        }
        _ => {}
    }
    if let Some(name) = options["runAsUserName"].as_str() {
        let at = path.child("runAsUserName");
        errors.extend(windows_user(name).into_iter().map(|words| FieldError::invalid(&at, name, words)));
    }
}

/// What is wrong with the name of a Windows user.
fn windows_user(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('\\').collect();
    let (domain, user) = match parts.as_slice() {
        _ if name.is_empty() => return vec!["runAsUserName cannot be an empty string".to_owned()],
        _ if name.chars().any(|c| c.is_ascii_control()) => {
            return vec!["runAsUserName cannot contain control characters".to_owned()];
        }
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return vec!["runAsUserName cannot contain more than one backslash".to_owned()],
    };
    let mut faults = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= LONGEST_DOMAIN {
            faults.push(format!("runAsUserName's Domain length must be under {LONGEST_DOMAIN} characters"));
        }
        let net_bios = (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !net_bios && !domain.split('.').all(label) {
            let words = "runAsUserName's Domain doesn't match the NetBios nor the DNS format";
            faults.push(words.to_owned());
        }
    }
    if user.is_empty() {
        faults.push("runAsUserName's User cannot be empty".to_owned());
    } else if user.len() > LONGEST_USER {
        faults.push(format!("runAsUserName's User length must not be longer than {LONGEST_USER} characters"));
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        faults.push("runAsUserName's User cannot contain only periods or spaces".to_owned());
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        let words = r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#;
        faults.push(words.to_owned());
    }
    faults
}

/// The containers of a spec with their paths: those before the others first.
pub(super) fn containers<'a>(path: &Path, spec: &'a Value) -> impl Iterator<Item = (Path, &'a Value)> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |field| {
        let path = path.child(field);
        list(spec, field).iter().enumerate().map(move |(at, container)| (path.index(at), container))
    })
}

/// Checks containers that run as processes of a Windows host.
pub(super) fn host_processes(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let whole = spec["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
    let (mut all, mut theirs) = (0, 0);
    for (at, container) in containers(path, spec) {
        let own = container["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
        if let (Some(whole), Some(own)) = (whole, own)
            && whole != own
        {
            let at = at.child("securityContext").child("windowsOptions").child("hostProcess");
            let words = format!("pod hostProcess value must be identical if both are specified, was {whole}");
            errors.push(FieldError::invalid(&at, own, words));
        }
        all += 1;
        theirs += usize::from(own.or(whole) == Some(true));
    }
    if theirs > 0 && theirs != all {
        let words =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.push(FieldError::invalid(path, "", words));
    }
    if theirs > 0 && spec["hostNetwork"] != true {
        let words = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.push(FieldError::invalid(&path.child("hostNetwork"), false, words));
    }
}

/// Checks the operating system of a pod, and what it takes away.
pub(super) fn operating_system(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    if !spec["os"].is_object() {
        return;
    }
    let (context, at) = (&spec["securityContext"], path.child("securityContext"));
    match text(&spec["os"], "name") {
        "" => errors.push(FieldError::required(&path.child("os").child("name"), "cannot be empty")),
        "linux" => {
            let words = "windows options cannot be set for a linux pod";
            let own = context["windowsOptions"].is_object().then_some(at);
            let theirs = containers(path, spec)
                .filter(|(_, container)| container["securityContext"]["windowsOptions"].is_object());
            let theirs = theirs.map(|(path, _)| path.child("securityContext"));
            for path in own.into_iter().chain(theirs) {
                errors.push(FieldError::forbidden(&path.child("windowsOptions"), words));
            }
        }
        "windows" => {
            let set = |holder: &Value, key: &str| !holder[key].is_null();
            let shared = |key: &str| spec[key] == true;
            for key in ["hostPID", "hostIPC"].into_iter().filter(|key| shared(key)) {
                errors.push(FieldError::forbidden(&path.child(key), NOT_ON_WINDOWS));
            }
            for key in ["hostUsers", "shareProcessNamespace"].into_iter().filter(|key| set(spec, key)) {
                errors.push(FieldError::forbidden(&path.child(key), NOT_ON_WINDOWS));
            }
            let of_pods = [
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "fsGroup",
                "fsGroupChangePolicy",
                "sysctls",
                "runAsUser",
                "runAsGroup",
                "supplementalGroups",
                "supplementalGroupsPolicy",
                "seLinuxChangePolicy",
            ];
            for key in of_pods.into_iter().filter(|key| set(context, key)) {
                errors.push(FieldError::forbidden(&at.child(key), NOT_ON_WINDOWS));
            }
            let of_containers = [
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "capabilities",
                "readOnlyRootFilesystem",
                "privileged",
                "allowPrivilegeEscalation",
                "procMount",
                "runAsUser",
                "runAsGroup",
            ];
            for (path, container) in containers(path, spec) {
                let (path, context) = (path.child("securityContext"), &container["securityContext"]);
                for key in of_containers.into_iter().filter(|key| set(context, key)) {
                    errors.push(FieldError::forbidden(&path.child(key), NOT_ON_WINDOWS));
                }
            }
        }
        other => required_one_of(&path.child("os"), other, &["linux", "windows"], errors),
    }
}
