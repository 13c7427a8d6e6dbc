//! OpenAPI documents of what is served: enough for clients to validate, explain and merge, and for
//! generators to make clients of.
//!
//! There is one document of version 2, of everything, and one of version 3 for each group and
//! version: its kinds' definitions with all that they refer to, and its paths with the parameters
//! that they take. Each has a JSON and a protobuf form. They are written piece by piece, because as
//! JSON values they would take many times their own size.

mod convert;
mod definitions;
mod descriptions;
mod enums;
mod merge;
mod operations;
mod paths;
mod protobuf;

use std::collections::BTreeSet;

pub use convert::v3_of_v2;
pub use merge::Other;
pub use operations::base;

use gantry_json::{Key, Map, Value, json};

use crate::registry::{Kind, Registry};
use definitions::{V2, V3, custom, definitions};
use operations::Path;

/// How a document is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// JSON.
    Json,
    /// The messages `openapi.v2.Document` and `openapi.v3.Document`.
    Protobuf,
}

/// The paths of the version 3 documents, such as `api/v1`, `apis/apps/v1` and, of what belongs to no
/// version, `apis/apps`.
pub fn v3_paths(registry: &Registry) -> Vec<String> {
    let mut all: BTreeSet<String> = registry.iter().map(|kind| base(kind)).collect();
    all.extend(operations::discovery(registry).iter().map(|path| document_of(path).to_owned()));
    all.into_iter().collect()
}

/// The version 3 document of a path that belongs to no version.
fn document_of(path: &Path) -> &str {
    path.template.trim_matches('/')
}

/// The version 3 document of a path; `None` where there is none. Descriptions make it several times
/// larger.
pub fn v3_document(
    registry: &Registry,
    path: &str,
    version: &str,
    described: bool,
    form: Form,
) -> Option<Vec<u8>> {
    let kinds: Vec<&Kind> = registry.iter().map(|kind| &**kind).filter(|kind| base(kind) == path).collect();
    let (mut schemas, paths) = match kinds.first() {
        Some(first) => {
            let mut paths: Vec<Path> = kinds.iter().flat_map(|kind| operations::of(kind)).collect();
            paths.push(operations::resources(&first.group, &first.version));
            (definitions(&kinds, operations::SHARED, &V3), paths)
        }
        None => {
            let all = operations::discovery(registry).into_iter();
            let paths: Vec<Path> = all.filter(|each| document_of(each) == path).collect();
            let answers = paths.first()?.operations.iter().filter_map(|each| each.answer.definition());
            (definitions(&kinds, &answers.collect::<Vec<_>>(), &V3), paths)
        }
    };
    if described {
        describe(&kinds, &mut schemas);
    }
    let paths = written(paths, &V3);
    let schemas = schemas.into_iter().chain(custom(&kinds, &V3));
    let head = json!({"openapi": "3.0.0", "info": info(version)});
    let schemes = json!({"BearerToken": bearer_token()});
    Some(match form {
        Form::Json => {
            let mut out = opened(&head);
            out.extend_from_slice(b",\"paths\":");
            entries(&mut out, paths);
            out.extend_from_slice(b",\"components\":{\"schemas\":");
            entries(&mut out, schemas);
            member(&mut out, "securitySchemes", &schemes);
            out.extend_from_slice(b"}}");
            out
        }
        Form::Protobuf => protobuf::v3(&head, paths, schemas, &schemes),
    })
}

/// The version 2 document of everything, with what other servers answer for.
pub fn v2_document(registry: &Registry, version: &str, form: Form, others: &[Other<'_>]) -> Vec<u8> {
    let kinds: Vec<&Kind> = registry.iter().map(|kind| &**kind).collect();
    let shared: Vec<&str> = operations::SHARED.iter().chain(operations::DISCOVERED).copied().collect();
    let mut all = definitions(&kinds, &shared, &V2);
    describe(&kinds, &mut all);
    let mut paths: Vec<Path> = kinds.iter().flat_map(|kind| operations::of(kind)).collect();
    let versions: BTreeSet<[&str; 2]> = kinds.iter().map(|kind| [&*kind.group, &*kind.version]).collect();
    paths.extend(versions.into_iter().map(|[group, version]| operations::resources(group, version)));
    paths.extend(operations::discovery(registry));
    let theirs: Vec<(Key, Value)> = others.iter().flat_map(|other| merge::merge(other, &mut all)).collect();
    let paths = written(paths, &V2).chain(theirs);
    let definitions = all.into_iter().chain(custom(&kinds, &V2));
    let head = json!({
        "swagger": "2.0", "info": info(version), "security": [{"BearerToken": []}],
        "securityDefinitions": {"BearerToken": bearer_token()},
    });
    match form {
        Form::Json => {
            let mut out = opened(&head);
            out.extend_from_slice(b",\"paths\":");
            entries(&mut out, paths);
            out.extend_from_slice(b",\"definitions\":");
            entries(&mut out, definitions);
            out.push(b'}');
            out
        }
        Form::Protobuf => protobuf::v2(&head, paths, definitions),
    }
}

fn info(version: &str) -> Value {
    json!({"title": "Kubernetes", "version": version})
}

fn bearer_token() -> Value {
    json!({
        "type": "apiKey", "in": "header", "name": "authorization",
        "description": "Bearer Token authentication",
    })
}

fn describe(kinds: &[&Kind], definitions: &mut Map) {
    let of_subresources = kinds.iter().flat_map(|kind| &kind.subresources).filter_map(|each| each.kind);
    let own = kinds.iter().map(|kind| (&*kind.group, &*kind.kind));
    let all: BTreeSet<(&str, &str)> =
        own.chain(of_subresources.map(|[group, _, kind]| (group, kind))).collect();
    descriptions::describe(all.into_iter(), definitions);
}

/// The paths in order, each written when its turn comes.
fn written(mut paths: Vec<Path>, style: &'static definitions::Style) -> impl Iterator<Item = (Key, Value)> {
    paths.sort_by(|a, b| a.template.cmp(&b.template));
    paths.into_iter().map(|path| paths::write(&path, style))
}

/// An object's JSON without its end.
fn opened(head: &Value) -> Vec<u8> {
    let mut out = head.to_string().into_bytes();
    out.pop();
    out
}

fn member(out: &mut Vec<u8>, name: &str, value: &Value) {
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

/// An object of these entries.
fn entries(out: &mut Vec<u8>, all: impl Iterator<Item = (Key, Value)>) {
    out.push(b'{');
    for (at, (name, value)) in all.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("{}:{value}", Value::String(name)).as_bytes());
    }
    out.push(b'}');
}
