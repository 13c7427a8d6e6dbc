//! Types, texts, numbers and closed sets of values.

use gantry_json::{Number, Value};

use super::{Outcome, Place};
use crate::custom::checks::Checks;
use crate::custom::formats;
use crate::custom::node::{Kind, Node};
use crate::field::{FieldError, FieldErrorKind};

/// The largest number up to which a floating-point number holds every integer.
const MOST_EXACT: f64 = 9_007_199_254_740_991.0;

/// Whether a value is of its schema's type.
pub(super) fn type_of(value: &Value, node: &Node, place: &Place<'_>) -> Outcome {
    let held = Outcome { held: 1, ..Outcome::default() };
    let format = node.checks.as_ref().and_then(|checks| checks.format.as_deref()).unwrap_or_default();
    let wanted = node.kind.name();
    if value.is_null() {
        return match wanted.is_empty() || node.nullable {
            true => held,
            false => Outcome::of(place.wrong_type(wanted, "null")),
        };
    }
    let (found, found_format) = match value {
        Value::Bool(_) => ("boolean", ""),
        Value::Number(number) if number.is_i64() => ("integer", "int64"),
        Value::Number(_) => ("number", "float64"),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) | Value::Null => ("object", ""),
    };
    let numeric = matches!(node.kind, Kind::Integer | Kind::Number | Kind::IntOrString);
    let fits = match node.kind {
        Kind::Any => false,
        Kind::IntOrString => matches!(found, "integer" | "string") || is_whole(value),
        Kind::Integer => found == "integer" || is_whole(value),
        Kind::Number => matches!(found, "integer" | "number"),
        _ => found == wanted,
    };
    let written = matches!(value, Value::String(_) | Value::Array(_));
    if !format.is_empty() && !written && !fits && format != found_format {
        return Outcome::of(place.wrong_type(format, found_format));
    }
    // What has a format is read by it.
    let formatted = !format.is_empty() && !numeric && written;
    match wanted.is_empty() || formatted || fits {
        true => held,
        false => Outcome::of(place.wrong_type(wanted, found)),
    }
}

/// Whether a floating-point number is an integer.
fn is_whole(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number.abs() <= MOST_EXACT && number.fract() == 0.0)
        && value.is_number()
}

/// What is wrong with a text.
pub(super) fn text(text: &str, checks: &Checks, place: &Place<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.errors.extend(written(text, checks, place));
    let Some(format) = &checks.format else { return outcome };
    outcome.held += 1;
    if let Some(check) = formats::check_of(format)
        && !check(text)
    {
        let words = format!("{} in body must be of type {format}: {text:?}", place.name());
        outcome.errors.push(place.error(FieldErrorKind::TypeInvalid, text, words));
    }
    outcome
}

fn written(text: &str, checks: &Checks, place: &Place<'_>) -> Option<FieldError> {
    if checks.max_length.is_some() || checks.min_length.is_some() {
        let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if let Some(most) = checks.max_length.filter(|most| length > *most) {
            return Some(FieldError::too_long(&place.path(), usize::try_from(most).unwrap_or_default()));
        }
        if let Some(least) = checks.min_length.filter(|least| length < *least) {
            return Some(place.invalid(text, format!("should be at least {least} chars long")));
        }
    }
    let pattern = checks.pattern.as_ref()?;
    let shown = match pattern.regex() {
        Ok(regex) if regex.is_match(text) => return None,
        Ok(_) => pattern.text().to_owned(),
        Err(error) => format!("{}, but pattern is invalid: {error}", pattern.text()),
    };
    Some(place.invalid(text, format!("should match '{shown}'")))
}

/// What is wrong with a number.
pub(super) fn number(number: &Number, checks: &Checks, place: &Place<'_>) -> Outcome {
    let mut outcome = Outcome::default();
    let value = Value::Number(number.clone());
    let mut fail = |words: String| outcome.errors.push(place.invalid(value.clone(), words));
    let whole = number.as_i64();
    let real = number.as_f64().unwrap_or_default();
    if let Some(factor) = checks.multiple_of {
        let multiple = match whole {
            Some(whole) if factor.fract() == 0.0 && factor >= 1.0 => {
                whole.checked_rem(limit(factor)).is_none_or(|rest| rest == 0)
            }
            _ => {
                let times = if factor < 1.0 { 1.0 / factor * real } else { real / factor };
                times.is_finite() && times.fract() == 0.0
            }
        };
        if !multiple {
            fail(format!("should be a multiple of {}", shown(factor)));
        }
    }
    if let Some(least) = checks.minimum {
        let (exclusive, order) = (checks.exclusive_minimum, compare(whole, real, least));
        if order.is_some_and(|order| order.is_lt() || (exclusive && order.is_eq())) {
            let how = if exclusive { "greater than" } else { "greater than or equal to" };
            fail(format!("should be {how} {}", bound(whole, least)));
        }
    }
    if let Some(most) = checks.maximum {
        let (exclusive, order) = (checks.exclusive_maximum, compare(whole, real, most));
        if order.is_some_and(|order| order.is_gt() || (exclusive && order.is_eq())) {
            let how = if exclusive { "less than" } else { "less than or equal to" };
            fail(format!("should be {how} {}", bound(whole, most)));
        }
    }
    outcome
}

/// A bound as an integer, which integers are compared with.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a bound beyond the integers is one that all or none keep"
)]
fn limit(bound: f64) -> i64 {
    bound as i64
}

fn compare(whole: Option<i64>, real: f64, bound: f64) -> Option<std::cmp::Ordering> {
    match whole {
        Some(whole) => Some(whole.cmp(&limit(bound))),
        None => real.partial_cmp(&bound),
    }
}

fn bound(whole: Option<i64>, bound: f64) -> String {
    if whole.is_some() { limit(bound).to_string() } else { shown(bound) }
}

/// A number as upstream shows it: with an exponent only where it is very large or very small.
fn shown(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    number.to_string()
}

/// Whether a value is one of a closed set.
pub(super) fn one_of(value: &Value, checks: &Checks, place: &Place<'_>) -> Outcome {
    if checks.values.is_empty() || checks.values.iter().any(|each| same(value, each)) {
        return Outcome::default();
    }
    let quoted = |each: &Value| match each {
        Value::String(text) => format!("{text:?}"),
        other => format!("{:?}", other.to_string()),
    };
    let supported: Vec<String> = checks.values.iter().map(quoted).collect();
    let words = format!("supported values: {}", supported.join(", "));
    let shown = if value.is_null() { Value::from("null") } else { value.clone() };
    Outcome::of(place.error(FieldErrorKind::NotSupported, shown, words))
}

/// Whether two values are the same; numbers are by what they amount to.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}
