//! Paths into objects and what can be wrong at them, in the words of upstream's field errors.

use std::cell::Cell;
use std::fmt;

use gantry_json::{Value, json};

thread_local! {
    /// Whether nobody is going to see the places that are named at the moment.
    static UNSEEN: Cell<bool> = const { Cell::new(false) };
}

/// What `check` finds in an object, with the places of it. Of almost all objects there is nothing to be said, so it
/// looks first without putting the names of places together, which is most of the work, and a second time where it
/// finds something: it must find the same both times, whatever the places are called.
pub fn find<T>(check: impl Fn() -> Vec<T>) -> Vec<T> {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            UNSEEN.set(self.0);
        }
    }
    let before = Before(UNSEEN.replace(true));
    let found = check();
    let asked_by_another = before.0;
    drop(before);
    if found.is_empty() || asked_by_another {
        return found;
    }
    let shown = check();
    debug_assert_eq!(found.len(), shown.len(), "what is wrong does not depend on what places are called");
    shown
}

/// A place in an object, such as `spec.containers[0].name` or `metadata.labels[a.b/c]`; without its text where
/// nobody sees it ([`find`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Option<String>);

impl Default for Path {
    /// The object itself.
    fn default() -> Self {
        Self(Some(String::new()))
    }
}

impl Path {
    /// The path of the top-level field `name`.
    pub fn new(name: &str) -> Self {
        Self((!UNSEEN.get()).then(|| name.to_owned()))
    }

    /// The path of these texts after this one's.
    fn and<const N: usize>(&self, texts: [&str; N]) -> Self {
        Self(self.0.as_ref().map(|text| {
            let mut text =
                String::with_capacity(text.len() + texts.iter().map(|text| text.len()).sum::<usize>()) + text;
            texts.iter().for_each(|more| text.push_str(more));
            text
        }))
    }

    /// The field `name` below.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        match self.0.as_deref() {
            None => Self(None),
            Some("") => Self::new(name),
            Some(_) => self.and([".", name]),
        }
    }

    /// The list item `at` below.
    #[must_use]
    pub fn index(&self, at: usize) -> Self {
        Self(self.0.as_ref().map(|text| format!("{text}[{at}]")))
    }

    /// The place `below`, seen from here.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        match below.text().starts_with('[') {
            true => self.and([below.text()]),
            false => self.child(below.text()),
        }
    }

    /// The map entry `key` below.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.and(["[", key, "]"])
    }

    fn text(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What kind of thing is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldErrorKind {
    /// Nothing with that name exists.
    NotFound,
    /// A value is missing.
    Required,
    /// A value occurs twice.
    Duplicate,
    /// A value breaks a rule.
    Invalid,
    /// A value is not one of a closed set.
    NotSupported,
    /// A value is not allowed here.
    Forbidden,
    /// A text is too long.
    TooLong,
    /// A list is too long.
    TooMany,
    /// Checking itself failed.
    Internal,
    /// A value has the wrong type.
    TypeInvalid,
}

impl FieldErrorKind {
    /// The reason in a `Status` cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One thing wrong at one place.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of thing.
    pub kind: FieldErrorKind,
    /// Where.
    pub path: Path,
    /// The value that is wrong, where the kind shows one.
    pub value: Value,
    /// Whether the value is left out though the kind shows it.
    omits_value: bool,
    /// What would be right.
    pub detail: String,
}

impl FieldError {
    fn new(kind: FieldErrorKind, path: &Path, value: Value, detail: impl Into<String>) -> Self {
        Self { kind, path: path.clone(), value, omits_value: false, detail: detail.into() }
    }

    /// Something of that kind; without a value none is shown.
    pub fn of(kind: FieldErrorKind, path: &Path, value: Option<&Value>, detail: impl Into<String>) -> Self {
        let shown = value.cloned().unwrap_or_default();
        Self { omits_value: value.is_none(), ..Self::new(kind, path, shown, detail) }
    }

    /// A missing value.
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, Value::Null, detail)
    }

    /// A value that breaks a rule.
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Invalid, path, value.into(), detail)
    }

    /// A value of the wrong type.
    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, path, value.into(), detail)
    }

    /// A value that is none of `supported`.
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let mut names: Vec<_> = supported.iter().map(|name| quoted(name)).collect();
        names.sort();
        let detail =
            if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        Self::new(FieldErrorKind::NotSupported, path, value.into(), detail)
    }

    /// A value that occurs twice.
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, value.into(), "")
    }

    /// A value that is not allowed here.
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, Value::Null, detail)
    }

    /// A reference to nothing.
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, path, value.into(), "")
    }

    /// A text of more than `max` bytes.
    pub fn too_long(path: &Path, max: usize) -> Self {
        let unit = if max == 1 { "byte" } else { "bytes" };
        Self::new(FieldErrorKind::TooLong, path, Value::Null, format!("may not be more than {max} {unit}"))
    }

    /// A list of `count` items where `max` are allowed.
    pub fn too_many(path: &Path, count: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::new(FieldErrorKind::TooMany, path, count.into(), format!("must have at most {max} {unit}"))
    }

    /// A check that failed itself.
    pub fn internal(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Internal, path, Value::Null, detail)
    }

    /// What is wrong, without the path: the message of a `Status` cause.
    pub fn body(&self) -> String {
        let words = self.kind.words();
        let shown = match self.kind {
            FieldErrorKind::Required
            | FieldErrorKind::Forbidden
            | FieldErrorKind::TooLong
            | FieldErrorKind::Internal => words.to_owned(),
            _ if self.omits_value => words.to_owned(),
            _ => format!("{words}: {}", shown(&self.value)),
        };
        if self.detail.is_empty() { shown } else { format!("{shown}: {}", self.detail) }
    }

    /// The cause in a `Status`' details.
    pub fn cause(&self) -> Value {
        json!({"reason": self.kind.reason(), "message": self.body(), "field": self.path.text()})
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

/// A value as upstream's errors show it: texts quoted, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

/// Text in quotes, as Go's `%q` has it.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quote(text, &mut quoted);
    quoted
}

