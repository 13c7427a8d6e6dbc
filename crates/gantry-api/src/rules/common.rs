//! What the rules of several kinds share: reading values, setting defaults, common checks.

use std::net::IpAddr;

use gantry_json::{Map, Value};
use ipnet::IpNet;

use crate::field::{FieldError, Path};
use crate::selector::{is_dns_part, is_name_shaped};

/// The words for a bad DNS label.
pub const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
/// The words for a bad DNS subdomain.
pub const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
/// The words for a bad value of a label.
pub const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
/// The words for a bad qualified name.
pub const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/// The words for a bad RFC 1035 label.
pub(super) const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
/// Words that stand for something else in CEL, so that nothing can be called by them.
pub const CEL_RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// Words for a field that cannot change.
pub const IMMUTABLE: &str = "field is immutable";

/// Sets `key` to `value` where it is missing or an empty text.
pub fn default(object: &mut Map, key: &str, value: impl Into<Value>) {
    if object.get(key).is_none_or(|present| present.is_null() || present == "") {
        object.insert(key.into(), value.into());
    }
}

/// Sets `key` to `value` where it is missing, of a field for which an empty text is not the same as nothing.
pub fn default_absent(object: &mut Map, key: &str, value: impl Into<Value>) {
    if object.get(key).is_none_or(Value::is_null) {
        object.insert(key.into(), value.into());
    }
}

/// Sets `key` to `value` where it is missing or 0, of a field for which 0 is the same as nothing.
pub fn default_zero(object: &mut Map, key: &str, value: i64) {
    if object.get(key).is_none_or(|present| present.is_null() || *present == 0) {
        object.insert(key.into(), value.into());
    }
}

/// The object at `key`, made where it is absent.
pub fn object<'a>(parent: &'a mut Map, key: &str) -> &'a mut Map {
    let value = parent.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was just made an object"),
    }
}

/// The items of the list at `key` that are objects.
pub fn items<'a>(parent: &'a mut Map, key: &str) -> impl Iterator<Item = &'a mut Map> {
    parent.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The list at `key`, or none.
pub fn list<'a>(parent: &'a Value, key: &str) -> &'a [Value] {
    parent[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The text at `key`, or an empty one.
pub fn text<'a>(parent: &'a Value, key: &str) -> &'a str {
    parent[key].as_str().unwrap_or_default()
}

/// Checks a DNS label.
pub fn dns_label(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    errors.extend(dns_label_faults(name).into_iter().map(|fault| FieldError::invalid(path, name, fault)));
}

/// What is wrong with a DNS label.
pub(super) fn dns_label_faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.len() > 63 {
        faults.push(too_long(63));
    }
    if !is_dns_part(name) {
        let dotted = name.split('.').all(is_dns_part);
        faults.push(if dotted { "must not contain dots" } else { DNS_LABEL }.to_owned());
    }
    faults
}

/// Checks a DNS subdomain.
pub fn dns_subdomain(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    errors.extend(subdomain_faults(name).into_iter().map(|fault| FieldError::invalid(path, name, fault)));
}

/// What is wrong with a DNS subdomain.
pub(super) fn subdomain_faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.len() > 253 {
        faults.push(too_long(253));
    }
    if !name.split('.').all(is_dns_part) {
        faults.push(DNS_SUBDOMAIN.to_owned());
    }
    faults
}

/// The words for a text of more than `max` bytes.
pub fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// Checks labels.
pub fn labels(path: &Path, labels: &Value, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        qualified_name(path, key, errors);
        label_value(path, value.as_str().unwrap_or_default(), errors);
    }
}

/// Checks the value of a label.
pub fn label_value(path: &Path, value: &str, errors: &mut Vec<FieldError>) {
    errors.extend(label_value_faults(value).into_iter().map(|fault| FieldError::invalid(path, value, fault)));
}

/// What is wrong with the value of a label.
pub fn label_value_faults(value: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if value.len() > 63 {
        faults.push(too_long(63));
    }
    if !value.is_empty() && !is_name_shaped(value) {
        faults.push(LABEL_VALUE.to_owned());
    }
    faults
}

