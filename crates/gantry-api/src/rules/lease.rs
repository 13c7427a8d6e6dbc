//! Lease.

use super::common::{not_negative, positive, text};
use super::lease_candidate::strategy;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    validate: |lease| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &lease["spec"]);
        positive(&path.child("leaseDurationSeconds"), &spec["leaseDurationSeconds"], &mut errors);
        not_negative(&path.child("leaseTransitions"), &spec["leaseTransitions"], &mut errors);
        if let Some(chosen) = spec["strategy"].as_str() {
            strategy(&path.child("strategy"), chosen, &mut errors);
        }
        let preferred = text(spec, "preferredHolder");
        if !preferred.is_empty() && text(spec, "strategy").is_empty() {
            let words = "may only be specified if `strategy` is defined";
            errors.push(FieldError::forbidden(&path.child("preferredHolder"), words));
        }
        errors
    },
    ..Rules::NONE
};
