//! Arithmetic, comparison, membership and indexing.

use std::cmp::Ordering;
use std::sync::Arc;

use gantry_json::Value as Json;
use jiff::SignedDuration;

use super::{Implementation, no_overload};
use crate::declared::{Form, ListForm, list_key};
use crate::error::EvaluationError;
use crate::value::{Key, Value};

type Outcome<'a> = Result<Value<'a>, EvaluationError>;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "!_" => |args| match args {
            [Value::Bool(value)] => Ok(Value::Bool(!value)),
            _ => no_overload(),
        },
        "_==_" => |args| Ok(Value::Bool(equal(&args[0], &args[1])?)),
        "_!=_" => |args| Ok(Value::Bool(!equal(&args[0], &args[1])?)),
        "_<_" => |args| compared(args, Ordering::is_lt),
        "_<=_" => |args| compared(args, Ordering::is_le),
        "_>_" => |args| compared(args, Ordering::is_gt),
        "_>=_" => |args| compared(args, Ordering::is_ge),
        "_-_" => subtract,
        "_*_" => multiply,
        "_/_" => divide,
        "_%_" => modulo,
        "-_" => negate,
        "@in" => contains,
        "_[_]" => index,
        "_[?_]" => optional_index,
        "size" => size,
        _ => return None,
    })
}

fn overflow(kind: &str) -> EvaluationError {
    EvaluationError::failed(format!("{kind} overflow"))
}

/// The most items that adding lists may make.
const ITEMS: usize = 1_000_000;

pub(crate) fn add<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let integer = || overflow("integer");
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_add(*b).ok_or_else(integer)?),
        [Value::Uint(a), Value::Uint(b)] => {
            Value::Uint(a.checked_add(*b).ok_or_else(|| overflow("unsigned integer"))?)
        }
        [Value::Double(a), Value::Double(b)] => Value::Double(a + b),
        [Value::String(a), Value::String(b)] => Value::from([a.as_str(), b.as_str()].concat()),
        [Value::Bytes(a), Value::Bytes(b)] => Value::Bytes([&**a, &**b].concat().into()),
        [Value::Duration(a), Value::Duration(b)] => {
            Value::Duration(a.checked_add(*b).ok_or_else(|| overflow("duration"))?)
        }
        [Value::Timestamp(at), Value::Duration(by)] | [Value::Duration(by), Value::Timestamp(at)] => {
            Value::Timestamp(at.checked_add(*by).map_err(|_| overflow("timestamp"))?)
        }
        [a, b] if a.list_len().is_some() && b.list_len().is_some() => concatenation(a, b)?,
        _ => return no_overload(),
    })
}

fn concatenation<'a>(a: &Value<'a>, b: &Value<'a>) -> Outcome<'a> {
    let (left, right) = (a.list_len().unwrap_or_default(), b.list_len().unwrap_or_default());
    if right == 0 {
        return Ok(a.clone());
    }
    if left + right > ITEMS {
        return Err(EvaluationError::CostLimit);
    }
    let mut items = Vec::with_capacity(left + right);
    items.extend(a.items().into_iter().flatten().flatten());
    let form = match a {
        Value::JsonList(_, declared) => match &declared.form {
            Form::List(_, form) => form.clone(),
            _ => ListForm::Atomic,
        },
        _ => ListForm::Atomic,
    };
    for item in b.items().into_iter().flatten().flatten() {
        // Sets and maps keep one of each.
        let same = match &form {
            ListForm::Atomic => None,
            ListForm::Set => find(&items, |known| equal(known, &item).unwrap_or_default()),
            ListForm::Map(keys) => find(&items, |known| {
                keys.iter().all(|key| match (known.entry(key), item.entry(key)) {
                    (Some(Ok(a)), Some(Ok(b))) => equal(&a, &b).unwrap_or_default(),
                    (None, None) => true,
                    _ => false,
                })
            }),
        };
        match same {
            Some(at) => items[at] = item,
            None => items.push(item),
        }
    }
    Ok(Value::List(Arc::new(items)))
}

fn find<'a>(items: &[Value<'a>], same: impl Fn(&Value<'a>) -> bool) -> Option<usize> {
    items.iter().position(same)
}

