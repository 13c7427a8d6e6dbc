//! The pods that wait for a node: ready ones by priority and age, and those that did not fit,
//! which come back when an event can help them, after a back-off.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::plugins::PluginSet;
use crate::pod::{PodInfo, Uid};
use crate::shape::Shape;

/// The wait after the first failed try; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// After this long without a helpful event a pod is tried again.
const LONGEST_STUCK: Duration = Duration::from_secs(300);

/// The order of ready pods: higher priority first, then who came first.
type Rank = (Reverse<i32>, u64);

#[derive(Debug, Clone)]
enum Place {
    Ready(Rank),
    /// Comes back at this time.
    BackingOff(Instant),
    /// As `BackingOff`, after an error that trying again at once would repeat.
    Erring(Instant),
    /// Comes back when an event can help; since when it is here.
    Stuck(Instant),
    /// Is being tried.
    Trying,
    /// Waits for its gates to go.
    Gated,
}

/// A pod that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// How often it was tried.
    pub attempts: u32,
    /// The message that was last reported of it.
    pub reported: Option<Arc<str>>,
    /// Which pod to come it was.
    arrival: u64,
    last_try: Option<Instant>,
    place: Place,
}

/// Stuck pods of one shape.
#[derive(Debug)]
struct Stuck {
    shape: Arc<Shape>,
    rejectors: PluginSet,
    pods: BTreeSet<Uid>,
}

/// The queue. All pods are known by uid.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Uid, Waiting>,
    ready: BTreeMap<Rank, Uid>,
    backing_off: BTreeSet<(Instant, Uid)>,
    erring: BTreeSet<(Instant, Uid)>,
    stuck_since: BTreeSet<(Instant, Uid)>,
    /// By the shape's address.
    stuck: HashMap<usize, Stuck>,
    arrivals: u64,
}

impl Queue {
    /// The waiting pods' identities.
    pub fn uids(&self) -> impl Iterator<Item = &Uid> {
        self.pods.keys()
    }

    /// The waiting pod with `uid`.
    pub fn get(&self, uid: &str) -> Option<&Waiting> {
        self.pods.get(uid)
    }

    /// Notes what was reported of a waiting pod.
    pub fn report(&mut self, uid: &str, message: Arc<str>) {
        if let Some(waiting) = self.pods.get_mut(uid) {
            waiting.reported = Some(message);
        }
    }

    /// Adds or updates a pod that has no node. A waiting pod tries again where the update
    /// changed what its place depends on.
    pub fn put(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let Some(waiting) = self.pods.get_mut(&pod.uid) else {
            let waiting = self.arrive(pod);
            return self.retry(waiting, now);
        };
        if Arc::ptr_eq(&waiting.pod.shape, &pod.shape) && waiting.pod.gated == pod.gated {
            waiting.pod = pod;
            return;
        }
        if let Some(mut waiting) = self.take(&pod.uid.clone()) {
            waiting.pod = pod;
            self.retry(waiting, now);
        }
    }

    /// Forgets a pod that has a node or is gone.
    pub fn remove(&mut self, uid: &str) -> Option<Waiting> {
        self.take(uid)
    }

