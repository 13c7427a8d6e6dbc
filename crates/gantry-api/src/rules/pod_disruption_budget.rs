//! PodDisruptionBudget.

use super::common::{
    amount, at_most_all, drop_status, keep_status, label_selector, not_negative, one_of, text,
};
use super::conditions;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |budget| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &budget["spec"]);
        if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
            let words = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid(&path, spec.clone(), words));
        }
        for key in ["minAvailable", "maxUnavailable"] {
            amount(&path.child(key), &spec[key], &mut errors);
            at_most_all(&path.child(key), &spec[key], &mut errors);
        }
        label_selector(&path.child("selector"), &spec["selector"], &mut errors);
        let policy = text(spec, "unhealthyPodEvictionPolicy");
        if !policy.is_empty() {
            let known = ["AlwaysAllow", "IfHealthyBudget"];
            one_of(&path.child("unhealthyPodEvictionPolicy"), policy, &known, &mut errors);
        }
        errors
    },
    validate_status: |new, _, _| {
        let mut errors = Vec::new();
        for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            not_negative(&Path::new("status").child(key), &new["status"][key], &mut errors);
        }
        errors.extend(conditions::of_status(new));
        errors
    },
    ..Rules::NONE
};
