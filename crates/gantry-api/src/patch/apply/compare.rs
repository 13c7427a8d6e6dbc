//! The fields of an object, and the fields in which two objects differ.

use std::collections::HashMap;

use gantry_json::{Key, Value};

use crate::patch::fields::{Children, FieldSet};
use crate::patch::layout::Layout;
use crate::schema::Schemas;

/// The difference of two objects.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Added and modified fields.
    pub written: FieldSet,
    /// Fields that are gone.
    pub removed: FieldSet,
}

/// The path element of a field. One of the most frequent strings of a write.
fn field(name: &str) -> Key {
    Key::from_iter(["f:", name])
}

fn is_empty_map(value: &Value) -> bool {
    value.as_object().is_some_and(gantry_json::Map::is_empty)
}

/// The fields that who applies `value` owns.
pub(super) fn owned(schemas: &Schemas, layout: Layout<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match (layout, value) {
        (layout, Value::Object(fields)) if layout.is_object() => {
            set.children = Children::with_capacity(fields.len());
            for (name, value) in fields {
                let (below, named) = layout.child(schemas, name);
                let mut child = owned(schemas, below, value);
                child.member |= value.is_null() || is_empty_map(value) || !named;
                set.push(|| field(name), child);
            }
        }
        (layout, Value::Array(items)) if layout.is_list() => {
            let below = layout.item(schemas);
            for item in items {
                let mut child = owned(schemas, below, item);
                child.member = true;
                set.put(|| layout.element(item), child);
            }
        }
        _ => set.member = true,
    }
    set
}

/// Every place in `value`, containers too.
fn everything(schemas: &Schemas, layout: Layout<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet { member: true, ..FieldSet::default() };
    match (layout, value) {
        (layout, Value::Object(fields)) if layout.is_object() => {
            set.children = Children::with_capacity(fields.len());
            for (name, value) in fields {
                let below = layout.child(schemas, name).0;
                set.push(|| field(name), everything(schemas, below, value));
            }
        }
        (layout, Value::Array(items)) if layout.is_list() => {
            let below = layout.item(schemas);
            for item in items {
                set.put(|| layout.element(item), everything(schemas, below, item));
            }
        }
        _ => {}
    }
    set
}

/// Places that every object of a kind has, so that nobody adds them. A custom resource has what it was
/// written with.
fn always_there(layout: Layout<'_>, name: &str) -> bool {
    if matches!(layout, Layout::Resource(_) | Layout::Node(_)) {
        return name == "metadata";
    }
    matches!(
        name,
        "metadata"
            | "spec"
            | "status"
            | "template"
            | "strategy"
            | "updateStrategy"
            | "containers"
            | "jobTemplate"
    )
}

/// What is different in `new`. `old` may be null.
pub(super) fn changes(schemas: &Schemas, layout: Layout<'_>, old: &Value, new: &Value) -> Changes {
    let mut changes = Changes::default();
    if old == new {
        return changes;
    }
    match (layout, old, new) {
        (layout, Value::Object(before), Value::Object(after)) if layout.is_object() => {
            for (name, value) in after {
                let (below, named) = layout.child(schemas, name);
                let inner = match before.get(name) {
                    Some(old) => self::changes(schemas, below, old, value),
                    None => added(schemas, below, value, named && always_there(layout, name)),
                };
                place(&mut changes, inner, || field(name));
            }
            for (name, value) in
                before.iter().filter(|(name, _)| !after.contains_key(name) && *name != "managedFields")
            {
                let below = layout.child(schemas, name).0;
                changes.removed.put(|| field(name), everything(schemas, below, value));
            }
        }
        (layout, Value::Array(before), Value::Array(after)) if layout.is_list() => {
            let below = layout.item(schemas);
            let mut earlier: HashMap<Key, &Value> =
                before.iter().map(|item| (layout.element(item), item)).collect();
            for item in after {
                let element = layout.element(item);
                let inner = match earlier.remove(&element) {
                    Some(old) => self::changes(schemas, below, old, item),
                    None => Changes { written: everything(schemas, below, item), ..Changes::default() },
                };
                place(&mut changes, inner, || element);
            }
            for (element, item) in earlier {
                changes.removed.put(|| element, everything(schemas, below, item));
            }
        }
        (Layout::Object(_) | Layout::Resource(_), Value::Null, _) => {
            return added(schemas, layout, new, true);
        }
        _ => {
            changes.written = everything(schemas, layout, new);
            if old.is_object() || old.is_array() {
                changes.removed = everything(schemas, layout, old);
                changes.removed.subtract(&changes.written);
            }
        }
    }
    changes
}

fn place(changes: &mut Changes, inner: Changes, element: impl FnOnce() -> Key) {
    match (inner.written.is_empty(), inner.removed.is_empty()) {
        (true, true) => {}
        (false, true) => changes.written.put(element, inner.written),
        (true, false) => changes.removed.put(element, inner.removed),
        (false, false) => {
            let element = element();
            changes.written.put(|| element.clone(), inner.written);
            changes.removed.put(|| element, inner.removed);
        }
    }
}

/// A value where none was. `implied`: the place itself was always there.
fn added(schemas: &Schemas, layout: Layout<'_>, value: &Value, implied: bool) -> Changes {
    let written = match (layout, value) {
        (Layout::Object(_) | Layout::Resource(_), Value::Object(fields)) if implied => {
            let mut set = FieldSet { member: false, children: Children::with_capacity(fields.len()) };
            for (name, value) in fields {
                let (below, named) = layout.child(schemas, name);
                let inner = added(schemas, below, value, named && always_there(layout, name));
                set.push(|| field(name), inner.written);
            }
            set
        }
        (Layout::ListMap(..), Value::Array(_)) if implied => {
            let mut set = everything(schemas, layout, value);
            set.member = false;
            set
        }
        _ => everything(schemas, layout, value),
    };
    Changes { written, ..Changes::default() }
}
