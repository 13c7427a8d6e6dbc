//! The embedded engine: fjall, a log-structured merge tree. Records are written in revision
//! order, so its tables never overlap and compacting them is cheap; one flush makes a batch
//! durable.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Batch, Engine, Record, SizeFn};
use crate::{Error, Result};

/// Bytes of the write buffer; a trial found no gain above it.
const MEMTABLE_BYTES: u64 = 4 << 20;
/// Bytes of journal kept before a buffer is flushed to tables.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Bytes of block cache: reads come from the store's own map, so next to nothing.
const CACHE_BYTES: u64 = 1 << 20;
const COMPACTED: &[u8] = b"compacted";

/// Records in a directory.
pub struct FjallEngine {
    database: Database,
    log: Keyspace,
    meta: Keyspace,
    path: PathBuf,
}

impl FjallEngine {
    /// Opens or creates the database in the directory `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |cause: fjall::Error| Error::engine("open", format!("{}: {cause}", path.display()));
        let database = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(1)
            .open()
            .map_err(failed)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let log = database.keyspace("log", options).map_err(failed)?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).map_err(failed)?;
        Ok(Self { database, log, meta, path: path.to_owned() })
    }
}

impl Engine for FjallEngine {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<u64> {
        let failed = |cause: fjall::Error| Error::engine("load", cause);
        for item in self.log.iter() {
            let (key, value) = item.into_inner().map_err(failed)?;
            each(decode(&key, &value).ok_or_else(|| Error::engine("load", "a record is malformed"))?);
        }
        let compacted = self.meta.get(COMPACTED).map_err(failed)?;
        Ok(compacted.and_then(|v| v.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        let mut write = self.database.batch().durability(Some(PersistMode::SyncData));
        for record in &batch.records {
            write.insert(&self.log, record.revision.to_be_bytes(), encode(record));
        }
        for revision in &batch.forget {
            write.remove(&self.log, revision.to_be_bytes());
        }
        if let Some(compacted) = batch.compacted {
            write.insert(&self.meta, COMPACTED, compacted.to_be_bytes());
        }
        write.commit().map_err(|cause| Error::engine("commit", cause))
    }

    fn size(&self) -> SizeFn {
        let path = self.path.clone();
        Arc::new(move || allocated(&path))
    }
}

/// The bytes of disk that a directory's files take. Files that go meanwhile are not counted.
fn allocated(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated(&entry.path()),
        // Whatever the file system's own unit, this count is of 512 bytes.
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// `create (8) | expires (8) | deleted (1) | key length (4) | key | value`, big-endian.
fn encode(record: &Record) -> Vec<u8> {
    let mut out = Vec::with_capacity(21 + record.key.len() + record.value.len());
    out.extend_from_slice(&record.create_revision.to_be_bytes());
    out.extend_from_slice(&record.expires_ms.to_be_bytes());
    out.push(record.deleted.into());
    out.extend_from_slice(&(record.key.len() as u32).to_be_bytes());
    out.extend_from_slice(record.key.as_bytes());
    out.extend_from_slice(&record.value);
    out
}

fn decode(revision: &[u8], mut data: &[u8]) -> Option<Record> {
    let revision = u64::from_be_bytes(revision.try_into().ok()?);
    let mut take = |n: usize| data.split_off(..n);
    let create_revision = u64::from_be_bytes(take(8)?.try_into().ok()?);
    let expires_ms = u64::from_be_bytes(take(8)?.try_into().ok()?);
    let deleted = take(1)? != [0];
    let length = u32::from_be_bytes(take(4)?.try_into().ok()?) as usize;
    let key: Arc<str> = std::str::from_utf8(take(length)?).ok()?.into();
    Some(Record { revision, key, create_revision, expires_ms, deleted, value: Bytes::copy_from_slice(data) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_round_trip(revision: u64, create_revision: u64, expires_ms: u64, deleted: bool,
                              key in ".{0,40}", value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let record = Record { revision, key: key.into(), create_revision, expires_ms, deleted, value: value.into() };
            prop_assert_eq!(decode(&revision.to_be_bytes(), &encode(&record)), Some(record));
        }

        #[test]
        fn malformed_records_are_refused(data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&1u64.to_be_bytes(), &data);
        }
    }
}
