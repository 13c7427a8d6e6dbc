//! OpenAPI documents of what is served: enough for clients to validate, explain and merge.
//!
//! Each group and version has a version 3 document: its kinds' definitions with all that they
//! refer to, and its paths with the parameters that writes take.

mod descriptions;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::registry::{Kind, Registry};
use crate::schema::{Definition, DefinitionId, Field, ListType, Schemas, Type};

/// The paths of the version 3 documents, such as `api/v1` and `apis/apps/v1`.
pub fn v3_paths(registry: &Registry) -> Vec<String> {
    let all: BTreeSet<String> = registry.iter().map(base).collect();
    all.into_iter().collect()
}

fn base(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("api/{}", kind.version)
    } else {
        format!("apis/{}", kind.api_version())
    }
}

/// The version 3 document of a path; `None` where there is none. Descriptions make it several times
/// larger.
pub fn v3_document(registry: &Registry, path: &str, version: &str, described: bool) -> Option<Value> {
    let kinds: Vec<&Kind> = registry.iter().filter(|kind| base(kind) == path).collect();
    if kinds.is_empty() {
        return None;
    }
    let style = Style { prefix: "#/components/schemas/", v3: true };
    let mut schemas = definitions(&kinds, &style);
    if described {
        let of_subresources = kinds.iter().flat_map(|kind| &kind.subresources).filter_map(|each| each.kind);
        let own = kinds.iter().map(|kind| (kind.group, kind.kind));
        let all = own.chain(of_subresources.map(|[group, _, kind]| (group, kind)));
        descriptions::describe(all, &mut schemas);
    }
    Some(json!({
        "openapi": "3.0.0", "info": {"title": "Kubernetes", "version": version},
        "paths": paths(&kinds, true), "components": {"schemas": schemas},
    }))
}

/// The version 2 document of everything.
pub fn v2_document(registry: &Registry, version: &str) -> Value {
    let kinds: Vec<&Kind> = registry.iter().collect();
    let style = Style { prefix: "#/definitions/", v3: false };
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes", "version": version},
        "paths": paths(&kinds, false), "definitions": definitions(&kinds, &style),
    })
}

/// How a document version writes types.
struct Style {
    prefix: &'static str,
    v3: bool,
}

fn definitions(kinds: &[&Kind], style: &Style) -> Map<String, Value> {
    let schemas = Schemas::builtin();
    let mut out = Map::new();
    let mut waiting: Vec<DefinitionId> = kinds.iter().map(|kind| kind.schema).collect();
    waiting.extend(schemas.by_kind("", "v1", "DeleteOptions"));
    for kind in kinds {
        waiting.extend(schemas.by_kind(kind.group, kind.version, &kind.list_kind));
        for [group, version, name] in kind.subresources.iter().filter_map(|each| each.kind) {
            waiting.extend(schemas.by_kind(group, version, name));
        }
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        let definition = schemas.get(id);
        if seen.insert(definition.name.to_string()) {
            for field in &definition.fields {
                references(&field.kind, &mut waiting);
                if let Some((name, shape)) = scalar(innermost(&field.kind), style) {
                    out.insert(name.to_owned(), shape);
                }
            }
            out.insert(definition.name.to_string(), object(schemas, definition, style));
        }
    }
    out
}

fn innermost(kind: &Type) -> &Type {
    match kind {
        Type::List(items) | Type::Map(items) => innermost(items),
        other => other,
    }
}

/// The definition of a value that has a name of its own.
fn scalar(kind: &Type, style: &Style) -> Option<(&'static str, Value)> {
    let date = json!({"type": "string", "format": "date-time"});
    Some(match kind {
        Type::Quantity => {
            let shape = match style.v3 {
                true => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
                false => json!({"type": "string"}),
            };
            ("io.k8s.apimachinery.pkg.api.resource.Quantity", shape)
        }
        Type::IntOrString => {
            let shape = match style.v3 {
                true => {
                    json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
                }
                false => json!({"type": "string", "format": "int-or-string"}),
            };
            ("io.k8s.apimachinery.pkg.util.intstr.IntOrString", shape)
        }
        Type::Time => ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", date),
        Type::MicroTime => ("io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime", date),
        _ => return None,
    })
}

fn references(kind: &Type, out: &mut Vec<DefinitionId>) {
    match kind {
        Type::Object(id) => out.push(*id),
        Type::List(items) | Type::Map(items) => references(items, out),
        _ => {}
    }
}

