//! Entries and the events that change them.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// Makes the part of a value that is parsed once and kept beside it.
pub type HeaderFn = fn(key: &str, value: &Bytes) -> Arc<dyn Any + Send + Sync>;

/// Writes the revision of the commit into a serialised value, just before it is stored.
pub type StampFn = fn(value: &mut Vec<u8>, revision: u64);

/// A key with its value as of one revision. Immutable and shared between readers.
pub struct Entry {
    /// The whole key.
    pub key: Arc<str>,
    /// The value, stamped with [`Entry::mod_revision`].
    pub value: Bytes,
    /// The revision that created the key.
    pub create_revision: u64,
    /// The revision that wrote this value.
    pub mod_revision: u64,
    /// When the entry ends by itself, in milliseconds since the Unix epoch; 0 for never.
    pub expires_ms: u64,
    pub(crate) make_header: HeaderFn,
    pub(crate) header: OnceLock<Arc<dyn Any + Send + Sync>>,
}

impl Entry {
    /// The same key at the same revisions with another value.
    pub fn with_value(&self, value: Bytes) -> Self {
        Self {
            key: self.key.clone(),
            value,
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            expires_ms: self.expires_ms,
            make_header: self.make_header,
            header: OnceLock::new(),
        }
    }

    /// The header as a `T`, made on first use. `None` where the store's [`HeaderFn`] makes
    /// another type.
    pub fn header<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.header.get_or_init(|| (self.make_header)(&self.key, &self.value)).downcast_ref()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("create_revision", &self.create_revision)
            .field("mod_revision", &self.mod_revision)
            .field("bytes", &self.value.len())
            .finish()
    }
}

/// What an [`Event`] did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The key did not exist before.
    Create,
    /// The key had another value before.
    Update,
    /// The key is gone; the event's entry carries its last value, stamped with the revision
    /// of the deletion.
    Delete,
}

/// One change, at one revision. No two events share a revision.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The entry after the change (for a deletion: the last one).
    pub entry: Arc<Entry>,
    /// The entry before the change; `None` for a creation.
    pub prev: Option<Arc<Entry>>,
}

impl Event {
    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        self.entry.mod_revision
    }
}
