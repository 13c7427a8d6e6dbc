//! Merging what a manager applies into the live object, and taking out what it gave up.

use std::collections::{HashMap, HashSet};

use gantry_json::{Key, Value};

use crate::patch::fields::FieldSet;
use crate::patch::layout::Layout;
use crate::schema::Schemas;

/// `live` with `applied` over it.
pub(super) fn merge(schemas: &Schemas, layout: Layout<'_>, live: &Value, applied: &Value) -> Value {
    match (layout, live, applied) {
        (layout, Value::Object(fields), Value::Object(wanted)) if layout.is_object() => {
            let kept = fields.iter().map(|(name, old)| match wanted.get(name) {
                Some(value) => (name.clone(), merge(schemas, layout.child(schemas, name).0, old, value)),
                None => (name.clone(), old.clone()),
            });
            let new = wanted.iter().filter(|(name, _)| !fields.contains_key(name));
            Value::Object(kept.chain(new.map(|(name, value)| (name.clone(), value.clone()))).collect())
        }
        (layout, Value::Array(items), Value::Array(wanted)) if layout.is_list() => {
            Value::Array(merge_lists(schemas, layout, items, wanted))
        }
        _ => applied.clone(),
    }
}

/// Both lists' items: the applied ones in their order, the others between them where they were.
fn merge_lists(schemas: &Schemas, layout: Layout<'_>, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let below = layout.item(schemas);
    let live: Vec<(Key, &Value)> = live.iter().map(|item| (layout.element(item), item)).collect();
    let applied: Vec<(Key, &Value)> = applied.iter().map(|item| (layout.element(item), item)).collect();
    let by_element: HashMap<&str, &Value> = live.iter().map(|(element, item)| (&**element, *item)).collect();
    let wanted: HashSet<&str> = applied.iter().map(|(element, _)| &**element).collect();
    let mut done: HashSet<&str> = HashSet::new();
    let mut merged = Vec::new();
    let (mut at, mut next) = (0, 0);
    while at < live.len() || next < applied.len() {
        if let Some((element, item)) = live.get(at) {
            if !wanted.contains(&**element) {
                merged.push((*item).clone());
                at += 1;
                continue;
            }
            if done.contains(&**element) {
                at += 1;
                continue;
            }
        }
        let Some((element, item)) = applied.get(next) else { break };
        next += 1;
        if done.insert(element) {
            merged.push(match by_element.get(element.as_str()) {
                Some(old) => merge(schemas, below, old, item),
                None => (*item).clone(),
            });
        }
    }
    merged
}

/// Takes out of `value` what is in `last` and not in `others`.
pub(super) fn prune(
    schemas: &Schemas,
    layout: Layout<'_>,
    value: &mut Value,
    last: &FieldSet,
    others: &FieldSet,
) {
    let nothing = FieldSet::default();
    match (layout, value) {
        (layout, Value::Object(fields)) if layout.is_object() => {
            fields.retain(|name, value| {
                let element = format!("f:{name}");
                let Some(mine) = last.children.get(&element) else { return true };
                let (below, named) = layout.child(schemas, name);
                if !others.has(&element) && (mine.member || named) {
                    return false;
                }
                prune_child(schemas, below, value, mine, others.children.get(&element).unwrap_or(&nothing))
            });
        }
        (layout, Value::Array(items)) if layout.is_list() => {
            let below = layout.item(schemas);
            items.retain_mut(|item| {
                let element = layout.element(item);
                let Some(mine) = last.children.get(&element) else { return true };
                if !others.has(&element) && mine.member {
                    return false;
                }
                prune_child(schemas, below, item, mine, others.children.get(&element).unwrap_or(&nothing))
            });
        }
        _ => {}
    }
}

/// Prunes below a place that stays; whether something is left of it.
fn prune_child(
    schemas: &Schemas,
    layout: Layout<'_>,
    value: &mut Value,
    last: &FieldSet,
    others: &FieldSet,
) -> bool {
    let empty = |value: &Value| match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let before = empty(value);
    prune(schemas, layout, value, last, others);
    before || others.member || !empty(value)
}
