//! Roles and their bindings.

use gantry_json::Value;

use super::common::{
    default, dns_subdomain, items, label_selector, list, one_of, path_segment, required, text,
};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

const GROUP: &str = "rbac.authorization.k8s.io";

/// The rules of Role and ClusterRole.
pub const ROLE: Rules = Rules {
    validate: |role| {
        let mut errors = Vec::new();
        let namespaced = !text(&role["metadata"], "namespace").is_empty();
        for (at, rule) in list(role, "rules").iter().enumerate() {
            policy_rule(&Path::new("rules").index(at), rule, namespaced, &mut errors);
        }
        if role["aggregationRule"].is_object() {
            let path = Path::new("aggregationRule").child("clusterRoleSelectors");
            let selectors = list(&role["aggregationRule"], "clusterRoleSelectors");
            if selectors.is_empty() {
                let words = "at least one clusterRoleSelector required if aggregationRule is non-nil";
                errors.push(FieldError::required(&path, words));
            }
            for (at, selector) in selectors.iter().enumerate() {
                label_selector(&path.index(at), selector, &mut errors);
            }
        }
        errors
    },
    ..Rules::NONE
};

fn policy_rule(path: &Path, rule: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    if list(rule, "verbs").is_empty() {
        errors.push(FieldError::required(&path.child("verbs"), "verbs must contain at least one value"));
    }
    if !list(rule, "nonResourceURLs").is_empty() {
        let at = path.child("nonResourceURLs");
        let urls = rule["nonResourceURLs"].clone();
        if namespaced {
            errors.push(FieldError::invalid(
                &at,
                urls.clone(),
                "namespaced rules cannot apply to non-resource URLs",
            ));
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|key| !list(rule, key).is_empty()) {
            errors.push(FieldError::invalid(
                &at,
                urls,
                "rules cannot apply to both regular resources and non-resource URLs",
            ));
        }
        return;
    }
    for (key, words) in [
        ("apiGroups", "resource rules must supply at least one api group"),
        ("resources", "resource rules must supply at least one resource"),
    ] {
        if list(rule, key).is_empty() {
            errors.push(FieldError::required(&path.child(key), words));
        }
    }
}

/// The rules of RoleBinding and ClusterRoleBinding.
pub const BINDING: Rules = Rules {
    default: |binding| {
        let Some(binding) = binding.as_object_mut() else { return };
        if let Some(reference) = binding.get_mut("roleRef").and_then(Value::as_object_mut) {
            default(reference, "apiGroup", GROUP);
        }
        for subject in items(binding, "subjects") {
            if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
                default(subject, "apiGroup", GROUP);
            }
        }
    },
    validate: |binding| {
        let mut errors = Vec::new();
        let path = Path::new("roleRef");
        let reference = &binding["roleRef"];
        one_of(&path.child("apiGroup"), text(reference, "apiGroup"), &[GROUP], &mut errors);
        let namespaced = !text(&binding["metadata"], "namespace").is_empty();
        let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
        one_of(&path.child("kind"), text(reference, "kind"), kinds, &mut errors);
        if let Some(name) = required(&path, reference, "name", &mut errors) {
            path_segment(&path.child("name"), name, &mut errors);
        }
        for (at, each) in list(binding, "subjects").iter().enumerate() {
            subject(&Path::new("subjects").index(at), each, namespaced, &mut errors);
        }
        errors
    },
    validate_update: |new, old| {
        if new["roleRef"] == old["roleRef"] {
            return Vec::new();
        }
        vec![FieldError::invalid(&Path::new("roleRef"), new["roleRef"].clone(), "cannot change roleRef")]
    },
    ..Rules::NONE
};

fn subject(path: &Path, subject: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    let name = required(path, subject, "name", errors);
    let (kind, group) = (text(subject, "kind"), text(subject, "apiGroup"));
    let group_is = |expected: &str, errors: &mut Vec<FieldError>| {
        one_of(&path.child("apiGroup"), group, &[expected], errors);
    };
    match kind {
        "ServiceAccount" => {
            if let Some(name) = name {
                dns_subdomain(&path.child("name"), name, errors);
            }
            group_is("", errors);
            if !namespaced && text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" => {
            if name.is_none() {
                let words = format!("{} name cannot be empty", kind.to_lowercase());
                errors.push(FieldError::invalid(&path.child("name"), "", words));
            }
            group_is(GROUP, errors);
        }
        other => one_of(&path.child("kind"), other, &["ServiceAccount", "User", "Group"], errors),
    }
}
