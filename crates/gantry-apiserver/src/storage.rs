//! How objects are kept in the store: their keys, their bytes, and where the resource version
//! goes into them.
//!
//! Bytes are written with `metadata` near the front and `resourceVersion` first in it, so that
//! the writer of the store finds the place for the revision within the first bytes.

mod header;

use bytes::Bytes;
use gantry_api::registry::{Kind, Registry};
use gantry_json::{Map, Value};
use gantry_store::Options;
use serde::Serialize;
use serde::de::IgnoredAny;

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
    if group.is_empty() { format!("/registry/{plural}/") } else { format!("/registry/{group}/{plural}/") }
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
    if namespace.is_empty() { format!("{prefix}{name}") } else { format!("{prefix}{namespace}/{name}") }
}

/// The bytes of `object`, ready to be stamped.
pub fn encode(object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(2048);
    let Some(fields) = object.as_object() else {
        write_value(&mut out, object);
        return out;
    };
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
    write_value(out, name);
    out.push(b':');
    write_value(out, value);
}

fn write_value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    gantry_json::to_writer(out, value).expect("a JSON value is always serialisable into memory");
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

/// The bytes of a stored object's metadata.
pub fn metadata(value: &[u8]) -> Option<&[u8]> {
    let start = mark(value)? + "\"metadata\":".len();
    let mut values = gantry_json::Deserializer::from_slice(&value[start..]).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(&value[start..start + values.byte_offset()])
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
            let metadata = metadata(&bytes).unwrap();
            assert_eq!(gantry_json::from_slice::<Value>(metadata).unwrap(), expect["metadata"]);
            assert_eq!(gantry_json::from_slice::<Value>(&bytes).unwrap(), expect);
        }
    }

    #[test]
    fn keys() {
        assert_eq!(key(&prefix("", "pods"), "ns", "p"), "/registry/pods/ns/p");
        assert_eq!(key(&prefix("apps", "deployments"), "ns", "d"), "/registry/apps/deployments/ns/d");
        assert_eq!(key(&prefix("", "nodes"), "", "n"), "/registry/nodes/n");
    }
}
