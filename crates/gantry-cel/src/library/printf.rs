//! `format` of the strings library: `%s`, `%d`, `%f`, `%e`, `%b`, `%x`, `%o` with a precision.

use super::{convert, strings};
use crate::error::EvaluationError;
use crate::value::Value;

/// The most digits that a clause may ask for.
const PRECISION: usize = 100;

fn refused(why: impl Into<String>) -> EvaluationError {
    EvaluationError::failed(why.into())
}

/// `text` with its clauses replaced by the arguments.
pub(super) fn format(text: &str, args: &[Value<'_>]) -> Result<String, EvaluationError> {
    let mut out = String::with_capacity(text.len());
    let mut args = args.iter();
    let mut index = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut precision = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            let asked: usize = digits.parse().map_err(|_| {
                refused("error while parsing formatting clause: unable to find end of precision specifier")
            })?;
            if asked > PRECISION {
                return Err(refused(format!("precision {asked} exceeds the limit of {PRECISION}")));
            }
            precision = Some(asked);
        }
        let Some(clause) = chars.next() else { return Err(refused("unexpected end of string")) };
        let Some(arg) = args.next() else { return Err(refused(format!("index {index} out of range"))) };
        index += 1;
        write(&mut out, clause, precision, arg)?;
        if out.len() > strings::LONGEST {
            return Err(EvaluationError::CostLimit);
        }
    }
    Ok(out)
}

fn write(
    out: &mut String,
    clause: char,
    precision: Option<usize>,
    arg: &Value<'_>,
) -> Result<(), EvaluationError> {
    let wrong = |clause: &str| {
        let kind = arg.type_of().runtime_name();
        refused(format!("error during formatting: {clause} clause cannot be used on {kind}"))
    };
    let whole = match arg {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        Value::Bool(value) if clause == 'b' => Some(i128::from(*value)),
        _ => None,
    };
    let number = match arg {
        Value::Double(value) => Some(*value),
        _ => whole.map(|value| value as f64),
    };
    let signed = |digits: String, value: i128| if value < 0 { format!("-{digits}") } else { digits };
    match clause {
        's' => show(out, arg)?,
        'd' => match (whole, arg) {
            (Some(value), _) => out.push_str(&value.to_string()),
            (None, Value::Double(value)) => out.push_str(&convert::double(*value)),
            _ => return Err(wrong("decimal")),
        },
        'f' => {
            let value = number.ok_or_else(|| wrong("fixed-point"))?;
            out.push_str(&if value.is_finite() {
                grouped(&format!("{value:.*}", precision.unwrap_or(6)))
            } else {
                convert::double(value).trim_start_matches('+').replace("Inf", "∞")
            });
        }
        'e' => {
            let value = number.ok_or_else(|| wrong("scientific"))?;
            let shown = format!("{value:.*e}", precision.unwrap_or(6));
            let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
            let (sign, digits) = exponent.strip_prefix('-').map_or(("", exponent), |digits| ("⁻", digits));
            let raised: String = format!("{digits:0>2}").chars().map(superscript).collect();
            out.push_str(&format!("{mantissa}\u{202f}×\u{202f}10{sign}{raised}"));
        }
        'b' => {
            let value = whole.ok_or_else(|| wrong("binary"))?;
            out.push_str(&signed(format!("{:b}", value.unsigned_abs()), value));
        }
        'o' => {
            let value = whole.ok_or_else(|| wrong("octal"))?;
            out.push_str(&signed(format!("{:o}", value.unsigned_abs()), value));
        }
        'x' | 'X' => {
            let shown = match (whole, arg) {
                (Some(value), _) => signed(format!("{:x}", value.unsigned_abs()), value),
                (None, Value::String(text)) => hex(text.as_str().as_bytes()),
                (None, Value::Bytes(bytes)) => hex(bytes),
                _ => return Err(wrong("hex")),
            };
            out.push_str(&if clause == 'X' { shown.to_uppercase() } else { shown });
        }
        other => {
            return Err(refused(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{other}\""
            )));
        }
    }
    Ok(())
}

/// A digit as exponents have it.
fn superscript(digit: char) -> char {
    let at = digit.to_digit(10).unwrap_or_default() as usize;
    ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'][at.min(9)]
}

/// A number with commas between thousands.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A value as `%s` shows it.
fn show(out: &mut String, value: &Value<'_>) -> Result<(), EvaluationError> {
    if out.len() > strings::LONGEST {
        return Err(EvaluationError::CostLimit);
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::String(text) => out.push_str(text.as_str()),
        Value::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
        Value::Type(kind) => out.push_str(&kind.runtime_name()),
        other if other.list_len().is_some() => {
            out.push('[');
            for (at, item) in other.items().into_iter().flatten().flatten().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                show(out, &item)?;
            }
            out.push(']');
        }
        other if other.is_map() => {
            let mut shown = Vec::new();
            for (key, value) in super::operators::entries(other)? {
                let mut entry = String::new();
                show(&mut entry, &key)?;
                entry.push_str(": ");
                show(&mut entry, &value)?;
                shown.push(entry);
            }
            shown.sort();
            out.push_str(&format!("{{{}}}", shown.join(", ")));
        }
        other => match convert::text(other) {
            Some(text) => out.push_str(&text),
            None => {
                let kind = other.type_of().runtime_name();
                return Err(refused(format!(
                    "error during formatting: string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {kind}"
                )));
            }
        },
    }
    Ok(())
}

/// A text in quotes, with what cannot be printed escaped.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    out
}
