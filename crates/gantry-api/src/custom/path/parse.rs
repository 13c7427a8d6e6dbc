//! Reads paths.

use gantry_json::{Number, Value};

use super::{Compare, JsonPath, Step};

/// How deep paths may stand within paths.
const MOST_NESTED: usize = 16;

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyntaxError(String);

fn fault<T>(words: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError(words.into()))
}

pub(super) fn parse(text: &str) -> Result<JsonPath, SyntaxError> {
    path(text, 0)
}

fn path(text: &str, depth: usize) -> Result<JsonPath, SyntaxError> {
    if depth > MOST_NESTED {
        return fault("paths are nested too deeply");
    }
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(inside) = rest.strip_prefix("[?(") {
            rest = filter(inside, depth, &mut steps)?;
        } else if let Some(after) = rest.strip_prefix("..") {
            if steps.last() == Some(&Step::Below) {
                return fault("invalid multiple recursive descent");
            }
            steps.push(Step::Below);
            rest = after;
            if rest.starts_with(|c: char| c == '_' || c.is_alphanumeric()) {
                rest = field(rest, &mut steps);
            }
        } else {
            rest = match c {
                '\n' | '\r' | '}' => return fault("unclosed action"),
                // The object itself is where every path begins.
                ' ' | '@' | '$' => &rest[1..],
                '[' => array(&rest[1..], depth, &mut steps)?,
                '"' | '\'' => quoted(rest, c, &mut steps)?,
                '.' => field(&rest[1..], &mut steps),
                '+' | '-' | '0'..='9' => number(rest, &mut steps)?,
                c if c == '_' || c.is_alphanumeric() => identifier(rest, &mut steps)?,
                c => return fault(format!("unrecognized character in action: {c:?}")),
            };
        }
    }
    Ok(JsonPath { steps })
}

fn ends_name(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut signs = text.char_indices();
    let mut end = text.len();
    while let Some((at, c)) = signs.next() {
        match c {
            '\\' => name.extend(signs.next().map(|(_, c)| c)),
            c if ends_name(c) => {
                end = at;
                break;
            }
            c => name.push(c),
        }
    }
    match (&text[..end], name.is_empty()) {
        ("*", _) => steps.push(Step::Every),
        // A dot alone is the object itself.
        (_, true) if steps.is_empty() && text.is_empty() => {}
        _ => steps.push(Step::Field(name)),
    }
    &text[end..]
}

fn identifier<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, SyntaxError> {
    let end = text.find(ends_name).unwrap_or(text.len());
    match &text[..end] {
        "true" => steps.push(Step::Literal(true.into())),
        "false" => steps.push(Step::Literal(false.into())),
        other => return fault(format!("unrecognized identifier {other}")),
    }
    Ok(&text[end..])
}

fn number<'a>(text: &'a str, steps: &mut Vec<Step>) -> Result<&'a str, SyntaxError> {
    let digits = text[1..].find(|c: char| c != '.' && !c.is_ascii_digit()).map_or(text.len(), |at| at + 1);
    let (shown, rest) = text.split_at(digits);
    let plain = shown.strip_prefix('+').unwrap_or(shown);
    let value = match plain.parse::<i64>() {
        Ok(whole) => Some(Value::from(whole)),
        Err(_) => plain.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number),
    };
    let Some(value) = value else { return fault(format!("cannot parse number {shown}")) };
    steps.push(Step::Literal(value));
    Ok(rest)
}

fn quoted<'a>(text: &'a str, quote: char, steps: &mut Vec<Step>) -> Result<&'a str, SyntaxError> {
    let mut value = String::new();
    let mut signs = text[1..].char_indices();
    while let Some((at, c)) = signs.next() {
        match c {
            '\n' => break,
            c if c == quote => {
                steps.push(Step::Literal(value.into()));
                return Ok(&text[at + 2..]);
            }
            '\\' => value.extend(signs.next().map(|(_, c)| match c {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                c => c,
            })),
            c => value.push(c),
        }
    }
    fault("unterminated quoted string")
}

fn array<'a>(text: &'a str, depth: usize, steps: &mut Vec<Step>) -> Result<&'a str, SyntaxError> {
    let Some((inside, rest)) = text.split_once(']') else { return fault("unterminated array") };
    let parts: Vec<&str> = inside.split(',').collect();
    if parts.len() > 1 {
        let each = parts.iter().map(|part| path(&format!("[{}]", part.trim_matches(' ')), depth + 1));
        steps.push(Step::Union(each.collect::<Result<_, _>>()?));
        return Ok(rest);
    }
    let name = inside.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    if let Some(name) = name.filter(|name| !name.contains('\'')) {
        let below = path(&format!(".{name}"), depth + 1)?;
        steps.extend(below.steps);
        return Ok(rest);
    }
    steps.push(items(if inside == "*" { ":" } else { inside })?);
    Ok(rest)
}

fn items(text: &str) -> Result<Step, SyntaxError> {
    let place = |text: &str| match text {
        "" => Ok(None),
        text => text.parse::<i64>().map(Some).map_err(|_| SyntaxError(format!("invalid array index {text}"))),
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [] | [""] => fault(format!("invalid array index {text}")),
        [from] => Ok(Step::Items { from: place(from)?.unwrap_or_default(), to: None, derived: true }),
        [from, to] => {
            Ok(Step::Items { from: place(from)?.unwrap_or_default(), to: place(to)?, derived: false })
        }
        // A third number is a limit in the dialect, not a step.
        [from, to, limit] => {
            place(limit)?;
            Ok(Step::Items { from: place(from)?.unwrap_or_default(), to: place(to)?, derived: false })
        }
        _ => fault(format!("invalid array index {text}")),
    }
}

fn filter<'a>(text: &'a str, depth: usize, steps: &mut Vec<Step>) -> Result<&'a str, SyntaxError> {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    let mut end = None;
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('\n', _) => break,
            _ if escaped => escaped = false,
            ('\\', _) => escaped = true,
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (')', None) => {
                end = Some(at);
                break;
            }
            _ => {}
        }
    }
    let Some(end) = end else { return fault("unterminated filter") };
    let (inside, after) = text.split_at(end);
    let Some(rest) = after.strip_prefix(")]") else { return fault("unclosed array expect ]") };
    let is_sign = |c: char| matches!(c, '!' | '<' | '>' | '=');
    let compare = match inside.find(is_sign) {
        Some(at) if at > 0 => {
            let signs = &inside[at..];
            let length = signs.find(|c| !is_sign(c)).unwrap_or(signs.len());
            let compare = match &signs[..length] {
                "==" => Compare::Equal,
                "!=" => Compare::NotEqual,
                "<" => Compare::Less,
                "<=" => Compare::LessOrEqual,
                ">" => Compare::Greater,
                ">=" => Compare::GreaterOrEqual,
                other => return fault(format!("unrecognized filter operator {other}")),
            };
            Some((at, compare, &signs[length..]))
        }
        _ => None,
    };
    let step = match compare {
        None => Step::Filter { left: path(inside, depth + 1)?, compare: None },
        Some((at, compare, right)) => Step::Filter {
            left: path(&inside[..at], depth + 1)?,
            compare: Some((compare, path(right, depth + 1)?)),
        },
    };
    steps.push(step);
    Ok(rest)
}
