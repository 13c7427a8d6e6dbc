//! Values while an expression runs: borrowed from the data wherever they can be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use gantry_api::quantity::Quantity;
use gantry_json::{Map as JsonMap, Value as Json};
use jiff::{SignedDuration, Timestamp};

use crate::declared::{DYN, Declared, Form};
use crate::error::EvaluationError;
use crate::library::authorizer::{Check, Decided};
use crate::library::format::NamedFormat;
use crate::library::semver::Semver;
use crate::library::url::Url;
use crate::made::Made;
use crate::types::{Opaque, Type};

/// A value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A length of time.
    Duration(SignedDuration),
    /// A list that the expression made.
    List(Arc<Vec<Value<'a>>>),
    /// A list of the data, with what its schema says.
    JsonList(&'a [Json], &'a Declared),
    /// A map that the expression made.
    Map(Arc<Entries<'a>>),
    /// A map or object of the data, with what its schema says.
    JsonMap(&'a JsonMap, &'a Declared),
    /// A value or none.
    Optional(Option<Arc<Value<'a>>>),
    /// A type.
    Type(Arc<Type>),
    /// The composed variables.
    Variables,
    /// A URL.
    Url(Arc<Url>),
    /// A quantity.
    Quantity(Quantity),
    /// An IP address.
    Ip(IpAddr),
    /// A block of IP addresses: an address in it, and the length of its prefix.
    Cidr(IpAddr, u8),
    /// A semantic version.
    Semver(Arc<Semver>),
    /// A named format.
    Format(&'static NamedFormat),
    /// A request for authorization that is being put together.
    Authorizer(Arc<Check>),
    /// What an authorization check has found.
    Decision(Arc<Decided>),
    /// An object that the expression made.
    Made(Arc<Made<'a>>),
}

/// Text, borrowed or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Of the data.
    Borrowed(&'a str),
    /// Made by the expression.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::String(Text::Shared(text.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// A key of a map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// True or false.
    Bool(bool),
    /// An integer of either sign: numbers of the same amount are the same key.
    Number(i128),
    /// Text.
    String(Arc<str>),
}

/// The entries of a map that an expression made, in order.
#[derive(Debug, Clone, Default)]
pub struct Entries<'a> {
    pub(crate) entries: Vec<(Value<'a>, Value<'a>)>,
    index: HashMap<Key, usize>,
}

impl<'a> Entries<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of the key.
    pub fn get(&self, key: &Key) -> Option<&Value<'a>> {
        self.index.get(key).map(|at| &self.entries[*at].1)
    }

    /// All values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value<'a>> {
        self.entries.iter().map(|entry| &entry.1)
    }

    /// Adds an entry: whether the key is new.
    pub(crate) fn insert(&mut self, key: Value<'a>, value: Value<'a>) -> Result<bool, EvaluationError> {
        let indexed = key.as_key().ok_or_else(|| EvaluationError::failed("unsupported key type"))?;
        if self.index.contains_key(&indexed) {
            return Ok(false);
        }
        self.index.insert(indexed, self.entries.len());
        self.entries.push((key, value));
        Ok(true)
    }
}

impl<'a> Value<'a> {
    /// The JSON as it is.
    pub fn json(json: &'a Json) -> Self {
        Self::natural(json)
    }

