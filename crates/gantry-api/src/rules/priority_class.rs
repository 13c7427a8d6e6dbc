//! PriorityClass.

use gantry_json::Value;

use super::common::{default, immutable, one_of, text};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The highest value of a class that is not the system's.
const HIGHEST: i64 = 1_000_000_000;
/// The system's classes.
const SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Whether the class is one of the system's.
pub fn is_system(name: &str) -> bool {
    SYSTEM.iter().any(|(system, _)| *system == name)
}

/// The rules.
pub const RULES: Rules = Rules {
    default: |class| {
        if let Some(class) = class.as_object_mut() {
            default(class, "preemptionPolicy", "PreemptLowerPriority");
        }
    },
    prepare_create: |class| class["metadata"]["generation"] = 1.into(),
    validate_create: |class| {
        let mut errors = Vec::new();
        let (name, value) = (text(&class["metadata"], "name"), class["value"].as_i64().unwrap_or(0));
        if name.starts_with("system-") {
            if let Some(why) = not_system(name, value, class["globalDefault"] == true) {
                let path = Path::new("metadata").child("name");
                let why = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
                );
                errors.push(FieldError::forbidden(&path, why));
            }
        } else if value > HIGHEST {
            let why = format!("maximum allowed value of a user defined priority is {HIGHEST}");
            errors.push(FieldError::forbidden(&Path::new("value"), why));
        }
        one_of(
            &Path::new("preemptionPolicy"),
            text(class, "preemptionPolicy"),
            &["Never", "PreemptLowerPriority"],
            &mut errors,
        );
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let value = |class: &Value| class["value"].as_i64().unwrap_or(0);
        if value(new) != value(old) {
            errors.push(FieldError::forbidden(&Path::new("value"), "may not be changed in an update."));
        }
        let path = Path::new("preemptionPolicy");
        immutable(&path, &new["preemptionPolicy"], &old["preemptionPolicy"], &mut errors);
        errors
    },
    ..Rules::NONE
};

fn not_system(name: &str, value: i64, global: bool) -> Option<String> {
    match SYSTEM.iter().find(|(system, _)| *system == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, right)) if *right != value => Some(format!("value of {name} PriorityClass must be {right}")),
        Some(_) if global => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn errors(mut class: Value) -> Vec<String> {
        (RULES.default)(&mut class);
        (RULES.validate_create)(&class).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn faults() {
        assert_eq!(errors(json!({"metadata": {"name": "a"}, "value": 10})), Vec::<String>::new());
        assert_eq!(
            errors(json!({"metadata": {"name": "a"}, "value": 1_000_000_001, "preemptionPolicy": "Some"})),
            [
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
                "preemptionPolicy: Unsupported value: \"Some\": supported values: \"Never\", \"PreemptLowerPriority\"",
            ]
        );
        assert_eq!(
            errors(json!({"metadata": {"name": "system-mine"}, "value": 1})),
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use \
              only. error: system-mine is not a known system priority class"
            ]
        );
        let class = |value: i64| json!({"metadata": {"name": "system-node-critical"}, "value": value});
        assert_eq!(errors(class(2_000_001_000)), Vec::<String>::new());
        assert_eq!(errors(class(5)).len(), 1);
    }
}
