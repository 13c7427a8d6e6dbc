//! How objects are kept in the store: their keys, their bytes, and where the resource version
//! goes into them.
//!
//! Bytes are written with `metadata` near the front and `resourceVersion` first in it, so that
//! the writer of the store finds the place for the revision within the first bytes.

mod header;

use std::ops::Range;

use bytes::Bytes;
use gantry_api::registry::{Kind, Registry};
use gantry_json::{Map, Value};
use gantry_store::Options;

pub use header::Header;

/// How the store must be opened for the API server's objects.
pub fn options() -> Options {
    Options { header: header::header, stamp, ..Options::default() }
}

/// The built-in kind of a stored object.
fn kind_of(object: &Value) -> Option<&'static Kind> {
    kind(object["apiVersion"].as_str()?, object["kind"].as_str()?)
}

fn kind(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Registry::known().by_gvk(group, version, kind).map(|kind| &**kind)
}

/// The prefix of all keys of a resource, with a slash at its end.
pub fn prefix(group: &str, plural: &str) -> String {
    match group.is_empty() {
        true => ["/registry/", plural, "/"].concat(),
        false => ["/registry/", group, "/", plural, "/"].concat(),
    }
}

/// The prefix of all keys of a kind's objects.
pub fn prefix_of(kind: &Kind) -> String {
    match kind.stored {
        Some(stored) => prefix(stored.group, stored.plural),
        None => prefix(&kind.group, &kind.plural),
    }
}

/// A stored object as `kind` shows it.
pub fn decode(kind: &Kind, bytes: &[u8]) -> Option<Value> {
    let mut object = gantry_json::from_slice(bytes).ok()?;
    if let Some(stored) = kind.stored {
        (stored.unpack)(&mut object);
    }
    Some(object)
}

/// The bytes of an object of `kind`, as they are stored; not those that a webhook has to convert.
pub fn encode_as(kind: &Kind, object: &Value) -> Vec<u8> {
    if let Some(stored) = kind.stored {
        let mut object = object.clone();
        (stored.pack)(&mut object);
        return encode(&object);
    }
    match kind.as_custom().map(|custom| &custom.definition.storage().api_version) {
        Some(stored) if object["apiVersion"] != stored.as_str() => {
            let mut object = object.clone();
            object["apiVersion"] = stored.as_str().into();
            encode(&object)
        }
        _ => encode(object),
    }
}

/// The bytes of an object as they would be stored at `revision`.
pub fn encode_at(object: &Value, revision: u64) -> Bytes {
    let mut bytes = encode(object);
    stamp(&mut bytes, revision);
    bytes.into()
}

/// The key of one object. `namespace` is empty for objects without one.
pub fn key(prefix: &str, namespace: &str, name: &str) -> String {
    match namespace.is_empty() {
        true => [prefix, name].concat(),
        false => [prefix, namespace, "/", name].concat(),
    }
}

/// The bytes of `object`, ready to be stamped.
pub fn encode(object: &Value) -> Vec<u8> {
    let Some(fields) = object.as_object() else { return object.to_vec() };
    let mut out = Vec::with_capacity(2048);
    out.push(b'{');
    for name in ["kind", "apiVersion"] {
        if let Some(value) = fields.get(name) {
            write_field(&mut out, name, value);
        }
    }
    if let Some(metadata) = fields.get("metadata").and_then(Value::as_object) {
        write_metadata(&mut out, metadata);
    }
    for (name, value) in fields {
        if !matches!(name.as_str(), "kind" | "apiVersion" | "metadata") {
            write_field(&mut out, name, value);
        }
    }
    out.push(b'}');
    out
}

fn write_metadata(out: &mut Vec<u8>, metadata: &Map) {
    separate(out);
    out.extend_from_slice(b"\"metadata\":{\"resourceVersion\":\"\"");
    for (name, value) in metadata {
        if name != "resourceVersion" {
            write_field(out, name, value);
        }
    }
    out.push(b'}');
}

fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), Some(b'{')) {
        out.push(b',');
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, value: &Value) {
    separate(out);
    gantry_json::write_text(out, name);
    out.push(b':');
    value.write(out);
}

const MARK: &[u8] = b"\"metadata\":{\"resourceVersion\":\"";

/// Writes `revision` as the object's resource version.
pub fn stamp(value: &mut Vec<u8>, revision: u64) {
    let Some(at) = mark(value) else { return };
    let start = at + MARK.len();
    let Some(length) = value[start..].iter().position(|byte| *byte == b'"') else { return };
    value.splice(start..start + length, revision.to_string().into_bytes());
}

/// Where the mark is.
fn mark(value: &[u8]) -> Option<usize> {
    // Only kind and apiVersion, which never hold a quote, come before it.
    let head = &value[..value.len().min(512)];
    head.windows(MARK.len()).position(|window| window == MARK)
}

