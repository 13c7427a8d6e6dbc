//! Fields that a schema does not know, and nulls where none are allowed.

use gantry_json::Value;

use super::node::{Additional, Node};

/// The fields of every resource, which schemas need not name.
const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes the fields that the schema of a resource does not know, and tells their paths in order.
pub(crate) fn prune(object: &mut Value, root: &Node) -> Vec<String> {
    let mut pruner = Pruner { path: String::new(), found: Vec::new() };
    match root.preserves {
        true => pruner.keep(object, Some(root), true),
        false => pruner.prune(object, Some(root), true),
    }
    pruner.found.sort();
    pruner.found
}

/// Removes what the schema of a value does not know.
pub(crate) fn prune_value(value: &mut Value, node: &Node) {
    Pruner { path: String::new(), found: Vec::new() }.prune(value, Some(node), node.embedded);
}

struct Pruner {
    path: String,
    found: Vec<String>,
}

impl Pruner {
    fn within(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        work(self);
        self.path.truncate(length);
    }

    fn at(&mut self, index: usize, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        work(self);
        self.path.truncate(length);
    }

    fn prune(&mut self, value: &mut Value, node: Option<&Node>, resource: bool) {
        if node.is_some_and(|node| node.preserves) {
            return self.keep(value, node, resource);
        }
        match value {
            Value::Object(fields) => fields.retain(|name, value| {
                if node.is_some() && resource && META.contains(&name.as_str()) {
                    return true;
                }
                let known = node.and_then(|node| match (node.property(name), &node.additional) {
                    (Some(below), _) => Some(Some(below)),
                    (None, Some(Additional::Node(below))) => Some(Some(&**below)),
                    (None, Some(Additional::Any)) => Some(None),
                    (None, None) => None,
                });
                self.within(name, |pruner| match known {
                    Some(below) => pruner.prune(value, below, below.is_some_and(|below| below.embedded)),
                    None => pruner.found.push(pruner.path.clone()),
                });
                known.is_some()
            }),
            Value::Array(items) => {
                let below = node.and_then(|node| node.items.as_deref());
                for (at, item) in items.iter_mut().enumerate() {
                    self.at(at, |pruner| {
                        pruner.prune(item, below, below.is_some_and(|below| below.embedded));
                    });
                }
            }
            _ => {}
        }
    }

    /// Leaves what is unknown, and prunes below what is known.
    fn keep(&mut self, value: &mut Value, node: Option<&Node>, resource: bool) {
        let Some(node) = node else { return };
        match value {
            Value::Object(fields) => {
                for (name, value) in fields.iter_mut() {
                    if resource && META.contains(&name.as_str()) {
                        continue;
                    }
                    let below = match (node.property(name), &node.additional) {
                        (Some(below), _) => Some(below),
                        (None, Some(Additional::Node(below))) => Some(&**below),
                        (None, Some(Additional::Any)) => None,
                        (None, None) => continue,
                    };
                    self.within(name, |pruner| {
                        pruner.prune(value, below, below.is_some_and(|below| below.embedded));
                    });
                }
            }
            Value::Array(items) => {
                let below = node.items.as_deref();
                for (at, item) in items.iter_mut().enumerate() {
                    self.at(at, |pruner| {
                        pruner.keep(item, below, below.is_some_and(|below| below.embedded));
                    });
                }
            }
            _ => {}
        }
    }
}

/// Writes whole numbers without a fraction: a reader that wants an integer is not told `2.0`.
pub(crate) fn write_plainly(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(write_plainly),
        Value::Array(items) => items.iter_mut().for_each(write_plainly),
        Value::Number(number) if number.is_f64() => {
            // Every whole number below is one of a float's, too.
            const LARGEST: f64 = 9_007_199_254_740_992.0;
            let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() <= LARGEST);
            #[allow(clippy::cast_possible_truncation)]
            if let Some(whole) = whole {
                *value = (whole as i64).into();
            }
        }
        _ => {}
    }
}

/// Removes the nulls of fields that may not be null and have no default.
pub(crate) fn drop_nulls(value: &mut Value, node: Option<&Node>) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let below = node.and_then(|node| node.field(name));
            if below.is_some_and(|below| below.refuses_null(value) && below.default.is_none()) {
                return false;
            }
            drop_nulls(value, below);
            true
        }),
        Value::Array(items) => {
            let below = node.and_then(|node| node.items.as_deref());
            items.iter_mut().for_each(|item| drop_nulls(item, below));
        }
        _ => {}
    }
}
