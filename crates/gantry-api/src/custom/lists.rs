//! Lists whose items, or whose items' keys, occur once.

use std::collections::HashMap;

use gantry_json::{Map, Value};

use super::node::Node;
use super::place::Place;
use crate::field::{FieldError, Path};
use crate::schema::ListType;

/// What occurs twice in the lists of a value.
pub(crate) fn validate(value: &Value, node: &Node) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check(value, node, &Place::START, &mut errors);
    errors
}

fn check(value: &Value, node: &Node, place: &Place<'_>, errors: &mut Vec<FieldError>) {
    if !node.has.identities {
        return;
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(below) = node.property(name) {
                    check(value, below, &place.field(name), errors);
                } else if let Some(below) = node.additional_node() {
                    check(value, below, &place.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            match node.list {
                ListType::Atomic => {}
                ListType::Set => {
                    for at in repeated(items.iter().map(Value::to_string)) {
                        let path = place.item(at).path(&Path::default());
                        errors.push(FieldError::duplicate(&path, items[at].clone()));
                    }
                }
                ListType::Map => map(items, &node.keys, &place.path(&Path::default()), errors),
            }
            if let Some(below) = &node.items {
                for (at, item) in items.iter().enumerate() {
                    check(item, below, &place.item(at), errors);
                }
            }
        }
        _ => {}
    }
}

fn map(items: &[Value], keys: &[Box<str>], path: &Path, errors: &mut Vec<FieldError>) {
    if let Some(at) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
        let words = "must be an object for an array of list-type map";
        errors.push(FieldError::invalid(&path.index(at), items[at].clone(), words));
        return;
    }
    let key = |item: &Value| -> Value {
        let given = keys.iter().filter_map(|key| Some((key.to_string(), item.get(&**key)?.clone())));
        Value::Object(given.collect::<Map>())
    };
    for at in repeated(items.iter().map(|item| key(item).to_string())) {
        errors.push(FieldError::duplicate(&path.index(at), key(&items[at])));
    }
}

/// The second occurrence of each text that occurs more than once.
fn repeated(texts: impl Iterator<Item = String>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut second = Vec::new();
    for (at, text) in texts.enumerate() {
        let times = seen.entry(text).or_default();
        *times += 1;
        if *times == 2 {
            second.push(at);
        }
    }
    second
}
