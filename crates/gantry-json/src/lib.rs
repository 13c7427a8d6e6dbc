//! Objects as trees of JSON: what every request reads, changes, looks at and frees again.
//!
//! Reading text and writing types is serde_json's, whose names this crate shows as they are; the tree is our
//! own, and so is writing it.
//! serde_json keeps an object as a B-tree: a first node has room for eleven fields, takes 630 bytes for a
//! single one, and each look-up compares texts until it is past the one it wants. Objects of this API have few
//! fields, looked up hundreds of times for a write. So a [`Map`] is a sorted list of fields while it is
//! small, and names and texts stand within it where they are short, as most are.
//!
//! Invariants: a map shows its fields in the order of their names, and equal objects are equal however they
//! were made, as with serde_json.

#[macro_use]
mod macros;
mod convert;
mod de;
mod index;
mod map;
mod ser;
mod text;
mod value;

pub use serde_json::value::RawValue;
pub use serde_json::{
    Deserializer, Error, Number, Serializer, from_reader, from_slice, from_str, to_string, to_string_pretty,
    to_vec, to_vec_pretty, to_writer, to_writer_pretty,
};
/// Text, which stands within a value itself where it has at most 23 bytes.
pub use smol_str::SmolStr as Text;

pub use de::from_value;
pub use index::Index;
pub use map::{Entry, Map};
pub use ser::{to_value, value_of};
pub use text::write_text;
pub use value::Value;

/// The name of an object's field.
pub type Key = Text;

/// What can fail by [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
