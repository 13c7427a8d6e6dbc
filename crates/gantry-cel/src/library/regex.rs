//! Regular expressions: linear in the text, bounded in size.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::value::{Text, Value};

type Outcome<'a> = Result<Value<'a>, EvaluationError>;

/// The most memory that a compiled pattern may take.
const SIZE: usize = 1 << 20;

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "matches" => |args| compiled("matches", args),
        "find" => |args| compiled("find", args),
        "findAll" => |args| compiled("findAll", args),
        _ => return None,
    })
}

/// A pattern, ready for use.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvaluationError> {
    RegexBuilder::new(pattern).size_limit(SIZE).dfa_size_limit(SIZE).build().map_err(|error| {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        EvaluationError::failed(format!("error parsing regexp: {why}: `{pattern}`"))
    })
}

fn compiled<'a>(name: &str, args: &[Value<'a>]) -> Outcome<'a> {
    let Some(Value::String(pattern)) = args.get(1) else { return no_overload() };
    with_pattern(name, &compile(pattern.as_str())?, args)
}

/// The call with its pattern compiled.
pub(crate) fn with_pattern<'a>(name: &str, pattern: &Regex, args: &[Value<'a>]) -> Outcome<'a> {
    let Some(Value::String(text)) = args.first() else { return no_overload() };
    match (name, args.get(2)) {
        ("matches", _) => Ok(Value::Bool(pattern.is_match(text.as_str()))),
        ("find", _) => {
            let found = pattern.find(text.as_str()).map_or(0..0, |found| found.range());
            Ok(part(text, found))
        }
        ("findAll", None) => Ok(all(pattern, text, usize::MAX)),
        ("findAll", Some(Value::Int(most))) => {
            Ok(all(pattern, text, usize::try_from(*most).unwrap_or(usize::MAX)))
        }
        _ => no_overload(),
    }
}

fn all<'a>(pattern: &Regex, text: &Text<'a>, most: usize) -> Value<'a> {
    let found = pattern.find_iter(text.as_str()).take(most).map(|found| part(text, found.range()));
    Value::List(Arc::new(found.collect()))
}

fn part<'a>(text: &Text<'a>, range: std::ops::Range<usize>) -> Value<'a> {
    match text {
        Text::Borrowed(text) => Value::from(&text[range]),
        Text::Shared(text) => Value::from(text[range].to_owned()),
    }
}
