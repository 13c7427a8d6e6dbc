//! Lists as sets.

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::library::operators::equal;
use crate::value::Value;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "sets.contains" => |args| with(args, |a, b| all_in(b, a)),
        "sets.equivalent" => |args| with(args, |a, b| Ok(all_in(a, b)? && all_in(b, a)?)),
        "sets.intersects" => |args| {
            with(args, |a, b| {
                for item in a {
                    if is_in(item, b)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            })
        },
        _ => return None,
    })
}

type Test = fn(&[Value<'_>], &[Value<'_>]) -> Result<bool, EvaluationError>;

fn with<'a>(args: &[Value<'a>], test: Test) -> Result<Value<'a>, EvaluationError> {
    match args {
        [a, b] => match (a.items(), b.items()) {
            (Some(a), Some(b)) => Ok(Value::Bool(test(&a?, &b?)?)),
            _ => no_overload(),
        },
        _ => no_overload(),
    }
}

fn is_in(item: &Value<'_>, list: &[Value<'_>]) -> Result<bool, EvaluationError> {
    for other in list {
        if equal(item, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all_in(items: &[Value<'_>], list: &[Value<'_>]) -> Result<bool, EvaluationError> {
    for item in items {
        if !is_in(item, list)? {
            return Ok(false);
        }
    }
    Ok(true)
}
