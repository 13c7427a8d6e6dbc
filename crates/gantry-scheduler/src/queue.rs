//! The pods that wait for a node: ready ones by priority and age, and those that did not fit,
//! which come back when the cluster changes, after a back-off.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::pod::PodInfo;

/// The wait after the first failed try; it doubles with each further one.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// The order of ready pods: higher priority first, then older, then by name.
type Rank = (std::cmp::Reverse<i32>, i64, String);

#[derive(Debug)]
enum Place {
    Ready(Rank),
    /// Comes back at this time.
    BackingOff(Instant),
    /// Comes back when the cluster changes.
    Unschedulable,
}

#[derive(Debug)]
struct Waiting {
    pod: Arc<PodInfo>,
    attempts: u32,
    last_try: Option<Instant>,
    place: Place,
}

/// The queue. All pods are known by uid.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<String, Waiting>,
    ready: BTreeMap<Rank, String>,
    /// Counts changes of the cluster, to notice one that happened during a try.
    changes: u64,
}

impl Queue {
    /// Adds or updates a pod that has no node. An update of a waiting pod lets it try again.
    pub fn put(&mut self, pod: Arc<PodInfo>) {
        let (attempts, last_try) = match self.take(&pod.uid) {
            Some(waiting) => (waiting.attempts, waiting.last_try),
            None => (0, None),
        };
        self.insert(Waiting { pod, attempts, last_try, place: Place::Unschedulable });
    }

    /// Forgets a pod that has a node or is gone.
    pub fn remove(&mut self, uid: &str) {
        self.take(uid);
    }

    /// The next pod to try, and a mark to hand to [`Queue::failed`].
    pub fn pop(&mut self, now: Instant) -> Option<(Arc<PodInfo>, u64)> {
        let uid = self.ready.first_key_value()?.1.clone();
        let mut waiting = self.take(&uid)?;
        waiting.attempts += 1;
        waiting.last_try = Some(now);
        waiting.place = Place::Unschedulable;
        let pod = waiting.pod.clone();
        self.pods.insert(uid, waiting);
        Some((pod, self.changes))
    }

    /// Notes that the pod popped with `mark` found no node. Where the cluster changed since,
    /// the pod only backs off, for what changed may be what it needs.
    pub fn failed(&mut self, uid: &str, mark: u64) {
        if self.changes != mark
            && let Some(waiting) = self.take(uid)
        {
            self.insert(waiting);
        }
    }

    /// Notes a change of the cluster that may make room: every pod that did not fit comes back
    /// after its back-off.
    pub fn cluster_changed(&mut self) {
        self.changes += 1;
        let stuck: Vec<_> = self
            .pods
            .iter()
            .filter(|(_, waiting)| matches!(waiting.place, Place::Unschedulable))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in stuck {
            if let Some(waiting) = self.take(&uid) {
                self.insert(waiting);
            }
        }
    }

    /// Makes pods ready whose back-off is over, and says when the next one's is.
    pub fn wake(&mut self, now: Instant) -> Option<Instant> {
        let mut next = None;
        let mut due = Vec::new();
        for (uid, waiting) in &self.pods {
            match waiting.place {
                Place::BackingOff(until) if until <= now => due.push(uid.clone()),
                Place::BackingOff(until) => {
                    next = Some(next.map_or(until, |other: Instant| other.min(until)));
                }
                _ => {}
            }
        }
        for uid in due {
            if let Some(mut waiting) = self.take(&uid) {
                waiting.last_try = None;
                self.insert(waiting);
            }
        }
        next
    }

    fn insert(&mut self, mut waiting: Waiting) {
        let uid = waiting.pod.uid.clone();
        waiting.place = match waiting.last_try {
            Some(last) => Place::BackingOff(last + backoff(waiting.attempts)),
            None => {
                let pod = &waiting.pod;
                let rank = (std::cmp::Reverse(pod.priority), pod.created, pod.key());
                self.ready.insert(rank.clone(), uid.clone());
                Place::Ready(rank)
            }
        };
        self.pods.insert(uid, waiting);
    }

    fn take(&mut self, uid: &str) -> Option<Waiting> {
        let waiting = self.pods.remove(uid)?;
        if let Place::Ready(rank) = &waiting.place {
            self.ready.remove(rank);
        }
        Some(waiting)
    }
}

fn backoff(attempts: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, priority: i32, created: i64) -> Arc<PodInfo> {
        Arc::new(PodInfo { name: name.into(), uid: name.into(), priority, created, ..PodInfo::default() })
    }

    fn order(queue: &mut Queue, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| queue.pop(now).map(|(pod, _)| pod.name.clone())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn higher_priority_then_older_goes_first() {
        let mut queue = Queue::default();
        for (name, priority, created) in [("new", 0, 9), ("old", 0, 1), ("vip", 5, 9)] {
            queue.put(pod(name, priority, created));
        }
        assert_eq!(order(&mut queue, Instant::now()), ["vip", "old", "new"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_does_not_fit_waits_for_a_change_and_its_backoff() {
        let mut queue = Queue::default();
        queue.put(pod("p", 0, 0));
        for wait in [1, 2, 4, 8, 10, 10] {
            let (_, mark) = queue.pop(Instant::now()).expect("ready");
            queue.failed("p", mark);
            assert_eq!(queue.wake(Instant::now()), None, "waits for a change");
            queue.cluster_changed();
            assert!(queue.pop(Instant::now()).is_none());
            let until = queue.wake(Instant::now()).expect("backs off");
            assert_eq!(until - Instant::now(), Duration::from_secs(wait));
            tokio::time::advance(Duration::from_secs(wait)).await;
            queue.wake(Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_a_try_is_not_missed() {
        let mut queue = Queue::default();
        queue.put(pod("p", 0, 0));
        let (_, mark) = queue.pop(Instant::now()).expect("ready");
        queue.changes += 1;
        queue.failed("p", mark);
        assert!(queue.wake(Instant::now()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn removed_pods_do_not_come_back() {
        let mut queue = Queue::default();
        queue.put(pod("p", 0, 0));
        queue.remove("p");
        assert!(queue.pop(Instant::now()).is_none());
        queue.cluster_changed();
        assert_eq!(queue.wake(Instant::now()), None);
    }
}
