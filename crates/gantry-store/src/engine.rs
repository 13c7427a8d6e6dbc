//! What a storage engine must do: remember records by revision, durably.
//!
//! The store keeps every change as one record under its revision, so that a change is written
//! once and the history that watches resume from survives a restart. Records that a later one
//! supersedes are removed when the history behind them is compacted.

mod fjall;
mod memory;

pub use self::fjall::FjallEngine;
pub use self::memory::MemoryEngine;

use std::sync::Arc;

use bytes::Bytes;

use crate::Result;

/// One change as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The change's revision; the record's key in the engine.
    pub revision: u64,
    /// The changed key.
    pub key: Arc<str>,
    /// The revision that created the key.
    pub create_revision: u64,
    /// Milliseconds since the Unix epoch at which the key ends by itself; 0 for never.
    pub expires_ms: u64,
    /// Whether the change deleted the key.
    pub deleted: bool,
    /// The value after the change; for a deletion the last one.
    pub value: Bytes,
}

/// Records to write and to forget in one atomic, durable step.
#[derive(Debug, Default)]
pub struct Batch {
    /// New records, in revision order.
    pub records: Vec<Record>,
    /// Revisions whose records are superseded and compacted.
    pub forget: Vec<u64>,
    /// The revision up to which history is compacted, where it moved.
    pub compacted: Option<u64>,
}

/// Tells how many bytes an engine takes on disk.
pub type SizeFn = Arc<dyn Fn() -> u64 + Send + Sync>;

/// A durable home for records. Called from one thread at a time.
pub trait Engine: Send + 'static {
    /// Hands every remaining record, in revision order, to `each`, and returns the revision
    /// up to which history has been compacted (0: never).
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<u64>;

    /// Makes `batch` durable: after `Ok`, a crash or power loss keeps all of it; after an
    /// error or a crash during the call, all or none of it.
    fn commit(&mut self, batch: &Batch) -> Result<()>;

    /// What tells, from any thread, how many bytes the engine takes on disk.
    fn size(&self) -> SizeFn {
        Arc::new(|| 0)
    }
}