/// Checks a name with an optional DNS prefix, such as a label's key.
pub fn qualified_name(path: &Path, key: &str, errors: &mut Vec<FieldError>) {
    let faults = qualified_name_faults(key);
    errors.extend(faults.into_iter().map(|fault| FieldError::invalid(path, key, fault)));
}

/// What is wrong with a name with an optional DNS prefix.
pub fn qualified_name_faults(key: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let parts: Vec<&str> = key.split('/').collect();
    let name = match parts.as_slice() {
        [name] => *name,
        ["", name] => {
            faults.push("prefix part must be non-empty".to_owned());
            *name
        }
        [prefix, name] => {
            faults.extend(subdomain_faults(prefix).into_iter().map(|fault| format!("prefix part {fault}")));
            *name
        }
        _ => {
            let words = QUALIFIED_NAME.trim_start_matches("name part ");
            let prefix = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {words} {prefix}")];
        }
    };
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        faults.push(format!("name part {}", too_long(63)));
    }
    if !is_name_shaped(name) {
        faults.push(QUALIFIED_NAME.to_owned());
    }
    faults
}

/// Checks that the value at `key` did not change.
pub fn immutable(path: &Path, new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if new != old {
        errors.push(FieldError::invalid(path, new.clone(), IMMUTABLE));
    }
}

/// Checks that a number is not below zero.
pub fn not_negative(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|number| number < 0) {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
    }
}

/// Checks that a number is above zero.
pub fn positive(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|number| number <= 0) {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than 0"));
    }
}

/// Checks a number or share of things: not below zero, of right form.
pub fn amount(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(text) if percentage(text).is_none() => {
            errors.push(FieldError::invalid(path, value.clone(), PERCENT));
        }
        other => not_negative(path, other, errors),
    }
}

/// Checks that a share is not above the whole.
pub fn at_most_all(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if value.as_str().and_then(percentage).is_some_and(|share| share > 100) {
        errors.push(FieldError::invalid(path, value.clone(), "must not be greater than 100%"));
    }
}

/// The number in a text such as `25%`.
pub fn percentage(text: &str) -> Option<u64> {
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// The number of a number or share.
pub fn amount_of(value: &Value) -> i64 {
    match value {
        Value::String(text) => percentage(text).and_then(|share| i64::try_from(share).ok()).unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    }
}

/// Checks that the text at `key` is there, and tells it.
pub fn required<'a>(
    path: &Path,
    parent: &'a Value,
    key: &str,
    errors: &mut Vec<FieldError>,
) -> Option<&'a str> {
    let found = Some(text(parent, key)).filter(|text| !text.is_empty());
    if found.is_none() {
        errors.push(FieldError::required(&path.child(key), ""));
    }
    found
}

/// Checks a label as Services are named by (RFC 1035): it starts with a letter.
pub fn dns_1035(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    let faults = dns_1035_faults(name);
    errors.extend(faults.into_iter().map(|fault| FieldError::invalid(path, name, fault)));
}

/// What is wrong with a label as Services are named by.
pub(super) fn dns_1035_faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.len() > 63 {
        faults.push(too_long(63));
    }
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts || name.ends_with('-') || !name.chars().all(fine) {
        faults.push(DNS_1035.to_owned());
    }
    faults
}

/// Checks a name that is a domain of at least three parts.
pub fn qualified_domain(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let faults = subdomain_faults(name);
    if !faults.is_empty() {
        errors.push(FieldError::invalid(path, name, faults.join(",")));
    } else if name.split('.').count() < 3 {
        let words = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name, words));
    }
}

/// Checks a name that becomes a segment of a path.
pub fn path_segment(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if matches!(name, "." | "..") {
        errors.push(FieldError::invalid(path, name, format!("may not be '{name}'")));
        return;
    }
    for character in ["/", "%"].iter().filter(|character| name.contains(**character)) {
        errors.push(FieldError::invalid(path, name, format!("may not contain '{character}'")));
    }
}

/// Checks what names an object by group, kind and name.
pub fn typed_reference(path: &Path, reference: &Value, errors: &mut Vec<FieldError>) {
    if let Some(group) = reference["apiGroup"].as_str() {
        dns_subdomain(&path.child("apiGroup"), group, errors);
    }
    for key in ["kind", "name"] {
        if let Some(value) = required(path, reference, key, errors) {
            path_segment(&path.child(key), value, errors);
        }
    }
}

