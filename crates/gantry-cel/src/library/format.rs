//! Named formats of texts.

use std::sync::{Arc, LazyLock};

use regex::Regex;

use super::{Implementation, no_overload, time};
use crate::error::EvaluationError;
use crate::value::Value;

/// A format that texts may have.
#[derive(Debug)]
pub struct NamedFormat {
    /// Its name.
    pub name: &'static str,
    /// How long the patterns behind it are, which validation costs by.
    pub pattern_size: u64,
    check: fn(&str) -> Vec<String>,
}

static FORMATS: [NamedFormat; 13] = [
    NamedFormat { name: "dns1123Label", pattern_size: 30, check: |text| dns_label(text, false) },
    NamedFormat { name: "dns1123Subdomain", pattern_size: 60, check: |text| dns_subdomain(text, false) },
    NamedFormat { name: "dns1035Label", pattern_size: 30, check: |text| dns_1035_label(text, false) },
    NamedFormat { name: "qualifiedName", pattern_size: 60, check: qualified_name },
    NamedFormat { name: "dns1123LabelPrefix", pattern_size: 30, check: |text| dns_label(text, true) },
    NamedFormat { name: "dns1123SubdomainPrefix", pattern_size: 60, check: |text| dns_subdomain(text, true) },
    NamedFormat { name: "dns1035LabelPrefix", pattern_size: 30, check: |text| dns_1035_label(text, true) },
    NamedFormat { name: "labelValue", pattern_size: 40, check: label_value },
    NamedFormat { name: "uri", pattern_size: 1_000, check: uri },
    NamedFormat { name: "uuid", pattern_size: 85, check: uuid },
    NamedFormat { name: "byte", pattern_size: 88, check: byte },
    NamedFormat { name: "date", pattern_size: 71, check: date },
    NamedFormat { name: "datetime", pattern_size: 71, check: date_time },
];

fn named(name: &str) -> Option<&'static NamedFormat> {
    FORMATS.iter().find(|format| format.name == name)
}

/// A function that gives the format of that name.
macro_rules! constant {
    ($name:literal) => {
        |_| named($name).map(Value::Format).ok_or_else(EvaluationError::no_overload)
    };
}

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "format.named" => |args| match args {
            [Value::String(name)] => {
                Ok(Value::Optional(named(name.as_str()).map(|format| Arc::new(Value::Format(format)))))
            }
            _ => no_overload(),
        },
        "format.dns1123Label" => constant!("dns1123Label"),
        "format.dns1123Subdomain" => constant!("dns1123Subdomain"),
        "format.dns1035Label" => constant!("dns1035Label"),
        "format.qualifiedName" => constant!("qualifiedName"),
        "format.dns1123LabelPrefix" => constant!("dns1123LabelPrefix"),
        "format.dns1123SubdomainPrefix" => constant!("dns1123SubdomainPrefix"),
        "format.dns1035LabelPrefix" => constant!("dns1035LabelPrefix"),
        "format.labelValue" => constant!("labelValue"),
        "format.uri" => constant!("uri"),
        "format.uuid" => constant!("uuid"),
        "format.byte" => constant!("byte"),
        "format.date" => constant!("date"),
        "format.datetime" => constant!("datetime"),
        "validate" => |args| match args {
            [Value::Format(format), Value::String(text)] => {
                let errors = (format.check)(text.as_str());
                let errors: Vec<_> = errors.into_iter().map(Value::from).collect();
                let found = (!errors.is_empty()).then(|| Arc::new(Value::List(Arc::new(errors))));
                Ok(Value::Optional(found))
            }
            _ => no_overload(),
        },
        _ => return None,
    })
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn too_long(most: usize) -> String {
    format!("must be no more than {most} bytes")
}

/// A prefix may end with a dash, to which more is added.
fn unmasked(text: &str, prefix: bool) -> String {
    match text.strip_suffix('-') {
        Some(rest) if prefix && text.len() > 1 => format!("{rest}a"),
        _ => text.to_owned(),
    }
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends =
        bytes.first().zip(bytes.last()).is_some_and(|(a, b)| is_alphanumeric(*a) && is_alphanumeric(*b));
    ends && bytes.iter().all(|byte| is_alphanumeric(*byte) || *byte == b'-')
}

fn dns_label(text: &str, prefix: bool) -> Vec<String> {
    let text = unmasked(text, prefix);
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !is_label(&text) {
        errors.push(LABEL.into());
    }
    errors
}

fn dns_subdomain(text: &str, prefix: bool) -> Vec<String> {
    let text = unmasked(text, prefix);
    let mut errors = Vec::new();
    if text.len() > 253 {
        errors.push(too_long(253));
    }
    if !text.split('.').all(is_label) {
        errors.push(SUBDOMAIN.into());
    }
    errors
}

fn dns_1035_label(text: &str, prefix: bool) -> Vec<String> {
    let text = unmasked(text, prefix);
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !is_label(&text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        errors.push(LABEL_1035.into());
    }
    errors
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |byte: &u8| byte.is_ascii_alphanumeric();
    bytes.first().is_some_and(ends)
        && bytes.last().is_some_and(ends)
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

fn qualified_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(dns_subdomain(prefix, false).into_iter().map(|it| format!("prefix part {it}")));
            }
            name
        }
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                NAME.trim_start_matches("name part ")
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".into());
    } else if name.len() > 63 {
        errors.push(format!("name part {}", too_long(63)));
    }
    if !is_name(name) {
        errors.push(NAME.into());
    }
    errors
}

fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 63 {
        errors.push(too_long(63));
    }
    if !text.is_empty() && !is_name(text) {
        errors.push(LABEL_VALUE.into());
    }
    errors
}

fn uri(text: &str) -> Vec<String> {
    match super::url::by_name("isURL").map(|is_url| is_url(&[Value::from(text.to_owned())])) {
        Some(Ok(Value::Bool(true))) => Vec::new(),
        _ => vec![format!("parse {text:?}: invalid URI for request")],
    }
}

fn uuid(text: &str) -> Vec<String> {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new("^(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$").ok()
    });
    let matches = PATTERN.as_ref().is_some_and(|pattern| pattern.is_match(text));
    if matches { Vec::new() } else { vec!["does not match the UUID format".into()] }
}

fn byte(text: &str) -> Vec<String> {
    let matches = super::encoding::decode(text).is_some();
    if matches { Vec::new() } else { vec!["invalid base64".into()] }
}

fn date(text: &str) -> Vec<String> {
    if time::date(text).is_some() { Vec::new() } else { vec!["invalid date".into()] }
}

fn date_time(text: &str) -> Vec<String> {
    if time::timestamp(text).is_ok() { Vec::new() } else { vec!["invalid datetime".into()] }
}
