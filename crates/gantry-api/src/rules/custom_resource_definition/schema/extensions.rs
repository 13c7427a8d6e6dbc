//! What schemas of custom kinds say beyond OpenAPI: how lists and maps merge, and rules.

use gantry_json::Value;

use crate::custom::path::checked;
use crate::field::{FieldError, FieldErrorKind, Path};
use crate::rules::common::{list, text};

const LIST_TYPE: &str = "x-kubernetes-list-type";
const LIST_KEYS: &str = "x-kubernetes-list-map-keys";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

pub(super) fn validate(path: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    let preserves = "x-kubernetes-preserve-unknown-fields";
    if schema[preserves] == false {
        errors.push(FieldError::invalid(&path.child(preserves), false, "must be true or undefined"));
    }
    if let Some(kind) = schema[MAP_TYPE].as_str() {
        typed(path, schema, "object", "must be object if x-kubernetes-map-type is specified", errors);
        closed(&path.child(MAP_TYPE), kind, &["atomic", "granular"], errors);
    }
    if let Some(kind) = schema[LIST_TYPE].as_str() {
        let fits =
            typed(path, schema, "array", "must be array if x-kubernetes-list-type is specified", errors);
        if fits && kind == "set" {
            set(path, &schema["items"], errors);
        }
        closed(&path.child(LIST_TYPE), kind, &["atomic", "set", "map"], errors);
    }
    keyed(path, schema, errors);
    identities(path, schema, errors);
    for (at, rule) in list(schema, "x-kubernetes-validations").iter().enumerate() {
        self::rule(&path.child("x-kubernetes-validations").index(at), schema, rule, errors);
    }
}

/// Checks that a place is of a type.
fn typed(path: &Path, schema: &Value, wanted: &str, words: &str, errors: &mut Vec<FieldError>) -> bool {
    let kind = text(schema, "type");
    let at = path.child("type");
    match kind {
        "" => errors.push(FieldError::required(&at, words)),
        kind if kind != wanted => errors.push(FieldError::invalid(&at, kind, words)),
        _ => {}
    }
    kind == wanted
}

/// Checks a value of a closed set, which is shown in its order.
fn closed(path: &Path, value: &str, known: &[&str], errors: &mut Vec<FieldError>) {
    if !known.contains(&value) {
        let known: Vec<String> = known.iter().map(|each| format!("{each:?}")).collect();
        let words = format!("supported values: {}", known.join(", "));
        errors.push(FieldError::of(FieldErrorKind::NotSupported, path, Some(&value.into()), words));
    }
}

/// The items of a set merge as a whole.
fn set(path: &Path, items: &Value, errors: &mut Vec<FieldError>) {
    let words = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let (list_type, map_type) = (items[LIST_TYPE].as_str(), items[MAP_TYPE].as_str());
    let shown = list_type.unwrap_or("null");
    match text(items, "type") {
        "array" if list_type.is_some_and(|kind| kind != "atomic") => {
            errors.push(FieldError::invalid(&path.child("items").child(LIST_TYPE), shown, words));
        }
        "object" if map_type != Some("atomic") => {
            errors.push(FieldError::invalid(&path.child("items").child(MAP_TYPE), shown, words));
        }
        _ => {}
    }
}

fn keyed(path: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    let (kind, keys) = (schema[LIST_TYPE].as_str(), list(schema, LIST_KEYS));
    if !keys.is_empty() && kind != Some("map") {
        let (at, words) = (path.child(LIST_TYPE), "must be map if x-kubernetes-list-map-keys is non-empty");
        errors.push(match kind {
            None => FieldError::required(&at, words),
            Some(kind) => FieldError::invalid(&at, kind, words),
        });
    }
    if kind != Some("map") {
        return;
    }
    let at = path.child(LIST_KEYS);
    if keys.is_empty() {
        errors.push(FieldError::required(&at, "must not be empty if x-kubernetes-list-type is map"));
    }
    let (items, within) = (&schema["items"], path.child("items"));
    match items {
        Value::Null => {
            let words = "must have a schema if x-kubernetes-list-type is map";
            errors.push(FieldError::required(&within, words));
        }
        Value::Object(_) if text(items, "type") == "object" => {
            for (index, key) in keys.iter().enumerate() {
                let name = key.as_str().unwrap_or_default();
                let property = &items["properties"][name];
                if property.is_null() {
                    let words = "entries must all be names of item properties";
                    errors.push(FieldError::invalid(&at, keys.to_vec(), words));
                } else if matches!(text(property, "type"), "array" | "object") {
                    let words = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    let at = within.child("properties").key(name).child("type");
                    errors.push(FieldError::invalid(&at, "object", words));
                }
                if keys[..index].contains(key) {
                    errors.push(FieldError::invalid(
                        &at,
                        keys.to_vec(),
                        "must not contain duplicate entries",
                    ));
                }
            }
        }
        Value::Object(_) => {
            let words = "must be object if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(&within.child("type"), text(items, "type"), words));
        }
        other => {
            let words = "must only have a single schema if x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(&within, other.clone(), words));
        }
    }
}

/// Items that are found again by what they are, or by their keys, are never null.
fn identities(path: &Path, schema: &Value, errors: &mut Vec<FieldError>) {
    let kind = text(schema, LIST_TYPE);
    let (items, within) = (&schema["items"], path.child("items"));
    if !matches!(kind, "set" | "map") || !items.is_object() {
        return;
    }
    if items["nullable"] == true {
        let words = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.push(FieldError::forbidden(&within.child("nullable"), words));
    }
    if kind == "set" {
        return;
    }
    for key in list(schema, LIST_KEYS).iter().filter_map(Value::as_str) {
        let property = &items["properties"][key];
        if property.is_null() {
            continue;
        }
        let at = within.child("properties").key(key);
        if list(items, "required").iter().all(|name| name != key) && property["default"].is_null() {
            let words = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(&at.child("default"), words));
        }
        if property["nullable"] == true {
            let words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(&at.child("nullable"), words));
        }
    }
}

fn rule(path: &Path, schema: &Value, rule: &Value, errors: &mut Vec<FieldError>) {
    let broken = |text: &str| text.contains(['\n', '\r']);
    let (expression, message) = (text(rule, "rule").trim(), text(rule, "message"));
    let at = path.child("message");
    if expression.is_empty() {
        errors.push(FieldError::required(&path.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(&at, message, "message must be non-empty if specified"));
    } else if broken(message.trim()) {
        errors.push(FieldError::invalid(&at, message, "message must not contain line breaks"));
    } else if broken(expression) && message.trim().is_empty() {
        errors.push(FieldError::required(&at, "message must be specified if rule contains line breaks"));
    }
    let computed = text(rule, "messageExpression");
    if !computed.is_empty() && computed.trim().is_empty() {
        let words = "messageExpression must be non-empty if specified";
        errors.push(FieldError::required(&path.child("messageExpression"), words));
    }
    if let Some(reason) = rule["reason"].as_str() {
        closed(&path.child("reason"), reason, REASONS, errors);
    }
    let (at, field) = (path.child("fieldPath"), text(rule, "fieldPath"));
    if field.is_empty() {
        return;
    }
    if field.trim().is_empty() {
        errors.push(FieldError::invalid(&at, field, "fieldPath must be non-empty if specified"));
    }
    if broken(field) {
        errors.push(FieldError::invalid(&at, field, "fieldPath must not contain line breaks"));
    }
    if checked(field, schema, true).is_err() {
        errors.push(FieldError::invalid(&at, field, "fieldPath must be a valid path"));
    }
}
