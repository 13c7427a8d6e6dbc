//! ReplicationController.

use gantry_json::Value;

use super::common::{default, drop_status, keep_status, not_negative, object, text};
use super::{replica_set, workload};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |controller| {
        let Some(controller) = controller.as_object_mut() else { return };
        let spec = object(controller, "spec");
        default(spec, "replicas", 1);
        if !spec.get("template").is_some_and(Value::is_object) {
            return;
        }
        replica_set::template_defaults(spec);
        let labels = spec["template"]["metadata"]["labels"].clone();
        if !labels.is_object() {
            return;
        }
        let empty = |value: Option<&Value>| value.and_then(Value::as_object).is_none_or(|map| map.is_empty());
        if empty(spec.get("selector")) {
            spec.insert("selector".into(), labels.clone());
        }
        let metadata = object(controller, "metadata");
        if empty(metadata.get("labels")) {
            metadata.insert("labels".into(), labels);
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate,
    validate_status: |new, old, _| {
        workload::status(new, old, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"])
    },
    selectable: |controller| {
        let replicas = controller["status"]["replicas"].as_i64().unwrap_or_default();
        vec![("status.replicas", replicas.to_string())]
    },
    warn: workload::warnings_with_name,
    ..Rules::NONE
};

fn validate(controller: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &controller["spec"]);
    not_negative(&path.child("minReadySeconds"), &spec["minReadySeconds"], &mut errors);
    let selector = spec["selector"].as_object();
    if selector.is_none_or(|selector| selector.is_empty()) {
        errors.push(FieldError::required(&path.child("selector"), ""));
    }
    not_negative(&path.child("replicas"), &spec["replicas"], &mut errors);
    let at = path.child("template");
    if !spec["template"].is_object() {
        errors.push(FieldError::required(&at, ""));
        return errors;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if selector.into_iter().flatten().any(|(key, value)| labels[key] != *value) {
        errors.push(FieldError::invalid(
            &at.child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
    workload::template(&at, &spec["template"], &mut errors);
    if !text(&spec["template"]["spec"], "restartPolicy").is_empty() {
        workload::always_restarts(&at, &spec["template"], &mut errors);
    }
    if spec["template"]["spec"]["activeDeadlineSeconds"].is_i64() {
        errors.push(FieldError::forbidden(
            &at.child("spec").child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicationController is not Supported",
        ));
    }
    errors
}
