//! Which stored objects a definition leaves as they are.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// More revisions are not remembered, which would take a few megabytes.
const MOST: usize = 1 << 18;

/// The revisions that wrote objects which are what their version shows already. Whoever has read one notes
/// it here, and nobody reads it again to find that out.
#[derive(Debug, Default)]
pub(super) struct Unchanged(Mutex<HashSet<u64>>);

impl Unchanged {
    pub fn has(&self, revision: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&revision)
    }

    pub fn note(&self, revision: u64) {
        let mut revisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Most of what fills it was written over since.
        if revisions.len() == MOST {
            *revisions = HashSet::new();
        }
        revisions.insert(revision);
    }
}
