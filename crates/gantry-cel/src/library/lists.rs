//! Functions of lists; those that texts have, too, look at what they are called on.

use std::cmp::Ordering;
use std::sync::Arc;

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
        "slice" => slice,
        "flatten" => flatten,
        "distinct" => distinct,
        "reverse" => |args| {
            let mut items = items(args)?;
            items.reverse();
            Ok(made(items))
        },
        "sort" => |args| {
            let keys = items(args)?;
            sorted(keys.clone(), keys)
        },
        "@sortByAssociatedKeys" => |args| match args {
            [_, keys] => sorted(items(args)?, keys.items().ok_or_else(EvaluationError::no_overload)??),
            _ => no_overload(),
        },
        "lists.range" => |args| match args {
            [Value::Int(end)] => Ok(made((0..*end).map(Value::Int).collect())),
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn made<'a>(items: Vec<Value<'a>>) -> Value<'a> {
    Value::List(Arc::new(items))
}

fn slice<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [list, Value::Int(start), Value::Int(end)] = args else { return no_overload() };
    let len = list.list_len().ok_or_else(EvaluationError::no_overload)? as i64;
    let refused = |why: String| Err(EvaluationError::failed(why));
    if *start < 0 || *end < 0 {
        return refused(format!("cannot slice({start}, {end}), negative indexes not supported"));
    }
    if start > end {
        return refused(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        ));
    }
    if *end > len {
        return refused(format!("cannot slice({start}, {end}), list is length {len}"));
    }
    let items: Result<Vec<_>, _> = (*start..*end).filter_map(|at| list.item(at as usize)).collect();
    Ok(made(items?))
}

fn flatten<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let depth = match args {
        [_] => 1,
        [_, Value::Int(depth)] if *depth >= 0 => *depth,
        [_, Value::Int(_)] => return Err(EvaluationError::failed("level must be non-negative")),
        _ => return no_overload(),
    };
    let mut flat = items(args)?;
    // Each level is one pass; data does not nest deeper than JSON may.
    for _ in 0..depth.min(200) {
        if flat.iter().all(|item| item.list_len().is_none()) {
            break;
        }
        let mut next = Vec::with_capacity(flat.len());
        for item in flat {
            match item.items() {
                Some(inner) => next.extend(inner?),
                None => next.push(item),
            }
        }
        flat = next;
    }
    Ok(made(flat))
}

fn distinct<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let mut found: Vec<Value<'a>> = Vec::new();
    'items: for item in items(args)? {
        for known in &found {
            if operators::equal(known, &item)? {
                continue 'items;
            }
        }
        found.push(item);
    }
    Ok(made(found))
}

/// The items in the order of their keys.
fn sorted<'a>(items: Vec<Value<'a>>, keys: Vec<Value<'a>>) -> Outcome<'a> {
    if items.len() != keys.len() {
        return Err(EvaluationError::failed("list and keys must be of the same size"));
    }
    let alike = keys.windows(2).all(|pair| {
        std::mem::discriminant(&pair[0]) == std::mem::discriminant(&pair[1])
            && operators::compare(&pair[0], &pair[1]).is_some()
    });
    if !alike {
        return Err(EvaluationError::failed("list elements must have the same type"));
    }
    let mut pairs: Vec<_> = keys.into_iter().zip(items).collect();
    pairs.sort_by(|a, b| operators::compare(&a.0, &b.0).flatten().unwrap_or(Ordering::Equal));
    Ok(made(pairs.into_iter().map(|pair| pair.1).collect()))
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