fn subtract<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_sub(*b).ok_or_else(|| overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => {
            Value::Uint(a.checked_sub(*b).ok_or_else(|| overflow("unsigned integer"))?)
        }
        [Value::Double(a), Value::Double(b)] => Value::Double(a - b),
        [Value::Duration(a), Value::Duration(b)] => {
            Value::Duration(a.checked_sub(*b).ok_or_else(|| overflow("duration"))?)
        }
        [Value::Timestamp(at), Value::Duration(by)] => {
            Value::Timestamp(at.checked_sub(*by).map_err(|_| overflow("timestamp"))?)
        }
        [Value::Timestamp(a), Value::Timestamp(b)] => Value::Duration(a.duration_since(*b)),
        _ => return no_overload(),
    })
}

fn multiply<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match args {
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_mul(*b).ok_or_else(|| overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => {
            Value::Uint(a.checked_mul(*b).ok_or_else(|| overflow("unsigned integer"))?)
        }
        [Value::Double(a), Value::Double(b)] => Value::Double(a * b),
        _ => return no_overload(),
    })
}

fn divide<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            return Err(EvaluationError::failed("division by zero"));
        }
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_div(*b).ok_or_else(|| overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(a / b),
        [Value::Double(a), Value::Double(b)] => Value::Double(a / b),
        _ => return no_overload(),
    })
}

fn modulo<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            return Err(EvaluationError::failed("modulus by zero"));
        }
        [Value::Int(a), Value::Int(b)] => Value::Int(a.checked_rem(*b).ok_or_else(|| overflow("integer"))?),
        [Value::Uint(a), Value::Uint(b)] => Value::Uint(a % b),
        _ => return no_overload(),
    })
}

fn negate<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    Ok(match args {
        [Value::Int(value)] => Value::Int(value.checked_neg().ok_or_else(|| overflow("integer"))?),
        [Value::Double(value)] => Value::Double(-value),
        [Value::Duration(value)] => {
            Value::Duration(SignedDuration::ZERO.checked_sub(*value).ok_or_else(|| overflow("duration"))?)
        }
        _ => return no_overload(),
    })
}

fn compared<'a>(args: &[Value<'a>], accept: fn(Ordering) -> bool) -> Outcome<'a> {
    let [a, b] = args else { return no_overload() };
    match compare(a, b) {
        Some(ordering) => Ok(Value::Bool(ordering.is_some_and(accept))),
        None => no_overload(),
    }
}

/// How two values compare, if their types do; the inner is none for what is not a number.
#[allow(clippy::option_option)]
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Option<Ordering>> {
    Some(match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => mixed(i128::from(*a), *b),
        (Value::Uint(a), Value::Double(b)) => mixed(i128::from(*a), *b),
        (Value::Double(a), Value::Int(b)) => mixed(i128::from(*b), *a).map(Ordering::reverse),
        (Value::Double(a), Value::Uint(b)) => mixed(i128::from(*b), *a).map(Ordering::reverse),
        (Value::String(a), Value::String(b)) => Some(a.as_str().cmp(b.as_str())),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => return None,
    })
}

/// How a whole number compares with a floating-point one.
fn mixed(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    if double >= 1e20 {
        return Some(Ordering::Less);
    }
    if double <= -1e20 {
        return Some(Ordering::Greater);
    }
    let floor = double.floor();
    Some(whole.cmp(&(floor as i128)).then(if double > floor { Ordering::Less } else { Ordering::Equal }))
}

/// Whether two values are the same.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvaluationError> {
    if let Some(ordering) = compare(a, b) {
        return Ok(ordering == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Value::Null, Value::Null) | (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => equal(a, b)?,
        (Value::Type(a), Value::Type(b)) => a.runtime_name() == b.runtime_name(),
        (Value::Url(a), Value::Url(b)) => a == b,
        (Value::Quantity(a), Value::Quantity(b)) => a == b,
        (Value::Ip(a), Value::Ip(b)) => a == b,
        (Value::Cidr(a, length), Value::Cidr(b, other)) => a == b && length == other,
        (Value::Semver(a), Value::Semver(b)) => a.cmp(b) == Ordering::Equal,
        (Value::Format(a), Value::Format(b)) => a.name == b.name,
        (Value::Made(a), Value::Made(b)) => a.equals(b, equal)?,
        (a, b) if a.is_map() && b.is_map() => equal_maps(a, b)?,
        (a, b) if a.list_len().is_some() && b.list_len().is_some() => equal_lists(a, b)?,
        _ => false,
    })
}

