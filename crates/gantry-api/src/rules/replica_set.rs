//! ReplicaSet, and what it shares with Deployment.

use gantry_json::{Map, Value};

use super::common::{IMMUTABLE, default, drop_status, keep_status, not_negative, object};
use super::{pod, workload};
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
    validate_status: |new, old, _| {
        workload::status(new, old, &["fullyLabeledReplicas", "readyReplicas", "availableReplicas"])
    },
    selectable: |set| {
        vec![("status.replicas", set["status"]["replicas"].as_i64().unwrap_or_default().to_string())]
    },
    warn: workload::warnings_with_name,
    ..Rules::NONE
};

/// Sets the defaults of a spec with replicas and a pod template.
pub(super) fn template_defaults(spec: &mut Map) {
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
    workload::selector(&path.child("selector"), selector, "empty selector is invalid for deployment", errors);
    let at = path.child("template");
    workload::selected(&at, selector, template, errors);
    workload::template(&at, template, errors);
    workload::always_restarts(&at, template, errors);
    if template["spec"]["activeDeadlineSeconds"].is_i64() {
        errors.push(FieldError::forbidden(
            &at.child("spec").child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
}
