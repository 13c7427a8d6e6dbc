//! An index over some of the store's keys that follows the store's watch.
//!
//! Guarantee: a read sees every change that was acknowledged before it began, because it takes in
//! what the watch has delivered first. Assumption: the store delivers before it acknowledges. A watch
//! that was ended for being slow is replaced by a new one and the index is built again.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures::Stream;
use gantry_store::{Event, EventFilter, EventKind, Store, WatchEnd, Watcher};
use parking_lot::{Mutex, RwLock};

/// What a [`Feed`] keeps.
pub(crate) trait Index: Default + Send + Sync + 'static {
    /// The key prefixes that the index is made from.
    const PREFIXES: &'static [&'static str];

    /// Whether an event can matter. Called by the store's writer: must be quick.
    fn wants(event: &Event) -> bool {
        let _ = event;
        true
    }

    /// Takes in the object now under `key`; `None` when it was deleted.
    fn apply(&mut self, key: &str, value: Option<&[u8]>);
}

pub(crate) struct Feed<I> {
    store: Store,
    watchers: Mutex<Vec<Watcher>>,
    index: RwLock<I>,
}

impl<I: Index> Feed<I> {
    pub(crate) fn new(store: &Store) -> Self {
        let feed = Self { store: store.clone(), watchers: Mutex::default(), index: RwLock::default() };
        feed.rebuild(&mut feed.watchers.lock());
        feed
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&I) -> T) -> T {
        self.catch_up();
        read(&self.index.read())
    }

    fn catch_up(&self) {
        let mut watchers = self.watchers.lock();
        let mut pending = Vec::new();
        for watcher in watchers.iter_mut() {
            while let Some(event) = watcher.try_next() {
                pending.push(event);
            }
        }
        if !pending.is_empty() {
            self.apply(&pending);
        }
        if watchers.iter().any(|watcher| watcher.end() == WatchEnd::TooSlow) {
            self.rebuild(&mut watchers);
        }
    }

    fn apply(&self, events: &[Arc<Event>]) {
        let mut index = self.index.write();
        for event in events {
            let value = (event.kind != EventKind::Delete).then_some(&*event.entry.value);
            index.apply(&event.entry.key, value);
        }
    }

    fn rebuild(&self, watchers: &mut Vec<Watcher>) {
        loop {
            let snapshot = self.store.snapshot();
            let filter: EventFilter = Arc::new(I::wants);
            let started: Result<Vec<_>, _> = I::PREFIXES
                .iter()
                .map(|prefix| self.store.watch(prefix, snapshot.revision(), Some(filter.clone())))
                .collect();
            // A compaction between the two calls: take a newer snapshot.
            let Ok(started) = started else { continue };
            let mut index = I::default();
            for entry in I::PREFIXES.iter().flat_map(|prefix| snapshot.range(prefix, None)) {
                index.apply(&entry.key, Some(&entry.value));
            }
            *self.index.write() = index;
            *watchers = started;
            return;
        }
    }

    /// Takes in changes as they come. Returns when the store closes.
    pub(crate) async fn follow(&self) {
        while poll_fn(|context| self.poll_change(context)).await {}
    }

    /// Ready with whether there was a change; false: the store closed.
    fn poll_change(&self, context: &mut std::task::Context<'_>) -> Poll<bool> {
        let mut watchers = self.watchers.lock();
        let mut open = false;
        for watcher in watchers.iter_mut() {
            match Pin::new(watcher).poll_next(context) {
                Poll::Ready(Some(event)) => {
                    // Under the watchers' lock, so that events are taken in in their order.
                    self.apply(&[event]);
                    return Poll::Ready(true);
                }
                Poll::Ready(None) => {}
                Poll::Pending => open = true,
            }
        }
        if watchers.iter().any(|watcher| watcher.end() == WatchEnd::TooSlow) {
            self.rebuild(&mut watchers);
            return Poll::Ready(true);
        }
        if open { Poll::Pending } else { Poll::Ready(false) }
    }
}
