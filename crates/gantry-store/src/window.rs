//! The bounded history of recent events: what a watch can resume from, and what a snapshot of
//! a recent revision is rebuilt from.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::snapshot::Map;
use crate::{Error, Event, EventKind, Result, Snapshot};

/// Recent events, oldest first, bounded by count and by the bytes that only history holds.
pub(crate) struct Window {
    events: VecDeque<Arc<Event>>,
    /// Everything up to this revision is gone.
    pub(crate) compacted: u64,
    superseded_bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Window {
    pub(crate) fn new(max_events: usize, max_bytes: usize) -> Self {
        Self { events: VecDeque::new(), compacted: 0, superseded_bytes: 0, max_events, max_bytes }
    }

    /// Appends `event`; call [`Window::trim`] after a batch.
    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.superseded_bytes += history_bytes(&event);
        self.events.push_back(event);
    }

    /// Drops the oldest events until the bounds hold.
    pub(crate) fn trim(&mut self) {
        while self.events.len() > self.max_events || self.superseded_bytes > self.max_bytes {
            self.drop_oldest();
        }
    }

    /// Drops every event up to and with `revision`.
    pub(crate) fn compact(&mut self, revision: u64) {
        while self.events.front().is_some_and(|event| event.revision() <= revision) {
            self.drop_oldest();
        }
        self.compacted = self.compacted.max(revision);
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.superseded_bytes -= history_bytes(&event);
            self.compacted = event.revision();
        }
    }

    /// The events after `revision`, or that they are no longer all there.
    pub(crate) fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Event>>> {
        if revision < self.compacted {
            return Err(Error::Compacted { requested: revision, oldest: self.compacted });
        }
        let start = self.events.partition_point(|event| event.revision() <= revision);
        Ok(self.events.range(start..))
    }

    /// The snapshot of an earlier `revision`: `now` with the later events undone.
    pub(crate) fn rewind(&self, now: &Map, revision: u64) -> Result<Snapshot> {
        let mut map = now.clone();
        let later: Vec<_> = self.after(revision)?.collect();
        for event in later.into_iter().rev() {
            match (&event.kind, &event.prev) {
                (EventKind::Create, _) | (_, None) => map.remove(&event.entry.key),
                (_, Some(prev)) => map.insert(prev.key.clone(), prev.clone()),
            };
        }
        Ok(Snapshot { map, revision })
    }
}

/// Bytes that only the history keeps alive because of `event`.
fn history_bytes(event: &Event) -> usize {
    let last = if event.kind == EventKind::Delete { event.entry.value.len() } else { 0 };
    last + event.prev.as_ref().map_or(0, |prev| prev.value.len())
}
