//! Functions of texts.

use std::sync::Arc;

use super::{Implementation, no_overload, printf};
use crate::error::EvaluationError;
use crate::value::{Text, Value};

type Outcome<'a> = Result<Value<'a>, EvaluationError>;

/// The longest text that a function may make.
pub(crate) const LONGEST: usize = 10 << 20;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "contains" => |args| test(args, |text, part| text.contains(part)),
        "startsWith" => |args| test(args, |text, part| text.starts_with(part)),
        "endsWith" => |args| test(args, |text, part| text.ends_with(part)),
        "charAt" => char_at,
        "lowerAscii" => |args| change(args, |text| text.to_ascii_lowercase()),
        "upperAscii" => |args| change(args, |text| text.to_ascii_uppercase()),
        "trim" => |args| change(args, |text| text.trim().to_owned()),
        "jsonpatch.escapeKey" => |args| change(args, |text| text.replace('~', "~0").replace('/', "~1")),
        "strings.quote" => |args| change(args, printf::quoted),
        "replace" => replace,
        "split" => split,
        "substring" => substring,
        "join" => join,
        "format" => |args| match args {
            [Value::String(text), arguments] => match arguments.items() {
                Some(arguments) => Ok(Value::from(printf::format(text.as_str(), &arguments?)?)),
                None => no_overload(),
            },
            _ => no_overload(),
        },
        _ => return None,
    })
}

fn test<'a>(args: &[Value<'a>], test: fn(&str, &str) -> bool) -> Outcome<'a> {
    match args {
        [Value::String(text), Value::String(part)] => Ok(Value::Bool(test(text.as_str(), part.as_str()))),
        _ => no_overload(),
    }
}

fn change<'a>(args: &[Value<'a>], change: fn(&str) -> String) -> Outcome<'a> {
    match args {
        [Value::String(text)] => Ok(Value::from(change(text.as_str()))),
        _ => no_overload(),
    }
}

fn out_of_range(at: i64) -> EvaluationError {
    EvaluationError::failed(format!("index out of range: {at}"))
}

/// Where in bytes the character `at` begins, the end included.
fn offset(text: &str, at: i64) -> Result<usize, EvaluationError> {
    let wanted = usize::try_from(at).map_err(|_| out_of_range(at))?;
    let mut offsets = text.char_indices().map(|(offset, _)| offset).chain([text.len()]);
    offsets.nth(wanted).ok_or_else(|| out_of_range(at))
}

/// A part of a text, without a copy where the text is borrowed.
fn part<'a>(text: &Text<'a>, from: usize, to: usize) -> Value<'a> {
    match text {
        Text::Borrowed(text) => Value::from(&text[from..to]),
        Text::Shared(text) => Value::from(text[from..to].to_owned()),
    }
}

fn char_at<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let [Value::String(text), Value::Int(at)] = args else { return no_overload() };
    let from = offset(text.as_str(), *at)?;
    let len = text.as_str()[from..].chars().next().map_or(0, char::len_utf8);
    Ok(part(text, from, from + len))
}

fn substring<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, from, to) = match args {
        [Value::String(text), Value::Int(from)] => (text, *from, None),
        [Value::String(text), Value::Int(from), Value::Int(to)] => (text, *from, Some(*to)),
        _ => return no_overload(),
    };
    if let Some(to) = to
        && from > to
    {
        return Err(EvaluationError::failed(format!("invalid substring range. start: {from}, end: {to}")));
    }
    let start = offset(text.as_str(), from)?;
    let end = to.map_or(Ok(text.as_str().len()), |to| offset(text.as_str(), to))?;
    Ok(part(text, start, end))
}

/// The place in characters of a place in bytes.
fn characters(text: &str, offset: usize) -> i64 {
    text[..offset].chars().count() as i64
}

pub(super) fn index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, wanted, from) = match args {
        [Value::String(text), Value::String(wanted)] => (text.as_str(), wanted.as_str(), 0),
        [Value::String(text), Value::String(wanted), Value::Int(from)] => {
            (text.as_str(), wanted.as_str(), *from)
        }
        _ => return no_overload(),
    };
    if wanted.is_empty() {
        return Ok(Value::Int(from));
    }
    let start = offset(text, from)?;
    Ok(Value::Int(text[start..].find(wanted).map_or(-1, |at| characters(text, start + at))))
}

pub(super) fn last_index_of<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, wanted, until) = match args {
        [Value::String(text), Value::String(wanted)] => (text.as_str(), wanted.as_str(), None),
        [Value::String(text), Value::String(wanted), Value::Int(until)] => {
            (text.as_str(), wanted.as_str(), Some(*until))
        }
        _ => return no_overload(),
    };
    if wanted.is_empty() {
        return Ok(Value::Int(until.unwrap_or_else(|| characters(text, text.len()))));
    }
    let end = match until {
        // The match begins there at the latest.
        Some(until) => (offset(text, until)? + wanted.len()).min(text.len()),
        None => text.len(),
    };
    let end = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    Ok(Value::Int(text[..end].rfind(wanted).map_or(-1, |at| characters(text, at))))
}

fn replace<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, from, to, count) = match args {
        [Value::String(text), Value::String(from), Value::String(to)] => (text, from, to, -1),
        [Value::String(text), Value::String(from), Value::String(to), Value::Int(count)] => {
            (text, from, to, *count)
        }
        _ => return no_overload(),
    };
    let (text, from, to) = (text.as_str(), from.as_str(), to.as_str());
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let found = if from.is_empty() { text.chars().count() + 1 } else { text.matches(from).count() };
    if found.min(most).saturating_mul(to.len()).saturating_add(text.len()) > LONGEST {
        return Err(EvaluationError::CostLimit);
    }
    Ok(Value::from(text.replacen(from, to, most)))
}

fn split<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, by, most) = match args {
        [Value::String(text), Value::String(by)] => (text, by.as_str(), -1),
        [Value::String(text), Value::String(by), Value::Int(most)] => (text, by.as_str(), *most),
        _ => return no_overload(),
    };
    let most = match most {
        0 => return Ok(Value::List(Arc::default())),
        most => usize::try_from(most).unwrap_or(usize::MAX),
    };
    let whole = text.as_str();
    let mut parts = Vec::new();
    let mut from = 0;
    while parts.len() + 1 < most {
        let (at, len) = if by.is_empty() {
            let Some(c) = whole[from..].chars().next() else { break };
            if from + c.len_utf8() == whole.len() {
                break;
            }
            (from + c.len_utf8(), 0)
        } else {
            let Some(at) = whole[from..].find(by) else { break };
            (from + at, by.len())
        };
        parts.push(part(text, from, at));
        from = at + len;
    }
    if !(by.is_empty() && whole.is_empty()) {
        parts.push(part(text, from, whole.len()));
    }
    Ok(Value::List(Arc::new(parts)))
}

fn join<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (list, by) = match args {
        [list] => (list, ""),
        [list, Value::String(by)] => (list, by.as_str()),
        _ => return no_overload(),
    };
    let items = list.items().ok_or_else(EvaluationError::no_overload)??;
    let mut joined = String::new();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            joined.push_str(by);
        }
        joined.push_str(item.as_str().ok_or_else(EvaluationError::no_overload)?);
        if joined.len() > LONGEST {
            return Err(EvaluationError::CostLimit);
        }
    }
    Ok(Value::from(joined))
}
