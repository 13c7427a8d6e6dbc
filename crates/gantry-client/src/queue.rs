//! A queue of names of objects that need work.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

/// First and longest delay of a key that keeps failing; each failure doubles the delay.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1000));

/// Keys to work on. A key stands in the queue once however often it is added, and only one worker
/// has it at a time: added while it is being worked on, it comes again after [`WorkQueue::done`].
pub struct WorkQueue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    /// Keys in `ready`, and keys to add to it once they are done.
    dirty: HashSet<K>,
    working: HashSet<K>,
    /// When delayed keys are due; an entry of `heap` that differs from it is void.
    due: HashMap<K, Instant>,
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    delayed: HashMap<u64, K>,
    sequence: u64,
    failures: HashMap<K, u32>,
    closed: bool,
}

impl<K> Clone for WorkQueue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K: Clone + Eq + Hash> Default for WorkQueue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            due: HashMap::new(),
            heap: BinaryHeap::new(),
            delayed: HashMap::new(),
            sequence: 0,
            failures: HashMap::new(),
            closed: false,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }) }
    }

    /// Adds `key`, unless it waits already.
    pub fn add(&self, key: K) {
        self.shared.state.lock().add(key);
        self.shared.wake.notify_one();
    }

    /// Adds `key` after `delay`, or earlier where an earlier time was asked for.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.shared.state.lock();
        let at = Instant::now() + delay;
        if state.due.get(&key).is_some_and(|due| *due <= at) {
            return;
        }
        let sequence = state.sequence;
        state.sequence += 1;
        state.due.insert(key.clone(), at);
        state.delayed.insert(sequence, key);
        state.heap.push(Reverse((at, sequence)));
        drop(state);
        self.shared.wake.notify_one();
    }

    /// Adds `key` after a delay that doubles with each call since it was last forgotten.
    pub fn add_rate_limited(&self, key: K) {
        let failures = {
            let mut state = self.shared.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures += 1;
            *failures - 1
        };
        let factor = 2_u32.checked_pow(failures).unwrap_or(u32::MAX);
        self.add_after(key, BACKOFF.0.saturating_mul(factor).min(BACKOFF.1));
    }

    /// How often `key` failed since it was last forgotten.
    pub fn failures(&self, key: &K) -> u32 {
        self.shared.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// Forgets the failures of `key`.
    pub fn forget(&self, key: &K) {
        self.shared.state.lock().failures.remove(key);
    }

    /// The next key, which the caller gives back with [`WorkQueue::done`]; `None` once the queue is
    /// shut down.
    pub async fn next(&self) -> Option<K> {
        loop {
            let wake = self.shared.wake.notified();
            let due = {
                let mut state = self.shared.state.lock();
                if state.closed {
                    self.shared.wake.notify_one();
                    return None;
                }
                state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    // Another worker looks at what is left and keeps the next due time.
                    if !state.ready.is_empty() || !state.heap.is_empty() {
                        self.shared.wake.notify_one();
                    }
                    return Some(key);
                }
                state.heap.peek().map(|Reverse((at, _))| *at)
            };
            match due {
                Some(at) => {
                    tokio::select! {
                        () = wake => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => wake.await,
            }
        }
    }

    /// Ends the work on `key`.
    pub fn done(&self, key: &K) {
        let mut state = self.shared.state.lock();
        state.working.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.shared.wake.notify_one();
        }
    }

    /// Ends the queue: waiting and later calls of [`WorkQueue::next`] give `None`.
    pub fn shut_down(&self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_waiters();
        self.shared.wake.notify_one();
    }

    /// How many keys wait for a worker now, those that are delayed not counted.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// Whether no key waits for a worker now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if !self.dirty.insert(key.clone()) || self.working.contains(&key) {
            return;
        }
        self.ready.push_back(key);
    }

    /// Moves delayed keys that are due to the ready ones.
    fn promote(&mut self, now: Instant) {
        while let Some(Reverse((at, sequence))) = self.heap.peek().copied() {
            let Some(key) = self.delayed.get(&sequence).cloned() else {
                self.heap.pop();
                continue;
            };
            let valid = self.due.get(&key) == Some(&at);
            if valid && at > now {
                return;
            }
            self.heap.pop();
            self.delayed.remove(&sequence);
            if valid {
                self.due.remove(&key);
                self.add(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_comes_again_after_its_work() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, Some("a"));
        queue.add("a");
        assert_eq!(queue.next().await, Some("b"));
        assert!(queue.is_empty());
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("a"));
        queue.shut_down();
        assert_eq!(queue.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_delays_counts() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(9));
        queue.add_after("a", Duration::from_secs(3));
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("b", Duration::from_secs(7));
        assert_eq!(queue.next().await, Some("a"));
        assert_eq!(start.elapsed().as_secs(), 3);
        queue.done(&"a");
        assert_eq!(queue.next().await, Some("b"));
        assert_eq!(start.elapsed().as_secs(), 7);
        queue.done(&"b");
        let next = tokio::time::timeout(Duration::from_secs(60), queue.next()).await;
        assert!(next.is_err(), "the longer delays of a are void");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_double_the_delay_until_forgotten() {
        let queue = WorkQueue::new();
        for expected in [5, 10, 20, 40] {
            let start = Instant::now();
            queue.add_rate_limited("a");
            assert_eq!(queue.next().await, Some("a"));
            let waited = start.elapsed().as_millis();
            assert!((expected..expected + 2).contains(&waited), "{waited} ms");
            queue.done(&"a");
        }
        assert_eq!(queue.failures(&"a"), 4);
        queue.forget(&"a");
        assert_eq!(queue.failures(&"a"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_takes_over_the_delay() {
        let queue = WorkQueue::new();
        let (one, two) = (queue.clone(), queue.clone());
        let workers =
            [tokio::spawn(async move { one.next().await }), tokio::spawn(async move { two.next().await })];
        tokio::task::yield_now().await;
        queue.add_after("late", Duration::from_secs(2));
        queue.add("now");
        let mut got = Vec::new();
        for worker in workers {
            got.push(worker.await.expect("no panic").expect("a key"));
        }
        got.sort_unstable();
        assert_eq!(got, ["late", "now"]);
    }
}
