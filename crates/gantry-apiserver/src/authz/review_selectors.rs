//! The selectors of a review: what is wrong with them, and the text that a list would send for them.
//!
//! A selector that is well formed and yet says what this server knows no way to ask for is no error of the
//! review: it is answered as if there was none, and says so.

use gantry_api::field::{FieldError, Path};
use gantry_api::rules::common::{self, list, text};
use gantry_api::selector::{FieldSelector, LabelSelector};
use gantry_json::Value;

/// Finds what is wrong with the selectors in a review's `spec`.
pub(super) fn check(spec: &Value, errors: &mut Vec<FieldError>) {
    let resource = &spec["resourceAttributes"];
    let path = Path::new("spec").child("resourceAttributes");
    for (field, about) in [("fieldSelector", requirement as Check), ("labelSelector", label_requirement)] {
        let selector = &resource[field];
        if selector.is_null() {
            continue;
        }
        let (path, raw) = (path.child(field), text(selector, "rawSelector"));
        let requirements = list(selector, "requirements");
        if !raw.is_empty() && !requirements.is_empty() {
            let why = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(&path.child("rawSelector"), raw, why));
        }
        let at = path.child("requirements");
        if raw.is_empty() && requirements.is_empty() {
            let why = format!("when {path} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(&at, why));
        }
        for (index, requirement) in requirements.iter().enumerate() {
            about(&at.index(index), requirement, errors);
        }
    }
}

type Check = fn(&Path, &Value, &mut Vec<FieldError>);

fn requirement(path: &Path, requirement: &Value, errors: &mut Vec<FieldError>) {
    if text(requirement, "key").is_empty() {
        errors.push(FieldError::required(&path.child("key"), "must be specified"));
    }
    common::selector_values(path, requirement, errors);
}

fn label_requirement(path: &Path, requirement: &Value, errors: &mut Vec<FieldError>) {
    common::selector_values(path, requirement, errors);
    common::qualified_name(&path.child("key"), text(requirement, "key"), errors);
    for (at, value) in list(requirement, "values").iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        common::label_value(&path.child("values").index(at), value, errors);
    }
}

/// A selector as a list sends it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    /// What of it can be read.
    pub text: String,
    /// Whether that is less than was sent.
    pub is_partial: bool,
}

impl Read {
    fn raw(text: &str, is_fine: bool) -> Self {
        let text = if is_fine { text.to_owned() } else { String::new() };
        Self { text, is_partial: !is_fine }
    }

    fn of(requirements: &[Value], term: impl Fn(&Value) -> Option<String>) -> Self {
        let terms: Vec<String> = requirements.iter().filter_map(term).collect();
        Self { text: terms.join(","), is_partial: terms.len() < requirements.len() }
    }
}

/// The field selector.
pub(super) fn fields(selector: &Value) -> Read {
    let raw = text(selector, "rawSelector");
    match list(selector, "requirements") {
        [] => Read::raw(raw, FieldSelector::parse(raw).is_ok()),
        some => Read::of(some, |each| {
            let [value] = list(each, "values") else { return None };
            let (key, value) = (text(each, "key"), value.as_str()?);
            let operator = match text(each, "operator") {
                "In" => "=",
                "NotIn" => "!=",
                _ => return None,
            };
            let escaped = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            let is_plain = !key.contains([',', '=', '!', '\\']);
            is_plain.then(|| format!("{key}{operator}{escaped}"))
        }),
    }
}

/// The label selector.
pub(super) fn labels(selector: &Value) -> Read {
    let raw = text(selector, "rawSelector");
    match list(selector, "requirements") {
        [] => Read::raw(raw, LabelSelector::parse(raw).is_ok()),
        some => Read::of(some, |each| {
            let values: Vec<&str> = list(each, "values").iter().filter_map(Value::as_str).collect();
            let (key, values) = (text(each, "key"), values.join(","));
            Some(match text(each, "operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                "DoesNotExist" => format!("!{key}"),
                _ => return None,
            })
        }),
    }
}

