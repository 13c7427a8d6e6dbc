//! What has changed in a part of an object that may not change, as errors tell it: the differing lines of
//! both as JSON, with three lines around them.
//!
//! Upstream writes its own types there, all fields of them: names begin with a capital letter here as well,
//! but fields that are not set are left out, and fields stand in the order of their names.

use gantry_json::{Key, Map, Value};

/// Lines before and after a change.
const CONTEXT: usize = 3;
/// The most pairs of lines that are compared; what is beyond is shown as replaced as a whole.
const MOST: usize = 1 << 22;

/// How `new` differs from `old`; empty where it does not.
pub(crate) fn diff(old: &Value, new: &Value) -> String {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    write(&mut a, "", old, 0, "", false);
    write(&mut b, "", new, 0, "", false);
    unified(&a, &b)
}

/// Whether what stands in `field` has names of its user's own, or of types that have no others.
fn is_as_written(field: &str) -> bool {
    let maps = ["limits", "requests", "overhead", "nodeSelector", "volumeAttributes", "options"];
    maps.contains(&field) || field == "selector" || field.ends_with("Selector") || field.ends_with("Labels")
}

/// Writes a value in lines, after `head` and before `tail`.
fn write(lines: &mut Vec<String>, head: &str, value: &Value, depth: usize, tail: &str, as_written: bool) {
    let indent = " ".repeat(depth);
    match value {
        Value::Object(map) if !map.is_empty() => {
            lines.push(format!("{indent}{head}{{"));
            write_fields(lines, map, depth + 1, as_written);
            lines.push(format!("{indent}}}{tail}"));
        }
        Value::Array(list) if !list.is_empty() => {
            lines.push(format!("{indent}{head}["));
            for (at, item) in list.iter().enumerate() {
                let tail = if at + 1 < list.len() { "," } else { "" };
                write(lines, "", item, depth + 1, tail, as_written);
            }
            lines.push(format!("{indent}]{tail}"));
        }
        other => lines.push(format!("{indent}{head}{other}{tail}")),
    }
}

fn write_fields(lines: &mut Vec<String>, map: &Map, depth: usize, as_written: bool) {
    let mut fields: Vec<(&Key, &Value)> = map.iter().collect();
    fields.sort_by_key(|(name, _)| *name);
    let count = fields.len();
    for (at, (name, value)) in fields.into_iter().enumerate() {
        let mut letters = name.chars();
        let shown = match letters.next() {
            Some(first) if !as_written => first.to_uppercase().chain(letters).collect(),
            _ => name.to_string(),
        };
        let (head, tail) = (format!("{}: ", Value::from(shown)), if at + 1 < count { "," } else { "" });
        write(lines, &head, value, depth, tail, as_written || is_as_written(name));
    }
}

