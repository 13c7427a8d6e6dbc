//! Reads the generated facts. The form is described at its generator, `xtask schema`.

use std::collections::HashMap;

use super::{Definition, DefinitionId, Field, ListType, Schemas, Type};

/// Definitions that are values of their own rather than objects with fields.
fn special(name: &str) -> Option<Type> {
    Some(match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Type::Quantity,
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Type::IntOrString,
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Type::Time,
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Type::MicroTime,
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"
        | "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
        | "io.k8s.apimachinery.pkg.runtime.RawExtension"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool"
        | "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray" => {
            Type::Any
        }
        _ => return None,
    })
}

/// The definitions in `text`. The text is ours and committed, so what is malformed is skipped;
/// a test checks that nothing is.
pub(super) fn parse(text: &str) -> Schemas {
    let names = text.lines().filter(|line| !line.starts_with(' '));
    let by_name: HashMap<Box<str>, DefinitionId> =
        names.enumerate().map(|(at, name)| (name.into(), DefinitionId(at as u32))).collect();
    let mut definitions: Vec<Definition> = Vec::with_capacity(by_name.len());
    for line in text.lines() {
        let Some(line) = line.strip_prefix(' ') else {
            definitions.push(Definition {
                name: line.into(),
                kinds: Vec::new(),
                fields: Vec::new(),
                atomic: false,
            });
            continue;
        };
        let Some(definition) = definitions.last_mut() else { continue };
        let mut words = line.split(' ');
        let (Some(first), second) = (words.next(), words.next()) else { continue };
        match (first, second) {
            ("atomic", None) => definition.atomic = true,
            ("kind", Some(kind)) if kind.contains('/') => {
                let mut parts = kind.splitn(3, '/').map(Box::from);
                if let (Some(group), Some(version), Some(kind)) = (parts.next(), parts.next(), parts.next()) {
                    definition.kinds.push([group, version, kind]);
                }
            }
            (name, Some(kind)) => definition.fields.push(field(name, kind, words, &by_name)),
            _ => {}
        }
    }
    for definition in &mut definitions {
        definition.fields.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Schemas { definitions, by_name, ..Schemas::default() }
}

fn field<'a>(
    name: &str,
    kind: &str,
    facts: impl Iterator<Item = &'a str>,
    by_name: &HashMap<Box<str>, DefinitionId>,
) -> Field {
    let mut field = Field {
        name: name.trim_end_matches('!').into(),
        kind: type_of(kind, by_name),
        required: name.ends_with('!'),
        list: ListType::Atomic,
        keys: Vec::new(),
        atomic: false,
        merge_key: None,
        merges: false,
        retains_keys: false,
    };
    for (key, value) in facts.filter_map(|fact| fact.split_once('=')) {
        match (key, value) {
            ("list", "map") => field.list = ListType::Map,
            ("list", "set") => field.list = ListType::Set,
            ("keys", keys) => field.keys = keys.split(',').map(Box::from).collect(),
            ("map", "atomic") => field.atomic = true,
            ("merge", key) => field.merge_key = Some(key.into()),
            ("strategy", strategies) => {
                field.merges = strategies.split(',').any(|each| each == "merge");
                field.retains_keys = strategies.split(',').any(|each| each == "retainKeys");
            }
            _ => {}
        }
    }
    field
}

fn type_of(text: &str, by_name: &HashMap<Box<str>, DefinitionId>) -> Type {
    let inner = |open, close| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(item) = inner('[', ']') {
        return Type::List(Box::new(type_of(item, by_name)));
    }
    if let Some(item) = inner('{', '}') {
        return Type::Map(Box::new(type_of(item, by_name)));
    }
    match text {
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "bool" => Type::Bool,
        _ => text.strip_prefix('@').map_or(Type::Any, |name| {
            special(name).or_else(|| by_name.get(name).map(|id| Type::Object(*id))).unwrap_or(Type::Any)
        }),
    }
}
