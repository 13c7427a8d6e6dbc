//! PriorityLevelConfiguration.

use gantry_json::{Value, json};

use super::common::{default, default_zero, drop_status, keep_status, object, one_of, text};
use super::flow_schema;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The most queues of a level.
const MOST_QUEUES: i64 = 10_000_000;
/// The most bits that may be spent on choosing queues.
const MOST_BITS: f64 = 60.0;

/// The rules.
pub const RULES: Rules = Rules {
    default: |level| {
        let Some(level) = level.as_object_mut() else { return };
        let spec = object(level, "spec");
        match spec.get("type").and_then(Value::as_str) {
            Some("Exempt") => {
                let exempt = object(spec, "exempt");
                default(exempt, "nominalConcurrencyShares", 0);
                default(exempt, "lendablePercent", 0);
            }
            Some("Limited") if spec.contains_key("limited") => {
                let limited = object(spec, "limited");
                default(limited, "nominalConcurrencyShares", 30);
                default(limited, "lendablePercent", 0);
                if let Some(Value::Object(response)) = limited.get_mut("limitResponse")
                    && let Some(Value::Object(queuing)) = response.get_mut("queuing")
                {
                    default_zero(queuing, "queues", 64);
                    default_zero(queuing, "handSize", 8);
                    default_zero(queuing, "queueLengthLimit", 50);
                }
            }
            _ => {}
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate,
    validate_status: |new, _, _| flow_schema::conditions(new),
    ..Rules::NONE
};

fn validate(level: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &level["spec"]);
    let kind = text(spec, "type");
    if (level["metadata"]["name"] == "exempt") != (kind == "Exempt") {
        let words = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.push(FieldError::invalid(&path.child("type"), kind, words));
    }
    let (exempt, limited) = (&spec["exempt"], &spec["limited"]);
    match kind {
        "Exempt" => {
            if !limited.is_null() {
                let words = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(&path.child("limited"), words));
            }
            shares(&path.child("exempt"), exempt, &mut errors);
        }
        "Limited" => {
            if !exempt.is_null() {
                let words = "must be nil if the type is Limited";
                errors.push(FieldError::forbidden(&path.child("exempt"), words));
            }
            if limited.is_null() {
                let words = "must not be empty when type is Limited";
                errors.push(FieldError::required(&path.child("limited"), words));
            } else {
                let path = path.child("limited");
                shares(&path, limited, &mut errors);
                let borrowing = &limited["borrowingLimitPercent"];
                if borrowing.as_i64().is_some_and(|percent| percent < 0) {
                    let words = "if specified, must be a non-negative integer";
                    let at = path.child("borrowingLimitPercent");
                    errors.push(FieldError::invalid(&at, borrowing.clone(), words));
                }
                response(&path.child("limitResponse"), &limited["limitResponse"], &mut errors);
            }
        }
        other => one_of(&path.child("type"), other, &["Exempt", "Limited"], &mut errors),
    }
    fixed(&path, text(&level["metadata"], "name"), spec, &mut errors);
    errors
}

/// Checks the levels that every server has: of the exempt one only its part `exempt` is free.
fn fixed(path: &Path, name: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    let (wanted, except) = match name {
        "exempt" => (json!({"type": "Exempt", "exempt": spec["exempt"]}), " except the 'spec.exempt' field"),
        "catch-all" => {
            let limited = json!({"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}});
            (json!({"type": "Limited", "limited": limited}), "")
        }
        _ => return,
    };
    if !flow_schema::alike(spec, &wanted) {
        let words = format!("spec of '{name}'{except} must equal the fixed value");
        errors.push(FieldError::invalid(path, spec.clone(), words));
    }
}

fn shares(path: &Path, part: &Value, errors: &mut Vec<FieldError>) {
    let number = &part["nominalConcurrencyShares"];
    if number.as_i64().is_some_and(|number| number < 0) {
        let words = "must be a non-negative integer";
        errors.push(FieldError::invalid(&path.child("nominalConcurrencyShares"), number.clone(), words));
    }
    let lendable = &part["lendablePercent"];
    if lendable.as_i64().is_some_and(|percent| !(0..=100).contains(&percent)) {
        let words = "must be between 0 and 100, inclusive";
        errors.push(FieldError::invalid(&path.child("lendablePercent"), lendable.clone(), words));
    }
}

fn response(path: &Path, response: &Value, errors: &mut Vec<FieldError>) {
    let (at, queuing) = (path.child("queuing"), &response["queuing"]);
    match text(response, "type") {
        "Reject" => {
            if !queuing.is_null() {
                let words = "must be nil if limited.limitResponse.type is not Limited";
                errors.push(FieldError::forbidden(&at, words));
            }
        }
        "Queue" => {
            if queuing.is_null() {
                let words = "must not be empty if limited.limitResponse.type is Limited";
                errors.push(FieldError::required(&at, words));
            } else {
                validate_queuing(&at, queuing, errors);
            }
        }
        other => one_of(&path.child("type"), other, &["Queue", "Reject"], errors),
    }
}

fn validate_queuing(path: &Path, queuing: &Value, errors: &mut Vec<FieldError>) {
    let number = |key: &str| queuing[key].as_i64().unwrap_or(0);
    for key in ["queueLengthLimit", "queues"] {
        if number(key) <= 0 {
            errors.push(FieldError::invalid(&path.child(key), number(key), "must be positive"));
        }
    }
    let (queues, hand) = (number("queues"), number("handSize"));
    if queues > MOST_QUEUES {
        let words = format!("must not be greater than {MOST_QUEUES}");
        errors.push(FieldError::invalid(&path.child("queues"), queues, words));
    }
    let at = path.child("handSize");
    if hand <= 0 {
        errors.push(FieldError::invalid(&at, hand, "must be positive"));
    } else if hand > queues {
        let words = format!("should not be greater than queues ({queues})");
        errors.push(FieldError::invalid(&at, hand, words));
    } else if ((queues as f64).log2() * hand as f64).ceil() > MOST_BITS {
        let words = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MOST_BITS}"
        );
        errors.push(FieldError::invalid(&at, hand, words));
    }
}
