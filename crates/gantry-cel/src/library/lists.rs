//! Functions of lists; those that texts have, too, look at what they are called on.

use jiff::SignedDuration;

use super::{Implementation, no_overload, operators, strings};
use crate::error::EvaluationError;
use crate::value::Value;

type Outcome<'a> = Result<Value<'a>, EvaluationError>;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "isSorted" => is_sorted,
        "sum" => sum,
        "max" => |args| extreme(args, true),
        "min" => |args| extreme(args, false),
        "indexOf" => |args| match args {
            [Value::String(_), ..] => strings::index_of(args),
            _ => place(args, false),
        },
        "lastIndexOf" => |args| match args {
            [Value::String(_), ..] => strings::last_index_of(args),
            _ => place(args, true),
        },
        _ => return None,
    })
}

fn items<'a>(args: &[Value<'a>]) -> Result<Vec<Value<'a>>, EvaluationError> {
    args.first().and_then(Value::items).ok_or_else(EvaluationError::no_overload)?
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let items = items(args)?;
    for pair in items.windows(2) {
        let ordering = operators::compare(&pair[0], &pair[1]).ok_or_else(EvaluationError::no_overload)?;
        if ordering.is_some_and(std::cmp::Ordering::is_gt) {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let items = items(args)?;
    let start = match items.first() {
        None | Some(Value::Int(_)) => Value::Int(0),
        Some(Value::Uint(_)) => Value::Uint(0),
        Some(Value::Double(_)) => Value::Double(0.0),
        Some(Value::Duration(_)) => Value::Duration(SignedDuration::ZERO),
        Some(_) => return no_overload(),
    };
    items.into_iter().try_fold(start, |sum, item| operators::add(&[sum, item]))
}

fn extreme<'a>(args: &[Value<'a>], largest: bool) -> Outcome<'a> {
    let name = if largest { "max" } else { "min" };
    let mut best: Option<Value<'a>> = None;
    for item in items(args)? {
        best = Some(match best {
            None => item,
            Some(best) => {
                let ordering = operators::compare(&item, &best).ok_or_else(EvaluationError::no_overload)?;
                let better = ordering.is_some_and(|it| if largest { it.is_gt() } else { it.is_lt() });
                if better { item } else { best }
            }
        });
    }
    best.ok_or_else(|| EvaluationError::failed(format!("{name} called on empty list")))
}

fn place<'a>(args: &[Value<'a>], last: bool) -> Outcome<'a> {
    let [_, wanted] = args else { return no_overload() };
    let mut found = -1;
    for (at, item) in items(args)?.iter().enumerate() {
        if operators::equal(item, wanted)? {
            found = at as i64;
            if !last {
                break;
            }
        }
    }
    Ok(Value::Int(found))
}
