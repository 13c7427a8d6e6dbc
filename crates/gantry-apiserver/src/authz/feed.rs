//! An index over some of the store's keys that follows the store's watch.
//!
//! Guarantees: a read sees every change that was acknowledged before it began, because it takes in
//! what the watch has delivered first; what was written in one commit it sees together. Assumption: the store
//! delivers before it acknowledges. A watch that was ended for being slow is replaced by a new one and the
//! index is built again.

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
    sources: Mutex<Sources>,
    index: RwLock<I>,
}

/// Where changes come from.
#[derive(Default)]
struct Sources {
    watchers: Vec<Watcher>,
    /// What has arrived of commits that not all watchers were told of.
    early: Vec<Arc<Event>>,
}

impl Sources {
    fn too_slow(&self) -> bool {
        self.watchers.iter().any(|watcher| watcher.end() == WatchEnd::TooSlow)
    }
}

impl<I: Index> Feed<I> {
    pub(crate) fn new(store: &Store) -> Self {
        let feed = Self { store: store.clone(), sources: Mutex::default(), index: RwLock::default() };
        feed.rebuild(&mut feed.sources.lock());
        feed
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&I) -> T) -> T {
        self.catch_up();
        read(&self.index.read())
    }

    fn catch_up(&self) {
        let mut sources = self.sources.lock();
        if !(sources.early.is_empty() && sources.watchers.iter().all(Watcher::is_empty)) {
            self.take_in(&mut sources);
        }
        if sources.too_slow() {
            self.rebuild(&mut sources);
        }
    }

    /// Takes in what has arrived, of commits that every watcher knows of.
    fn take_in(&self, sources: &mut Sources) {
        // Asked first: what was told of by then has arrived.
        let told = self.store.told_revision();
        let Sources { watchers, early } = sources;
        for watcher in watchers {
            early.extend(std::iter::from_fn(|| watcher.try_next()));
        }
        let mut index = self.index.write();
        for event in early.extract_if(.., |event| event.entry.mod_revision <= told) {
            let value = (event.kind != EventKind::Delete).then_some(&*event.entry.value);
            index.apply(&event.entry.key, value);
        }
    }

    fn rebuild(&self, sources: &mut Sources) {
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
            *sources = Sources { watchers: started, early: Vec::new() };
            return;
        }
    }

    /// Takes in changes as they come. Returns when the store closes.
    pub(crate) async fn follow(&self) {
        while poll_fn(|context| self.poll_change(context)).await {}
    }

    /// Ready with whether there was a change; false: the store closed.
    fn poll_change(&self, context: &mut std::task::Context<'_>) -> Poll<bool> {
        let mut sources = self.sources.lock();
        let mut open = false;
        for at in 0..sources.watchers.len() {
            match Pin::new(&mut sources.watchers[at]).poll_next(context) {
                Poll::Ready(Some(event)) => {
                    sources.early.push(event);
                    self.take_in(&mut sources);
                    return Poll::Ready(true);
                }
                Poll::Ready(None) => {}
                Poll::Pending => open = true,
            }
        }
        if sources.too_slow() {
            self.rebuild(&mut sources);
            return Poll::Ready(true);
        }
        if open { Poll::Pending } else { Poll::Ready(false) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicBool, Ordering};

    use gantry_store::engine::MemoryEngine;
    use gantry_store::{Options, Part};

    use super::*;

    /// Names that are under both prefixes, if under one.
    #[derive(Default)]
    struct Pairs([HashSet<String>; 2]);

    impl Index for Pairs {
        const PREFIXES: &'static [&'static str] = &["/b/", "/a/"];

        fn apply(&mut self, key: &str, value: Option<&[u8]>) {
            let (prefix, name) = key.split_at(3);
            let names = &mut self.0[usize::from(prefix == "/a/")];
            match value {
                Some(_) => names.insert(name.to_owned()),
                None => names.remove(name),
            };
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_written_together_is_seen_together() {
        let store = Store::with_engine(MemoryEngine::default(), Options::default()).unwrap();
        let feed = Arc::new(Feed::<Pairs>::new(&store));
        let following = tokio::spawn({
            let feed = feed.clone();
            async move { feed.follow().await }
        });
        let ended = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (feed, ended) = (feed.clone(), ended.clone());
                std::thread::spawn(move || {
                    while !ended.load(Ordering::Relaxed) {
                        feed.read(|Pairs([b, a])| assert_eq!(a, b));
                    }
                })
            })
            .collect();
        for _ in 0..2_000 {
            let made = Part::Create { key: "/a/x".into(), value: Vec::new() };
            let made = store.create_along("/b/x", Vec::new(), None, vec![made]).await.unwrap();
            let gone = Part::Delete { key: "/a/x".into(), expected: made.mod_revision - 1 };
            store.delete_along("/b/x", Some(made.mod_revision), None, vec![gone]).await.unwrap();
        }
        ended.store(true, Ordering::Relaxed);
        let seen: Vec<_> = readers.into_iter().map(std::thread::JoinHandle::join).collect();
        following.abort();
        assert!(seen.iter().all(Result::is_ok));
    }
}