/// Checks that a port is from 1 to 65535.
pub fn port(path: &Path, value: &Value, errors: &mut Vec<FieldError>) {
    if !value.as_i64().is_some_and(|port| (1..=65535).contains(&port)) {
        errors.push(FieldError::invalid(path, value.clone(), "must be between 1 and 65535, inclusive"));
    }
}

/// Checks the name of a port.
pub fn port_name(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    if name.len() > 15 {
        errors.push(FieldError::invalid(path, name, "must be no more than 15 bytes"));
    }
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        errors.push(FieldError::invalid(
            path,
            name,
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ));
    } else if !name.chars().any(|c| c.is_ascii_lowercase()) {
        errors.push(FieldError::invalid(path, name, "must contain at least one letter (a-z)"));
    }
}

/// Checks a path that begins with a domain, such as `acme.io/foo`.
pub fn domain_path(path: &Path, name: &str, errors: &mut Vec<FieldError>) {
    match name.split_once('/') {
        None | Some(("", _) | (_, "")) => errors.push(FieldError::invalid(
            path,
            name,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        )),
        Some((domain, _)) => dns_subdomain(path, domain, errors),
    }
}

/// Words for what is no address.
const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

/// Checks an address in one of the forms that were ever taken: numbers may begin with zeros.
pub fn legacy_ip(path: &Path, address: &str, errors: &mut Vec<FieldError>) {
    if sloppy_ip(address).is_none() {
        errors.push(FieldError::invalid(path, address, IP));
    }
}

/// Checks a range of addresses in one of the forms that were ever taken.
pub fn legacy_cidr(path: &Path, range: &str, errors: &mut Vec<FieldError>) {
    let parsed = range.split_once('/').and_then(|(first, length)| {
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = digits.then(|| length.parse().ok())??;
        IpNet::new(sloppy_ip(first)?, length).ok()
    });
    if parsed.is_none() {
        errors.push(FieldError::invalid(path, range, CIDR));
    }
}

/// Words for what is no range of addresses.
const CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// Checks an address that can be written in one way only.
pub fn ip(path: &Path, address: &str, errors: &mut Vec<FieldError>) {
    let words = match (sloppy_ip(address), address.parse::<IpAddr>()) {
        (None, _) => IP.to_owned(),
        (_, Err(_)) => "must not have leading 0s".to_owned(),
        (_, Ok(IpAddr::V6(six))) if six.to_ipv4_mapped().is_some() => {
            "must not be an IPv4-mapped IPv6 address".to_owned()
        }
        (_, Ok(parsed)) if parsed.to_string() != address => {
            format!("must be in canonical form (\"{parsed}\")")
        }
        _ => return,
    };
    errors.push(FieldError::invalid(path, address, words));
}

/// Checks a range of addresses that can be written in one way only.
pub fn cidr(path: &Path, range: &str, errors: &mut Vec<FieldError>) {
    for words in cidr_faults(range) {
        errors.push(FieldError::invalid(path, range, words));
    }
}

fn cidr_faults(range: &str) -> Vec<String> {
    let Some((first, length)) = range.split_once('/') else { return vec![CIDR.to_owned()] };
    let digits = !length.is_empty() && length.len() < 9 && length.bytes().all(|byte| byte.is_ascii_digit());
    let parsed =
        sloppy_ip(first).filter(|_| digits).and_then(|first| IpNet::new(first, length.parse().ok()?).ok());
    let Some(net) = parsed else { return vec![CIDR.to_owned()] };
    if first.parse::<IpAddr>().is_err() || (length.len() > 1 && length.starts_with('0')) {
        return vec!["must not have leading 0s in IP or prefix length".to_owned()];
    }
    let mut faults = Vec::new();
    if matches!(net, IpNet::V6(net) if net.addr().to_ipv4_mapped().is_some()) {
        faults.push("must not have an IPv4-mapped IPv6 address".to_owned());
    } else if net.to_string() != range {
        faults.push(format!("must be in canonical form (\"{net}\")"));
    }
    if net.trunc() != net {
        faults.push("must not have bits set beyond the prefix length".to_owned());
    }
    faults
}

