//! Answers in YAML. Readers of YAML 1.1, which most are, take `on`, `1:30` or `2026-01-01` for something
//! other than text, so whatever might be taken so is quoted.

use std::fmt::Write;

use gantry_json::{Map, Value};

/// What readers of some version take for a truth value, nothing or a number.
const WORDS: [&str; 11] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// The document that says `value`.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => map(&mut out, fields, 0, false),
        Value::Array(items) if !items.is_empty() => sequence(&mut out, items, 0, false),
        other => {
            scalar(&mut out, other, None);
            out.push('\n');
        }
    }
    out
}

/// Writes fields; the first one where the line already stands, if it does.
fn map(out: &mut String, fields: &Map, indent: usize, begun: bool) {
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 || !begun {
            pad(out, indent);
        }
        text(out, name, None);
        out.push(':');
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                out.push('\n');
                map(out, fields, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                sequence(out, items, indent, false);
            }
            other => {
                out.push(' ');
                scalar(out, other, Some(indent + 2));
                out.push('\n');
            }
        }
    }
}

fn sequence(out: &mut String, items: &[Value], indent: usize, begun: bool) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 || !begun {
            pad(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::Object(fields) if !fields.is_empty() => map(out, fields, indent + 2, true),
            Value::Array(items) if !items.is_empty() => sequence(out, items, indent + 2, true),
            other => {
                scalar(out, other, Some(indent + 2));
                out.push('\n');
            }
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn scalar(out: &mut String, value: &Value, indent: Option<usize>) {
    match value {
        Value::String(string) => text(out, string, indent),
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// Writes a text: as it is, as lines below where `indent` allows it, or quoted.
fn text(out: &mut String, string: &str, indent: Option<usize>) {
    match indent {
        _ if is_plain(string) => out.push_str(string),
        Some(indent) if has_lines(string) => lines(out, string, indent),
        _ => quoted(out, string),
    }
}

fn is_plain(string: &str) -> bool {
    let starts = string.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/'));
    let ends = !string.ends_with([':', ' ']);
    let inner = string.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    starts
        && ends
        && inner
        && !string.contains(": ")
        && !string.contains(" #")
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(string))
}

/// Whether a text is lines that can stand for themselves.
fn has_lines(string: &str) -> bool {
    let printable = |c: char| c == '\n' || !is_special(c);
    string.contains('\n') && !string.starts_with([' ', '\n']) && string.chars().all(printable)
}

/// Whether a character cannot stand for itself: it is not shown, or ends a line for some readers.
fn is_special(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn lines(out: &mut String, string: &str, indent: usize) {
    let body = string.trim_end_matches('\n');
    let ends = string.len() - body.len();
    out.push('|');
    match ends {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
    out.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
}

fn quoted(out: &mut String, string: &str) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_special(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use gantry_api::schema::{Format, decode_free};
    use gantry_json::json;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_document() {
        let value = json!({
            "apiVersion": "v1", "items": [{"a": 1, "b": []}, [1, "x"], "y"], "none": null, "on": {"k": {}},
            "text": "a\nb\n\n c\n", "time": "2026-01-01T00:00:00Z", "words": "to be: or", "zone": "1:30",
        });
        let expected = "\
apiVersion: v1
items:
- a: 1
  b: []
- - 1
  - x
- \"y\"
none: null
\"on\":
  k: {}
text: |
  a
  b

   c
time: \"2026-01-01T00:00:00Z\"
words: \"to be: or\"
zone: \"1:30\"
";
        assert_eq!(to_string(&value), expected);
    }

    fn values() -> impl Strategy<Value = Value> {
        let words = prop::sample::select(vec![
            "yes", "~", "- a", "a\n", "\n", "a\n\n", " a\nb", "#", "=", "0x1", "é\u{85}",
        ]);
        let text = prop_oneof![any::<String>(), words.prop_map(str::to_owned)];
        let leaf = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let fields = prop::collection::btree_map(text.clone(), inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                fields.prop_map(|fields| fields.into_iter().collect::<Map>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in values()) {
            let value = json!({"v": value});
            let text = to_string(&value);
            let read = decode_free(text.as_bytes(), Format::Yaml).map(|decoded| decoded.value);
            prop_assert_eq!(read.ok(), Some(value), "{}", text);
        }
    }
}
