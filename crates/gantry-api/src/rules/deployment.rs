//! Deployment.

use gantry_json::{Map, Value};

use super::common::{
    amount, amount_of, at_most_all, default, drop_status, keep_status, not_negative, object, one_of, text,
};
use super::{replica_set, workload};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |deployment| {
        let Some(deployment) = deployment.as_object_mut() else { return };
        let spec = object(deployment, "spec");
        replica_set::template_defaults(spec);
        default(spec, "revisionHistoryLimit", 10);
        default(spec, "progressDeadlineSeconds", 600);
        let strategy = object(spec, "strategy");
        default(strategy, "type", "RollingUpdate");
        if strategy.get("type").and_then(Value::as_str) == Some("RollingUpdate") {
            let rolling = object(strategy, "rollingUpdate");
            default(rolling, "maxUnavailable", "25%");
            default(rolling, "maxSurge", "25%");
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |deployment| {
        let mut errors = Vec::new();
        let spec = &deployment["spec"];
        replica_set::validate_workload(spec, &mut errors);
        let path = Path::new("spec");
        strategy(&path.child("strategy"), &spec["strategy"], &mut errors);
        not_negative(&path.child("revisionHistoryLimit"), &spec["revisionHistoryLimit"], &mut errors);
        let (deadline, ready) =
            (spec["progressDeadlineSeconds"].as_i64(), spec["minReadySeconds"].as_i64().unwrap_or_default());
        if deadline.is_some_and(|deadline| deadline <= ready) {
            errors.push(FieldError::invalid(
                &path.child("progressDeadlineSeconds"),
                spec["progressDeadlineSeconds"].clone(),
                "must be greater than minReadySeconds",
            ));
        }
        errors
    },
    validate_update: replica_set::selector_is_immutable,
    validate_status: |new, old, _| {
        let mut errors =
            workload::status(new, old, &["updatedReplicas", "readyReplicas", "availableReplicas"]);
        let status = &new["status"];
        let count = |key: &str| status[key].as_i64().unwrap_or(0);
        if count("availableReplicas") > count("readyReplicas") {
            let path = Path::new("status").child("availableReplicas");
            let words = "cannot be greater than readyReplicas";
            errors.push(FieldError::invalid(&path, count("availableReplicas"), words));
        }
        errors
    },
    warn: workload::warnings_with_name,
    ..Rules::NONE
};

fn strategy(path: &Path, strategy: &Value, errors: &mut Vec<FieldError>) {
    let kind = text(strategy, "type");
    one_of(&path.child("type"), kind, &["Recreate", "RollingUpdate"], errors);
    let rolling = &strategy["rollingUpdate"];
    if kind == "Recreate" && rolling.as_object().is_some_and(|map: &Map| !map.is_empty()) {
        errors.push(FieldError::forbidden(
            &path.child("rollingUpdate"),
            "may not be specified when strategy `type` is 'Recreate'",
        ));
        return;
    }
    let path = path.child("rollingUpdate");
    for key in ["maxUnavailable", "maxSurge"] {
        amount(&path.child(key), &rolling[key], errors);
    }
    let zero = ["maxUnavailable", "maxSurge"].iter().all(|key| amount_of(&rolling[key]) == 0);
    if kind == "RollingUpdate" && zero {
        errors.push(FieldError::invalid(
            &path.child("maxUnavailable"),
            rolling["maxUnavailable"].clone(),
            "may not be 0 when `maxSurge` is 0",
        ));
    }
    at_most_all(&path.child("maxUnavailable"), &rolling["maxUnavailable"], errors);
}
