//! The Kubernetes protobuf encoding (`application/vnd.kubernetes.protobuf`) of objects that are
//! JSON everywhere else: read into JSON values, written from JSON bytes.
//!
//! A document is an [`Envelope`]: four bytes that name the encoding, then a message with the
//! object's API version and kind and the object's own bytes. Which number a field has comes from
//! facts that `xtask protobuf` generates; how it is written follows from its type in the schema.
//! What is read has the form that upstream's JSON has: a zero that Go's JSON would leave out is
//! left out here.

mod decode;
mod encode;
mod envelope;
mod json;
mod layout;
#[cfg(test)]
mod tests;
mod time;
pub(crate) mod wire;

pub use decode::decode;
pub use encode::{List, document, event, message, partial, value};
pub use envelope::{Envelope, MAGIC};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Bytes that are not the object they should be, or an object that has no protobuf form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first bytes are not the encoding's.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NotProtobuf,
    /// The bytes end within a value.
    #[error("unexpected EOF")]
    Truncated,
    /// A number takes more than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// Messages stand in each other too deeply.
    #[error("proto: messages are nested too deeply")]
    TooDeep,
    /// A field's key is none.
    #[error("proto: illegal tag {number} (wire type {wire})")]
    Tag {
        /// The field's number.
        number: u64,
        /// The wire type.
        wire: u8,
    },
    /// A field is written as another type.
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType {
        /// The field.
        field: Box<str>,
        /// The wire type that was found.
        wire: u8,
    },
    /// A field's value cannot be.
    #[error("{field}: {why}")]
    Value {
        /// The field.
        field: Box<str>,
        /// What is wrong with it.
        why: Box<str>,
    },
    /// The kind is not known, or has no protobuf form.
    #[error("no kind {kind:?} is registered for version {api_version:?}")]
    Kind {
        /// The API version.
        api_version: Box<str>,
        /// The kind.
        kind: Box<str>,
    },
    /// JSON that does not fit its kind.
    #[error("the object cannot be encoded to a protobuf message: {0}")]
    Json(Box<str>),
}
