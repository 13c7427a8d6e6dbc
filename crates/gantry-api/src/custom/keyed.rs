//! The items of a list of type map, found by the values of its keys.

use std::collections::HashMap;

use gantry_json::Value;

/// A list's items by their keys.
pub(crate) struct Keyed<'a> {
    keys: &'a [Box<str>],
    items: HashMap<String, &'a Value>,
}

impl<'a> Keyed<'a> {
    /// The items of `list` by `keys`; of several alike the first.
    pub fn new(list: &'a [Value], keys: &'a [Box<str>]) -> Self {
        let mut items = HashMap::with_capacity(list.len());
        for item in list {
            items.entry(key(item, keys)).or_insert(item);
        }
        Self { keys, items }
    }

    /// The item with the keys of `item`.
    pub fn get(&self, item: &Value) -> Option<&'a Value> {
        self.items.get(&key(item, self.keys)).copied()
    }
}

/// The values of the keys as one text.
fn key(item: &Value, keys: &[Box<str>]) -> String {
    let mut text = String::new();
    for key in keys {
        match item.get(&**key) {
            Some(value) => text.push_str(&value.to_string()),
            None => text.push('-'),
        }
        text.push(',');
    }
    text
}
