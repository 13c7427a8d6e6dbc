//! The difference between two rule sets: the least that makes one into the other, in an order that is
//! valid at every step, as the kernel checks.

use std::collections::BTreeMap;

use super::model::{Chain, Data, ElementKey, Hook, Rule, Ruleset, Set};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Makes an empty chain.
    AddChain(String, Option<Hook>),
    /// Removes a chain that has no rules and that nothing leads to.
    DeleteChain(String),
    /// Removes all rules of a chain.
    Flush(String),
    /// Adds a rule to the end of a chain.
    AddRule(String, Rule),
    /// Makes an empty set.
    AddSet(String, Set),
    /// Removes a set that no rule uses, with its elements.
    DeleteSet(String),
    /// Adds an element.
    AddElement(ElementKey, Data),
    /// Removes an element.
    DeleteElement(ElementKey, Data),
}

/// What makes `before` into `after`.
///
/// New chains and sets come first, for rules and elements to refer to; then rules and elements; at last
/// what nothing refers to any more. A chain whose rules differ gets all of them anew: they are few.
pub fn diff(before: &Ruleset, after: &Ruleset) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, chain) in added(&before.chains, &after.chains) {
        changes.push(Change::AddChain(name.clone(), chain.hook));
    }
    for (name, set) in added(&before.sets, &after.sets) {
        changes.push(Change::AddSet(name.clone(), set.clone()));
    }
    let none = Chain::default();
    for (name, old) in &before.chains {
        let new = after.chains.get(name).unwrap_or(&none);
        if !old.rules.is_empty() && old.rules != new.rules {
            changes.push(Change::Flush(name.clone()));
        }
    }
    for (name, new) in &after.chains {
        if before.chains.get(name).is_none_or(|old| old.rules != new.rules) {
            changes.extend(new.rules.iter().map(|rule| Change::AddRule(name.clone(), rule.clone())));
        }
    }
    // Elements of a set that goes, go with it, unless they hold on to a chain.
    for (key, old) in &before.elements {
        let stays = after.sets.contains_key(&key.0) || !before.sets.contains_key(&key.0);
        if after.elements.get(key) != Some(old) && (stays || matches!(old, Data::Verdict(_))) {
            changes.push(Change::DeleteElement(key.clone(), old.clone()));
        }
    }
    for (key, new) in &after.elements {
        if before.elements.get(key) != Some(new) {
            changes.push(Change::AddElement(key.clone(), new.clone()));
        }
    }
    for (name, _) in added(&after.chains, &before.chains) {
        changes.push(Change::DeleteChain(name.clone()));
    }
    for (name, _) in added(&after.sets, &before.sets) {
        changes.push(Change::DeleteSet(name.clone()));
    }
    changes
}

fn added<'a, T>(
    before: &'a BTreeMap<String, T>,
    after: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, &'a T)> {
    after.iter().filter(|(name, _)| !before.contains_key(*name))
}
