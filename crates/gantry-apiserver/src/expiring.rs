//! Answers that are remembered for a while, as many as fit.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// What a question is remembered by: a digest, so that no question takes more room than another.
pub(crate) type Key = [u8; 32];

/// Values with a time each until which they are good.
pub(crate) struct Expiring<V> {
    most: usize,
    held: Mutex<HashMap<Key, (Instant, V)>>,
}

impl<V: Clone> Expiring<V> {
    /// Room for `most` values.
    pub fn new(most: usize) -> Self {
        Self { most, held: Mutex::default() }
    }

    /// The value under `key`, while it is good.
    pub fn get(&self, key: &Key) -> Option<V> {
        let held = self.held.lock();
        held.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, value)| value.clone())
    }

    /// Keeps a value for `time`. Where there is no room, what is no longer good goes, and then everything.
    pub fn insert(&self, key: Key, value: V, time: Duration) {
        if time.is_zero() {
            return;
        }
        let now = Instant::now();
        let mut held = self.held.lock();
        if held.len() >= self.most {
            held.retain(|_, (until, _)| *until > now);
        }
        if held.len() >= self.most {
            held.clear();
        }
        held.insert(key, (now + time, value));
    }
}

/// The key of a question in parts.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn values_end_and_make_room() {
        let held = Expiring::new(2);
        let name = |text: &str| key([text.as_bytes()]);
        held.insert(name("a"), 1, Duration::from_secs(1));
        held.insert(name("b"), 2, Duration::from_secs(5));
        held.insert(name("never"), 9, Duration::ZERO);
        assert_eq!((held.get(&name("a")), held.get(&name("never"))), (Some(1), None));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((held.get(&name("a")), held.get(&name("b"))), (None, Some(2)));
        held.insert(name("c"), 3, Duration::from_secs(5));
        assert_eq!((held.get(&name("b")), held.get(&name("c"))), (Some(2), Some(3)));
        held.insert(name("d"), 4, Duration::from_secs(5));
        assert_eq!((held.get(&name("b")), held.get(&name("d"))), (None, Some(4)));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(key([&b"ab"[..], b"c"]), key([&b"a"[..], b"bc"]));
    }
}
