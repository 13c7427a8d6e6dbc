//! Label and field selectors: reading them and matching headers and fields.

use std::collections::BTreeMap;

/// Why a selector cannot be read, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(String);

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// One of the values (`=`, `==`, `in`).
    In(String, Vec<String>),
    /// None of the values, or no such label (`!=`, `notin`).
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is not there.
    DoesNotExist(String),
    /// An integer above the bound.
    GreaterThan(String, i64),
    /// An integer below the bound.
    LessThan(String, i64),
}

impl Requirement {
    /// Whether `labels` meet the condition.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        match self {
            Self::In(key, values) => {
                labels.label(key).is_some_and(|value| values.iter().any(|each| each == value))
            }
            Self::NotIn(key, values) => {
                labels.label(key).is_none_or(|value| values.iter().all(|each| each != value))
            }
            Self::Exists(key) => labels.label(key).is_some(),
            Self::DoesNotExist(key) => labels.label(key).is_none(),
            Self::GreaterThan(key, bound) => number(labels, key).is_some_and(|value| value > *bound),
            Self::LessThan(key, bound) => number(labels, key).is_some_and(|value| value < *bound),
        }
    }
}

/// Conditions that all hold; none select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// Labels as headers and objects keep them.
pub trait Labels {
    /// The value of `key`.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<Box<str>, Box<str>> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(|value| &**value)
    }
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl LabelSelector {
    /// Reads a selector such as `a=b,c in (d,e),!f`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut tokens = Tokens { rest: text };
        let mut requirements = Vec::new();
        if tokens.peek().is_none() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(tokens.requirement()?);
            match tokens.next() {
                None => return Ok(Self(requirements)),
                Some(",") => match tokens.peek() {
                    Some(",") => {
                        return Err(SelectorError("found ',', expected: identifier after ','".into()));
                    }
                    Some(_) => {}
                    None => return Err(SelectorError("found '', expected: identifier after ','".into())),
                },
                Some(other) => {
                    return Err(unparsed(format!("found '{other}', expected: ',' or 'end of string'")));
                }
            }
        }
    }

    /// Whether `labels` meet every condition.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        self.0.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The conditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }
}

fn number(labels: &impl Labels, key: &str) -> Option<i64> {
    labels.label(key)?.parse().ok()
}

