//! The types of data from outside: what a schema says about a value, for checking, for reading
//! values and for estimating how large they get.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use gantry_api::schema::{DefinitionId, Schemas, Type as SchemaType};
use gantry_json::Value as Json;

use crate::escape::escape;
use crate::types::{Opaque, Type};

/// What a schema says about a value.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its form.
    pub form: Form,
    /// The most characters, bytes, items or entries that it may have.
    pub max: u64,
}

/// The form of a value.
#[derive(Debug, Clone)]
pub enum Form {
    /// Anything: read as the JSON it is.
    Dyn,
    /// True or false.
    Bool,
    /// An integer.
    Int,
    /// A number.
    Double,
    /// Text.
    String,
    /// Bytes, in base64.
    Bytes,
    /// A point in time, RFC 3339.
    Timestamp,
    /// A day.
    Date,
    /// A length of time, as `1h30m`.
    Duration,
    /// An integer or a text.
    IntOrString,
    /// A quantity.
    Quantity,
    /// A list.
    List(Box<Declared>, ListForm),
    /// A map from text.
    Map(Box<Declared>),
    /// An object.
    Object(Arc<ObjectType>),
}

/// How lists compare and add up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListForm {
    /// In order.
    #[default]
    Atomic,
    /// As a set of scalars.
    Set,
    /// By the values of these fields.
    Map(Vec<String>),
}

/// An object of declared fields.
#[derive(Debug)]
pub struct ObjectType {
    name: String,
    fields: Fields,
}

#[derive(Debug)]
enum Fields {
    Known(BTreeMap<String, Field>),
    Builtin(DefinitionId, OnceLock<BTreeMap<String, Field>>),
    Expressions(BTreeMap<String, Type>),
    /// Any field at all.
    Any,
}

/// A field of an object.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its name in JSON.
    pub json: String,
    /// What may be in it.
    pub declared: Declared,
    /// Whether every object has it.
    pub required: bool,
    /// Whether the schema fills it in.
    pub has_default: bool,
}

impl PartialEq for ObjectType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// No limit is known.
pub const UNLIMITED: u64 = u64::MAX;

/// Reads as the JSON it is.
pub(crate) static DYN: Declared = Declared { form: Form::Dyn, max: UNLIMITED };

impl ObjectType {
    /// An object of these fields, by their names in JSON. Fields whose names cannot be escaped
    /// cannot be reached.
    pub fn new(name: impl Into<String>, fields: impl IntoIterator<Item = Field>) -> Self {
        let fields = fields.into_iter().filter_map(|field| Some((escape(&field.json)?, field))).collect();
        Self { name: name.into(), fields: Fields::Known(fields) }
    }

    /// As [`ObjectType::new`], of fields that expressions spell as they are, reserved words among them.
    pub fn plain(name: impl Into<String>, fields: impl IntoIterator<Item = Field>) -> Self {
        let fields = fields.into_iter().map(|field| (field.json.clone(), field)).collect();
        Self { name: name.into(), fields: Fields::Known(fields) }
    }

    /// An object of a built-in definition.
    pub fn builtin(definition: DefinitionId) -> Self {
        let name = Schemas::builtin().get(definition).name.to_string();
        Self { name, fields: Fields::Builtin(definition, OnceLock::new()) }
    }

    /// An object whose fields are expressions.
    pub(crate) fn of_expressions(name: &str, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self { name: name.to_owned(), fields: Fields::Expressions(fields.into_iter().collect()) }
    }

    /// An object that may have any fields.
    pub(crate) fn open(name: &str) -> Self {
        Self { name: name.to_owned(), fields: Fields::Any }
    }

    /// The same object with its fields under their names in JSON, reserved words or not, all the way down: as
    /// upstream declares the objects that it does not read from a schema. Must not contain itself.
    #[must_use]
    pub fn as_in_json(&self) -> Self {
        let plain = |field: &Field| Field { declared: field.declared.as_in_json(), ..field.clone() };
        let fields = self.fields().values().map(|field| (field.json.clone(), plain(field)));
        Self { name: self.name.clone(), fields: Fields::Known(fields.collect()) }
    }

