//! The metadata of a custom resource and of the resources within it: no schema describes it, so it
//! is read and checked like any built-in kind's.

use gantry_json::{Map, Value};

use super::node::Node;
use super::place::Place;
use crate::field::{FieldError, Path};
use crate::rules::common::dns_1035;
use crate::rules::metadata;
use crate::schema::{DecodeError, Schemas, decode_value};

/// What becomes of metadata that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It is an error.
    Refused,
    /// It is left out, for it was stored before anyone looked at it.
    Dropped,
}

/// Reads the metadata of `object`: unknown fields go, and their paths below `path` are told.
pub(crate) fn coerce_metadata(
    object: &mut Map,
    path: &str,
    malformed: Malformed,
) -> Result<Vec<String>, DecodeError> {
    let Some(metadata) = object.get_mut("metadata") else { return Ok(Vec::new()) };
    let schemas = Schemas::builtin();
    let Some(id) = schemas.by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else {
        return Ok(Vec::new());
    };
    let below = |finding: String| match finding.split_once('"') {
        Some((what, field)) => format!("{what}\"{path}metadata.{field}"),
        None => finding,
    };
    match decode_value(schemas, id, metadata.clone()) {
        Ok(decoded) => {
            *metadata = decoded.value;
            drop_empty(metadata);
            return Ok(decoded.strict.into_iter().map(below).collect());
        }
        Err(error) if malformed == Malformed::Refused => return Err(error),
        Err(_) => {}
    }
    let Value::Object(fields) = metadata else {
        object.remove("metadata");
        return Ok(Vec::new());
    };
    let mut kept = Map::new();
    for (name, value) in std::mem::take(fields) {
        let alone = Value::Object(Map::from_iter([(name, value)]));
        if let Ok(decoded) = decode_value(schemas, id, alone)
            && let Value::Object(fields) = decoded.value
        {
            kept.extend(fields);
        }
    }
    *metadata = Value::Object(kept);
    drop_empty(metadata);
    Ok(Vec::new())
}

/// Leaves out what says nothing, as every object's metadata does.
fn drop_empty(metadata: &mut Value) {
    let Value::Object(fields) = metadata else { return };
    fields.retain(|name, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => !entries.is_empty(),
        Value::Number(number) => name != "generation" || number.as_i64() != Some(0),
        Value::Bool(_) => true,
    });
}

/// Reads the metadata of the resources within a value, and tells their unknown fields.
pub(crate) fn coerce(
    value: &mut Value,
    node: &Node,
    resource: bool,
    malformed: Malformed,
) -> Result<Vec<String>, DecodeError> {
    let mut coercer = Coercer { malformed, found: Vec::new() };
    coercer.value(value, node, resource, &Place::START)?;
    coercer.found.sort();
    Ok(coercer.found)
}

struct Coercer {
    malformed: Malformed,
    found: Vec<String>,
}

impl Coercer {
    fn value(
        &mut self,
        value: &mut Value,
        node: &Node,
        resource: bool,
        place: &Place<'_>,
    ) -> Result<(), DecodeError> {
        if !resource && !node.has.resources {
            return Ok(());
        }
        match value {
            Value::Object(fields) => {
                if resource {
                    self.resource(fields, &place.path(&Path::default()))?;
                }
                for (name, value) in fields.iter_mut() {
                    let (below, place) = match node.property(name) {
                        Some(below) => (below, place.field(name)),
                        None => match node.additional_node() {
                            Some(below) => (below, place.key(name)),
                            None => continue,
                        },
                    };
                    self.value(value, below, below.embedded, &place)?;
                }
            }
            Value::Array(items) => {
                let Some(below) = &node.items else { return Ok(()) };
                for (at, item) in items.iter_mut().enumerate() {
                    self.value(item, below, below.embedded, &place.item(at))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn resource(&mut self, fields: &mut Map, path: &Path) -> Result<(), DecodeError> {
        for key in ["apiVersion", "kind"] {
            match fields.get(key) {
                None | Some(Value::String(_)) => {}
                Some(_) if self.malformed == Malformed::Dropped => drop(fields.remove(key)),
                Some(other) => {
                    let error = FieldError::invalid(&path.child(key), other.clone(), "must be a string");
                    return Err(DecodeError::Type(error.to_string()));
                }
            }
        }
        let shown = fields.get("metadata").cloned().unwrap_or_default();
        let below = if *path == Path::default() { String::new() } else { format!("{path}.") };
        match coerce_metadata(fields, &below, self.malformed) {
            Ok(found) => self.found.extend(found),
            Err(error) => {
                let error = FieldError::invalid(&path.child("metadata"), shown, error.to_string());
                return Err(DecodeError::Type(error.to_string()));
            }
        }
        Ok(())
    }
}

/// What is wrong with the metadata of the resources within a value.
pub(crate) fn validate(value: &Value, node: &Node, resource: bool, path: &Path) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(value, node, resource, path, &Place::START, &mut errors);
    errors
}

fn check(
    value: &Value,
    node: &Node,
    resource: bool,
    start: &Path,
    place: &Place<'_>,
    errors: &mut Vec<FieldError>,
) {
    if !resource && !node.has.resources {
        return;
    }
    match value {
        Value::Object(fields) => {
            if resource {
                check_resource(fields, &place.path(start), errors);
            }
            for (name, value) in fields {
                if let Some(below) = node.property(name) {
                    check(value, below, below.embedded, start, &place.field(name), errors);
                } else if let Some(below) = node.additional_node() {
                    check(value, below, below.embedded, start, &place.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(below) = &node.items else { return };
            for (at, item) in items.iter().enumerate() {
                check(item, below, below.embedded, start, &place.item(at), errors);
            }
        }
        _ => {}
    }
}

fn check_resource(fields: &Map, path: &Path, errors: &mut Vec<FieldError>) {
    for key in ["apiVersion", "kind"] {
        let at = path.child(key);
        match fields.get(key) {
            None => errors.push(FieldError::required(&at, "")),
            Some(Value::String(text)) if text.is_empty() => errors.push(FieldError::required(&at, "")),
            Some(Value::String(text)) if key == "kind" => {
                let mut faults = Vec::new();
                dns_1035(&at, &text.to_lowercase(), &mut faults);
                if !faults.is_empty() {
                    let faults: Vec<String> = faults.into_iter().map(|fault| fault.detail).collect();
                    let words =
                        format!("may have mixed case, but should otherwise match: {}", faults.join(","));
                    errors.push(FieldError::invalid(&at, text.as_str(), words));
                }
            }
            Some(Value::String(text)) => {
                if text.matches('/').count() > 1 {
                    let words = format!("unexpected GroupVersion string: {text}");
                    errors.push(FieldError::invalid(&at, text.as_str(), words));
                }
            }
            Some(other) => errors.push(FieldError::invalid(&at, other.clone(), "must be a string")),
        }
    }
    let Some(metadata) = fields.get("metadata") else { return };
    let at = path.child("metadata");
    let mut copy = Map::from_iter([("metadata".to_owned(), metadata.clone())]);
    match coerce_metadata(&mut copy, "", Malformed::Refused) {
        Ok(_) => errors.extend(metadata::validate_embedded(&at, &copy["metadata"])),
        Err(error) => errors.push(FieldError::invalid(&at, metadata.clone(), error.to_string())),
    }
}
