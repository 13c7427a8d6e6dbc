//! The seats of all levels: who has one, and who waits in which queue.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::level::Level;
use crate::Attributes;

/// Why a request is sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its level has no queues.
    ConcurrencyLimit,
    /// Its queue is full.
    QueueFull,
    /// It waited too long.
    TimeOut,
}

impl Refused {
    /// The word for it in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

/// What a level is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub level: String,
    /// Seats of its own.
    pub nominal: usize,
    /// Seats of its own that it does not lend.
    pub kept: usize,
    /// The most seats that it may have.
    pub most: usize,
    /// Requests that are carried out.
    pub executing: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that wait in each queue.
    pub pending: Vec<usize>,
    /// Whether the level is gone and only its last requests are left.
    pub quiescing: bool,
    /// Requests that had their turn.
    pub dispatched: u64,
    /// Requests that were sent away.
    pub rejected: u64,
    /// Requests that waited too long.
    pub timed_out: u64,
}

/// What a request that waits is.
#[derive(Debug, Clone, Default)]
pub(super) struct Asked {
    pub schema: String,
    pub distinguisher: String,
    pub arrived: jiff::Timestamp,
    pub attributes: Attributes,
}

/// A request that waits, and where.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub level: String,
    pub queue: usize,
    pub index: usize,
    pub asked: Asked,
}

/// A turn to come.
#[derive(Debug)]
struct Turn {
    sender: oneshot::Sender<Seat>,
    asked: Asked,
}

/// A seat now, or a turn to wait for.
#[derive(Debug)]
pub(super) enum Taken {
    Now(Seat),
    Later(oneshot::Receiver<Seat>),
}

/// The right to be carried out.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    /// `None`: nobody took it.
    level: Option<usize>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(level) = self.level {
            Seats::give_back(&self.seats, level);
        }
    }
}

#[derive(Debug)]
pub(super) struct Seats {
    total: usize,
    most_waiting: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    levels: Vec<Running>,
}

#[derive(Debug, Default)]
struct Running {
    name: String,
    level: Level,
    nominal: usize,
    /// Seats that are kept although others could use them.
    kept: usize,
    /// The most seats that it may have.
    most: usize,
    executing: usize,
    dispatched: u64,
    rejected: u64,
    timed_out: u64,
    quiescing: bool,
    queues: Vec<VecDeque<Turn>>,
    /// Turns in all queues, also of those who have gone.
    queued: usize,
    /// The queue that is next.
    next: usize,
}

impl Seats {
    pub fn new(total: usize, most_waiting: usize) -> Self {
        Self { total, most_waiting, state: Mutex::default() }
    }

    /// Takes in the levels of a newer generation. Who has a seat or waits keeps that.
    pub fn configure(&self, generation: u64, levels: &HashMap<String, Arc<Level>>) {
        let mut state = self.state.lock();
        if state.generation == generation {
            return;
        }
        state.generation = generation;
        let shares: f64 = levels.values().map(|level| level.shares).sum();
        for (name, level) in levels.iter().filter(|(_, level)| !level.exempt) {
            let at = match state.levels.iter().position(|each| each.name == *name) {
                Some(at) => at,
                None => {
                    state.levels.push(Running { name: name.clone(), ..Running::default() });
                    state.levels.len() - 1
                }
            };
            let running = &mut state.levels[at];
            running.nominal = (self.total as f64 * level.shares / shares.max(1.0)).ceil() as usize;
            let lent = (running.nominal as f64 * level.lendable / 100.0).round() as usize;
            running.kept = running.nominal.saturating_sub(lent);
            running.most = match level.borrowing {
                Some(percent) => {
                    running.nominal + (running.nominal as f64 * percent / 100.0).round() as usize
                }
                None => usize::MAX,
            };
            if running.queues.len() < level.queues {
                running.queues.resize_with(level.queues, VecDeque::new);
            }
            running.level = Level::clone(level);
            running.quiescing = false;
        }
        for running in state.levels.iter_mut().filter(|each| !levels.contains_key(&each.name)) {
            (running.nominal, running.kept, running.quiescing) = (0, 0, true);
        }
    }