/// Appends `text` in quotes, as Go's `%q` has it.
pub(crate) fn quote(text: &str, quoted: &mut String) {
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            ' '..='~' => quoted.push(char),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\0'..='\x1f' | '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(char))),
            _ if is_print(char) => quoted.push(char),
            '\0'..='\u{ffff}' => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            _ => quoted.push_str(&format!("\\U{:08x}", u32::from(char))),
        }
    }
    quoted.push('"');
}

/// Whether a character beyond ASCII stands for itself: letters, marks, numbers, punctuation and symbols do.
fn is_print(char: char) -> bool {
    // Rust writes the same ones out; of marks only one that begins a text, where nothing is that it marks.
    let mut text = String::from("a");
    text.push(char);
    text.escape_debug().nth(1) == Some(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_where_somebody_sees_them() {
        let ran = Cell::new(0);
        let check = |bad: bool| {
            find(|| {
                ran.set(ran.get() + 1);
                let path = Path::default().child("spec").child("list").index(3).key("a/b");
                let inner = find(|| bad.then(|| Path::new("x").child("y")).into_iter().collect());
                inner.into_iter().map(|below| path.join(&below).to_string()).collect()
            })
        };
        assert_eq!(check(false), Vec::<String>::new());
        assert_eq!(ran.take(), 1);
        assert_eq!(check(true), ["spec.list[3][a/b].x.y"]);
        assert_eq!(ran.take(), 2);
        let ended = std::panic::catch_unwind(|| find::<()>(|| panic!("on purpose")));
        assert!(ended.is_err());
        assert_eq!(Path::new("a").to_string(), "a");
    }

    #[test]
    fn quotes() {
        for (text, expected) in [
            ("", r#""""#),
            ("a b~", r#""a b~""#),
            ("a\"b\\c'd", r#""a\"b\\c'd""#),
            ("a\u{1}\0\x7f", r#""a\x01\x00\x7f""#),
            ("\x07\x08\x0c\n\r\t\x0b\x1b", r#""\a\b\f\n\r\t\v\x1b""#),
            (
                "\u{80}\u{a0}\u{ad}\u{200b}\u{200c}\u{2028}\u{feff}\u{e000}",
                r#""\u0080\u00a0\u00ad\u200b\u200c\u2028\ufeff\ue000""#,
            ),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
            ("äß日本語😀\u{301}e\u{301}\u{fffd}", "\"äß日本語😀\u{301}e\u{301}\u{fffd}\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
        let error = FieldError::invalid(&Path::new("a"), "a\u{1}", "");
        assert_eq!(error.to_string(), r#"a: Invalid value: "a\x01""#);
    }

    #[test]
    fn wording() {
        let path = Path::new("spec").child("containers").index(0).child("name");
        for (error, expected) in [
            (FieldError::required(&path, ""), "spec.containers[0].name: Required value"),
            (
                FieldError::invalid(&path, "A", "must be lower case"),
                "spec.containers[0].name: Invalid value: \"A\": must be lower case",
            ),
            (FieldError::duplicate(&path, "a"), "spec.containers[0].name: Duplicate value: \"a\""),
            (
                FieldError::not_supported(&path, 3, &["b", "a"]),
                "spec.containers[0].name: Unsupported value: 3: supported values: \"a\", \"b\"",
            ),
            (
                FieldError::too_long(&path, 63),
                "spec.containers[0].name: Too long: may not be more than 63 bytes",
            ),
            (
                FieldError::too_many(&Path::new("a").key("x/y"), 5, 1),
                "a[x/y]: Too many: 5: must have at most 1 item",
            ),
            (FieldError::forbidden(&Path::new("spec"), "no"), "spec: Forbidden: no"),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }
}
