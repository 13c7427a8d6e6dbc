//! Version 2 documents of other servers, merged into ours: the paths of the version that each answers
//! for, with the definitions that these need. A definition of a name that is taken by another one gets
//! another name.

use std::collections::{BTreeMap, BTreeSet};

use gantry_json::{Key, Map, Value};

/// Another server's document, and the version that it answers for.
pub struct Other<'a> {
    /// The group.
    pub group: &'a str,
    /// The version.
    pub version: &'a str,
    /// Its version 2 document.
    pub document: &'a Value,
}

pub(super) const REFERENCE: &str = "#/definitions/";

/// Adds what belongs to `other` to `definitions`; the paths that it adds.
pub(super) fn merge(other: &Other<'_>, definitions: &mut Map) -> Vec<(Key, Value)> {
    let prefix = format!("/apis/{}/{}/", other.group, other.version);
    let paths = other.document["paths"].as_object().into_iter().flatten();
    let mut paths: Vec<(Key, Value)> = paths
        .filter(|(path, _)| path.starts_with(&prefix) || **path == prefix[..prefix.len() - 1])
        .map(|(path, item)| (path.clone(), item.clone()))
        .collect();
    let theirs = &other.document["definitions"];
    let needed = needed(theirs, paths.iter().map(|(_, item)| item));
    let mut renamed = BTreeMap::new();
    for name in &needed {
        let definition = &theirs[name];
        let same = |known: &Value| plain(known) == plain(definition);
        let mut next = name.clone();
        for number in 2.. {
            match definitions.get(&next) {
                Some(known) if !same(known) => next = format!("{name}_v{number}"),
                _ => break,
            }
        }
        if next != *name {
            renamed.insert(name.clone(), next);
        }
    }
    for name in needed {
        let own = renamed.get(&name).unwrap_or(&name);
        if !definitions.contains_key(own) {
            let mut definition = theirs[&name].clone();
            rename(&mut definition, &renamed);
            definitions.insert(own.into(), definition);
        }
    }
    for (_, item) in &mut paths {
        rename(item, &renamed);
    }
    paths
}

/// The names of the definitions among `theirs` that `starts` need.
pub(super) fn needed<'a>(theirs: &'a Value, starts: impl Iterator<Item = &'a Value>) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<&Value> = starts.collect();
    while let Some(value) = open.pop() {
        references(value, &mut |name| {
            if let Some(definition) = theirs.get(name)
                && needed.insert(name.to_owned())
            {
                open.push(definition);
            }
        });
    }
    needed
}

/// Calls `found` with the name of each definition that is referred to.
fn references<'a>(value: &'a Value, found: &mut impl FnMut(&'a str)) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member.as_str().and_then(|text| text.strip_prefix(REFERENCE)) {
                    Some(name) if key == "$ref" => found(name),
                    _ => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let name = member.as_str().and_then(|text| text.strip_prefix(REFERENCE));
                match name.and_then(|name| renamed.get(name)) {
                    Some(next) if key == "$ref" => *member = format!("{REFERENCE}{next}").into(),
                    _ => rename(member, renamed),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

/// The name that a definition had before it was given another.
fn first_name(name: &str) -> &str {
    match name.rsplit_once("_v") {
        Some((first, number)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            first
        }
        _ => name,
    }
}

/// A definition without what does not make it another one.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, member)| {
                !(key.as_str() == "description" && member.is_string())
                    && key.as_str() != "x-kubernetes-group-version-kind"
            });
            let plain = |(key, member): (&Key, &Value)| match member.as_str() {
                Some(name) if key == "$ref" => (key.clone(), first_name(name).into()),
                _ => (key.clone(), plain(member)),
            };
            Value::Object(kept.map(plain).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn what_is_another_gets_another_name() {
        let document = json!({
            "paths": {
                "/apis/a.example/v1/things": {"get": {"schema": {"$ref": "#/definitions/a.Thing"}}},
                "/apis/a.example/v2/things": {"get": {"schema": {"$ref": "#/definitions/a.Other"}}},
                "/version/": {"get": {}},
            },
            "definitions": {
                "a.Thing": {"properties": {"meta": {"$ref": "#/definitions/Meta"}, "same": {"$ref": "#/definitions/Same"}}},
                "Meta": {"type": "object", "properties": {"more": {"type": "string"}}},
                "Same": {"type": "object", "description": "theirs"},
                "a.Other": {"type": "object"},
            },
        });
        let mut definitions =
            json!({"Meta": {"type": "object"}, "Same": {"type": "object", "description": "ours"}})
                .as_object()
                .cloned()
                .expect("an object");
        let other = Other { group: "a.example", version: "v1", document: &document };
        let paths = merge(&other, &mut definitions);
        assert_eq!(paths.len(), 1);
        let names: Vec<_> = definitions.keys().cloned().collect();
        assert_eq!(names, ["Meta", "Meta_v2", "Same", "a.Thing"]);
        assert_eq!(definitions["a.Thing"]["properties"]["meta"]["$ref"], "#/definitions/Meta_v2");
        assert_eq!(definitions["Same"]["description"], "ours");
        // Another one that needs the same finds it.
        merge(&other, &mut definitions);
        assert_eq!(definitions.len(), 4);
    }
}
