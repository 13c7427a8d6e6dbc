//! What columns are for, in words: those of the field that a column shows, or a few of our own.
//!
//! The words of fields are in the code that makes the typed structs' schemas, from where a table takes
//! them once: schemas are too slow to make for each answer.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Where the words come from.
#[derive(Clone, Copy)]
pub(crate) enum About {
    /// A field of a typed struct.
    Field {
        definition: fn() -> Cow<'static, str>,
        schema: fn(&mut SchemaGenerator) -> Schema,
        field: &'static str,
    },
    /// Here.
    Words(&'static str),
}

/// The words of a field of `T`.
pub(super) const fn field<T: JsonSchema>(field: &'static str) -> About {
    About::Field { definition: T::schema_name, schema: T::json_schema, field }
}

/// These words.
pub(super) const fn words(words: &'static str) -> About {
    About::Words(words)
}

/// A definition and a field of it.
type Place = (Cow<'static, str>, &'static str);

/// The words that were asked for. There are no more than there are columns, and columns are never gone.
static TAKEN: LazyLock<RwLock<HashMap<Place, &'static str>>> = LazyLock::new(RwLock::default);

impl About {
    /// The words themselves.
    pub(crate) fn text(self) -> &'static str {
        let (definition, schema, field) = match self {
            About::Words(words) => return words,
            About::Field { definition, schema, field } => (definition, schema, field),
        };
        let key = (definition(), field);
        if let Some(text) = TAKEN.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return text;
        }
        let schema = schema(&mut SchemaSettings::openapi3().into_generator());
        let text =
            schema.pointer(&format!("/properties/{field}/description")).and_then(serde_json::Value::as_str);
        let text = text.unwrap_or_default().to_owned();
        TAKEN.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert_with(|| text.leak())
    }
}
