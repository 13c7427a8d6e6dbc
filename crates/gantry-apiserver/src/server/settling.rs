//! What is put right at the start and whenever something changes that it depends on.
//!
//! Flow: the store is watched, then everything is looked at; whatever has changed meanwhile, or does later, is
//! noted and looked at together. Guarantees: no change is missed, nor looked at before all watchers were told of
//! it; where a watch ends other than with the store, everything is looked at anew.

use std::future::pending;
use std::time::Duration;

use futures::future::select_all;
use futures::{FutureExt, StreamExt};
use gantry_store::{Event, Store, WatchEnd, Watcher};

/// What is put right.
pub(crate) trait Settling {
    /// Begins anew: changes may have been missed.
    fn begin(&mut self) {}

    /// Notes a change, for [`Settling::settle`] to look at.
    fn note(&mut self, _event: &Event) {}

    /// Puts right what is not. Returns when that is to be done again though nothing changes.
    async fn settle(&mut self) -> Option<Duration>;
}

/// Keeps `what` right, which depends on what is stored below `prefixes`. Runs until the store closes; dropping
/// it is safe.
pub(crate) async fn keep_settled(store: &Store, prefixes: &[&str], what: &mut impl Settling) {
    loop {
        let revision = store.revision();
        if store.wait_for(revision).await.is_err() {
            return;
        }
        let watch = |prefix: &&str| store.watch(prefix, revision, None);
        match prefixes.iter().map(watch).collect::<Result<Vec<_>, _>>() {
            Ok(watchers) => {
                what.begin();
                if follow(store, watchers, what).await == WatchEnd::Closed {
                    return;
                }
            }
            // A compaction between the two calls, or the end.
            Err(_) if store.watch("/", store.revision(), None).is_err() => return,
            Err(_) => {}
        }
    }
}

/// Follows the changes until a watch ends.
async fn follow(store: &Store, mut watchers: Vec<Watcher>, what: &mut impl Settling) -> WatchEnd {
    loop {
        let again = match what.settle().await {
            Some(wait) => tokio::time::sleep(wait).left_future(),
            None => pending().right_future(),
        };
        let changed = select_all(watchers.iter_mut().map(StreamExt::next));
        let first = tokio::select! {
            biased;
            (event, at, _) = changed => event.ok_or(at).map(Some),
            () = again => Ok(None),
        };
        let first = match first {
            Ok(first) => first,
            Err(at) => return watchers[at].end(),
        };
        let others = watchers.iter_mut().flat_map(|watcher| std::iter::from_fn(|| watcher.try_next()));
        let mut newest = 0;
        for event in first.into_iter().chain(others) {
            newest = newest.max(event.entry.mod_revision);
            what.note(&event);
        }
        // What follows the store in other ways is to know of it too.
        if store.wait_for(newest).await.is_err() {
            return WatchEnd::Closed;
        }
    }
}

/// Delays that grow while something does not work.
#[derive(Debug)]
pub(crate) struct Delays {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Delays {
    /// Delays from 50 ms to `longest`.
    pub fn up_to(longest: Duration) -> Self {
        let first = Duration::from_millis(50);
        Self { first, longest, next: first }
    }

    /// How long it is until the next attempt; `None`: it has worked.
    pub fn after(&mut self, worked: bool) -> Option<Duration> {
        let wait = self.next;
        self.next = if worked { self.first } else { self.longest.min(wait * 2) };
        (!worked).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_while_it_does_not_work() {
        let mut delays = Delays::up_to(Duration::from_millis(150));
        let waits = [false, false, false, false, true, false].map(|worked| delays.after(worked));
        let waits = waits.map(|wait| wait.map_or(0, |wait| wait.as_millis()));
        assert_eq!(waits, [50, 100, 150, 150, 0, 50]);
    }
}
