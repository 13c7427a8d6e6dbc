//! Patterns in the syntax that schemas are written in: RE2 as Go's standard library reads it.
//!
//! The `regex` crate is of the same family, but differs in what a few signs mean; those are
//! translated.

use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

/// The most that a compiled pattern may take, in bytes.
const MOST_BYTES: usize = 32 << 20;

/// A pattern, compiled when it is first used.
#[derive(Debug)]
pub struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Result<Regex, String>>,
}

impl Pattern {
    /// The pattern of that text.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The compiled pattern, or why it is none.
    pub fn regex(&self) -> Result<&Regex, &str> {
        self.compiled.get_or_init(|| compile(&self.text)).as_ref().map_err(String::as_str)
    }
}

/// Compiles a pattern.
pub fn compile(text: &str) -> Result<Regex, String> {
    let made = RegexBuilder::new(&translate(text)).size_limit(MOST_BYTES).build();
    made.map_err(|error| {
        // The crate draws a picture over several lines; its last line says what is wrong.
        let words = error.to_string();
        let last = words.lines().last().unwrap_or_default().trim();
        let (words, shown) = match last.trim_start_matches("error: ") {
            "repetition operator missing expression" => {
                ("missing argument to repetition operator", text.trim_start_matches(|c| !"*+?".contains(c)))
            }
            "unclosed character class" => {
                ("missing closing ]", text.rfind('[').map_or(text, |at| &text[at..]))
            }
            "unclosed group" => ("missing closing )", text),
            "unopened group" => ("unexpected )", text),
            other => (other, text),
        };
        format!("error parsing regexp: {words}: `{shown}`")
    })
}

/// The same pattern as the crate spells it.
fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    let mut class: Option<Class> = None;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c == '\\' {
            rest = escape(after, class.is_some(), &mut out);
            if let Some(class) = &mut class {
                class.started = true;
            }
            continue;
        }
        match &mut class {
            None if c == '[' => {
                out.push('[');
                rest = after;
                if let Some(more) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = more;
                }
                class = Some(Class { started: false });
                continue;
            }
            None if c == '{' && !repeats(after) => out.push_str("\\{"),
            None => out.push(c),
            Some(open) => {
                match c {
                    ']' if open.started => {
                        out.push(']');
                        class = None;
                        rest = after;
                        continue;
                    }
                    '[' => match named(rest) {
                        Some(end) => {
                            out.push_str(&rest[..end]);
                            open.started = true;
                            rest = &rest[end..];
                            continue;
                        }
                        None => out.push_str("\\["),
                    },
                    ']' | '&' | '~' => out.extend(['\\', c]),
                    // A range keeps its dash; two dashes would mean a difference.
                    '-' if out.ends_with('-') && !out.ends_with("\\-") => out.push_str("\\-"),
                    _ => out.push(c),
                }
                open.started = true;
            }
        }
        rest = after;
    }
    out
}

/// A class in square brackets that is being read.
struct Class {
    /// Whether anything was in it: a bracket at its start is meant literally.
    started: bool,
}

/// Whether a brace begins a repetition.
fn repeats(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match inside.split_once(',') {
        None => digits(inside),
        Some((least, most)) => digits(least) && (most.is_empty() || digits(most)),
    }
}

/// The end of a class by name, such as `[:alpha:]`.
fn named(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix("[:")?;
    let end = inside.find(":]")?;
    let name = inside[..end].trim_start_matches('^');
    name.bytes().all(|byte| byte.is_ascii_lowercase()).then_some(end + 4)
}

/// Translates what follows a backslash, and tells what is left.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    let set = match c {
        // Digits, word characters and blanks are ASCII.
        'd' => Some("0-9"),
        'w' => Some("0-9A-Za-z_"),
        's' => Some("\\t\\n\\x0c\\r "),
        _ => None,
    };
    if let Some(set) = set {
        match in_class {
            true => out.push_str(set),
            false => out.extend(["[", set, "]"]),
        }
        return rest;
    }
    match c {
        'D' => out.push_str("[^0-9]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'S' => out.push_str("[^\\t\\n\\x0c\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        'B' if !in_class => out.push_str("(?-u:\\B)"),
        'Q' if !in_class => {
            let (literal, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(literal));
            return rest;
        }
        '0'..='7' => {
            let digits = after.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            // A single digit other than zero would refer to a group, which there is not.
            if c != '0' && digits == 1 {
                out.extend(['\\', c]);
                return rest;
            }
            let code = u32::from_str_radix(&after[..digits], 8).unwrap_or_default();
            out.push_str(&format!("\\x{{{code:x}}}"));
            return &after[digits..];
        }
        '<' | '>' => out.push(c),
        _ => out.extend(['\\', c]),
    }
    rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn means_what_it_means_elsewhere() {
        for (pattern, text, matches) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "१२", false),
            (r"^[\d_]+$", "1_2", true),
            (r"^[^\s]+$", "a b", false),
            (r"^\w+$", "é", false),
            (r"^[[:alpha:]]+$", "ab", true),
            (r"^[a[b]$", "[", true),
            (r"^[]a]$", "]", true),
            (r"^[^]a]$", "b", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[a-z--]+$", "a-", true),
            (r"^{a}$", "{a}", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^a{1,2}$", "aa", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\101$", "A", true),
            (r"^\<a\>$", "<a>", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^(https?)://[^\s/$.?#].[^\s]*$", "https://a.b/c", true),
            (r"^[\w.%+-]+@[A-Za-z0-9.-]+$", "a.b@c.d", true),
        ] {
            let made = compile(pattern).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(made.is_match(text), matches, "{pattern} on {text}: {made}");
        }
        assert!(compile("[a").expect_err("no pattern").starts_with("error parsing regexp: "));
        assert!(compile("(?=a)").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = compile(&text);
        }
    }
}
