//! Watchers: each gets the events of its key prefix that pass its filter, in revision order,
//! without gaps and without repetition, until it falls too far behind.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use tokio::sync::mpsc;

use crate::Event;

/// Says whether a watcher wants an event. Called by the writer, so it must be quick.
pub type EventFilter = Arc<dyn Fn(&Event) -> bool + Send + Sync>;

/// A watcher that leaves more than this many events unread is ended: its client resumes from
/// its last revision or lists again.
const MAX_BACKLOG: usize = 16_384;

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// The watcher left too many events unread.
    TooSlow,
    /// The store was closed.
    Closed,
}

/// What both ends of a watch know of it.
#[derive(Default)]
struct State {
    /// Events that were sent and not yet received.
    backlog: AtomicUsize,
    /// Whether the watcher was left behind.
    too_slow: AtomicBool,
}

/// The writer's end of a watch.
pub(crate) struct Subscription {
    pub(crate) prefix: Arc<str>,
    filter: Option<EventFilter>,
    sender: mpsc::UnboundedSender<Vec<Arc<Event>>>,
    state: Arc<State>,
}

impl Subscription {
    pub(crate) fn wants(&self, event: &Event) -> bool {
        event.entry.key.starts_with(&*self.prefix) && self.filter.as_ref().is_none_or(|filter| filter(event))
    }

    /// Sends the wanted ones of `events`. False: the watcher is gone or too slow, forget it.
    pub(crate) fn offer(&self, events: &[Arc<Event>]) -> bool {
        let wanted: Vec<_> = events.iter().filter(|event| self.wants(event)).cloned().collect();
        if wanted.is_empty() {
            return !self.sender.is_closed();
        }
        let backlog = self.state.backlog.fetch_add(wanted.len(), Ordering::Relaxed) + wanted.len();
        if backlog > MAX_BACKLOG {
            self.state.too_slow.store(true, Ordering::Relaxed);
            return false;
        }
        self.sender.send(wanted).is_ok()
    }
}

/// A stream of events. It ends when the watcher fell behind or the store closed; see
/// [`Watcher::end`].
pub struct Watcher {
    ready: VecDeque<Arc<Event>>,
    receiver: mpsc::UnboundedReceiver<Vec<Arc<Event>>>,
    state: Arc<State>,
    start_revision: u64,
}

impl Watcher {
    /// The revision after which the watcher sees every event.
    pub fn start_revision(&self) -> u64 {
        self.start_revision
    }

    /// Why the stream ended; meaningful after it returned `None`.
    pub fn end(&self) -> WatchEnd {
        match self.state.too_slow.load(Ordering::Relaxed) {
            true => WatchEnd::TooSlow,
            false => WatchEnd::Closed,
        }
    }

    /// Whether no event has arrived that was not taken.
    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.receiver.is_empty()
    }

    /// An event that has already arrived, without waiting.
    pub fn try_next(&mut self) -> Option<Arc<Event>> {
        if self.ready.is_empty()
            && let Ok(events) = self.receiver.try_recv()
        {
            self.state.backlog.fetch_sub(events.len(), Ordering::Relaxed);
            self.ready.extend(events);
        }
        self.ready.pop_front()
    }
}

impl Stream for Watcher {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(event) = self.ready.pop_front() {
            return Poll::Ready(Some(event));
        }
        match self.receiver.poll_recv(context) {
            Poll::Ready(Some(events)) => {
                self.state.backlog.fetch_sub(events.len(), Ordering::Relaxed);
                self.ready.extend(events);
                Poll::Ready(self.ready.pop_front())
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Both ends of a watch of `prefix` after `start_revision`, with `past` to be seen first.
pub(crate) fn channel(
    prefix: &str,
    start_revision: u64,
    filter: Option<EventFilter>,
    past: impl Iterator<Item = Arc<Event>>,
) -> (Subscription, Watcher) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let state = Arc::<State>::default();
    let subscription = Subscription { prefix: prefix.into(), filter, sender, state: state.clone() };
    let ready = past.filter(|event| subscription.wants(event)).collect();
    (subscription, Watcher { ready, receiver, state, start_revision })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::engine::MemoryEngine;
    use crate::{Options, Store};

    #[tokio::test]
    async fn who_was_left_behind_is_told_so_after_what_was_sent() {
        let store = Store::with_engine(MemoryEngine::default(), Options::default()).unwrap();
        let mut slow = store.watch("/", 0, None).unwrap();
        for n in 0..=MAX_BACKLOG {
            store.create(&format!("/{n}"), Vec::new(), None).await.unwrap();
        }
        let mut other = store.watch("/", store.revision(), None).unwrap();
        assert_eq!(slow.by_ref().count().await, MAX_BACKLOG);
        assert_eq!(slow.end(), WatchEnd::TooSlow);
        drop(store);
        assert!(other.next().await.is_none());
        assert_eq!(other.end(), WatchEnd::Closed);
    }
}
