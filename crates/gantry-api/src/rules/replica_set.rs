//! ReplicaSet, and what it shares with Deployment.

use serde_json::{Map, Value};

use super::common::{
    IMMUTABLE, default, drop_status, keep_status, label_selector, list, not_negative, object, text,
};
use super::pod;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |set| {
        let Some(set) = set.as_object_mut() else { return };
        template_defaults(object(set, "spec"));
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |set| {
        let mut errors = Vec::new();
        validate_workload(&set["spec"], &mut errors);
        errors
    },
    validate_update: selector_is_immutable,
    selectable: |set| {
        vec![("status.replicas", set["status"]["replicas"].as_i64().unwrap_or_default().to_string())]
    },
    ..Rules::NONE
};

/// Sets the defaults of a spec with replicas and a pod template.
pub(super) fn template_defaults(spec: &mut Map<String, Value>) {
    default(spec, "replicas", 1);
    pod::set_defaults(object(object(spec, "template"), "spec"));
}

/// Refuses a changed selector.
pub(super) fn selector_is_immutable(new: &Value, old: &Value) -> Vec<FieldError> {
    let (new, old) = (&new["spec"]["selector"], &old["spec"]["selector"]);
    if new == old {
        return Vec::new();
    }
    vec![FieldError::invalid(&Path::new("spec").child("selector"), new.clone(), IMMUTABLE)]
}

/// Checks replicas, selector and template.
pub(super) fn validate_workload(spec: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::new("spec");
    not_negative(&path.child("replicas"), &spec["replicas"], errors);
    not_negative(&path.child("minReadySeconds"), &spec["minReadySeconds"], errors);
    let (selector, template) = (&spec["selector"], &spec["template"]);
    let at = path.child("selector");
    let empty = list(selector, "matchExpressions").is_empty()
        && selector["matchLabels"].as_object().is_none_or(Map::is_empty);
    if !selector.is_object() {
        errors.push(FieldError::required(&at, ""));
    } else {
        label_selector(&at, selector, errors);
        if empty {
            errors.push(FieldError::invalid(
                &at,
                selector.clone(),
                "empty selector is invalid for deployment",
            ));
        }
    }
    let labels = &template["metadata"]["labels"];
    if !empty && !selects(selector, labels) {
        errors.push(FieldError::invalid(
            &path.child("template").child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
    let at = path.child("template");
    super::common::labels(&at.child("metadata").child("labels"), labels, errors);
    pod::validate_spec(&at.child("spec"), &template["spec"], errors);
    let policy = text(&template["spec"], "restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(&at.child("spec").child("restartPolicy"), policy, &["Always"]));
    }
    if template["spec"]["activeDeadlineSeconds"].is_i64() {
        errors.push(FieldError::forbidden(
            &at.child("spec").child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
}

fn selects(selector: &Value, labels: &Value) -> bool {
    let equal =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels[key] == *value);
    equal
        && list(selector, "matchExpressions").iter().all(|expression| {
            let value = labels.get(text(expression, "key"));
            let listed = value.is_some_and(|value| list(expression, "values").contains(value));
            match text(expression, "operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
