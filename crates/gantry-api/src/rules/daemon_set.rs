//! DaemonSet.

use gantry_json::{Value, json};

use super::common::{
    IMMUTABLE, amount, amount_of, at_most_all, default, drop_status, keep_status, not_negative, object, text,
};
use super::{pod, workload};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// Counts the changes of the template, for clients of versions before `apps/v1`.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The rules.
pub const RULES: Rules = Rules {
    default: |set| {
        let Some(set) = set.as_object_mut() else { return };
        default(object(object(set, "metadata"), "annotations"), TEMPLATE_GENERATION, "0");
        let spec = object(set, "spec");
        pod::set_defaults(object(object(spec, "template"), "spec"));
        default(spec, "revisionHistoryLimit", 10);
        let strategy = object(spec, "updateStrategy");
        default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            let rolling = object(strategy, "rollingUpdate");
            default(rolling, "maxUnavailable", 1);
            default(rolling, "maxSurge", 0);
        }
    },
    prepare_create: |set| {
        drop_status(set);
        count_template(set, 1);
    },
    prepare_update: |new, old| {
        keep_status(new, old);
        let before = old["metadata"]["annotations"][TEMPLATE_GENERATION].as_str();
        let before: i64 = before.and_then(|text| text.parse().ok()).unwrap_or(0);
        let changed = new["spec"]["template"] != old["spec"]["template"];
        count_template(new, before + i64::from(changed));
    },
    validate: |set| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &set["spec"]);
        let at = path.child("selector");
        workload::selector(&at, &spec["selector"], "empty selector is invalid for daemonset", &mut errors);
        let at = path.child("template");
        workload::selected(&at, &spec["selector"], &spec["template"], &mut errors);
        workload::template(&at, &spec["template"], &mut errors);
        workload::always_restarts(&at, &spec["template"], &mut errors);
        if spec["template"]["spec"]["activeDeadlineSeconds"].is_i64() {
            errors.push(FieldError::forbidden(
                &at.child("spec").child("activeDeadlineSeconds"),
                "activeDeadlineSeconds in DaemonSet is not Supported",
            ));
        }
        for key in ["minReadySeconds", "revisionHistoryLimit"] {
            not_negative(&path.child(key), &spec[key], &mut errors);
        }
        strategy(&path.child("updateStrategy"), &spec["updateStrategy"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let (new, old) = (&new["spec"]["selector"], &old["spec"]["selector"]);
        let path = Path::new("spec").child("selector");
        (new != old).then(|| FieldError::invalid(&path, new.clone(), IMMUTABLE)).into_iter().collect()
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        for key in [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ] {
            not_negative(&Path::new("status").child(key), &new["status"][key], &mut errors);
        }
        errors
    },
    warn: workload::warnings,
    ..Rules::NONE
};

fn count_template(set: &mut Value, count: i64) {
    let metadata = &mut set["metadata"];
    if !metadata["annotations"].is_object() {
        metadata["annotations"] = json!({});
    }
    metadata["annotations"][TEMPLATE_GENERATION] = count.max(1).to_string().into();
}

fn strategy(path: &Path, strategy: &Value, errors: &mut Vec<FieldError>) {
    match text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (path, rolling) = (path.child("rollingUpdate"), &strategy["rollingUpdate"]);
            for key in ["maxUnavailable", "maxSurge"] {
                amount(&path.child(key), &rolling[key], errors);
                at_most_all(&path.child(key), &rolling[key], errors);
            }
            match (amount_of(&rolling["maxUnavailable"]) != 0, amount_of(&rolling["maxSurge"]) != 0) {
                (true, true) => errors.push(FieldError::invalid(
                    &path.child("maxSurge"),
                    rolling["maxSurge"].clone(),
                    "may not be set when maxUnavailable is non-zero",
                )),
                (false, false) => errors.push(FieldError::required(
                    &path.child("maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                )),
                _ => {}
            }
        }
        other => errors.push(FieldError::not_supported(path, other, &["OnDelete", "RollingUpdate"])),
    }
}
