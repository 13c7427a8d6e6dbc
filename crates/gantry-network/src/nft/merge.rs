//! A table put together from parts that change one at a time.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    diff::{Change, diff},
    model::{Data, ElementKey, Ruleset},
};

/// Who wants a part of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A pod that is attached here, by its id.
    Pod(String),
    /// A Service, by namespace and name.
    Service(String, String),
}

/// A base that never changes, and a part for each owner.
///
/// Chains and sets of parts bear their owner's name and are nobody else's. Elements go into the base's
/// sets too, where two owners can want the same key: the first one gets it until its part goes.
#[derive(Debug, Default)]
pub struct Merged {
    base: Ruleset,
    parts: BTreeMap<Owner, Ruleset>,
    claims: BTreeMap<ElementKey, BTreeSet<Owner>>,
}

impl Merged {
    /// A table with a base only.
    pub fn new(base: Ruleset) -> Self {
        Self { base, ..Self::default() }
    }

    /// All of it.
    pub fn whole(&self) -> Ruleset {
        let mut whole = self.base.clone();
        for part in self.parts.values() {
            whole.chains.extend(part.chains.clone());
            whole.sets.extend(part.sets.clone());
        }
        let data = |key: &ElementKey| self.data(key).cloned();
        whole.elements.extend(self.claims.keys().filter_map(|key| Some((key.clone(), data(key)?))));
        whole
    }

    /// Gives owners other parts, or takes theirs away; returns what changes in the whole.
    pub fn replace(&mut self, parts: impl IntoIterator<Item = (Owner, Option<Ruleset>)>) -> Vec<Change> {
        let parts: BTreeMap<Owner, Ruleset> =
            parts.into_iter().map(|(owner, part)| (owner, part.unwrap_or_default())).collect();
        let olds = parts.keys().filter_map(|owner| self.parts.get(owner));
        let touched: BTreeSet<ElementKey> =
            olds.chain(parts.values()).flat_map(|part| part.elements.keys().cloned()).collect();
        let owners: Vec<Owner> = parts.keys().cloned().collect();
        let before = self.part(&owners, &touched);
        for (owner, part) in parts {
            self.set(owner, part);
        }
        diff(&before, &self.part(&owners, &touched))
    }

    fn data(&self, key: &ElementKey) -> Option<&Data> {
        let first = self.claims.get(key)?.first()?;
        self.parts.get(first)?.elements.get(key)
    }

    fn part(&self, owners: &[Owner], keys: &BTreeSet<ElementKey>) -> Ruleset {
        let mut merged = Ruleset::default();
        for part in owners.iter().filter_map(|owner| self.parts.get(owner)) {
            merged.chains.extend(part.chains.clone());
            merged.sets.extend(part.sets.clone());
        }
        merged.elements.extend(keys.iter().filter_map(|key| Some((key.clone(), self.data(key)?.clone()))));
        merged
    }

    fn set(&mut self, owner: Owner, part: Ruleset) {
        for key in self.parts.remove(&owner).unwrap_or_default().elements.into_keys() {
            if let Some(owners) = self.claims.get_mut(&key) {
                owners.remove(&owner);
                if owners.is_empty() {
                    self.claims.remove(&key);
                }
            }
        }
        for key in part.elements.keys() {
            self.claims.entry(key.clone()).or_default().insert(owner.clone());
        }
        if part != Ruleset::default() {
            self.parts.insert(owner, part);
        }
    }
}
