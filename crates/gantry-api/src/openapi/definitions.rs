//! The definitions of a document: the structure of every kind, and of what their fields refer to.

use std::collections::BTreeSet;

use gantry_json::{Key, Map, Value, json};

use super::enums;
use crate::custom::publish::{self, Names};
use crate::registry::Kind;
use crate::schema::{Definition, DefinitionId, Field, ListType, Schemas, Type, Zero};

/// How a document version writes types.
pub(super) struct Style {
    prefix: &'static str,
    pub v3: bool,
}

pub(super) const V2: Style = Style { prefix: "#/definitions/", v3: false };
pub(super) const V3: Style = Style { prefix: "#/components/schemas/", v3: true };

/// The definitions of the custom ones among `kinds`, each made when its turn comes: together they are
/// large.
pub(super) fn custom<'a>(kinds: &'a [&'a Kind], style: &'a Style) -> impl Iterator<Item = (Key, Value)> + 'a {
    let form = if style.v3 { publish::Style::V3 } else { publish::Style::V2 };
    kinds.iter().filter_map(|kind| Some((kind, kind.as_custom()?))).flat_map(move |(kind, custom)| {
        let names = Names {
            group: &kind.group,
            version: &kind.version,
            kind: &kind.kind,
            list_kind: &kind.list_kind,
            plural: &kind.plural,
        };
        publish::definitions(names, &custom.version().open_api(), form)
            .map(|(name, schema)| (name.into(), schema))
    })
}

