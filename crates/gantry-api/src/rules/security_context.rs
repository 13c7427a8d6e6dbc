//! As whom and with which rights processes run.

use serde_json::Value;

use super::common::{list, one_of, text};
use crate::field::{FieldError, Path};

const IDS: std::ops::RangeInclusive<i64> = 0..=2_147_483_647;

fn id(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|id| !IDS.contains(&id)) {
        let words = "must be between 0 and 2147483647, inclusive";
        errors.push(FieldError::invalid(path, value.clone(), words));
    }
}

fn profile(path: &Path, profile: &Value, what: &str, errors: &mut Vec<FieldError>) {
    if !profile.is_object() {
        return;
    }
    let (kind, local) = (text(profile, "type"), &profile["localhostProfile"]);
    one_of(&path.child("type"), kind, &["Localhost", "RuntimeDefault", "Unconfined"], errors);
    let at = path.child("localhostProfile");
    if kind == "Localhost" && local.is_null() {
        let words = format!("must be set when {what} type is Localhost");
        errors.push(FieldError::required(&at, words));
    } else if kind != "Localhost" && !local.is_null() {
        let words = format!("can only be set when {what} type is Localhost");
        errors.push(FieldError::invalid(&at, local.clone(), words));
    } else if text(profile, "localhostProfile").starts_with('/') {
        errors.push(FieldError::invalid(&at, local.clone(), "must be a relative path"));
    } else if text(profile, "localhostProfile").split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&at, local.clone(), "must not contain '..'"));
    }
}

/// Checks a pod's security context.
pub(super) fn of_pod(path: &Path, context: &Value, errors: &mut Vec<FieldError>) {
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        id(&path.child(key), &context[key], errors);
    }
    for (at, group) in list(context, "supplementalGroups").iter().enumerate() {
        id(&path.child("supplementalGroups").index(at), group, errors);
    }
    for (key, known) in [
        ("fsGroupChangePolicy", ["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", ["Merge", "Strict"]),
    ] {
        if !context[key].is_null() {
            one_of(&path.child(key), text(context, key), &known, errors);
        }
    }
    profile(&path.child("seccompProfile"), &context["seccompProfile"], "seccomp", errors);
    profile(&path.child("appArmorProfile"), &context["appArmorProfile"], "AppArmor", errors);
    let sysctls = list(context, "sysctls");
    for (at, sysctl) in sysctls.iter().enumerate() {
        let path = path.child("sysctls").index(at).child("name");
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
    }
}

/// Checks a container's security context.
pub(super) fn of_container(path: &Path, context: &Value, errors: &mut Vec<FieldError>) {
    for key in ["runAsUser", "runAsGroup"] {
        id(&path.child(key), &context[key], errors);
    }
    if !context["procMount"].is_null() {
        one_of(&path.child("procMount"), text(context, "procMount"), &["Default", "Unmasked"], errors);
    }
    profile(&path.child("seccompProfile"), &context["seccompProfile"], "seccomp", errors);
    profile(&path.child("appArmorProfile"), &context["appArmorProfile"], "AppArmor", errors);
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            let words = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(FieldError::invalid(path, context.clone(), words));
        }
        let added = list(&context["capabilities"], "add");
        if added.iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let words = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(FieldError::invalid(path, context.clone(), words));
        }
    }
}