/// Where the metadata of a stored object is, and within it the managed fields with the comma before them.
///
/// This is for bytes that this module has written: nothing is checked, and no more of them is read than the
/// metadata's brackets and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    whole: Range<usize>,
    managed: Option<Range<usize>>,
}

impl Metadata {
    /// Finds it; `None`: there is none.
    pub fn find(value: &[u8]) -> Option<Self> {
        const MANAGED: &[u8] = b"\"managedFields\":[";
        let start = mark(value)? + "\"metadata\":".len();
        let (mut at, mut depth, mut managed, mut begun) = (start, 0, None, None);
        loop {
            match value.get(at)? {
                b'"' => {
                    // The version stands first, so that something is always before them.
                    if depth == 1 && managed.is_none() && value[at..].starts_with(MANAGED) {
                        begun = Some(at - 1);
                    }
                    at = end_of_text(value, at)?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(Self { whole: start..at + 1, managed });
                    }
                    if depth == 1
                        && let Some(begun) = begun.take()
                    {
                        managed = Some(begun..at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// The metadata of `value`, which this was found in.
    pub fn whole<'v>(&self, value: &'v [u8]) -> &'v [u8] {
        &value[self.whole.clone()]
    }

    /// The parts of `value`, which this was found in, that are the metadata without the managed fields.
    pub fn rest<'v>(&self, value: &'v [u8]) -> [&'v [u8]; 2] {
        match &self.managed {
            Some(managed) => [&value[self.whole.start..managed.start], &value[managed.end..self.whole.end]],
            None => [self.whole(value), &[]],
        }
    }

    /// The parts of `value`, which this was found in, without the managed fields.
    pub fn unmanaged<'v>(&self, value: &'v [u8]) -> [&'v [u8]; 2] {
        match &self.managed {
            Some(managed) => [&value[..managed.start], &value[managed.end..]],
            None => [value, &[]],
        }
    }
}

/// Where the text ends that begins at `at`.
fn end_of_text(value: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', &value[at..])?;
        if value[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
        if at > value.len() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn a_stamp_sets_the_resource_version_and_nothing_else() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"metadata": "\"metadata\":{\"resourceVersion\":\""},
            "metadata": {"name": "a", "annotations": {"resourceVersion": "x"}, "resourceVersion": "3"},
        });
        let mut bytes = encode(&object);
        for revision in [7, 1_234_567] {
            stamp(&mut bytes, revision);
            let mut expect = object.clone();
            expect["metadata"]["resourceVersion"] = json!(revision.to_string());
            let metadata = Metadata::find(&bytes).unwrap();
            assert_eq!(gantry_json::from_slice::<Value>(metadata.whole(&bytes)).unwrap(), expect["metadata"]);
            assert_eq!(gantry_json::from_slice::<Value>(&bytes).unwrap(), expect);
        }
    }

    #[test]
    fn managed_fields_are_found_where_they_are() {
        let managed =
            json!([{"manager": "a]}\\\"", "fieldsV1": {"f:metadata": {"f:managedFields": {}}}}, {}]);
        let other =
            json!({"managedFields": [1], "metadata": {"managedFields": [2]}, "text": "\"managedFields\":["});
        for (fields, is_managed) in [
            (json!({"name": "a\\", "labels": other, "managedFields": managed, "uid": "u"}), true),
            (json!({"managedFields": managed}), true),
            (json!({"managedFields": []}), true),
            (json!({"annotations": other, "name": "\"managedFields\":["}), false),
            (json!({"managedFields": null}), false),
            (json!({}), false),
        ] {
            let object = json!({"kind": "A", "apiVersion": "v1", "metadata": fields, "spec": other});
            let mut bytes = encode(&object);
            stamp(&mut bytes, 7);
            let found = Metadata::find(&bytes).unwrap();
            assert_eq!(found.managed.is_some(), is_managed, "{fields}");
            let mut expect: Value = gantry_json::from_slice(&bytes).unwrap();
            let read = |parts: [&[u8]; 2]| gantry_json::from_slice::<Value>(&parts.concat()).unwrap();
            assert_eq!(read([found.whole(&bytes), &[]]), expect["metadata"]);
            if is_managed {
                expect["metadata"].as_object_mut().unwrap().remove("managedFields");
            }
            assert_eq!(read(found.rest(&bytes)), expect["metadata"]);
            assert_eq!(read(found.unmanaged(&bytes)), expect);
            // Bytes that break off are no more than that.
            assert_eq!(Metadata::find(&bytes[..found.whole.end - 1]), None);
        }
        assert_eq!(Metadata::find(b"{}"), None);
    }

    #[test]
    fn keys() {
        assert_eq!(key(&prefix("", "pods"), "ns", "p"), "/registry/pods/ns/p");
        assert_eq!(key(&prefix("apps", "deployments"), "ns", "d"), "/registry/apps/deployments/ns/d");
        assert_eq!(key(&prefix("", "nodes"), "", "n"), "/registry/nodes/n");
    }
}
