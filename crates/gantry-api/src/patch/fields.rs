//! Sets of fields, and their form in `managedFields`, `fieldsV1`.

mod children;

use std::collections::BTreeMap;

use gantry_json::{Key, Map, Value};

pub use children::Children;

/// A set of places in an object: a tree by path elements (`f:name`, `k:{"name":"x"}`, `v:"x"`, `i:0`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether this place itself belongs to the set.
    pub member: bool,
    /// What is below it.
    pub children: Children,
}

impl FieldSet {
    /// Reads `fieldsV1`.
    pub fn parse(fields: &Value) -> Self {
        let mut set = Self::default();
        if let Value::Object(fields) = fields {
            for (element, below) in fields {
                if element == "." {
                    set.member = true;
                    continue;
                }
                let mut child = Self::parse(below);
                if child.children.is_empty() {
                    child.member = true;
                }
                set.children.insert(element.clone(), child);
            }
        }
        set
    }

    /// The set as `fieldsV1`.
    pub fn into_value(self) -> Value {
        self.fields(false)
    }

    /// Its fields, with one for itself where it is `marked`.
    fn fields(self, marked: bool) -> Value {
        let itself = marked.then(|| (Key::new_static("."), Value::Object(Map::new())));
        let below = self.children.into_iter().map(|(element, child)| {
            let marked = child.member && !child.children.is_empty();
            (element, child.fields(marked))
        });
        Value::Object(itself.into_iter().chain(below).collect())
    }

    /// Whether nothing belongs to it.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Puts the child `element` behind all others, where it belongs, unless it is empty.
    pub(super) fn push(&mut self, element: impl FnOnce() -> Key, child: FieldSet) {
        if !child.is_empty() {
            self.children.push(element(), child);
        }
    }

    /// Puts the child `element` in its place, unless it is empty.
    pub(super) fn put(&mut self, element: impl FnOnce() -> Key, child: FieldSet) {
        if !child.is_empty() {
            self.children.insert(element(), child);
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, child) in other.children.iter() {
            match self.children.get_mut(element) {
                Some(mine) => mine.add(child),
                None => self.children.insert(element.into(), child.clone()),
            }
        }
    }

    /// Takes out exactly the members of `other`.
    pub fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        self.children.retain(|element, mine| {
            if let Some(child) = other.children.get(element) {
                mine.subtract(child);
            }
            !mine.is_empty()
        });
    }

    /// The members of both.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut common = Self { member: self.member && other.member, children: Children::default() };
        for (element, mine) in self.children.iter() {
            if let Some(child) = other.children.get(element) {
                let both = mine.common(child);
                common.put(|| element.into(), both);
            }
        }
        common
    }

    /// Whether it has a member at or below the place.
    pub(super) fn has(&self, element: &str) -> bool {
        self.children.contains_key(element)
    }

    /// Takes out the place at `path` and everything below it.
    pub fn cut(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => self.children.remove(last),
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(first) {
                    child.cut(rest);
                    if child.is_empty() {
                        self.children.remove(first);
                    }
                }
            }
        }
    }

    /// The members' paths as conflicts show them, such as `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(&mut String::new(), &mut paths);
        paths
    }

    fn collect(&self, prefix: &mut String, paths: &mut Vec<String>) {
        if self.member {
            paths.push(prefix.clone());
        }
        for (element, child) in self.children.iter() {
            let length = prefix.len();
            show(element, prefix);
            child.collect(prefix, paths);
            prefix.truncate(length);
        }
    }
}

fn show(element: &str, text: &mut String) {
    match element.split_at_checked(2) {
        Some(("f:", name)) => {
            text.push('.');
            text.push_str(name);
        }
        Some(("k:", keys)) => {
            let keys: BTreeMap<String, Value> = gantry_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            text.push_str(&format!("[{}]", keys.join(",")));
        }
        Some(("v:", value)) => text.push_str(&format!("[={value}]")),
        Some((_, rest)) => text.push_str(&format!("[{rest}]")),
        None => text.push_str(element),
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn round_trip_and_algebra() {
        let value = json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}}});
        let set = FieldSet::parse(&value);
        assert_eq!(set.clone().into_value(), value);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.labels.app",
                ".spec.containers[name=\"a\"]",
                ".spec.containers[name=\"a\"].image"
            ]
        );
        let mut rest = set.clone();
        rest.subtract(&set);
        assert!(rest.is_empty());
        assert_eq!(set.common(&set), set);
        rest.add(&set);
        assert_eq!(rest, set);
        rest.cut(&["f:metadata", "f:labels"]);
        assert!(!rest.has("f:metadata"));
    }
}
