//! Objects that expressions make: `Object{spec: Object.spec{...}}`, which is merged into an object, and
//! `JSONPatch{op: "add", path: "/a", value: 1}`, one step of a patch.
//!
//! The types of parts are named by the way to them, and take any fields: what is wrong with a part is found
//! when it is made ([`Value::misplaced`]) and merged.

use std::sync::{Arc, LazyLock};

use crate::declared::ObjectType;
use crate::error::EvaluationError;
use crate::types::Type;
use crate::value::{Text, Value};

/// The function that makes a text part of a JSON pointer.
pub(crate) const ESCAPE: &str = "jsonpatch.escapeKey";
const OBJECT: &str = "Object";
const JSON_PATCH: &str = "JSONPatch";

/// An object that an expression made.
#[derive(Debug, Clone)]
pub struct Made<'a> {
    object: Arc<ObjectType>,
    fields: Vec<(Arc<str>, Value<'a>)>,
}

/// The type of whole objects that are merged into others.
pub fn object_type() -> Type {
    Type::Object(Arc::new(ObjectType::open(OBJECT)))
}

/// The type of steps of JSON patches.
pub fn json_patch_type() -> Type {
    Type::Object(json_patch())
}

fn json_patch() -> Arc<ObjectType> {
    static TYPE: LazyLock<Arc<ObjectType>> = LazyLock::new(|| {
        let texts = ["op", "path", "from"].map(|name| (name.to_owned(), Type::String));
        let fields = texts.into_iter().chain([("value".to_owned(), Type::Dyn)]);
        Arc::new(ObjectType::of_expressions(JSON_PATCH, fields))
    });
    Arc::clone(&TYPE)
}

/// The type of that name that expressions can make values of.
pub(crate) fn object(name: &str) -> Option<Arc<ObjectType>> {
    match name {
        JSON_PATCH => Some(json_patch()),
        _ if name == OBJECT || name.starts_with("Object.") => Some(Arc::new(ObjectType::open(name))),
        _ => None,
    }
}

impl<'a> Made<'a> {
    pub(crate) fn new(object: Arc<ObjectType>, fields: Vec<(Arc<str>, Value<'a>)>) -> Self {
        Self { object, fields }
    }

    /// The name of its type.
    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// Its fields, in the order in which they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.fields.iter().map(|(name, value)| (&**name, value))
    }

    pub(crate) fn type_of(&self) -> Type {
        Type::Object(Arc::clone(&self.object))
    }

    /// The field of that name, where it was given.
    pub fn field(&self, name: &str) -> Option<&Value<'a>> {
        self.fields().find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// The field as an expression reads it: of a step of a patch a text that was not given is empty.
    pub(crate) fn read(&self, name: &str) -> Option<Value<'a>> {
        let empty = || {
            let text = self.name() == JSON_PATCH && name != "value";
            (text && self.object.field_type(name).is_some()).then_some(Value::String(Text::Borrowed("")))
        };
        self.field(name).cloned().or_else(empty)
    }

    /// Whether a field is there: of a step of a patch an empty text is not.
    pub(crate) fn has(&self, name: &str) -> bool {
        let empty =
            |value: &Value<'_>| self.name() == JSON_PATCH && name != "value" && value.as_str() == Some("");
        self.field(name).is_some_and(|value| !empty(value))
    }

    /// How many fields are there.
    fn given(&self) -> usize {
        self.fields().filter(|(name, _)| self.has(name)).count()
    }

    /// Whether two are of one type and have the same fields.
    pub(crate) fn equals(
        &self,
        other: &Made<'_>,
        equal: fn(&Value<'_>, &Value<'_>) -> Result<bool, EvaluationError>,
    ) -> Result<bool, EvaluationError> {
        if self.name() != other.name() || self.given() != other.given() {
            return Ok(false);
        }
        for (name, value) in self.fields().filter(|(name, _)| self.has(name)) {
            let same = match other.field(name) {
                Some(theirs) => equal(value, theirs)?,
                None => false,
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Value<'_> {
    /// What is wrong with the types of the parts of an object that an expression made: each has to be
    /// named by the way to where it stands, lists and maps left out.
    pub fn misplaced(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Self::Made(made) = self {
            misplaced(self, made.name(), &mut found);
        }
        found
    }
}

fn misplaced(value: &Value<'_>, expected: &str, found: &mut Vec<String>) {
    match value {
        Value::Made(made) => {
            if made.name() != expected {
                found.push(format!(
                    "unexpected type name {:?}, expected {expected:?}, which matches field name path from root Object type",
                    made.name()
                ));
            }
            for (name, value) in made.fields() {
                misplaced(value, &format!("{expected}.{name}"), found);
            }
        }
        Value::List(items) => items.iter().for_each(|item| misplaced(item, expected, found)),
        Value::Map(entries) => entries.values().for_each(|value| misplaced(value, expected, found)),
        _ => {}
    }
}
