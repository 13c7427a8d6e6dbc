//! PodTemplate.

use super::common::object;
use super::{pod, pod_warnings, workload};
use crate::field::Path;
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |template| {
        if let Some(template) = template.as_object_mut() {
            pod::set_defaults(object(object(template, "template"), "spec"));
        }
    },
    validate: |template| {
        let mut errors = Vec::new();
        workload::template(&Path::new("template"), &template["template"], &mut errors);
        errors
    },
    warn: |new, old| {
        pod_warnings::of_template(&Path::new("template"), &new["template"], old.map(|old| &old["template"]))
    },
    ..Rules::NONE
};
