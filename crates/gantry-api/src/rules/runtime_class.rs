//! RuntimeClass.

use super::common::{dns_label, immutable, list, text};
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;
use crate::registry::Rules;

/// The rules.
pub const RULES: Rules = Rules {
    validate: |class| {
        let mut errors = Vec::new();
        let path = Path::new("handler");
        match text(class, "handler") {
            "" => errors.push(FieldError::required(&path, "")),
            handler => dns_label(&path, handler, &mut errors),
        }
        let path = Path::new("overhead").child("podFixed");
        for (name, amount) in class["overhead"]["podFixed"].as_object().into_iter().flatten() {
            let amount = amount.as_str().unwrap_or_default();
            if amount.parse::<Quantity>().is_ok_and(|quantity| quantity.is_negative()) {
                let path = path.key(name);
                errors.push(FieldError::invalid(&path, amount, "must be greater than or equal to 0"));
            }
        }
        let path = Path::new("scheduling");
        super::common::labels(&path.child("nodeSelector"), &class["scheduling"]["nodeSelector"], &mut errors);
        let tolerations = list(&class["scheduling"], "tolerations");
        super::pod::tolerations(&path.child("tolerations"), tolerations, &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        immutable(&Path::new("handler"), &new["handler"], &old["handler"], &mut errors);
        errors
    },
    ..Rules::NONE
};
