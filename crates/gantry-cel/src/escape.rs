//! How names of properties are spelled in expressions.
//!
//! Dots, dashes and slashes are no part of a name there, double underscores mark escapes, and some
//! words are reserved.

use gantry_api::rules::common::CEL_RESERVED as RESERVED;

/// How the property `name` is spelled, if it can be.
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut spelled = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        match c {
            '_' if rest.starts_with("__") => {
                spelled.push_str("__underscores__");
                taken = 2;
            }
            '.' => spelled.push_str("__dot__"),
            '-' => spelled.push_str("__dash__"),
            '/' => spelled.push_str("__slash__"),
            c if c == '_' || c.is_ascii_alphanumeric() => spelled.push(c),
            _ => return None,
        }
        rest = &rest[taken..];
    }
    let first = spelled.chars().next()?;
    (!first.is_ascii_digit()).then_some(spelled)
}

/// The property that `spelled` stands for, if it is the spelling of one.
pub fn unescape(spelled: &str) -> Option<String> {
    if let Some(word) = spelled.strip_prefix("__").and_then(|rest| rest.strip_suffix("__"))
        && RESERVED.contains(&word)
    {
        return Some(word.to_owned());
    }
    let mut name = String::with_capacity(spelled.len());
    let mut rest = spelled;
    while let Some(at) = rest.find("__") {
        name.push_str(&rest[..at]);
        let (escaped, after) = rest[at + 2..].split_once("__")?;
        name.push_str(match escaped {
            "underscores" => "__",
            "dot" => ".",
            "dash" => "-",
            "slash" => "/",
            _ => return None,
        });
        rest = after;
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, spelled) in [
            ("plain", "plain"),
            ("with-dash", "with__dash__dash"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("two__", "two__underscores__"),
            ("one_", "one_"),
            ("namespace", "__namespace__"),
            ("int", "int"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(spelled));
            assert_eq!(unescape(spelled).as_deref(), Some(name));
        }
        for name in ["", "1a", "a b", "ä", "$x"] {
            assert_eq!(escape(name), None, "{name}");
        }
        assert_eq!(unescape("a__other__b"), None);
    }
}
