//! IngressClass.

use gantry_json::Value;

use super::common::{default, dns_label, domain_path, immutable, one_of, required, text, typed_reference};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The longest name of a controller.
const LONGEST_CONTROLLER: usize = 250;

/// The rules.
pub const RULES: Rules = Rules {
    default: |class| {
        if let Some(Value::Object(parameters)) = class["spec"].get_mut("parameters") {
            default(parameters, "scope", "Cluster");
        }
    },
    validate: |class| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &class["spec"]);
        if let Some(controller) = required(&path, spec, "controller", &mut errors) {
            if controller.len() > LONGEST_CONTROLLER {
                errors.push(FieldError::too_long(&path.child("controller"), LONGEST_CONTROLLER));
            }
            domain_path(&path.child("controller"), controller, &mut errors);
        }
        if spec["parameters"].is_object() {
            parameters(&path.child("parameters"), &spec["parameters"], &mut errors);
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("controller");
        immutable(&path, &new["spec"]["controller"], &old["spec"]["controller"], &mut errors);
        errors
    },
    ..Rules::NONE
};

fn parameters(path: &Path, parameters: &Value, errors: &mut Vec<FieldError>) {
    typed_reference(path, parameters, errors);
    let scope = text(parameters, "scope");
    one_of(&path.child("scope"), scope, &["Cluster", "Namespace"], errors);
    let (at, namespaced) = (path.child("namespace"), !parameters["namespace"].is_null());
    match scope {
        "Namespace" if !namespaced => {
            errors.push(FieldError::required(&at, "`parameters.scope` is set to 'Namespace'"));
        }
        "Cluster" if namespaced => {
            errors.push(FieldError::forbidden(&at, "`parameters.scope` is set to 'Cluster'"));
        }
        "Namespace" => dns_label(&at, text(parameters, "namespace"), errors),
        _ => {}
    }
}
