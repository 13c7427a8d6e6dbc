//! Paths into objects as definitions write them: JSONPath in the dialect that kubectl speaks.
//!
//! Printer columns, scale subresources and selectable fields are found by them. The dialect is
//! older and looser than RFC 9535: names may hold dashes, dots are escaped, the dollar is left out.
//! The paths of rules and selectable fields are a smaller dialect, [`checked`] against the schema.

mod parse;

use gantry_json::Value;

use crate::field::Path;

pub use parse::SyntaxError;

/// A path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// The field of that name.
    Field(String),
    /// Every field or item.
    Every,
    /// What is below, however deep.
    Below,
    /// The items from the first to before the last; counted from the end where negative.
    Items { from: i64, to: Option<i64>, derived: bool },
    /// What several paths find.
    Union(Vec<JsonPath>),
    /// The items for which a comparison holds, or which a path finds anything in.
    Filter { left: JsonPath, compare: Option<(Compare, JsonPath)> },
    /// A value that is written out.
    Literal(Value),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The most values that a path may find on its way.
const MOST_FOUND: usize = 1 << 20;

impl JsonPath {
    /// Reads a path, such as `.status.conditions[?(@.type=="Ready")].status`.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        parse::parse(text)
    }

    /// The values that the path finds; none where something on the way is missing or of another kind.
    pub fn find<'a>(&'a self, object: &'a Value) -> Vec<&'a Value> {
        self.evaluate(vec![object]).unwrap_or_default()
    }

    /// The first value that the path finds.
    pub fn first<'a>(&'a self, object: &'a Value) -> Option<&'a Value> {
        self.find(object).into_iter().next()
    }

    fn evaluate<'a>(&'a self, mut found: Vec<&'a Value>) -> Option<Vec<&'a Value>> {
        for step in &self.steps {
            found = step.apply(found)?;
            if found.len() > MOST_FOUND {
                return None;
            }
        }
        Some(found)
    }
}

impl Step {
    /// What the step finds in each of `found`; `None` where it does not fit.
    fn apply<'a>(&'a self, found: Vec<&'a Value>) -> Option<Vec<&'a Value>> {
        let mut out = Vec::new();
        match self {
            Self::Field(name) => out.extend(found.into_iter().filter_map(|value| value.get(name))),
            Self::Every => found.into_iter().for_each(|value| out.extend(children(value))),
            Self::Below => found.into_iter().for_each(|value| below(value, &mut out)),
            Self::Literal(value) => out.extend(found.iter().map(|_| value)),
            Self::Union(paths) => {
                for path in paths {
                    out.extend(path.evaluate(found.clone())?);
                }
            }
            Self::Items { from, to, derived } => {
                for value in found.into_iter().filter(|value| !value.is_null()) {
                    let items = value.as_array()?;
                    let length = i64::try_from(items.len()).ok()?;
                    let place = |at: i64| if at < 0 { at + length } else { at };
                    let from = place(*from);
                    let to = match (to, derived) {
                        (_, true) => from + 1,
                        (Some(to), _) => place(*to),
                        (None, _) => length,
                    };
                    if from != to && (from < 0 || from >= length || to > length || to < from) {
                        return None;
                    }
                    let (from, to) = (usize::try_from(from).ok()?, usize::try_from(to).ok()?);
                    out.extend(items.get(from..to).into_iter().flatten());
                }
            }
            Self::Filter { left, compare } => {
                for value in found {
                    for item in value.as_array()? {
                        let lefts = left.evaluate(vec![item]);
                        let Some((compare, right)) = compare else {
                            if lefts.is_some_and(|lefts| !lefts.is_empty()) {
                                out.push(item);
                            }
                            continue;
                        };
                        let ([left], [right]) = (&lefts?[..], &right.evaluate(vec![item])?[..]) else {
                            return None;
                        };
                        if compare.holds(left, right)? {
                            out.push(item);
                        }
                    }
                }
            }
        }
        Some(out)
    }
}

impl Compare {
    fn holds(self, left: &Value, right: &Value) -> Option<bool> {
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?)?,
            (Value::String(left), Value::String(right)) => left.cmp(right),
            (Value::Bool(left), Value::Bool(right)) if matches!(self, Self::Equal | Self::NotEqual) => {
                left.cmp(right)
            }
            _ => return None,
        };
        Some(match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        })
    }
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    }
}

fn below<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    let children = children(value);
    if !children.is_empty() && out.len() <= MOST_FOUND {
        out.push(value);
        children.into_iter().for_each(|child| below(child, out));
    }
}

/// The place of a path of names, as in a rule's `fieldPath` or a selectable field, and the schema
/// there; why it is no such path otherwise. `brackets` says whether names may stand in them.
pub fn checked<'a>(path: &str, schema: &'a Value, brackets: bool) -> Result<(Path, &'a Value), String> {
    let (mut at, mut here, mut rest) = (Path::default(), schema, path);
    while !rest.is_empty() {
        let (name, after) = if let Some(inside) = rest.strip_prefix('[') {
            if !brackets {
                return Err("array notation is not allowed".to_owned());
            }
            quoted_name(inside)?
        } else if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[', ']']).unwrap_or(after.len());
            match end {
                0 if after.is_empty() => return Err("unexpected end of JSON path".to_owned()),
                0 => (after[..1].to_owned(), &after[1..]),
                _ => (after[..end].to_owned(), &after[end..]),
            }
        } else {
            let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
            return Err(format!("expected [ or . but got: {}", rest.get(..end).unwrap_or(rest)));
        };
        const UNKNOWN: &str = "does not refer to a valid field";
        if here["properties"].is_object() {
            at = at.child(&name);
            here = here["properties"].get(&name).ok_or(UNKNOWN)?;
        } else if here["additionalProperties"].is_object() {
            at = at.key(&name);
            here = &here["additionalProperties"];
        } else {
            return Err(UNKNOWN.to_owned());
        }
        rest = after;
    }
    Ok((at, here))
}

/// A name in single quotes up to its closing bracket.
fn quoted_name(inside: &str) -> Result<(String, &str), String> {
    let Some(text) = inside.strip_prefix('\'') else {
        let end = inside.find(['.', '[', ']']).unwrap_or(inside.len());
        return Err(match inside.is_empty() {
            true => "unexpected end of JSON path".to_owned(),
            false => format!(
                "expected single quoted string but got {}",
                inside.get(..end.max(1)).unwrap_or(inside)
            ),
        });
    };
    let mut name = String::new();
    let mut signs = text.char_indices();
    while let Some((at, c)) = signs.next() {
        match c {
            '\'' => {
                let rest = &text[at + 1..];
                return match rest.strip_prefix(']') {
                    Some(rest) => Ok((name, rest)),
                    None if rest.is_empty() => Err("unexpected end of JSON path".to_owned()),
                    None => Err(format!("expected ] but got {rest}")),
                };
            }
            '\\' => name.push(match signs.next().map(|(_, c)| c) {
                Some('a') => '\u{7}',
                Some('b') => '\u{8}',
                Some('f') => '\u{c}',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('v') => '\u{b}',
                Some(c @ ('\'' | '\\')) => c,
                other => {
                    let shown = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid string literal: invalid escape char \\{shown}"));
                }
            }),
            c => name.push(c),
        }
    }
    Err(format!("expected single quoted string but got {inside}"))
}

#[cfg(test)]
mod tests;
