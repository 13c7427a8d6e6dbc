//! Reads the generated facts. Their forms are described at their generators, `xtask schema` and
//! `xtask protobuf`.

use std::collections::HashMap;

use gantry_json::{Map, Value};

use super::{Definition, DefinitionId, Field, ListType, Schemas, Type, Zero};

/// Definitions that are values of their own rather than objects with fields.
fn special(name: &str) -> Option<Type> {
    Some(match name {
        "io.k8s.apimachinery.pkg.api.resource.Quantity" => Type::Quantity,
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString" => Type::IntOrString,
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time" => Type::Time,
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime" => Type::MicroTime,
        _ if FREE.contains(&name) => Type::Any,
        _ => return None,
    })
}

/// Definitions of values that are not looked into.
const FREE: [&str; 7] = [
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
];

/// The definition of the values that are not looked into in a type such as `[@...JSON]`.
fn free(kind: &str) -> Option<&'static str> {
    let name = kind.trim_matches(['[', ']', '{', '}', '@']);
    FREE.into_iter().find(|free| *free == name)
}

/// The definitions in `text`, with what `marks` say of zero values. The texts are ours and committed,
/// so what is malformed is skipped; a test checks that nothing is.
pub(super) fn parse(text: &str, marks: &str) -> Schemas {
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
                written: Vec::new(),
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
    for line in marks.lines() {
        let mut words = line.split(' ');
        let found = words.next().and_then(|name| by_name.get(name));
        if let Some(definition) = found.and_then(|id| definitions.get_mut(id.index())) {
            words.for_each(|word| mark(definition, word));
        }
    }
    let written: Vec<_> = definitions.iter().map(|each| written(&definitions, each)).collect();
    for (definition, written) in definitions.iter_mut().zip(written) {
        definition.written = written;
    }
    Schemas { definitions, by_name }
}

/// Notes what a word such as `paused=7?` says of a field's zero value.
fn mark(definition: &mut Definition, word: &str) {
    let Some((name, rest)) = word.split_once('=') else { return };
    let number = rest.split(':').next().unwrap_or_default();
    let Ok(at) = definition.fields.binary_search_by(|field| (*field.name).cmp(name)) else { return };
    definition.fields[at].zero = match number.chars().last() {
        Some('?') => Zero::LeftOut,
        Some('!') => Zero::Written,
        Some('~') => Zero::Null,
        _ => Zero::Kept,
    };
}

/// The fields that every object of `definition` has, with their zero values.
fn written(definitions: &[Definition], definition: &Definition) -> Vec<(Box<str>, Value)> {
    let fields = definition.fields.iter();
    let value = |field: &Field| match field.zero {
        Zero::Written => zero(definitions, &field.kind),
        Zero::Null => Some(Value::Null),
        Zero::Kept | Zero::LeftOut => None,
    };
    fields.filter_map(|field| Some((field.name.clone(), value(field)?))).collect()
}

/// A type's zero value. An object that stands in an object by value cannot hold its own kind, so this
/// ends.
fn zero(definitions: &[Definition], kind: &Type) -> Option<Value> {
    Some(match kind {
        Type::String | Type::Bytes => "".into(),
        Type::Quantity => "0".into(),
        Type::Int32 | Type::Int64 | Type::IntOrString => 0.into(),
        Type::Float64 => 0.0.into(),
        Type::Bool => false.into(),
        Type::Object(id) => {
            let fields = written(definitions, &definitions[id.index()]);
            Value::Object(fields.into_iter().collect::<Map>())
        }
        // No time at all is shown, too.
        Type::Time | Type::MicroTime => Value::Null,
        Type::Any | Type::List(_) | Type::Map(_) => return None,
    })
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
        free: free(kind),
        required: name.ends_with('!'),
        list: ListType::Atomic,
        keys: Vec::new(),
        atomic: false,
        granular: false,
        merge_key: None,
        merges: false,
        retains_keys: false,
        zero: Zero::Kept,
    };
    for (key, value) in facts.filter_map(|fact| fact.split_once('=')) {
        match (key, value) {
            ("list", "map") => field.list = ListType::Map,
            ("list", "set") => field.list = ListType::Set,
            ("keys", keys) => field.keys = keys.split(',').map(Box::from).collect(),
            ("map", "atomic") => field.atomic = true,
            ("map", "granular") => field.granular = true,
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
