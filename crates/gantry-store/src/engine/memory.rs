//! An engine without files, for tests of what stands above it. A clone sees the same records,
//! so a store can be "restarted" on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Batch, Engine, Record};
use crate::Result;

/// Records in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine(Arc<Mutex<(BTreeMap<u64, Record>, u64)>>);

impl Engine for MemoryEngine {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<u64> {
        let state = self.0.lock();
        state.0.values().cloned().for_each(each);
        Ok(state.1)
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        let mut state = self.0.lock();
        for record in &batch.records {
            state.0.insert(record.revision, record.clone());
        }
        for revision in &batch.forget {
            state.0.remove(revision);
        }
        if let Some(compacted) = batch.compacted {
            state.1 = compacted;
        }
        Ok(())
    }
}
