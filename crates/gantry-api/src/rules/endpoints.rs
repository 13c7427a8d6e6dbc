//! Endpoints.

use serde_json::Value;

use super::common::{default, items, list, port};
use crate::field::Path;
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    default: |endpoints| {
        let Some(endpoints) = endpoints.as_object_mut() else { return };
        for subset in items(endpoints, "subsets") {
            for port in items(subset, "ports") {
                default(port, "protocol", "TCP");
            }
        }
    },
    validate: |endpoints: &Value| {
        let mut errors = Vec::new();
        for (at, subset) in list(endpoints, "subsets").iter().enumerate() {
            let path = Path::new("subsets").index(at);
            for (at, each) in list(subset, "ports").iter().enumerate() {
                port(&path.child("ports").index(at).child("port"), &each["port"], &mut errors);
            }
        }
        errors
    },
    ..Rules::NONE
};
