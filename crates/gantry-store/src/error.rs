//! What a store operation can fail with.

use std::sync::Arc;

use crate::Entry;

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed store operation. Each variant names the key or revision it is about.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A create found the key taken.
    #[error("key {key} already exists at revision {}", existing.mod_revision)]
    Exists {
        /// The key.
        key: Arc<str>,
        /// What stands there.
        existing: Arc<Entry>,
    },
    /// An update or delete found no such key.
    #[error("key {key} does not exist")]
    NotFound {
        /// The key.
        key: Arc<str>,
    },
    /// A compare-and-set found another modification revision than expected.
    #[error("key {key} is at revision {}, not {expected}", current.mod_revision)]
    Conflict {
        /// The key.
        key: Arc<str>,
        /// The modification revision that the writer expected.
        expected: u64,
        /// What stands there.
        current: Arc<Entry>,
    },
    /// The revision asked for has been compacted away.
    #[error("revision {requested} has been compacted; the oldest available is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: u64,
        /// The oldest revision that can still be read or watched from.
        oldest: u64,
    },
    /// The revision asked for has not happened yet.
    #[error("revision {requested} is ahead of the store's, {current}")]
    Future {
        /// The revision asked for.
        requested: u64,
        /// The store's revision.
        current: u64,
    },
    /// The engine could not read or write its files. The store takes no writes after it.
    #[error("storage engine: {operation}: {cause}")]
    Engine {
        /// What was being done.
        operation: &'static str,
        /// The engine's own words.
        cause: Arc<str>,
    },
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// An engine failure during `operation`.
    pub fn engine(operation: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Engine { operation, cause: cause.to_string().into() }
    }
}