/// Reads an address as upstream's first versions did: numbers of version 4 may begin with zeros.
pub(super) fn sloppy_ip(address: &str) -> Option<IpAddr> {
    if let Ok(parsed) = address.parse() {
        return Some(parsed);
    }
    let (before, four) = address.rsplit_once(':').map_or(("", address), |(before, four)| (before, four));
    let numbers: Vec<&str> = four.split('.').map(|part| part.trim_start_matches('0')).collect();
    let numbers: Vec<&str> =
        numbers.into_iter().map(|part| if part.is_empty() { "0" } else { part }).collect();
    if four.split('.').any(str::is_empty) || numbers.len() != 4 {
        return None;
    }
    let separator = if address.contains(':') { ":" } else { "" };
    format!("{before}{separator}{}", numbers.join(".")).parse().ok()
}

/// Checks that a text is one of a closed set.
pub fn one_of(path: &Path, value: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    if !supported.contains(&value) {
        errors.push(FieldError::not_supported(path, value, supported));
    }
}

/// Checks that a text is there and is one of a closed set.
pub fn required_one_of(path: &Path, value: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    match value {
        "" => errors.push(FieldError::required(path, "")),
        value => one_of(path, value, supported, errors),
    }
}

/// Checks the protocol of a port.
pub fn protocol(path: &Path, value: &str, errors: &mut Vec<FieldError>) {
    required_one_of(path, value, &["SCTP", "TCP", "UDP"], errors);
}

/// Keeps what an ordinary update may not change: the status.
pub fn keep_status(new: &mut Value, old: &Value) {
    if let Some(object) = new.as_object_mut() {
        match old.get("status") {
            Some(status) => drop(object.insert("status".into(), status.clone())),
            None => drop(object.remove("status")),
        }
    }
}

/// Makes a field what it was, as if nobody had changed it.
pub fn restore(object: &mut Value, from: &Value, field: &str) {
    let Some(object) = object.as_object_mut() else { return };
    match from.get(field) {
        Some(value) => drop(object.insert(field.into(), value.clone())),
        None => drop(object.remove(field)),
    }
}

/// Makes an object one of another version whose objects are the same.
pub fn set_version(object: &mut Value, api_version: &str) {
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".into(), api_version.into());
    }
}

/// Drops the status of a new object.
pub fn drop_status(new: &mut Value) {
    if let Some(object) = new.as_object_mut() {
        object.remove("status");
    }
}

/// Checks that a requirement of a selector has values where its operator looks at them, and only there.
pub fn selector_values(path: &Path, requirement: &Value, errors: &mut Vec<FieldError>) {
    let values = list(requirement, "values");
    match text(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
            &path.child("values"),
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
            &path.child("values"),
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        _ => {}
    }
}

/// Checks a label selector; an absent one has nothing wrong.
pub fn label_selector(path: &Path, selector: &Value, errors: &mut Vec<FieldError>) {
    labels(&path.child("matchLabels"), &selector["matchLabels"], errors);
    for (at, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(at);
        selector_values(&path, expression, errors);
        match text(expression, "operator") {
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                &path.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        qualified_name(&path.child("key"), text(expression, "key"), errors);
        for (at, value) in list(expression, "values").iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            label_value(&path.child("values").index(at), value, errors);
        }
    }
}

/// What is said of a label of nodes that has a newer name.
pub(super) fn deprecated_label(path: &Path, key: &str) -> Option<String> {
    let (since, instead) = match key {
        "beta.kubernetes.io/arch" => ("v1.14", "kubernetes.io/arch"),
        "beta.kubernetes.io/os" => ("v1.14", "kubernetes.io/os"),
        "failure-domain.beta.kubernetes.io/region" => ("v1.17", "topology.kubernetes.io/region"),
        "failure-domain.beta.kubernetes.io/zone" => ("v1.17", "topology.kubernetes.io/zone"),
        "beta.kubernetes.io/instance-type" => ("v1.17", "node.kubernetes.io/instance-type"),
        _ => return None,
    };
    Some(format!("{path}: deprecated since {since}; use {instead:?} instead"))
}