fn equal_maps(a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvaluationError> {
    if a.map_len() != b.map_len() {
        return Ok(false);
    }
    for key in a.keys().unwrap_or_default() {
        let (Some(a), Some(b)) = (a.entry_of(&key), b.entry_of(&key)) else { return Ok(false) };
        if !equal(&a?, &b?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_lists(a: &Value<'_>, b: &Value<'_>) -> Result<bool, EvaluationError> {
    let len = a.list_len().unwrap_or_default();
    if Some(len) != b.list_len() {
        return Ok(false);
    }
    if let Some(equal) = equal_unordered(a, b).or_else(|| equal_unordered(b, a)) {
        return equal;
    }
    for at in 0..len {
        let (Some(a), Some(b)) = (a.item(at), b.item(at)) else { return Ok(false) };
        if !equal(&a?, &b?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether two lists are the same, the order of the first being no part of it: of sets and maps.
fn equal_unordered(a: &Value<'_>, b: &Value<'_>) -> Option<Result<bool, EvaluationError>> {
    let Value::JsonList(items, declared) = a else { return None };
    let Form::List(_, form @ (ListForm::Set | ListForm::Map(_))) = &declared.form else { return None };
    if let Value::JsonList(others, _) = b {
        return Some(Ok(match form {
            ListForm::Map(keys) => items.iter().all(|item| has_twin(keys, item, others)),
            _ => items.iter().all(|item| others.contains(item)),
        }));
    }
    let all = || {
        let others = b.items().ok_or_else(EvaluationError::no_overload)??;
        for item in a.items().ok_or_else(EvaluationError::no_overload)?? {
            let mut found = false;
            for other in &others {
                found = found || equal(&item, other)?;
            }
            if !found {
                return Ok(false);
            }
        }
        Ok(true)
    };
    Some(all())
}

fn has_twin(keys: &[String], item: &Json, others: &[Json]) -> bool {
    let key = list_key(keys, item);
    others.iter().any(|other| list_key(keys, other) == key && other == item)
}

fn contains<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [value, container] = args else { return no_overload() };
    if let Some(len) = container.list_len() {
        for at in 0..len {
            let Some(item) = container.item(at) else { break };
            if equal(value, &item?)? {
                return Ok(Value::Bool(true));
            }
        }
        return Ok(Value::Bool(false));
    }
    if container.is_map() {
        return Ok(Value::Bool(container.entry_of(value).is_some()));
    }
    no_overload()
}

/// The place in a list that a value names.
fn place(value: &Value<'_>) -> Option<i128> {
    match value.as_key() {
        Some(Key::Number(at)) => Some(at),
        _ => None,
    }
}

/// The entry or item that `key` names, if it is there.
fn lookup<'a>(container: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>, EvaluationError> {
    if container.is_map() {
        return container.entry_of(key).transpose();
    }
    if container.list_len().is_none() {
        return Err(EvaluationError::no_overload());
    }
    let at = place(key).ok_or_else(EvaluationError::no_overload)?;
    usize::try_from(at).ok().and_then(|at| container.item(at)).transpose()
}

fn index<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [container, key] = args else { return no_overload() };
    if let Value::Optional(inner) = container {
        let found = inner.as_ref().map(|inner| lookup(inner, key)).transpose()?.flatten();
        return Ok(Value::Optional(found.map(Arc::new)));
    }
    lookup(container, key)?.ok_or_else(|| {
        let shown = super::convert::text(key).unwrap_or_default();
        if container.is_map() {
            EvaluationError::failed(format!("no such key: {shown}"))
        } else {
            EvaluationError::failed(format!("index out of bounds: {shown}"))
        }
    })
}

fn optional_index<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [container, key] = args else { return no_overload() };
    let found = match container {
        Value::Optional(inner) => inner.as_ref().map(|inner| lookup(inner, key)).transpose()?.flatten(),
        other => lookup(other, key)?,
    };
    Ok(Value::Optional(found.map(Arc::new)))
}

fn size<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [value] = args else { return no_overload() };
    Ok(Value::Int(match value {
        Value::String(text) => text.as_str().chars().count() as i64,
        Value::Bytes(bytes) => bytes.len() as i64,
        other => match other.list_len().or_else(|| other.map_len()) {
            Some(len) => len as i64,
            None => return no_overload(),
        },
    }))
}

/// The entries of a map.
pub(crate) fn entries<'a>(map: &Value<'a>) -> Result<Vec<(Value<'a>, Value<'a>)>, EvaluationError> {
    let keys = map.keys().ok_or_else(EvaluationError::no_overload)?;
    keys.into_iter().filter_map(|key| Some(map.entry_of(&key)?.map(|value| (key, value)))).collect()
}