    /// A seat of the level, or a place in one of its queues.
    /// `asked` is what the request is, should it wait.
    pub fn take(
        seats: &Arc<Self>,
        level: &str,
        hash: u64,
        asked: impl FnOnce() -> Asked,
    ) -> Result<Taken, Refused> {
        let mut state = seats.state.lock();
        let Some(at) = state.levels.iter().position(|each| each.name == level) else {
            return Err(Refused::ConcurrencyLimit);
        };
        if state.levels[at].nobody_waits() && state.has_room(at, seats.total) {
            state.levels[at].executing += 1;
            state.levels[at].dispatched += 1;
            return Ok(Taken::Now(Seat { seats: seats.clone(), level: Some(at) }));
        }
        let running = &mut state.levels[at];
        if running.level.queues == 0 || seats.most_waiting == 0 {
            running.rejected += 1;
            return Err(Refused::ConcurrencyLimit);
        }
        let queue = running.shortest(hash);
        let before = running.queues[queue].len();
        running.queues[queue].retain(|turn| !turn.sender.is_closed());
        running.queued -= before - running.queues[queue].len();
        if running.queues[queue].len() >= running.level.length.min(seats.most_waiting) {
            running.rejected += 1;
            return Err(Refused::QueueFull);
        }
        let (sender, waiting) = oneshot::channel();
        running.queues[queue].push_back(Turn { sender, asked: asked() });
        running.queued += 1;
        Ok(Taken::Later(waiting))
    }

    fn give_back(seats: &Arc<Self>, level: usize) {
        let mut state = seats.state.lock();
        state.levels[level].executing -= 1;
        let count = state.levels.len();
        // The level itself first, then those that may borrow.
        for at in (0..count).map(|offset| (level + offset) % count) {
            while !state.levels[at].nobody_waits()
                && state.has_room(at, seats.total)
                && let Some(turn) = state.levels[at].dispatch()
            {
                state.levels[at].executing += 1;
                state.levels[at].dispatched += 1;
                if let Err(mut seat) = turn.send(Seat { seats: seats.clone(), level: Some(at) }) {
                    // Whoever waited has just gone.
                    state.levels[at].executing -= 1;
                    state.levels[at].dispatched -= 1;
                    seat.level = None;
                }
            }
        }
    }

    /// Counts a request that waited too long.
    pub fn timed_out(&self, level: &str) {
        let mut state = self.state.lock();
        if let Some(running) = state.levels.iter_mut().find(|each| each.name == level) {
            running.timed_out += 1;
        }
    }

    /// The requests that wait.
    pub fn waiting(&self) -> Vec<Waiting> {
        let state = self.state.lock();
        let mut all = Vec::new();
        for running in &state.levels {
            for (queue, turns) in running.queues.iter().enumerate() {
                let open = turns.iter().filter(|turn| !turn.sender.is_closed()).enumerate();
                all.extend(open.map(|(index, turn)| Waiting {
                    level: running.name.clone(),
                    queue,
                    index,
                    asked: turn.asked.clone(),
                }));
            }
        }
        all
    }

    pub fn counts(&self) -> Vec<Count> {
        let state = self.state.lock();
        let count = |running: &Running| Count {
            level: running.name.clone(),
            nominal: running.nominal,
            kept: running.kept,
            most: running.most.min(self.total.max(running.nominal)),
            executing: running.executing,
            waiting: running.waiting(),
            pending: running.queues.iter().map(pending).collect(),
            quiescing: running.quiescing,
            dispatched: running.dispatched,
            rejected: running.rejected,
            timed_out: running.timed_out,
        };
        state.levels.iter().map(count).collect()
    }
}

impl State {
    /// Whether one more request of the level may start.
    fn has_room(&self, at: usize, total: usize) -> bool {
        let level = &self.levels[at];
        if level.executing < level.nominal {
            return true;
        }
        if level.executing >= level.most {
            return false;
        }
        let others = self.levels.iter().enumerate().filter(|(other, _)| *other != at);
        let kept: usize = others.map(|(_, other)| other.kept.saturating_sub(other.executing)).sum();
        let executing: usize = self.levels.iter().map(|each| each.executing).sum();
        executing + kept < total
    }
}

/// How many wait in a queue.
fn pending(queue: &VecDeque<Turn>) -> usize {
    queue.iter().filter(|turn| !turn.sender.is_closed()).count()
}

impl Running {
    fn nobody_waits(&self) -> bool {
        self.queued == 0
    }

    fn waiting(&self) -> usize {
        self.queues.iter().map(pending).sum()
    }