    fn natural(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => number
                .as_i64()
                .map(Self::Int)
                .or_else(|| number.as_u64().map(Self::Uint))
                .unwrap_or_else(|| Self::Double(number.as_f64().unwrap_or_default())),
            Json::String(text) => Self::from(text.as_str()),
            Json::Array(items) => Self::JsonList(items, &DYN),
            Json::Object(fields) => Self::JsonMap(fields, &DYN),
        }
    }

    /// The JSON as its schema reads it.
    pub fn declared(json: &'a Json, declared: &'a Declared) -> Result<Self, EvaluationError> {
        let text = json.as_str();
        Ok(match (&declared.form, json) {
            (Form::Double, Json::Number(number)) => Self::Double(number.as_f64().unwrap_or_default()),
            (Form::Int, Json::Number(number)) if number.is_f64() => {
                let value = number.as_f64().unwrap_or_default();
                if value.fract() == 0.0 { Self::Int(value as i64) } else { Self::Double(value) }
            }
            (Form::List(..), Json::Array(items)) => Self::JsonList(items, declared),
            (Form::Map(_) | Form::Object(_), Json::Object(fields)) => Self::JsonMap(fields, declared),
            (Form::Timestamp, Json::String(text)) => {
                Self::Timestamp(crate::library::time::timestamp(text).map_err(|error| {
                    EvaluationError::failed(format!("Invalid datetime formatted string {text}, err: {error}"))
                })?)
            }
            (Form::Date, Json::String(_)) => {
                let text = text.unwrap_or_default();
                Self::Timestamp(crate::library::time::date(text).ok_or_else(|| {
                    EvaluationError::failed(format!("Invalid date formatted string {text}"))
                })?)
            }
            (Form::Duration, Json::String(text)) => {
                Self::Duration(crate::library::time::duration(text).map_err(|error| {
                    EvaluationError::failed(format!("Invalid duration formatted string {text}, err: {error}"))
                })?)
            }
            (Form::Quantity, Json::String(text)) => {
                Self::Quantity(text.parse().map_err(|error: gantry_api::quantity::ParseError| {
                    EvaluationError::failed(error.to_string())
                })?)
            }
            (Form::Bytes, Json::String(text)) => {
                Self::Bytes(crate::library::encoding::decode(text).ok_or_else(|| {
                    EvaluationError::failed(format!("Invalid byte formatted string {text}"))
                })?)
            }
            _ => Self::natural(json),
        })
    }

    /// The value without anything borrowed; none of data that would have to be copied.
    pub(crate) fn into_owned(self) -> Option<Value<'static>> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Uint(value) => Value::Uint(value),
            Self::Double(value) => Value::Double(value),
            Self::String(Text::Shared(text)) => Value::String(Text::Shared(text)),
            Self::String(Text::Borrowed(text)) => Value::String(Text::Shared(text.into())),
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Timestamp(at) => Value::Timestamp(at),
            Self::Duration(length) => Value::Duration(length),
            Self::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(|item| item.clone().into_owned()).collect();
                Value::List(Arc::new(items?))
            }
            Self::Map(entries) => {
                let mut owned = Entries::default();
                for (key, value) in &entries.entries {
                    owned.insert(key.clone().into_owned()?, value.clone().into_owned()?).ok()?;
                }
                Value::Map(Arc::new(owned))
            }
            _ => return None,
        })
    }

    /// The text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a key of a map.
    pub(crate) fn as_key(&self) -> Option<Key> {
        Some(match self {
            Self::Bool(value) => Key::Bool(*value),
            Self::Int(value) => Key::Number((*value).into()),
            Self::Uint(value) => Key::Number((*value).into()),
            Self::Double(value) if value.fract() == 0.0 && value.abs() < 1e19 => Key::Number(*value as i128),
            Self::String(Text::Shared(text)) => Key::String(Arc::clone(text)),
            Self::String(text) => Key::String(text.as_str().into()),
            _ => return None,
        })
    }

    /// How many items the value has, if it is a list.
    pub fn list_len(&self) -> Option<usize> {
        match self {
            Self::List(items) => Some(items.len()),
            Self::JsonList(items, _) => Some(items.len()),
            _ => None,
        }
    }

    /// The item `at` of a list.
    pub fn item(&self, at: usize) -> Option<Result<Self, EvaluationError>> {
        match self {
            Self::List(items) => items.get(at).cloned().map(Ok),
            Self::JsonList(items, declared) => items.get(at).map(|item| match &declared.form {
                Form::List(each, _) => Self::declared(item, each),
                _ => Ok(Self::natural(item)),
            }),
            _ => None,
        }
    }

    /// All items of a list.
    pub fn items(&self) -> Option<Result<Vec<Self>, EvaluationError>> {
        let len = self.list_len()?;
        Some((0..len).filter_map(|at| self.item(at)).collect())
    }

    /// Whether it is a map or an object.
    pub fn is_map(&self) -> bool {
        matches!(self, Self::Map(_) | Self::JsonMap(..))
    }

    /// How many entries the value has, if it is a map.
    pub fn map_len(&self) -> Option<usize> {
        match self {
            Self::Map(entries) => Some(entries.len()),
            Self::JsonMap(fields, _) => Some(fields.len()),
            _ => None,
        }
    }

    /// The keys of a map.
    pub fn keys(&self) -> Option<Vec<Self>> {
        Some(match self {
            Self::Map(entries) => entries.entries.iter().map(|entry| entry.0.clone()).collect(),
            Self::JsonMap(fields, declared) => {
                let fields: &'a JsonMap = fields;
                let object = matches!(declared.form, Form::Object(_));
                let name = |key: &'a gantry_json::Key| {
                    if object {
                        crate::escape::escape(key).map_or_else(|| Self::from(key.as_str()), Self::from)
                    } else {
                        Self::from(key.as_str())
                    }
                };
                fields.keys().map(name).collect()
            }
            _ => return None,
        })
    }

    /// The entry of a map by its key, or the field of an object by its spelled name.
    pub fn entry(&self, key: &str) -> Option<Result<Self, EvaluationError>> {
        match self {
            Self::Made(made) => made.read(key).map(Ok),
            Self::Map(entries) => entries.get(&Key::String(key.into())).cloned().map(Ok),
            Self::JsonMap(fields, declared) => {
                let fields: &'a JsonMap = fields;
                let declared: &'a Declared = declared;
                match &declared.form {
                    Form::Object(object) => match object.field(key) {
                        Some(field) => {
                            fields.get(&field.json).map(|json| Self::declared(json, &field.declared))
                        }
                        None => {
                            let name = crate::escape::unescape(key)?;
                            fields.get(&name).map(|json| Ok(Self::natural(json)))
                        }
                    },
                    Form::Map(each) => fields.get(key).map(|json| Self::declared(json, each)),
                    _ => fields.get(key).map(|json| Ok(Self::natural(json))),
                }
            }
            _ => None,
        }
    }

    /// The entry of a map by a key of any type.
    pub(crate) fn entry_of(&self, key: &Value<'a>) -> Option<Result<Self, EvaluationError>> {
        match (self, key) {
            (_, Value::String(text)) => self.entry(text.as_str()),
            (Self::Map(entries), key) => entries.get(&key.as_key()?).cloned().map(Ok),
            _ => None,
        }
    }

    /// The size that `size()` would tell and that costs go by; 1 where there is none.
    pub(crate) fn cost_size(&self) -> u64 {
        match self {
            Self::String(text) => text.as_str().chars().count() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Ip(address) => {
                if address.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            Self::Cidr(address, _) => {
                if address.is_ipv4() {
                    4
                } else {
                    16
                }
            }
            other => other.list_len().or_else(|| other.map_len()).map_or(1, |len| len as u64),
        }
    }

    /// Whether it is of a type of the Kubernetes libraries.
    pub(crate) fn is_opaque(&self) -> bool {
        matches!(self.type_of(), Type::Opaque(_))
    }

    /// The value's type.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) | Self::JsonList(..) => Type::list(Type::Dyn),
            Self::JsonMap(_, Declared { form: Form::Object(object), .. }) => Type::Object(Arc::clone(object)),
            Self::Map(_) | Self::JsonMap(..) | Self::Variables => Type::map(Type::Dyn, Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(_) => Type::Type(Arc::new(Type::Dyn)),
            Self::Url(_) => Type::Opaque(Opaque::Url),
            Self::Quantity(_) => Type::Opaque(Opaque::Quantity),
            Self::Ip(_) => Type::Opaque(Opaque::Ip),
            Self::Cidr(..) => Type::Opaque(Opaque::Cidr),
            Self::Semver(_) => Type::Opaque(Opaque::Semver),
            Self::Format(_) => Type::Opaque(Opaque::Format),
            Self::Authorizer(check) => Type::Opaque(check.opaque()),
            Self::Decision(_) => Type::Opaque(Opaque::Decision),
            Self::Made(made) => made.type_of(),
        }
    }

    /// The value as JSON: for results that leave the language.
    pub fn to_json(&self) -> Result<Json, EvaluationError> {
        Ok(match self {
            Self::Null | Self::Optional(None) => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => gantry_json::Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::String(text) => Json::from(text.as_str()),
            Self::Bytes(bytes) => Json::from(crate::library::encoding::encode(bytes)),
            Self::Timestamp(_) | Self::Duration(_) | Self::Ip(_) | Self::Cidr(..) => {
                Json::from(crate::library::convert::text(self).unwrap_or_default())
            }
            Self::Quantity(quantity) => Json::from(quantity.to_string()),
            Self::JsonList(items, _) => Json::Array(items.to_vec()),
            Self::JsonMap(fields, _) => Json::Object((*fields).clone()),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect::<Result<_, _>>()?),
            Self::Map(entries) => {
                let mut fields = JsonMap::new();
                for (key, value) in &entries.entries {
                    let key = crate::library::convert::text(key)
                        .ok_or_else(|| EvaluationError::failed("unsupported key type"))?;
                    fields.insert(key.into(), value.to_json()?);
                }
                Json::Object(fields)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Made(made) => {
                let fields = made.fields().map(|(name, value)| Ok((name.to_owned(), value.to_json()?)));
                Json::Object(fields.collect::<Result<_, EvaluationError>>()?)
            }
            other => {
                let name = other.type_of().runtime_name();
                return Err(EvaluationError::failed(format!("cannot convert {name} to JSON")));
            }
        })
    }
}
