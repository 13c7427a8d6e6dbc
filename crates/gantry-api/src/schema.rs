//! The structure of objects: which fields there are, of which types, and how they merge.
//!
//! The built-in kinds' structure is read once from facts that `xtask schema` generates.
//! [`decode`] reads requests by it; patches, field management and OpenAPI walk it.

mod decode;
mod facts;
mod syntax;
mod yaml;

use std::collections::HashMap;
use std::sync::LazyLock;

use gantry_json::{Map, Value};

pub use decode::{DecodeError, Decoded, Format, decode, decode_free, decode_given, decode_value};

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// Bytes, in base64.
    Bytes,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A floating-point number.
    Float64,
    /// True or false.
    Bool,
    /// An integer or a text.
    IntOrString,
    /// A [`crate::quantity::Quantity`], kept in canonical form.
    Quantity,
    /// A point in time in whole seconds, RFC 3339.
    Time,
    /// A point in time in microseconds, RFC 3339.
    MicroTime,
    /// Anything.
    Any,
    /// An object of a definition.
    Object(DefinitionId),
    /// A list.
    List(Box<Type>),
    /// A map from text.
    Map(Box<Type>),
}

/// A definition's place in its [`Schemas`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DefinitionId(u32);

impl DefinitionId {
    /// Its place among all definitions.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How the items of a list merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListType {
    /// As one value.
    #[default]
    Atomic,
    /// As a set of scalars.
    Set,
    /// By the values of key fields.
    Map,
}

/// What becomes of a field's zero value: false, 0, empty text, list, map or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Zero {
    /// It is kept where it was given.
    #[default]
    Kept,
    /// It is the same as no value, and left out.
    LeftOut,
    /// It stands where no value was given.
    Written,
    /// Null stands where no value was given.
    Null,
}

/// One field of a definition.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub kind: Type,
    /// Where it holds [`Type::Any`], the name of that value's definition.
    pub free: Option<&'static str>,
    /// Whether every object has it.
    pub required: bool,
    /// For lists: how server-side apply merges it.
    pub list: ListType,
    /// For lists of type map: the key fields.
    pub keys: Vec<Box<str>>,
    /// For maps and objects: whether it merges as one value.
    pub atomic: bool,
    /// For maps and objects: whether it merges by its parts, whatever its definition says.
    pub granular: bool,
    /// The field that strategic merge finds list items by.
    pub merge_key: Option<Box<str>>,
    /// Whether strategic merge merges the field's items instead of replacing it.
    pub merges: bool,
    /// Whether strategic merge honours `$retainKeys` in the field.
    pub retains_keys: bool,
    /// What becomes of its zero value.
    pub zero: Zero,
}

impl Field {
    /// Whether a zero value is the same as none. Of lists and maps upstream's storage does not tell empty
    /// ones from none, even where an answer shows null.
    pub(crate) fn drops_zero(&self) -> bool {
        match self.zero {
            Zero::LeftOut => true,
            Zero::Null => matches!(self.kind, Type::List(_) | Type::Map(_) | Type::Bytes),
            Zero::Kept | Zero::Written => false,
        }
    }
}

/// An object's structure.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The name in the published OpenAPI, such as `io.k8s.api.core.v1.Pod`.
    pub name: Box<str>,
    /// Group, version and kind, where it is an object of its own.
    pub kinds: Vec<[Box<str>; 3]>,
    /// The fields, ordered by name.
    pub fields: Vec<Field>,
    /// Whether it merges as one value wherever it stands.
    pub atomic: bool,
    /// The fields that every object has, with the values of those that were not given.
    pub written: Vec<(Box<str>, Value)>,
}

impl Definition {
    /// The field `name`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        // Most names differ in their first letter already.
        let order = |field: &Field| {
            let (first, sought) = (field.name.as_bytes().first(), name.as_bytes().first());
            first.cmp(&sought).then_with(|| (*field.name).cmp(name))
        };
        let at = self.fields.binary_search_by(order).ok()?;
        Some(&self.fields[at])
    }

    /// Adds the fields that every object has and `object` lacks.
    pub fn write_zeros(&self, object: &mut Map) {
        for (name, value) in &self.written {
            if !object.contains_key(name) {
                object.insert((&**name).into(), value.clone());
            }
        }
    }

    /// The last part of the name, such as `Pod`.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or_default()
    }
}

