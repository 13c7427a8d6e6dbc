//! Claims on layers by the pulls under way: one fetches a layer that several need, and a layer that is
//! claimed is not garbage.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

/// The turn of a layer: who holds its lock fetches and unpacks it.
pub type Turn = Arc<tokio::sync::Mutex<()>>;

/// Layers claimed, by diff ID.
#[derive(Debug, Default)]
pub struct Claims {
    turns: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Claims {
    /// Claims layers until the turns are dropped.
    pub fn claim(&self, diff_ids: &[String]) -> Vec<Turn> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| turn.strong_count() > 0);
        let mut claim = |id: &String| match turns.get(id).and_then(Weak::upgrade) {
            Some(turn) => turn,
            None => {
                let turn = Turn::default();
                turns.insert(id.clone(), Arc::downgrade(&turn));
                turn
            }
        };
        diff_ids.iter().map(&mut claim).collect()
    }

    /// The layers that are claimed now.
    pub fn claimed(&self) -> BTreeSet<String> {
        let turns = self.turns.lock();
        turns.iter().filter(|(_, turn)| turn.strong_count() > 0).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_shared_and_ends_with_its_last_holder() {
        let claims = Claims::default();
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let first = claims.claim(&[a.clone(), a.clone(), b.clone()]);
        let second = claims.claim(std::slice::from_ref(&a));
        assert!(Arc::ptr_eq(&first[0], &first[1]) && Arc::ptr_eq(&first[0], &second[0]));
        assert!(!Arc::ptr_eq(&first[0], &first[2]));
        drop(first);
        assert_eq!(claims.claimed(), [a].into());
        drop(second);
        assert!(claims.claimed().is_empty());
    }
}