    /// The next pod to try. Where none is ready, one that backs off may try early, unless an
    /// error sent it there.
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        self.wake(now);
        let first = self.ready.first_key_value().map(|(_, uid)| uid);
        let uid = first.or_else(|| self.backing_off.first().map(|(_, uid)| uid))?.clone();
        let mut waiting = self.take(&uid)?;
        waiting.attempts += 1;
        waiting.last_try = Some(now);
        waiting.place = Place::Trying;
        let pod = waiting.pod.clone();
        self.pods.insert(uid, waiting);
        Some(pod)
    }

    /// Notes that the popped pod found no node, because of `rejectors`.
    pub fn failed(&mut self, uid: &str, rejectors: PluginSet, now: Instant) {
        let Some(mut waiting) = self.take(uid) else { return };
        let (shape, uid) = (&waiting.pod.shape, waiting.pod.uid.clone());
        let stuck = self.stuck.entry(Arc::as_ptr(shape) as usize).or_insert_with(|| Stuck {
            shape: shape.clone(),
            rejectors,
            pods: BTreeSet::new(),
        });
        stuck.rejectors = stuck.rejectors.union(rejectors);
        stuck.pods.insert(uid.clone());
        self.stuck_since.insert((now, uid.clone()));
        waiting.place = Place::Stuck(now);
        self.pods.insert(uid, waiting);
    }

    /// Puts back a pod that an error kept from its node, after `attempts` tries.
    pub fn put_back(&mut self, pod: Arc<PodInfo>, attempts: u32, now: Instant) {
        let until = now + backoff(attempts);
        let uid = pod.uid.clone();
        self.take(&uid);
        self.erring.insert((until, uid.clone()));
        let arrived = self.arrive(pod);
        let place = Place::Erring(until);
        self.pods.insert(uid, Waiting { attempts, last_try: Some(now), place, ..arrived });
    }

    fn arrive(&mut self, pod: Arc<PodInfo>) -> Waiting {
        self.arrivals += 1;
        let (arrival, place) = (self.arrivals, Place::Trying);
        Waiting { pod, attempts: 0, reported: None, arrival, last_try: None, place }
    }

    /// Lets those stuck pods try again, after their back-off, that `helps` says yes for.
    pub fn moved(&mut self, now: Instant, helps: impl Fn(&Shape, PluginSet) -> bool) {
        let helped: Vec<Uid> = self
            .stuck
            .values()
            .filter(|stuck| helps(&stuck.shape, stuck.rejectors))
            .flat_map(|stuck| stuck.pods.iter().cloned())
            .collect();
        self.retry_all(helped, now);
    }

    /// Makes pods ready whose back-off is over or that have been stuck for long, and says when
    /// the next one's time comes.
    pub fn wake(&mut self, now: Instant) -> Option<Instant> {
        let due = |set: &BTreeSet<(Instant, Uid)>, now: Option<Instant>| -> Vec<Uid> {
            let Some(now) = now else { return Vec::new() };
            set.iter().take_while(|(until, _)| *until <= now).map(|(_, uid)| uid.clone()).collect()
        };
        let mut woken = due(&self.backing_off, Some(now));
        woken.extend(due(&self.erring, Some(now)));
        woken.extend(due(&self.stuck_since, now.checked_sub(LONGEST_STUCK)));
        self.retry_all(woken, now);
        let first = |set: &BTreeSet<(Instant, Uid)>| set.first().map(|(at, _)| *at);
        let stuck = first(&self.stuck_since).map(|since| since + LONGEST_STUCK);
        [first(&self.backing_off), first(&self.erring), stuck].into_iter().flatten().min()
    }

    fn retry_all(&mut self, mut uids: Vec<Uid>, now: Instant) {
        // Who came first goes first again.
        uids.sort_by_key(|uid| self.pods.get(uid).map(|waiting| waiting.arrival));
        for uid in uids {
            if let Some(waiting) = self.take(&uid) {
                self.retry(waiting, now);
            }
        }
    }

    fn retry(&mut self, mut waiting: Waiting, now: Instant) {
        let uid = waiting.pod.uid.clone();
        let until =
            waiting.last_try.map(|last| last + backoff(waiting.attempts)).filter(|until| *until > now);
        waiting.place = match until {
            _ if waiting.pod.gated => Place::Gated,
            Some(until) => {
                self.backing_off.insert((until, uid.clone()));
                Place::BackingOff(until)
            }
            None => {
                self.arrivals += 1;
                let rank = (Reverse(waiting.pod.priority), self.arrivals);
                self.ready.insert(rank, uid.clone());
                Place::Ready(rank)
            }
        };
        self.pods.insert(uid, waiting);
    }

    fn take(&mut self, uid: &str) -> Option<Waiting> {
        let (uid, waiting) = self.pods.remove_entry(uid)?;
        match waiting.place {
            Place::Ready(rank) => {
                self.ready.remove(&rank);
            }
            Place::BackingOff(until) => {
                self.backing_off.remove(&(until, uid));
            }
            Place::Erring(until) => {
                self.erring.remove(&(until, uid));
            }
            Place::Stuck(since) => {
                let key = Arc::as_ptr(&waiting.pod.shape) as usize;
                if let Some(stuck) = self.stuck.get_mut(&key) {
                    stuck.pods.remove(&uid);
                    if stuck.pods.is_empty() {
                        self.stuck.remove(&key);
                    }
                }
                self.stuck_since.remove(&(since, uid));
            }
            Place::Trying | Place::Gated => {}
        }
        Some(waiting)
    }
}

fn backoff(attempts: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests;