    /// The shortest of the queues that a flow is dealt.
    fn shortest(&self, hash: u64) -> usize {
        let count = self.level.queues.min(self.queues.len()).max(1);
        let mut rest = hash;
        let mut hand: Vec<usize> = Vec::with_capacity(self.level.hand);
        for dealt in 0..self.level.hand.min(count) {
            // The n-th card of those that are left.
            let left = (count - dealt) as u64;
            let mut card = (rest % left) as usize;
            rest /= left;
            hand.sort_unstable();
            for taken in &hand {
                if card >= *taken {
                    card += 1;
                }
            }
            hand.push(card);
        }
        hand.into_iter().min_by_key(|queue| self.queues[*queue].len()).unwrap_or(0)
    }

    /// Whose turn it is: each queue with somebody in it has one after another.
    fn dispatch(&mut self) -> Option<oneshot::Sender<Seat>> {
        let count = self.queues.len();
        for offset in 0..count {
            let at = (self.next + offset) % count;
            while let Some(turn) = self.queues[at].pop_front() {
                self.queued -= 1;
                if !turn.sender.is_closed() {
                    self.next = (at + 1) % count;
                    return Some(turn.sender);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(shares: f64, lendable: f64, queues: usize) -> Level {
        Level { shares, lendable, queues, hand: 2, length: 2, ..Level::default() }
    }

    fn seats(total: usize) -> Arc<Seats> {
        let seats = Seats::new(total, 100);
        let levels =
            [("high", level(1.0, 50.0, 8)), ("low", level(1.0, 50.0, 8)), ("none", level(0.0, 0.0, 0))];
        seats.configure(1, &levels.map(|(name, level)| (name.to_owned(), Arc::new(level))).into());
        Arc::new(seats)
    }

    fn now(taken: Result<Taken, Refused>) -> Seat {
        match taken {
            Ok(Taken::Now(seat)) => seat,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn levels_lend_what_they_do_not_keep() {
        let seats = seats(4);
        let low: Vec<Seat> = (0..3).map(|_| now(Seats::take(&seats, "low", 1, Asked::default))).collect();
        assert!(
            matches!(Seats::take(&seats, "low", 1, Asked::default), Ok(Taken::Later(_))),
            "one seat is kept for the other level"
        );
        let first = now(Seats::take(&seats, "high", 1, Asked::default));
        let second = now(Seats::take(&seats, "high", 1, Asked::default));
        assert_eq!(
            seats.counts().iter().map(|count| count.executing).sum::<usize>(),
            5,
            "what was lent comes back as it ends"
        );
        assert!(matches!(Seats::take(&seats, "none", 1, Asked::default), Err(Refused::ConcurrencyLimit)));
        drop((low, first, second));
        assert!(seats.counts().iter().all(|count| count.executing == 0));
    }

    #[test]
    fn flows_take_turns() {
        let seats = Seats::new(1, 100);
        let only = Level { hand: 1, length: 3, ..level(1.0, 0.0, 8) };
        seats.configure(1, &[("only".to_owned(), Arc::new(only))].into());
        let seats = Arc::new(seats);
        let first = now(Seats::take(&seats, "only", 0, Asked::default));
        let wait = |hash: u64| match Seats::take(&seats, "only", hash, Asked::default) {
            Ok(Taken::Later(turn)) => turn,
            other => panic!("{other:?}"),
        };
        let mut greedy: Vec<_> = (0..3).map(|_| wait(0)).collect();
        assert!(matches!(Seats::take(&seats, "only", 0, Asked::default), Err(Refused::QueueFull)));
        let mut modest = wait(1);
        let count = &seats.counts()[0];
        assert_eq!((count.nominal, count.executing, count.waiting), (1, 1, 4));
        assert_eq!(seats.waiting().len(), 4);
        // Who has gone is passed over.
        drop(greedy.remove(1));
        drop(first);
        let second = greedy[0].try_recv().expect("the first queue");
        drop(second);
        let third = modest.try_recv().expect("the other flow comes before the rest of the first");
        drop(third);
        drop(greedy[1].try_recv().expect("and then the rest"));
        assert_eq!(seats.counts()[0].executing, 0);
    }

    #[test]
    fn a_hand_has_different_queues() {
        let running = Running {
            level: level(1.0, 0.0, 8),
            queues: (0..8).map(|_| VecDeque::new()).collect(),
            ..Running::default()
        };
        for hash in [0, 1, 7, 8, 63, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            assert!(running.shortest(hash) < 8);
        }
    }
}
