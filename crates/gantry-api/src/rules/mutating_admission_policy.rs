//! MutatingAdmissionPolicy and its bindings. Expressions are compiled by gantry-cel when they are written.

use gantry_json::Value;

use super::admission_rules::{binding_defaults, policy, policy_binding, policy_defaults};
use super::common::{list, one_of, required, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The operations with an object that can be changed.
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];

/// The rules of MutatingAdmissionPolicy.
pub const RULES: Rules = Rules {
    default: policy_defaults,
    validate: |object| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &object["spec"]);
        policy(&path, spec, &mut errors);
        operations(&path.child("matchConstraints"), &spec["matchConstraints"], &mut errors);
        let at = path.child("mutations");
        let all = list(spec, "mutations");
        if all.is_empty() {
            errors.push(FieldError::required(&at, "mutations must contain at least one item"));
        }
        for (index, each) in all.iter().enumerate() {
            mutation(&at.index(index), each, &mut errors);
        }
        if let Some(reinvocation) = required(&path, spec, "reinvocationPolicy", &mut errors) {
            let at = path.child("reinvocationPolicy");
            one_of(&at, reinvocation, &["IfNeeded", "Never"], &mut errors);
        }
        errors
    },
    ..Rules::NONE
};

/// The rules of MutatingAdmissionPolicyBinding.
pub const BINDING: Rules = Rules {
    default: binding_defaults,
    validate: |binding| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &binding["spec"]);
        policy_binding(&path, spec, &mut errors);
        operations(&path.child("matchResources"), &spec["matchResources"], &mut errors);
        errors
    },
    ..Rules::NONE
};

/// What is deleted cannot be changed.
fn operations(path: &Path, matches: &Value, errors: &mut Vec<FieldError>) {
    let path = path.child("resourceRules").child("operations");
    let named = list(matches, "resourceRules").iter().flat_map(|rule| list(rule, "operations"));
    named.filter_map(Value::as_str).for_each(|operation| one_of(&path, operation, OPERATIONS, errors));
}

fn mutation(path: &Path, mutation: &Value, errors: &mut Vec<FieldError>) {
    let sorts = [("ApplyConfiguration", "applyConfiguration"), ("JSONPatch", "jsonPatch")];
    let Some(patch_type) = required(path, mutation, "patchType", errors) else { return };
    if !sorts.iter().any(|(sort, _)| *sort == patch_type) {
        one_of(&path.child("patchType"), patch_type, &sorts.map(|(sort, _)| sort), errors);
        return;
    }
    for (sort, field) in sorts {
        let (at, given) = (path.child(field), mutation[field].is_object());
        match (sort == patch_type, given) {
            (true, false) => {
                let words = format!("must be specified when patchType is {patch_type}");
                errors.push(FieldError::required(&at, words));
            }
            (true, true) if text(&mutation[field], "expression").trim().is_empty() => {
                errors.push(FieldError::required(&at.child("expression"), ""));
            }
            (false, true) => {
                let words = format!("must not be specified when patchType is {patch_type}");
                errors.push(FieldError::invalid(&at, format!("{{{field}}}"), words));
            }
            _ => {}
        }
    }
}
