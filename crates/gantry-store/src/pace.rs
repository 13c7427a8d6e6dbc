//! How long the writer lets writes gather before it makes them durable together.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The longest that a write waits for others while everybody is at work.
///
/// A flush costs as much for one write as for thirty. Under load a commit is otherwise begun as soon as the
/// one before is done, with the few writes that were asked for meanwhile, and flushing takes the time in
/// which more would have been made.
const LONGEST: Duration = Duration::from_millis(1);

/// What the threads that ask for writes do.
///
/// While all of them are at work, more writes are likely on their way. When one of them has nothing left to
/// do, whoever waits for a write had better get it: so a lone client never waits for company.
#[derive(Debug)]
pub struct Pace {
    longest: Duration,
    threads: Mutex<Threads>,
    rested: Condvar,
}

#[derive(Debug, Default)]
struct Threads {
    /// Those that have nothing to do now.
    idle: usize,
    /// How often one of them came to have nothing to do.
    rests: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(LONGEST)
    }
}

impl Pace {
    /// Of threads that are all at work. No write waits for more than `longest`.
    pub fn new(longest: Duration) -> Self {
        Self { longest, threads: Mutex::default(), rested: Condvar::new() }
    }

    /// A thread has nothing left to do.
    pub fn rest(&self) {
        let mut threads = self.threads.lock();
        threads.idle += 1;
        threads.rests += 1;
        drop(threads);
        self.rested.notify_one();
    }

    /// A thread that rested goes on.
    pub fn go_on(&self) {
        self.threads.lock().idle -= 1;
    }

    /// Returns when a thread has nothing to do, or after the longest time.
    pub(crate) fn gather(&self) {
        let mut threads = self.threads.lock();
        let before = threads.rests;
        self.rested.wait_while_for(&mut threads, |now| now.idle == 0 && now.rests == before, self.longest);
    }
}