/// Definitions that refer to each other.
#[derive(Debug, Default)]
pub struct Schemas {
    definitions: Vec<Definition>,
    by_name: HashMap<Box<str>, DefinitionId>,
}

impl Schemas {
    /// The built-in kinds'.
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Schemas> = LazyLock::new(|| {
            facts::parse(include_str!("schema/facts.txt"), include_str!("schema/protobuf.txt"))
        });
        &BUILTIN
    }

    /// The definition of what every object has.
    pub(crate) fn object_meta() -> DefinitionId {
        static META: LazyLock<DefinitionId> = LazyLock::new(|| {
            let meta = Schemas::builtin().by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
            meta.expect("the facts have it, as a test checks")
        });
        *META
    }

    /// A definition.
    pub fn get(&self, id: DefinitionId) -> &Definition {
        &self.definitions[id.index()]
    }

    /// The definition of that name.
    pub fn by_name(&self, name: &str) -> Option<DefinitionId> {
        self.by_name.get(name).copied()
    }

    /// The definition of the kind; of several (such as `DeleteOptions`) the first.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<DefinitionId> {
        let wanted = [group, version, kind];
        let has = |definition: &Definition| {
            definition.kinds.iter().any(|each| each.iter().map(|part| &**part).eq(wanted))
        };
        self.definitions.iter().position(has).map(|at| DefinitionId(at as u32))
    }

    /// All definitions.
    pub fn iter(&self) -> impl Iterator<Item = (DefinitionId, &Definition)> {
        self.definitions.iter().enumerate().map(|(at, definition)| (DefinitionId(at as u32), definition))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_facts() {
        let schemas = Schemas::builtin();
        let pod = schemas.get(schemas.by_kind("", "v1", "Pod").expect("Pod"));
        assert_eq!((&*pod.name, pod.short_name()), ("io.k8s.api.core.v1.Pod", "Pod"));
        let Type::Object(spec) = pod.field("spec").expect("spec").kind else { panic!("an object") };
        let containers = schemas.get(spec).field("containers").expect("containers");
        assert_eq!((containers.list, containers.merge_key.as_deref()), (ListType::Map, Some("name")));
        assert!(containers.required && containers.merges && !containers.retains_keys);
        let volumes = schemas.get(spec).field("volumes").expect("volumes");
        assert!(volumes.retains_keys);
        let service = schemas.by_name("io.k8s.api.core.v1.ServiceSpec").expect("ServiceSpec");
        let ports = schemas.get(service).field("ports").expect("ports");
        assert_eq!(ports.keys, [Box::from("port"), Box::from("protocol")]);
        assert!(schemas.get(service).field("selector").expect("selector").atomic);
        let volume = schemas.by_name("io.k8s.api.core.v1.PersistentVolumeSpec").expect("there");
        let claim = schemas.get(volume).field("claimRef").expect("claimRef");
        assert!(claim.granular && !claim.atomic);
        let limits = schemas.by_name("io.k8s.api.core.v1.ResourceRequirements").expect("there");
        let limits = &schemas.get(limits).field("limits").expect("limits").kind;
        assert_eq!(*limits, Type::Map(Box::new(Type::Quantity)));
    }

    #[test]
    fn every_reference_resolves() {
        fn check(schemas: &Schemas, kind: &Type) {
            match kind {
                Type::Object(id) => assert!((id.0 as usize) < schemas.definitions.len()),
                Type::List(inner) | Type::Map(inner) => check(schemas, inner),
                _ => {}
            }
        }
        let schemas = Schemas::builtin();
        assert_eq!(schemas.get(Schemas::object_meta()).short_name(), "ObjectMeta");
        for (_, definition) in schemas.iter() {
            definition.fields.iter().for_each(|field| check(schemas, &field.kind));
        }
    }
}