fn object(schemas: &Schemas, definition: &Definition, style: &Style) -> Value {
    let mut out = json!({"type": "object"});
    let properties: Map<String, Value> =
        definition.fields.iter().map(|each| (each.name.to_string(), field(schemas, each, style))).collect();
    if !properties.is_empty() {
        out["properties"] = properties.into();
    }
    let required: Vec<&str> =
        definition.fields.iter().filter(|each| each.required).map(|each| &*each.name).collect();
    if !required.is_empty() {
        out["required"] = json!(required);
    }
    if !definition.kinds.is_empty() {
        let kinds = definition.kinds.iter();
        out["x-kubernetes-group-version-kind"] = kinds
            .map(|[group, version, kind]| json!({"group": group, "version": version, "kind": kind}))
            .collect();
    }
    if definition.atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    out
}

fn field(schemas: &Schemas, field: &Field, style: &Style) -> Value {
    let mut out = shape(schemas, &field.kind, style);
    if matches!(field.kind, Type::List(_)) {
        match field.list {
            ListType::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
            ListType::Set => out["x-kubernetes-list-type"] = "set".into(),
            ListType::Map => {
                out["x-kubernetes-list-type"] = "map".into();
                out["x-kubernetes-list-map-keys"] = json!(field.keys);
            }
        }
    } else if field.atomic {
        out["x-kubernetes-map-type"] = "atomic".into();
    }
    if let Some(key) = &field.merge_key {
        out["x-kubernetes-patch-merge-key"] = json!(key);
    }
    let strategy = match (field.merges, field.retains_keys) {
        (true, true) => "merge,retainKeys",
        (true, false) => "merge",
        (false, true) => "retainKeys",
        (false, false) => return out,
    };
    out["x-kubernetes-patch-strategy"] = strategy.into();
    out
}

fn shape(schemas: &Schemas, kind: &Type, style: &Style) -> Value {
    match kind {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Float64 => json!({"type": "number", "format": "double"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Quantity | Type::IntOrString | Type::Time | Type::MicroTime => {
            reference(scalar(kind, style).map_or("", |(name, _)| name), style)
        }
        Type::Any => json!({"type": "object"}),
        Type::Object(id) => reference(&schemas.get(*id).name, style),
        Type::List(items) => json!({"type": "array", "items": shape(schemas, items, style)}),
        Type::Map(values) => json!({"type": "object", "additionalProperties": shape(schemas, values, style)}),
    }
}

fn reference(name: &str, style: &Style) -> Value {
    let reference = json!({"$ref": format!("{}{name}", style.prefix)});
    // Version 3 allows nothing beside a reference, so it is wrapped.
    if style.v3 { json!({"allOf": [reference]}) } else { reference }
}

/// A query parameter.
fn parameter(name: &str, kind: &str, v3: bool) -> Value {
    if v3 {
        json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
    } else {
        json!({"name": name, "in": "query", "type": kind, "uniqueItems": true})
    }
}

fn paths(kinds: &[&Kind], v3: bool) -> Map<String, Value> {
    let mut out = Map::new();
    for kind in kinds {
        let root = match kind.namespaced {
            true => format!("/{}/namespaces/{{namespace}}/{}", base(kind), kind.plural),
            false => format!("/{}/{}", base(kind), kind.plural),
        };
        let has = |verb: &&str| kind.verbs.contains(verb);
        let operations = |pairs: &[(&'static str, &'static str, &'static str)]| -> Map<String, Value> {
            let served = pairs.iter().filter(|(_, verb, _)| has(verb));
            served.map(|(method, _, action)| ((*method).to_owned(), operation(kind, action, v3))).collect()
        };
        let collection = operations(&[
            ("get", "list", "list"),
            ("post", "create", "post"),
            ("delete", "deletecollection", "deletecollection"),
        ]);
        out.insert(root.clone(), collection.into());
        let item = operations(&[
            ("get", "get", "get"),
            ("put", "update", "put"),
            ("patch", "patch", "patch"),
            ("delete", "delete", "delete"),
        ]);
        if !item.is_empty() {
            out.insert(format!("{root}/{{name}}"), item.into());
        }
        if kind.has_status {
            let status =
                operations(&[("get", "get", "get"), ("put", "update", "put"), ("patch", "patch", "patch")]);
            out.insert(format!("{root}/{{name}}/status"), status.into());
        }
    }
    out
}

fn operation(kind: &Kind, action: &str, v3: bool) -> Value {
    let mut parameters = vec![parameter("pretty", "string", v3)];
    let writes = matches!(action, "post" | "put" | "patch");
    if writes || action.starts_with("delete") {
        parameters.push(parameter("dryRun", "string", v3));
    }
    if writes {
        parameters.push(parameter("fieldManager", "string", v3));
        parameters.push(parameter("fieldValidation", "string", v3));
    }
    if action == "patch" {
        parameters.push(parameter("force", "boolean", v3));
    }
    json!({
        "operationId": format!("{action}{}{}{}", kind.group.split('.').next().unwrap_or_default(), kind.version, kind.kind),
        "parameters": parameters,
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    })
}
