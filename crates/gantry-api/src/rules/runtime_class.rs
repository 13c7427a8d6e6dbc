//! RuntimeClass.

use gantry_json::json;

use super::common::{dns_label, immutable, list, required};
use super::placement;
use super::resources::{self, Of};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    validate: |class| {
        let mut errors = Vec::new();
        if let Some(handler) = required(&Path::default(), class, "handler", &mut errors) {
            dns_label(&Path::new("handler"), handler, &mut errors);
        }
        let overhead = json!({"limits": class["overhead"]["podFixed"]});
        resources::requirements(&Path::new("overhead"), &overhead, Of::Container, &[], &mut errors);
        let path = Path::new("scheduling");
        super::common::labels(&path.child("nodeSelector"), &class["scheduling"]["nodeSelector"], &mut errors);
        let tolerations = list(&class["scheduling"], "tolerations");
        let path = path.child("tolerations");
        placement::tolerations(&path, tolerations, &mut errors);
        for (at, each) in
            tolerations.iter().enumerate().filter(|(at, each)| tolerations[..*at].contains(each))
        {
            errors.push(FieldError::duplicate(&path.index(at), each.clone()));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("handler"), &new["handler"], &old["handler"], &mut errors);
        errors
    },
    ..Rules::NONE
};
