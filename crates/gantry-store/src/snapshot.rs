//! A consistent view of all keys at one revision. Taking one is a pointer copy; holding one
//! never blocks a writer.

use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::Entry;

pub(crate) type Map = OrdMap<Arc<str>, Arc<Entry>>;

/// All keys as of [`Snapshot::revision`].
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) map: Map,
    pub(crate) revision: u64,
}

impl Snapshot {
    /// The revision that the snapshot shows.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The entry under `key`.
    pub fn get(&self, key: &str) -> Option<&Arc<Entry>> {
        self.map.get(key)
    }

    /// The entries whose key starts with `prefix`, in key order, from the one after
    /// `start_after` where that is given.
    pub fn range<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + 'a {
        let from = match start_after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        self.map
            .range::<_, str>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry)
    }

    /// How many keys start with `prefix`. Walks them.
    pub fn count(&self, prefix: &str) -> usize {
        self.range(prefix, None).count()
    }
}
