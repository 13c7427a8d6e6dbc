//! Quantities; what versions have, too, looks at what it is called on.

use std::cmp::Ordering;

use gantry_api::quantity::{Format, Quantity};

use super::{Implementation, no_overload, semver};
use crate::error::EvaluationError;
use crate::value::Value;

type Outcome<'a> = Result<Value<'a>, EvaluationError>;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "quantity" => |args| match args {
            [Value::String(text)] => text.as_str().parse().map(Value::Quantity).map_err(
                |error: gantry_api::quantity::ParseError| EvaluationError::failed(error.to_string()),
            ),
            _ => no_overload(),
        },
        "isQuantity" => |args| match args {
            [Value::String(text)] => Ok(Value::Bool(text.as_str().parse::<Quantity>().is_ok())),
            _ => no_overload(),
        },
        "sign" => |args| match args {
            [Value::Quantity(quantity)] if quantity.is_zero() => Ok(Value::Int(0)),
            [Value::Quantity(quantity)] => Ok(Value::Int(if quantity.is_negative() { -1 } else { 1 })),
            _ => no_overload(),
        },
        "isInteger" => |args| match args {
            [Value::Quantity(quantity)] => Ok(Value::Bool(quantity.is_whole())),
            _ => no_overload(),
        },
        "asInteger" => |args| match args {
            [Value::Quantity(quantity)] if quantity.is_whole() => Ok(Value::Int(quantity.value())),
            [Value::Quantity(_)] => Err(EvaluationError::failed("cannot convert value to integer")),
            _ => no_overload(),
        },
        "asApproximateFloat" => |args| match args {
            [Value::Quantity(quantity)] => Ok(Value::Double(quantity.as_f64())),
            _ => no_overload(),
        },
        "add" => |args| sum(args, |a, b| a + b),
        "sub" => |args| sum(args, |a, b| a - b),
        "isLessThan" => |args| Ok(Value::Bool(compare(args)?.is_lt())),
        "isGreaterThan" => |args| Ok(Value::Bool(compare(args)?.is_gt())),
        "compareTo" => |args| Ok(Value::Int(compare(args)? as i64)),
        name => return semver::by_name(name),
    })
}

fn sum<'a>(args: &[Value<'a>], operation: fn(Quantity, Quantity) -> Quantity) -> Outcome<'a> {
    match args {
        [Value::Quantity(a), Value::Quantity(b)] => Ok(Value::Quantity(operation(*a, *b))),
        [Value::Quantity(a), Value::Int(b)] => {
            Ok(Value::Quantity(operation(*a, Quantity::from_value(*b, Format::DecimalSi))))
        }
        _ => no_overload(),
    }
}

fn compare(args: &[Value<'_>]) -> Result<Ordering, EvaluationError> {
    match args {
        [Value::Quantity(a), Value::Quantity(b)] => Ok(a.cmp(b)),
        [Value::Semver(a), Value::Semver(b)] => Ok(a.cmp(b)),
        _ => Err(EvaluationError::no_overload()),
    }
}
