//! A schema as definitions: what patches, field management and apply walk.

use super::node::{Additional, Kind, Node};
use crate::schema::{Definition, DefinitionId, Field, ListType, Schemas, Type, Zero};

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Adds the definitions of a resource to `schemas`; its own has the name and the group, version and
/// kind given, those below it are called by their fields.
pub(crate) fn add(schemas: &mut Schemas, root: &Node, name: &str, kind: [&str; 3]) -> DefinitionId {
    let fields = fields(schemas, root, name, true);
    let kinds = vec![kind.map(Box::from)];
    schemas.add(Definition { name: name.into(), kinds, fields, atomic: false, written: Vec::new() })
}

fn fields(schemas: &mut Schemas, node: &Node, name: &str, resource: bool) -> Vec<Field> {
    let mut fields = Vec::new();
    if resource {
        let metadata = schemas.by_name(OBJECT_META).map_or(Type::Any, Type::Object);
        for (name, kind) in [("apiVersion", Type::String), ("kind", Type::String), ("metadata", metadata)] {
            fields.push(plain(name, kind));
        }
    }
    for (field, below) in node.properties() {
        if resource && matches!(field, "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let kind = type_of(schemas, below, &format!("{name}.{field}"));
        let required =
            node.checks.as_ref().is_some_and(|checks| checks.required.iter().any(|each| **each == *field));
        let list = if matches!(kind, Type::List(_)) { below.list } else { ListType::Atomic };
        fields.push(Field {
            required,
            list,
            keys: below.keys.clone(),
            atomic: below.atomic,
            ..plain(field, kind)
        });
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    fields
}

fn plain(name: &str, kind: Type) -> Field {
    Field {
        name: name.into(),
        kind,
        required: false,
        list: ListType::Atomic,
        keys: Vec::new(),
        atomic: false,
        merge_key: None,
        merges: false,
        retains_keys: false,
        zero: Zero::Kept,
    }
}

fn type_of(schemas: &mut Schemas, node: &Node, name: &str) -> Type {
    match node.kind {
        Kind::Any => Type::Any,
        Kind::String => Type::String,
        Kind::Integer => Type::Int64,
        Kind::Number => Type::Float64,
        Kind::Boolean => Type::Bool,
        Kind::IntOrString => Type::IntOrString,
        Kind::Array => match &node.items {
            Some(items) => Type::List(Box::new(type_of(schemas, items, name))),
            None => Type::List(Box::new(Type::Any)),
        },
        Kind::Object if node.embedded || node.has_properties() => {
            let fields = fields(schemas, node, name, node.embedded);
            let definition = Definition {
                name: name.into(),
                kinds: Vec::new(),
                fields,
                atomic: node.atomic,
                written: Vec::new(),
            };
            Type::Object(schemas.add(definition))
        }
        Kind::Object => match &node.additional {
            Some(Additional::Node(below)) => Type::Map(Box::new(type_of(schemas, below, name))),
            Some(Additional::Any) => Type::Map(Box::new(Type::Any)),
            None => Type::Any,
        },
    }
}
