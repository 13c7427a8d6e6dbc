//! A versioned, watchable, durable key-value store with etcd's semantics: one increasing
//! revision, keys with create and modification revision, compare-and-set, range reads on a
//! consistent snapshot, watch from a revision, compaction and expiry.
//!
//! The store knows keys and bytes, no kinds. What it must know of a value (how to write the
//! revision into it, what to parse once for selectors) is handed in by [`Options`].

pub mod backup;
pub mod conformance;
pub mod engine;
mod entry;
mod error;
mod pace;
mod snapshot;
mod store;
mod watch;
mod window;
mod writer;

pub use entry::{Entry, Event, EventKind, HeaderFn, StampFn};
pub use error::{Error, Result};
pub use pace::Pace;
pub use snapshot::Snapshot;
pub use store::{Options, Part, Replacement, Store};
pub use watch::{EventFilter, WatchEnd, Watcher};