/// A line of both, or of the first or the second alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The lines of `a` and `b`, with as many of both as can be.
fn align<'a>(a: &'a [String], b: &'a [String]) -> Vec<Line<'a>> {
    let before = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (rest_a, rest_b) = (&a[before..], &b[before..]);
    let after = rest_a.iter().rev().zip(rest_b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (middle_a, middle_b) = (&rest_a[..rest_a.len() - after], &rest_b[..rest_b.len() - after]);
    let mut lines: Vec<Line<'_>> = a[..before].iter().map(|line| Line::Both(line)).collect();
    let width = middle_b.len() + 1;
    if middle_a.len().saturating_mul(middle_b.len()) > MOST {
        lines.extend(middle_a.iter().map(|line| Line::Old(line)));
        lines.extend(middle_b.iter().map(|line| Line::New(line)));
    } else {
        // How many lines the rests from each pair of places on can have in common.
        let mut common = vec![0_u32; (middle_a.len() + 1) * width];
        for (i, line) in middle_a.iter().enumerate().rev() {
            for (j, other) in middle_b.iter().enumerate().rev() {
                let below = common[(i + 1) * width + j].max(common[i * width + j + 1]);
                let both = common[(i + 1) * width + j + 1] + 1;
                common[i * width + j] = if line == other { both } else { below };
            }
        }
        let (mut i, mut j) = (0, 0);
        while i < middle_a.len() || j < middle_b.len() {
            match (middle_a.get(i), middle_b.get(j)) {
                (Some(line), Some(other)) if line == other => {
                    lines.push(Line::Both(line));
                    (i, j) = (i + 1, j + 1);
                }
                (Some(line), other)
                    if other.is_none() || common[(i + 1) * width + j] >= common[i * width + j + 1] =>
                {
                    lines.push(Line::Old(line));
                    i += 1;
                }
                (_, Some(other)) => {
                    lines.push(Line::New(other));
                    j += 1;
                }
                _ => break,
            }
        }
    }
    lines.extend(rest_a[rest_a.len() - after..].iter().map(|line| Line::Both(line)));
    lines
}

/// The place of a hunk, in the unified format.
fn range(start: usize, count: usize) -> String {
    match count {
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        _ => format!("{},{count}", start + 1),
    }
}

fn unified(a: &[String], b: &[String]) -> String {
    let lines = align(a, b);
    let changed = |line: &Line<'_>| !matches!(line, Line::Both(_));
    let changes: Vec<usize> = (0..lines.len()).filter(|at| changed(&lines[*at])).collect();
    let mut text = String::new();
    let (mut done, mut old, mut new) = (0, 0, 0);
    for group in changes.chunk_by(|one, next| next - one <= 2 * CONTEXT + 1) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let (from, to) = (first.saturating_sub(CONTEXT), (last + 1 + CONTEXT).min(lines.len()));
        // What is between two hunks is in both.
        (old, new) = (old + from - done, new + from - done);
        let hunk = &lines[from..to];
        let olds = hunk.iter().filter(|line| !matches!(line, Line::New(_))).count();
        let news = hunk.iter().filter(|line| !matches!(line, Line::Old(_))).count();
        text += &format!("@@ -{} +{} @@\n", range(old, olds), range(new, news));
        for line in hunk {
            let (mark, line) = match line {
                Line::Both(line) => (' ', line),
                Line::Old(line) => ('-', line),
                Line::New(line) => ('+', line),
            };
            text.push(mark);
            text += line;
            text.push('\n');
        }
        (old, new, done) = (old + olds, new + news, to);
    }
    text
}

#[cfg(test)]
mod tests {
    use gantry_json::json;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_upstream_shows_it() {
        let old = json!({"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}});
        let mut new = old.clone();
        new["accessModes"][0] = "ReadWriteOnce".into();
        let expect = "@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  \"ReadWriteMany\"\n+  \"ReadWriteOnce\"\n  ],\n  \
                      \"Resources\": {\n   \"Requests\": {\n";
        assert_eq!(diff(&old, &new), expect);
        assert_eq!(diff(&old, &old), "");
    }

    #[test]
    fn changes_that_are_far_apart_are_shown_apart() {
        let old = json!((0..40).collect::<Vec<_>>());
        let mut new = old.clone();
        (new[3], new[35]) = (json!("x"), json!("y"));
        new.as_array_mut().unwrap().remove(20);
        let text = diff(&old, &new);
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("@@")).collect();
        assert_eq!(heads, ["@@ -2,7 +2,7 @@", "@@ -19,7 +19,6 @@", "@@ -34,7 +33,7 @@"]);
        assert_eq!(diff(&json!({}), &json!({"a": null})), "@@ -1 +1,3 @@\n-{}\n+{\n+ \"A\": null\n+}\n");
    }

    proptest! {
        #[test]
        fn both_can_be_read_from_it(a in proptest::collection::vec("[a-d]", 0..30), b in proptest::collection::vec("[a-d]", 0..30)) {
            let lines = align(&a, &b);
            let of = |new: bool| -> Vec<&str> {
                lines.iter().filter_map(|line| match line {
                    Line::Both(line) => Some(*line),
                    Line::Old(line) => (!new).then_some(*line),
                    Line::New(line) => new.then_some(*line),
                }).collect()
            };
            prop_assert_eq!(of(false), a.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(of(true), b.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
