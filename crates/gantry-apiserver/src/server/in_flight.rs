//! Requests that are being carried out: at most so many at once, the rest wait for their turn or are
//! sent away. Watches and other streams do not count; administrators always get an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry_api::status::ApiError;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Limits, User};

/// Group whose members are never sent away.
const PRIVILEGED: &str = "system:masters";

/// The turns of a server.
pub(crate) struct InFlight {
    reads: Gate,
    writes: Gate,
    wait: Duration,
}

struct Gate {
    turns: Semaphore,
    taken: AtomicUsize,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl Gate {
    fn new(all: usize, most_waiting: usize) -> Self {
        Self {
            turns: Semaphore::new(all),
            taken: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            most_waiting,
        }
    }
}

/// One more, as long as this lives.
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl InFlight {
    pub fn new(limits: &Limits) -> Self {
        let gate = |all| Gate::new(all, limits.waiting);
        Self { reads: gate(limits.reads), writes: gate(limits.writes), wait: limits.wait }
    }

    /// A turn for a request of `user`, which ends when it is dropped; `None`: the user needs none. Too
    /// many that wait, or too long a wait: 429.
    pub async fn turn(&self, mutating: bool, user: &User) -> Result<Option<SemaphorePermit<'_>>, ApiError> {
        let gate = if mutating { &self.writes } else { &self.reads };
        if let Ok(turn) = gate.turns.try_acquire() {
            return Ok(Some(turn));
        }
        if user.in_group(PRIVILEGED) {
            return Ok(None);
        }
        let before = gate.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Counted(&gate.waiting);
        if before >= gate.most_waiting {
            return Err(too_many());
        }
        match tokio::time::timeout(self.wait, gate.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(Some(turn)),
            _ => Err(too_many()),
        }
    }

    /// Counts a request as long as what is returned lives.
    pub fn count(&self, mutating: bool) -> Counted<'_> {
        let gate = if mutating { &self.writes } else { &self.reads };
        gate.taken.fetch_add(1, Ordering::Relaxed);
        Counted(&gate.taken)
    }

    /// How many requests are carried out now: those that read, those that write.
    pub fn taken(&self) -> (usize, usize) {
        (self.reads.taken.load(Ordering::Relaxed), self.writes.taken.load(Ordering::Relaxed))
    }
}

fn too_many() -> ApiError {
    ApiError::too_many_requests("Too many requests, please try again later.", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_are_waited_for_and_some_are_sent_away() {
        let limits = Limits { reads: 1, writes: 1, waiting: 1, ..Limits::default() };
        let gates = InFlight::new(&limits);
        let (jane, admin) = (User::new("jane", []), User::new("root", ["system:masters"]));
        let first = gates.turn(false, &jane).await.unwrap();
        assert!(
            first.is_some() && gates.turn(true, &jane).await.unwrap().is_some(),
            "reads and writes are apart"
        );
        assert!(gates.turn(false, &admin).await.unwrap().is_none());
        let (second, third) = tokio::join!(gates.turn(false, &jane), gates.turn(false, &jane));
        let refused = [second, third].map(|turn| turn.err().map(|error| (error.code, error.message)));
        let words = Some((429, "Too many requests, please try again later.".to_owned()));
        assert_eq!(refused, [words.clone(), words], "one waited too long, for one there was no room");
        let waiting = gates.turn(false, &jane);
        drop(first);
        assert!(waiting.await.unwrap().is_some());
        let counted = gates.count(false);
        assert_eq!(gates.taken(), (1, 0));
        drop(counted);
        assert_eq!(gates.taken(), (0, 0));
    }
}
