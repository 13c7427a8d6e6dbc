//! Roles and their bindings.

use serde_json::Value;

use super::common::{default, items, list, one_of, text};
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
        if text(reference, "name").is_empty() {
            errors.push(FieldError::required(&path.child("name"), ""));
        }
        for (at, subject) in list(binding, "subjects").iter().enumerate() {
            let path = Path::new("subjects").index(at);
            if text(subject, "name").is_empty() {
                errors.push(FieldError::required(&path.child("name"), ""));
            }
            match text(subject, "kind") {
                "ServiceAccount" if !namespaced && text(subject, "namespace").is_empty() => {
                    errors.push(FieldError::required(&path.child("namespace"), ""));
                }
                kind => {
                    one_of(&path.child("kind"), kind, &["ServiceAccount", "User", "Group"], &mut errors);
                }
            }
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
