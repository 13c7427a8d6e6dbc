//! CEL as Kubernetes v1.35 has it.
//!
//! The grammar is the `cel` crate's. Checking, cost and evaluation are here: Kubernetes wants types
//! from schemas, errors in known words, costs that are limited before and while an expression runs,
//! and values that stay in the data they come from.
//!
//! An [`Environment`] says what expressions may name and makes [`Program`]s of texts; a program is
//! evaluated over [`Variables`] within a [`Budget`].

pub mod admission;
mod ast;
mod budget;
mod check;
mod cost;
pub mod custom;
mod declared;
mod environment;
mod error;
mod escape;
mod estimate;
mod evaluate;
mod expand;
mod function;
mod library;
mod made;
mod parse;
mod stack;
mod stored;
mod types;
mod value;
mod variables;

pub use budget::Budget;
pub use declared::{Declared, Field, Form, ListForm, ObjectType, UNLIMITED};
pub use environment::{Composition, Environment, Program, Session};
pub use error::{CompileError, EvaluationError};
pub use escape::{escape, unescape};
pub use estimate::Range;
pub use library::authorizer::{Authorizer, AuthorizerAttributes, AuthorizerDecision, Check};
pub use library::format::NamedFormat;
pub use library::semver::Semver;
pub use library::url::Url;
pub use made::{Made, json_patch_type, object_type};
pub use stored::{device_environment, validate_stored};
pub use types::{Opaque, Type};
pub use value::{Entries, Key, Text, Value};
pub use variables::Variables;

#[cfg(test)]
mod tests;