    /// The type of the field of that name, as expressions spell it.
    pub(crate) fn field_type(&self, name: &str) -> Option<Type> {
        match &self.fields {
            Fields::Expressions(fields) => fields.get(name).cloned(),
            Fields::Any => Some(Type::Dyn),
            _ => self.field(name).map(|field| field.declared.kind_of_expression()),
        }
    }

    /// The type's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The field of that name, as expressions spell it.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields().get(name)
    }

    /// All fields by the name that expressions spell.
    pub fn fields(&self) -> &BTreeMap<String, Field> {
        static NONE: BTreeMap<String, Field> = BTreeMap::new();
        match &self.fields {
            Fields::Expressions(_) | Fields::Any => &NONE,
            Fields::Known(fields) => fields,
            Fields::Builtin(definition, fields) => fields.get_or_init(|| {
                let fields = Schemas::builtin().get(*definition).fields.iter();
                fields
                    .flat_map(|field| {
                        let known = Field {
                            json: field.name.to_string(),
                            declared: Declared::builtin(&field.kind),
                            required: field.required,
                            has_default: false,
                        };
                        // Expressions about data without a schema spell reserved words as they are.
                        let spelled = escape(&field.name).filter(|spelled| **spelled != *field.name);
                        let plain = (field.name.to_string(), known.clone());
                        spelled.map(|spelled| (spelled, known)).into_iter().chain([plain])
                    })
                    .collect()
            }),
        }
    }
}

impl Declared {
    /// Of a form, without a known limit.
    pub fn new(form: Form) -> Self {
        Self { form, max: UNLIMITED }
    }

    /// What a built-in schema says.
    pub fn builtin(kind: &SchemaType) -> Self {
        Self::new(match kind {
            SchemaType::String | SchemaType::Quantity => Form::String,
            SchemaType::Bytes => Form::Bytes,
            SchemaType::Int32 | SchemaType::Int64 => Form::Int,
            SchemaType::Float64 => Form::Double,
            SchemaType::Bool => Form::Bool,
            SchemaType::IntOrString => Form::IntOrString,
            SchemaType::Time | SchemaType::MicroTime => Form::Timestamp,
            SchemaType::Any => Form::Dyn,
            SchemaType::Object(definition) => Form::Object(Arc::new(ObjectType::builtin(*definition))),
            SchemaType::List(item) => Form::List(Box::new(Self::builtin(item)), ListForm::Atomic),
            SchemaType::Map(value) => Form::Map(Box::new(Self::builtin(value))),
        })
    }

    /// An object of the built-in kind, if there is such a kind.
    pub fn kind(group: &str, version: &str, kind: &str) -> Option<Self> {
        let definition = Schemas::builtin().by_kind(group, version, kind)?;
        Some(Self::new(Form::Object(Arc::new(ObjectType::builtin(definition)))))
    }

    fn as_in_json(&self) -> Self {
        let form = match &self.form {
            Form::Object(object) => Form::Object(Arc::new(object.as_in_json())),
            Form::List(item, form) => Form::List(Box::new(item.as_in_json()), form.clone()),
            Form::Map(value) => Form::Map(Box::new(value.as_in_json())),
            other => other.clone(),
        };
        Self { form, max: self.max }
    }

    /// The type of expressions with such values.
    pub fn kind_of_expression(&self) -> Type {
        match &self.form {
            Form::Dyn | Form::IntOrString => Type::Dyn,
            Form::Bool => Type::Bool,
            Form::Int => Type::Int,
            Form::Double => Type::Double,
            Form::String => Type::String,
            Form::Bytes => Type::Bytes,
            Form::Timestamp | Form::Date => Type::Timestamp,
            Form::Duration => Type::Duration,
            Form::Quantity => Type::Opaque(Opaque::Quantity),
            Form::List(item, _) => Type::list(item.kind_of_expression()),
            Form::Map(value) => Type::map(Type::String, value.kind_of_expression()),
            Form::Object(object) => Type::Object(Arc::clone(object)),
        }
    }
}

/// The keys of a list of type map, of one of its items.
pub(crate) fn list_key<'a>(keys: &[String], item: &'a Json) -> Vec<Option<&'a Json>> {
    keys.iter().map(|key| item.get(key)).collect()
}
