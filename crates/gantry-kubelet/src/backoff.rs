//! Exponential back-off per key, with the clock passed in.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

/// First delay.
pub const INITIAL: Duration = Duration::from_secs(10);
/// Longest delay.
pub const MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

/// Delays that double from 10 s to 5 min and are forgotten after twice the longest delay.
#[derive(Clone, Debug, Default)]
pub struct Backoffs {
    entries: HashMap<String, Entry>,
}

fn since(earlier: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(earlier)).unwrap_or_default()
}

impl Backoffs {
    /// How much of the delay that began at `start` is left, and the whole delay.
    pub fn remaining(&self, key: &str, start: Timestamp, now: Timestamp) -> Option<(Duration, Duration)> {
        let entry = self.entries.get(key)?;
        if since(entry.updated, now) > 2 * MAX {
            return None;
        }
        let left = entry.delay.checked_sub(since(start, now))?;
        (!left.is_zero()).then_some((left, entry.delay))
    }

    /// As [`Self::remaining`], counted from the last failure recorded.
    pub fn remaining_since_update(&self, key: &str, now: Timestamp) -> Option<(Duration, Duration)> {
        let start = self.entries.get(key)?.updated;
        self.remaining(key, start, now)
    }

    /// Records one more failure.
    pub fn next(&mut self, key: &str, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if since(entry.updated, now) <= 2 * MAX => (entry.delay * 2).min(MAX),
            _ => INITIAL,
        };
        self.entries.insert(key.to_string(), Entry { delay, updated: now });
    }

    /// Forgets the key after a success.
    pub fn reset(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

/// A duration as messages spell it: `10s`, `2m40s`, `5m0s`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

/// As [`format_duration`], down to milliseconds: `250ms`, `1.5s`, `2m0.25s`.
pub fn format_milliseconds(duration: Duration) -> String {
    let fraction = |millis: u32| match millis {
        0 => String::new(),
        millis => format!(".{}", format!("{millis:03}").trim_end_matches('0')),
    };
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    match (seconds, millis) {
        (0, 0) => "0s".to_owned(),
        (0, millis) => format!("{millis}ms"),
        _ => format!("{}{}s", format_duration(duration).trim_end_matches('s'), fraction(millis)),
    }
}

/// The time `duration` after `start`.
pub fn after(start: Timestamp, duration: Duration) -> Timestamp {
    start
        .checked_add(SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_the_limit_and_is_forgotten() {
        let mut backoffs = Backoffs::default();
        let mut now = Timestamp::UNIX_EPOCH;
        assert!(backoffs.remaining("k", now, now).is_none());
        for expect in ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"] {
            backoffs.next("k", now);
            let (_, delay) = backoffs.remaining("k", now, now).unwrap();
            assert_eq!(format_duration(delay), expect);
            now = after(now, delay);
            assert!(backoffs.remaining_since_update("k", now).is_none());
        }
        now = after(now, Duration::from_secs(601));
        backoffs.next("k", now);
        assert_eq!(backoffs.remaining("k", now, now).unwrap().1, INITIAL);
    }
    #[test]
    fn durations_have_milliseconds() {
        for (millis, expect) in [
            (0, "0s"),
            (250, "250ms"),
            (1500, "1.5s"),
            (1001, "1.001s"),
            (60_000, "1m0s"),
            (120_250, "2m0.25s"),
        ] {
            assert_eq!(format_milliseconds(Duration::from_millis(millis)), expect);
        }
    }
}
