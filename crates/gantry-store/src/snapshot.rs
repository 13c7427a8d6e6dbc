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
    /// `start_after` where that is given. No key is looked at but those at both ends.
    pub fn range<'a>(
        &'a self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        let from = match start_after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        let end = end_of(prefix);
        let to = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.map.range::<_, str>((from, to)).map(|(_, entry)| entry)
    }

    /// How many keys start with `prefix`. Walks them.
    pub fn count(&self, prefix: &str) -> usize {
        self.range(prefix, None).count()
    }
}

/// The first text after all that start with `prefix`; `None` where there is none.
fn end_of(prefix: &str) -> Option<String> {
    let mut end = prefix.to_owned();
    while let Some(last) = end.pop() {
        // Texts are in the order of their characters, which has a gap.
        if let Some(next) = (last..=char::MAX).nth(1) {
            end.push(next);
            return Some(end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::HeaderFn;

    fn entry(key: &str) -> Arc<Entry> {
        const HEADER: HeaderFn = |_, _| Arc::new(());
        Arc::new(Entry {
            key: key.into(),
            value: Default::default(),
            create_revision: 1,
            mod_revision: 1,
            expires_ms: 0,
            make_header: HEADER,
            header: Default::default(),
        })
    }

    proptest! {
        #[test]
        fn a_range_is_what_starts_with_its_prefix(
            keys in proptest::collection::btree_set("[ab\u{d7ff}\u{e000}\u{10ffff}]{0,5}", 0..200),
            prefix in "[ab\u{d7ff}\u{10ffff}]{0,3}",
            start in proptest::option::of("[ab\u{10ffff}]{0,5}"),
        ) {
            let map = keys.iter().map(|key| (Arc::from(key.as_str()), entry(key))).collect();
            let snapshot = Snapshot { map, revision: 1 };
            let found: Vec<_> =
                snapshot.range(&prefix, start.as_deref()).map(|entry| entry.key.to_string()).collect();
            let after = |key: &&String| start.as_ref().is_none_or(|start| *key > start);
            let expected: Vec<_> =
                keys.iter().filter(|key| key.starts_with(&prefix)).filter(after).cloned().collect();
            prop_assert_eq!(found, expected);
        }
    }
}