/// What is said of selectors in a review's `spec` that cannot be read as a whole.
pub(super) fn ignored(spec: &Value) -> impl Iterator<Item = String> {
    let resource = &spec["resourceAttributes"];
    let (field, label) = (&resource["fieldSelector"], &resource["labelSelector"]);
    let partial = [("fieldSelector", fields(field)), ("labelSelector", labels(label))];
    partial.into_iter().filter(|(_, read)| read.is_partial).map(|(field, read)| {
        let how = if read.text.is_empty() { "ignored" } else { "partially ignored" };
        format!("spec.resourceAttributes.{field} {how} due to parse error")
    })
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn selectors_are_as_a_list_sends_them() {
        let check =
            |field: Value, label: Value, (field_text, label_text): (&str, &str), ignored_: &[&str]| {
                assert_eq!((&*fields(&field).text, &*labels(&label).text), (field_text, label_text));
                let spec = json!({"resourceAttributes": {"fieldSelector": field, "labelSelector": label}});
                let words = ignored(&spec).map(|text| text.replace("spec.resourceAttributes.", ""));
                assert_eq!(words.collect::<Vec<_>>(), ignored_);
            };
        check(Value::Null, Value::Null, ("", ""), &[]);
        let raw = |text: &str| json!({"rawSelector": text});
        check(raw("a=b"), raw("a in (b)"), ("a=b", "a in (b)"), &[]);
        let both = ["fieldSelector ignored due to parse error", "labelSelector ignored due to parse error"];
        check(raw("a"), raw("a=b=c"), ("", ""), &both);
        let requirements = |requirements: Value| json!({"requirements": requirements});
        check(
            requirements(json!([
                {"key": "spec.nodeName", "operator": "In", "values": ["n,m"]},
                {"key": "x", "operator": "NotIn", "values": ["1"]},
            ])),
            requirements(json!([
                {"key": "a", "operator": "In", "values": ["1", "2"]},
                {"key": "b", "operator": "NotIn", "values": ["3"]},
                {"key": "c", "operator": "Exists"},
                {"key": "d", "operator": "DoesNotExist"},
            ])),
            ("spec.nodeName=n\\,m,x!=1", "a in (1,2),b notin (3),c,!d"),
            &[],
        );
        check(
            requirements(json!([{"key": "a", "operator": "In", "values": ["1", "2"]}])),
            requirements(json!([{"key": "a", "operator": "Near"}, {"key": "b", "operator": "Exists"}])),
            ("", "b"),
            &[both[0], "labelSelector partially ignored due to parse error"],
        );
    }

    #[test]
    fn faults() {
        let check = |resource: Value, expect: &[&str]| {
            let mut errors = Vec::new();
            check(&json!({"resourceAttributes": resource}), &mut errors);
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts, expect);
        };
        let at = "spec.resourceAttributes.";
        check(json!({}), &[]);
        check(
            json!({"fieldSelector": {}, "labelSelector": {"rawSelector": "a", "requirements": [{"key": "b", "operator": "Near"}]}}),
            &[
                &format!(
                    "{at}fieldSelector.requirements: Required value: when {at}fieldSelector is specified, \
                     requirements or rawSelector is required"
                ),
                &format!(
                    "{at}labelSelector.rawSelector: Invalid value: \"a\": may not specified at the same time as \
                     requirements"
                ),
            ],
        );
        check(
            json!({"fieldSelector": {"requirements": [{"operator": "In"}, {"key": "a", "operator": "Exists", "values": ["1"]}]}}),
            &[
                &format!("{at}fieldSelector.requirements[0].key: Required value: must be specified"),
                &format!(
                    "{at}fieldSelector.requirements[0].values: Required value: must be specified when `operator` is \
                     'In' or 'NotIn'"
                ),
                &format!(
                    "{at}fieldSelector.requirements[1].values: Forbidden: may not be specified when `operator` is \
                     'Exists' or 'DoesNotExist'"
                ),
            ],
        );
    }
}