/// The definitions of `kinds` and `others`, with all that they refer to, but for what [`custom`] makes.
pub(super) fn definitions(kinds: &[&Kind], others: &[&str], style: &Style) -> Map {
    let schemas = Schemas::builtin();
    let mut out = Map::new();
    let mut waiting: Vec<DefinitionId> = kinds.iter().map(|kind| kind.schema).collect();
    waiting.extend(others.iter().filter_map(|name| schemas.by_name(name)));
    for kind in kinds {
        if kind.as_custom().is_some() {
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
                let value = named(innermost(&field.kind), field.free);
                match value.map(|name| (name, scalar(name, style))) {
                    Some((name, Some(shape))) => drop(out.insert(name.into(), shape)),
                    Some((name, None)) => waiting.extend(schemas.by_name(name)),
                    None => {}
                }
            }
            out.insert((&*definition.name).into(), object(schemas, definition, style));
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

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING: &str = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";
const TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
/// How the definitions begin whose values may have any type.
const JSON: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";
/// The one among them that is an object.
const SCHEMA: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

/// The name of the definition of values that are no objects with fields.
fn named(kind: &Type, free: Option<&'static str>) -> Option<&'static str> {
    match kind {
        Type::Quantity => Some(QUANTITY),
        Type::IntOrString => Some(INT_OR_STRING),
        Type::Time => Some(TIME),
        Type::MicroTime => Some(MICRO_TIME),
        Type::Any => free,
        _ => None,
    }
}

/// The definition of values that are no objects with fields.
fn scalar(name: &str, style: &Style) -> Option<Value> {
    Some(match name {
        QUANTITY if style.v3 => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        QUANTITY => json!({"type": "string"}),
        INT_OR_STRING if style.v3 => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        INT_OR_STRING => json!({"type": "string", "format": "int-or-string"}),
        TIME | MICRO_TIME => json!({"type": "string", "format": "date-time"}),
        name if name.starts_with(JSON) && name != SCHEMA => json!({}),
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
    let properties: Map = definition
        .fields
        .iter()
        .map(|each| (each.name.to_string(), field(schemas, definition, each, style)))
        .collect();
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
    if let Some((_, discriminator, fields)) = UNIONS.iter().find(|(name, ..)| *name == &*definition.name) {
        let fields: Map = fields.iter().map(|(field, value)| (*field, (*value).into())).collect();
        out["x-kubernetes-unions"] =
            json!([{"discriminator": discriminator, "fields-to-discriminateBy": fields}]);
    }
    out
}

/// Definitions of which a field says which other one is set: the values that it has for them.
type Union = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
const UNIONS: [Union; 5] = [
    ("io.k8s.api.core.v1.AppArmorProfile", "type", &[("localhostProfile", "LocalhostProfile")]),
    ("io.k8s.api.core.v1.SeccompProfile", "type", &[("localhostProfile", "LocalhostProfile")]),
    ("io.k8s.api.flowcontrol.v1.LimitResponse", "type", &[("queuing", "Queuing")]),
    (
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec",
        "type",
        &[("exempt", "Exempt"), ("limited", "Limited")],
    ),
    (
        "io.k8s.api.flowcontrol.v1.Subject",
        "kind",
        &[("group", "Group"), ("serviceAccount", "ServiceAccount"), ("user", "User")],
    ),
];

/// What fields are marked with beside what their facts say.
const MARKED: [(&str, &str, &str, &str); 2] = [
    ("io.k8s.api.policy.v1.PodDisruptionBudgetSpec", "selector", "x-kubernetes-patch-strategy", "replace"),
    (
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceSpec",
        "caBundle",
        "x-kubernetes-list-type",
        "atomic",
    ),
];

fn field(schemas: &Schemas, of: &Definition, field: &Field, style: &Style) -> Value {
    let mut out = shape(schemas, &field.kind, field.free, style);
    enums::add(&mut out, &of.name, &field.name);
    if style.v3
        && let Some(default) = default(of, field)
    {
        out["default"] = default;
    }
    for (_, _, key, value) in MARKED.iter().filter(|each| each.0 == &*of.name && each.1 == &*field.name) {
        out[*key] = (*value).into();
    }
    // The items of lists of objects have no marker, nor have a resource's verbs.
    let marked = match &*field.name {
        "items" => !of.name.ends_with("List"),
        "verbs" => !of.name.ends_with(".APIResource"),
        _ => true,
    };
    if matches!(field.kind, Type::List(_)) && marked {
        match field.list {
            ListType::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
            ListType::Set => out["x-kubernetes-list-type"] = "set".into(),
            ListType::Map => {
                out["x-kubernetes-list-type"] = "map".into();
                out["x-kubernetes-list-map-keys"] = json!(field.keys);
            }
        }
    } else if field.atomic || field.granular {
        out["x-kubernetes-map-type"] = if field.atomic { "atomic" } else { "granular" }.into();
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

/// What a field has that nobody gave one: what is said of it, or what it shows all the same.
fn default(of: &Definition, field: &Field) -> Option<Value> {
    let shown = || zero(&field.kind).filter(|_| field.zero == Zero::Written);
    said_default(&of.name, &field.name).or_else(shown)
}

/// The defaults that upstream's types say themselves. Most defaults are rules' and stand in no document.
fn said_default(of: &str, field: &str) -> Option<Value> {
    if of.starts_with("io.k8s.api.resource.v1") && of.ends_with(".DeviceToleration") {
        return (field == "operator").then(|| "Equal".into());
    }
    Some(match (of.strip_prefix("io.k8s.api.core.v1.")?, field) {
        ("ContainerPort" | "ServicePort", "protocol") => "TCP".into(),
        (
            "ConfigMapEnvSource"
            | "ConfigMapKeySelector"
            | "ConfigMapProjection"
            | "ConfigMapVolumeSource"
            | "LocalObjectReference"
            | "SecretEnvSource"
            | "SecretKeySelector"
            | "SecretProjection",
            "name",
        )
        | ("GRPCAction", "service") => "".into(),
        ("FileKeySelector", "optional") | ("AzureDiskVolumeSource", "readOnly") => false.into(),
        ("AzureDiskVolumeSource", "cachingMode") => "ReadWrite".into(),
        ("AzureDiskVolumeSource", "fsType") => "ext4".into(),
        ("AzureDiskVolumeSource", "kind") => "Shared".into(),
        ("ISCSIPersistentVolumeSource" | "ISCSIVolumeSource", "iscsiInterface") => "default".into(),
        ("RBDPersistentVolumeSource" | "RBDVolumeSource", "keyring") => "/etc/ceph/keyring".into(),
        ("RBDPersistentVolumeSource" | "RBDVolumeSource", "pool") => "rbd".into(),
        ("RBDPersistentVolumeSource" | "RBDVolumeSource", "user") => "admin".into(),
        ("ScaleIOPersistentVolumeSource" | "ScaleIOVolumeSource", "fsType") => "xfs".into(),
        ("ScaleIOPersistentVolumeSource" | "ScaleIOVolumeSource", "storageMode") => "ThinProvisioned".into(),
        _ => return None,
    })
}

/// The value of a type that takes none for nothing. Types that say for themselves how they look have none.
fn zero(kind: &Type) -> Option<Value> {
    match kind {
        Type::String => Some("".into()),
        Type::Int32 | Type::Int64 | Type::Float64 => Some(0.into()),
        Type::Bool => Some(false.into()),
        Type::Object(_) => Some(json!({})),
        Type::Bytes | Type::List(_) | Type::Map(_) | Type::Any => None,
        Type::Quantity | Type::IntOrString | Type::Time | Type::MicroTime => None,
    }
}

fn shape(schemas: &Schemas, kind: &Type, free: Option<&'static str>, style: &Style) -> Value {
    if let Some(name) = named(kind, free) {
        return reference(name, style);
    }
    match kind {
        Type::String => json!({"type": "string"}),
        Type::Bytes => json!({"type": "string", "format": "byte"}),
        Type::Int32 => json!({"type": "integer", "format": "int32"}),
        Type::Int64 => json!({"type": "integer", "format": "int64"}),
        Type::Float64 => json!({"type": "number", "format": "double"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Object(id) => reference(&schemas.get(*id).name, style),
        Type::List(items) => json!({"type": "array", "items": element(schemas, items, free, style)}),
        Type::Map(values) => {
            json!({"type": "object", "additionalProperties": element(schemas, values, free, style)})
        }
        Type::Any | Type::Quantity | Type::IntOrString | Type::Time | Type::MicroTime => {
            json!({"type": "object"})
        }
    }
}

/// What a list or a map has many of.
fn element(schemas: &Schemas, kind: &Type, free: Option<&'static str>, style: &Style) -> Value {
    let mut out = shape(schemas, kind, free, style);
    if !style.v3 {
        return out;
    }
    match zero(kind) {
        Some(zero) => out["default"] = zero,
        // A reference with nothing beside it needs no wrapping.
        None => {
            if let Some(name) = named(kind, free) {
                return json!({"$ref": format!("{}{name}", style.prefix)});
            }
        }
    }
    out
}

/// A reference to a definition.
pub(super) fn reference(name: &str, style: &Style) -> Value {
    let reference = json!({"$ref": format!("{}{name}", style.prefix)});
    // Version 3 allows nothing beside a reference, so it is wrapped.
    if style.v3 { json!({"allOf": [reference]}) } else { reference }
}
