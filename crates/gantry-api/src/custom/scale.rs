//! The scale subresource of a custom kind: where in an object its numbers are.

use gantry_json::Value;

use crate::field::{FieldError, Path};
use crate::go::type_name;
use crate::rules::common::text;

/// Where the scale's fields are, as paths of names with leading dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The wanted number of replicas.
    pub spec_replicas: String,
    /// The number of replicas that there are.
    pub status_replicas: String,
    /// The selector of what is scaled, as text; empty where there is none.
    pub label_selector: String,
}

impl Scale {
    /// Reads `subresources.scale` of a definition's version.
    pub fn read(scale: &Value) -> Option<Self> {
        scale.is_object().then(|| Self {
            spec_replicas: text(scale, "specReplicasPath").to_owned(),
            status_replicas: text(scale, "statusReplicasPath").to_owned(),
            label_selector: text(scale, "labelSelectorPath").to_owned(),
        })
    }

    /// What is wrong with the wanted number.
    pub(crate) fn validate_spec(&self, object: &Value, errors: &mut Vec<FieldError>) {
        replicas(&self.spec_replicas, object, errors);
    }

    /// What is wrong with what the status says.
    pub(crate) fn validate_status(&self, object: &Value, errors: &mut Vec<FieldError>) {
        replicas(&self.status_replicas, object, errors);
        if self.label_selector.is_empty() {
            return;
        }
        let found = value_at(object, &self.label_selector);
        let fault = match found {
            Ok(None | Some(Value::String(_))) => return,
            Ok(Some(other)) => wrong(&self.label_selector, other, "string"),
            Err(fault) => fault,
        };
        errors.push(FieldError::invalid(&Path::new(&self.label_selector), "", fault));
    }
}

/// The value at a path of names with a leading dot, where there is one; why it cannot be looked for.
pub fn value_at<'a>(object: &'a Value, path: &str) -> Result<Option<&'a Value>, String> {
    let mut value = object;
    let names = path.trim_start_matches('.');
    let mut walked = String::new();
    for name in names.split('.') {
        let Value::Object(fields) = value else {
            return Err(wrong(&walked, value, "map[string]interface{}"));
        };
        walked.push('.');
        walked.push_str(name);
        match fields.get(name) {
            Some(below) => value = below,
            None => return Ok(None),
        }
    }
    Ok(Some(value))
}

fn wrong(path: &str, found: &Value, wanted: &str) -> String {
    let shown = match found {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.to_string(),
        _ => found.to_string(),
    };
    format!("{path} accessor error: {shown} is of the type {}, expected {wanted}", type_name(found))
}

fn replicas(at: &str, object: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::new(at);
    let number = match value_at(object, at) {
        Ok(None) => return,
        Ok(Some(value)) => value.as_i64().ok_or_else(|| wrong(at, value, "int64")),
        Err(fault) => Err(fault),
    };
    match number {
        Err(fault) => errors.push(FieldError::invalid(&path, 0, fault)),
        Ok(number) if number < 0 => {
            errors.push(FieldError::invalid(&path, number, "should be a non-negative integer"));
        }
        Ok(number) if number > i64::from(i32::MAX) => {
            let words = format!("should be less than or equal to {}", i32::MAX);
            errors.push(FieldError::invalid(&path, number, words));
        }
        Ok(_) => {}
    }
}
