//! The definitions of a document: the structure of every kind, and of what their fields refer to.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::custom::publish::{self, Names};
use crate::registry::Kind;
use crate::schema::{Definition, DefinitionId, Field, ListType, Schemas, Type};

/// How a document version writes types.
pub(super) struct Style {
    prefix: &'static str,
    pub v3: bool,
}

pub(super) const V2: Style = Style { prefix: "#/definitions/", v3: false };
pub(super) const V3: Style = Style { prefix: "#/components/schemas/", v3: true };

/// The definitions of `kinds` and `others`, with all that they refer to.
pub(super) fn definitions(kinds: &[&Kind], others: &[&str], style: &Style) -> Map<String, Value> {
    let schemas = Schemas::builtin();
    let mut out = Map::new();
    let mut waiting: Vec<DefinitionId> = kinds.iter().map(|kind| kind.schema).collect();
    waiting.extend(others.iter().filter_map(|name| schemas.by_name(name)));
    for kind in kinds {
        if let Some(custom) = kind.as_custom() {
            let names = Names {
                group: &kind.group,
                version: &kind.version,
                kind: &kind.kind,
                list_kind: &kind.list_kind,
                plural: &kind.plural,
            };
            let form = if style.v3 { publish::Style::V3 } else { publish::Style::V2 };
            out.extend(publish::definitions(names, &custom.version().open_api, form));
            waiting.extend(schemas.by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"));
        }
        waiting.extend(schemas.by_kind(&kind.group, &kind.version, &kind.list_kind));
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

/// A reference to a definition.
pub(super) fn reference(name: &str, style: &Style) -> Value {
    let reference = json!({"$ref": format!("{}{name}", style.prefix)});
    // Version 3 allows nothing beside a reference, so it is wrapped.
    if style.v3 { json!({"allOf": [reference]}) } else { reference }
}
