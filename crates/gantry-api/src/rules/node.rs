//! Node.

use super::common::{immutable, keep_status, text};
use crate::field::Path;
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    prepare_update: keep_status,
    validate_update: |new, old| {
        let mut errors = Vec::new();
        let path = Path::new("spec");
        // What was once set stays; setting it later is allowed.
        for key in ["podCIDR", "providerID"] {
            if !text(&old["spec"], key).is_empty() {
                immutable(&path.child(key), &new["spec"][key], &old["spec"][key], &mut errors);
            }
        }
        errors
    },
    selectable: |node| {
        let cordoned = node["spec"]["unschedulable"] == true;
        vec![("spec.unschedulable", cordoned.to_string())]
    },
    ..Rules::NONE
};
