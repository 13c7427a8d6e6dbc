//! Writes that the informer does not show yet. A controller that acted on what the informer shows
//! before its own writes have come back would make or remove pods twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use gantry_client::{Change, PodView};
use parking_lot::Mutex;
use tokio::time::Instant;

/// After this the informer is taken to have missed a change and is believed as it is.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// What is awaited, by the uid of the owner.
#[derive(Default)]
pub struct Expectations(Mutex<HashMap<String, Awaited>>);

struct Awaited {
    creations: i64,
    /// Uids.
    deletions: HashSet<String>,
    since: Instant,
}

impl Awaited {
    fn is_over(&self) -> bool {
        self.creations <= 0 && self.deletions.is_empty()
    }
}

impl Expectations {
    /// Since when changes are awaited, if any are.
    pub fn pending(&self, owner: &str) -> Option<Instant> {
        let mut all = self.0.lock();
        let awaited = all.get(owner)?;
        if awaited.is_over() || awaited.since.elapsed() > LIMIT {
            all.remove(owner);
            return None;
        }
        all.get(owner).map(|awaited| awaited.since)
    }

    /// Awaits `creations` new objects and the deletion of those with these uids. Called before they
    /// are asked for, since the informer may show them before the answers are there.
    pub fn expect(&self, owner: &str, creations: usize, deletions: impl IntoIterator<Item = String>) {
        let awaited = Awaited {
            creations: i64::try_from(creations).unwrap_or(i64::MAX),
            deletions: deletions.into_iter().collect(),
            since: Instant::now(),
        };
        self.0.lock().insert(owner.to_owned(), awaited);
    }

    /// `count` objects are there, or will not be.
    pub fn created(&self, owner: &str, count: usize) {
        if let Some(awaited) = self.0.lock().get_mut(owner) {
            awaited.creations = awaited.creations.saturating_sub_unsigned(count as u64);
        }
    }

    /// The object with this uid is on its way out, or will not be.
    pub fn deleted(&self, owner: &str, uid: &str) {
        if let Some(awaited) = self.0.lock().get_mut(owner) {
            awaited.deletions.remove(uid);
        }
    }

    /// Takes note of what happened to a pod of the owner.
    pub fn observe(&self, owner: &str, change: &Change<PodView>) {
        let (old, new) = change.states();
        if old.is_none() {
            self.created(owner, 1);
        }
        if new.is_none_or(PodView::is_deleted) {
            self.deleted(owner, change.object().metadata.uid.as_deref().unwrap_or_default());
        }
    }

    /// Forgets an owner that is gone.
    pub fn forget(&self, owner: &str) {
        self.0.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_owner_waits_for_what_it_asked_for() {
        let expectations = Expectations::default();
        assert_eq!(expectations.pending("a"), None);
        expectations.expect("a", 2, []);
        expectations.created("a", 1);
        assert!(expectations.pending("a").is_some() && expectations.pending("b").is_none());
        expectations.created("a", 1);
        assert_eq!(expectations.pending("a"), None);

        expectations.expect("a", 0, ["x".to_owned(), "y".to_owned()]);
        expectations.deleted("a", "x");
        expectations.deleted("a", "x");
        assert!(expectations.pending("a").is_some());
        expectations.deleted("a", "y");
        assert_eq!(expectations.pending("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_awaited_for_ever() {
        let expectations = Expectations::default();
        expectations.expect("a", 1, []);
        tokio::time::advance(LIMIT + Duration::from_secs(1)).await;
        assert_eq!(expectations.pending("a"), None);
    }
}