fn unparsed(why: impl std::fmt::Display) -> SelectorError {
    SelectorError(format!("unable to parse requirement: {why}"))
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let rest = self.rest;
        let first = rest.chars().next()?;
        let length = if ["==", "!="].iter().any(|operator| rest.starts_with(operator)) {
            2
        } else if is_special(first) {
            first.len_utf8()
        } else {
            rest.find(|c: char| is_special(c) || c.is_whitespace()).unwrap_or(rest.len())
        };
        Some(&rest[..length])
    }

    fn next(&mut self) -> Option<&'a str> {
        let token = self.peek()?;
        self.rest = &self.rest[token.len()..];
        Some(token)
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = self.peek() == Some("!");
        if negated {
            self.next();
        }
        let key = match self.next() {
            Some(token) if !token.starts_with(is_special) => token.to_owned(),
            found => {
                let found = found.unwrap_or_default();
                return Err(unparsed(format!("found '{found}', expected: identifier")));
            }
        };
        check_key(&key)?;
        if negated {
            return Ok(Requirement::DoesNotExist(key));
        }
        match self.peek() {
            None | Some(",") => Ok(Requirement::Exists(key)),
            Some("=" | "==") => {
                self.next();
                Ok(Requirement::In(key.clone(), vec![self.value(&key)?]))
            }
            Some("!=") => {
                self.next();
                Ok(Requirement::NotIn(key.clone(), vec![self.value(&key)?]))
            }
            Some("in") => {
                self.next();
                Ok(Requirement::In(key.clone(), self.values(&key)?))
            }
            Some("notin") => {
                self.next();
                Ok(Requirement::NotIn(key.clone(), self.values(&key)?))
            }
            Some(operator @ (">" | "<")) => {
                self.next();
                let value = self.value(&key)?;
                let bound = value.parse().map_err(|_| {
                    unparsed(format!(
                        "values[0][{key}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    ))
                })?;
                Ok(if operator == ">" {
                    Requirement::GreaterThan(key, bound)
                } else {
                    Requirement::LessThan(key, bound)
                })
            }
            Some(other) => Err(unparsed(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt"))),
        }
    }

    fn value(&mut self, key: &str) -> Result<String, SelectorError> {
        match self.peek() {
            None | Some(",") => Ok(String::new()),
            Some(token) if token.starts_with(is_special) => {
                Err(unparsed(format!("found '{token}', expected: identifier")))
            }
            Some(token) => {
                self.next();
                check_value(key, token)?;
                Ok(token.to_owned())
            }
        }
    }

    fn values(&mut self, key: &str) -> Result<Vec<String>, SelectorError> {
        let expect = |found: Option<&str>, wanted: &str| {
            if found == Some(wanted) {
                return Ok(());
            }
            Err(unparsed(format!("found '{}' expected: '{wanted}'", found.unwrap_or_default())))
        };
        expect(self.next(), "(")?;
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Some(")" | ",") => values.push(String::new()),
                _ => values.push(self.value(key)?),
            }
            match self.next() {
                Some(")") => break,
                Some(",") => {}
                found => {
                    let found = found.unwrap_or_default();
                    return Err(unparsed(format!("found '{found}', expected: ',' or ')'")));
                }
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '<' | '>')
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
    let prefix_fine = !key.contains('/') || is_dns_subdomain(prefix);
    if prefix_fine && is_name(name) {
        return Ok(());
    }
    Err(unparsed(format!(
        "<nil>: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must \
         start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for \
         validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    )))
}

fn check_value(key: &str, value: &str) -> Result<(), SelectorError> {
    if value.is_empty() || is_name(value) {
        return Ok(());
    }
    Err(unparsed(format!(
        "values[0][{key}]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric \
         characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
         'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )))
}

/// Whether `text` is a qualified name's name part, which is also what a label value may be.
pub fn is_name(text: &str) -> bool {
    text.len() <= 63 && is_name_shaped(text)
}

/// Whether `text` is one but for its length.
pub(crate) fn is_name_shaped(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Whether `text` is a DNS subdomain (RFC 1123, lower case).
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_part)
}

/// Whether `text` is a DNS label (RFC 1123, lower case, at most 63 characters).
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

pub(crate) fn is_dns_part(text: &str) -> bool {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(fine) && text.ends_with(fine) && text.chars().all(|c| fine(c) || c == '-')
}

/// A condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field, such as `spec.nodeName`.
    pub field: String,
    /// The value.
    pub value: String,
    /// Whether the field must have the value, or must not.
    pub equal: bool,
}

/// Conditions on fields that all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<FieldRequirement>);

impl FieldSelector {
    /// Reads a selector such as `metadata.name=a,spec.nodeName!=`. A backslash escapes
    /// a comma, an equals sign or itself.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in split_unescaped(text).into_iter().filter(|term| !term.is_empty()) {
            let invalid = || SelectorError(format!("invalid selector: '{text}'; can't understand '{term}'"));
            let at = term.find("!=").into_iter().chain(term.find('=')).min().ok_or_else(invalid)?;
            let (field, rest) = term.split_at(at);
            let (value, equal) = if let Some(value) = rest.strip_prefix("!=") {
                (value, false)
            } else {
                (rest.strip_prefix("==").or(rest.strip_prefix('=')).unwrap_or_default(), true)
            };
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value: unescape(value).ok_or_else(invalid)?,
                equal,
            });
        }
        Ok(Self(requirements))
    }

    /// Whether the fields that `get` gives meet every condition; an absent field is empty.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|each| (get(&each.field).unwrap_or_default() == each.value) == each.equal)
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The conditions.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.0
    }

    /// The selector with each field under the name that `rename` gives it.
    #[must_use]
    pub fn renamed(mut self, rename: impl Fn(&str) -> &str) -> Self {
        for each in &mut self.0 {
            each.field = rename(&each.field).to_owned();
        }
        self
    }

    /// The value that `field` must have, where the selector asks for one.
    pub fn required_value(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|each| each.equal && each.field == field).map(|each| each.value.as_str())
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().filter(|next| matches!(next, '\\' | ',' | '='))?),
            ',' | '=' => return None,
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels() -> BTreeMap<String, String> {
        [("app", "web"), ("tier", "front"), ("size", "7"), ("empty", "")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn labels_match() {
        for (text, expected) in [
            ("", true),
            ("app", true),
            ("!app", false),
            ("none", false),
            ("!none", true),
            ("app=web", true),
            ("app==web,tier = front", true),
            ("app!=web", false),
            ("none!=web", true),
            ("app in (api, web)", true),
            ("app notin (api,web)", false),
            ("none notin (a)", true),
            ("empty=", true),
            ("app=", false),
            ("empty in (,a)", true),
            ("size>6,size<8", true),
            ("size>7", false),
            ("x.io/app", false),
        ] {
            let selector = LabelSelector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selector.matches(&labels()), expected, "{text}");
        }
    }

    #[test]
    fn bad_label_selectors() {
        for text in ["=b", "a in b", "a in (b", "a b", "a==b=c", "-a", "a=-b", "a>x", "A_/b", ","] {
            let error = LabelSelector::parse(text).expect_err(text).to_string();
            assert!(error.starts_with("unable to parse requirement: "), "{text}: {error}");
        }
        for text in ["a=b,", "a=b,,c"] {
            let error = LabelSelector::parse(text).expect_err(text).to_string();
            assert!(
                error.ends_with("', expected: identifier after ','") && error.starts_with("found"),
                "{error}"
            );
        }
    }

    #[test]
    fn fields_match() {
        let get = |field: &str| match field {
            "metadata.name" => Some("a"),
            "odd" => Some("x,y=z\\"),
            _ => None,
        };
        for (text, expected) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name==a", true),
            ("metadata.name!=a", false),
            ("metadata.name=a,spec.nodeName=", true),
            ("spec.nodeName!=", false),
            ("odd=x\\,y\\=z\\\\", true),
        ] {
            let selector = FieldSelector::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(selector.matches(get), expected, "{text}");
        }
        assert_eq!(
            FieldSelector::parse("nonsense").expect_err("refused").to_string(),
            "invalid selector: 'nonsense'; can't understand 'nonsense'"
        );
        assert!(FieldSelector::parse("a=b=c").is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,60}") {
            let _ = LabelSelector::parse(&text);
            let _ = FieldSelector::parse(&text);
        }
    }
}
