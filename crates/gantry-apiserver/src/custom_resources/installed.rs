//! The definitions, as they are stored and as they are to be, and the kinds that they make.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use gantry_api::custom_kind::{self, definition, version};
use gantry_api::registry::{Kind, Registry};
use gantry_cel::custom::RuleCompiler;
use gantry_store::Snapshot;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::conditions::{Taken, settle};
use super::{GROUP, PLURAL};
use crate::storage;

/// One definition.
struct Held {
    stored: Value,
    /// With the names and conditions that it has.
    settled: Value,
    kinds: Vec<Arc<Kind>>,
    /// Cancelled when its kinds are others.
    ended: CancellationToken,
}

/// All definitions.
#[derive(Default)]
pub(super) struct Installed {
    definitions: BTreeMap<String, Held>,
    /// Of kinds that are no longer served.
    replaced: Vec<CancellationToken>,
}

fn text<'a>(definition: &'a Value, field: &str) -> &'a str {
    definition["spec"][field].as_str().unwrap_or_default()
}

/// Whether two forms of a definition make kinds that behave alike.
fn alike(a: &Value, b: &Value) -> bool {
    a["spec"] == b["spec"] && a["status"]["acceptedNames"] == b["status"]["acceptedNames"]
}

impl Installed {
    /// Takes the definitions of a snapshot in place of those that are known; whether kinds changed.
    pub fn load(&mut self, snapshot: &Snapshot) -> bool {
        let prefix = storage::prefix(GROUP, PLURAL);
        let mut known: HashSet<String> = self.names();
        let (mut changed, mut touched) = (false, HashSet::new());
        for entry in snapshot.range(&prefix, None) {
            let Some(name) = entry.key.strip_prefix(&*prefix) else { continue };
            known.remove(name);
            changed |= self.put(name, serde_json::from_slice(&entry.value).ok(), &mut touched);
        }
        for name in known {
            changed |= self.put(&name, None, &mut touched);
        }
        changed
    }

    /// The names of all definitions.
    pub fn names(&self) -> HashSet<String> {
        self.definitions.keys().cloned().collect()
    }

    /// A definition as it is stored and as it is to be.
    pub fn of(&self, name: &str) -> Option<(Value, Value)> {
        self.definitions.get(name).map(|held| (held.stored.clone(), held.settled.clone()))
    }

    /// What is cancelled when the kinds of a definition are others.
    pub fn ended(&self, name: &str) -> CancellationToken {
        self.definitions.get(name).map(|held| held.ended.clone()).unwrap_or_else(|| {
            let ended = CancellationToken::new();
            ended.cancel();
            ended
        })
    }

    /// Takes a definition as it is stored now; `None` where it is gone. Whether kinds changed. Those that
    /// it touches are added to `touched`: itself, and others of its group that wait for names.
    pub fn put(&mut self, name: &str, stored: Option<Value>, touched: &mut HashSet<String>) -> bool {
        touched.insert(name.to_owned());
        let before = self.definitions.get(name);
        let unchanged = stored.as_ref().is_some_and(|stored| {
            before.is_some_and(|held| {
                held.stored["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
            })
        });
        if unchanged {
            return false;
        }
        let group = match (&stored, before) {
            (Some(stored), _) => text(stored, "group").to_owned(),
            (None, Some(held)) => text(&held.stored, "group").to_owned(),
            (None, None) => return false,
        };
        let mut changed = match stored {
            Some(stored) => self.install(name, stored),
            None => self.remove(name),
        };
        let waits = |held: &Held| {
            text(&held.stored, "group") == group && !definition::has(&held.settled, "NamesAccepted")
        };
        let waiting: Vec<String> = self
            .definitions
            .iter()
            .filter(|(other, held)| *other != name && waits(held))
            .map(|(name, _)| name.clone())
            .collect();
        for other in waiting {
            if let Some(stored) = self.definitions.get(&other).map(|held| held.stored.clone()) {
                changed |= self.install(&other, stored);
                touched.insert(other);
            }
        }
        changed
    }

    fn remove(&mut self, name: &str) -> bool {
        let Some(held) = self.definitions.remove(name) else { return false };
        self.replaced.push(held.ended);
        !held.kinds.is_empty()
    }

    fn install(&mut self, name: &str, stored: Value) -> bool {
        let group = text(&stored, "group");
        let others = self
            .definitions
            .iter()
            .filter(|(other, held)| *other != name && text(&held.settled, "group") == group);
        let taken = Taken::by(others.map(|(_, held)| &held.settled));
        let now = jiff::Timestamp::now();
        let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
        let settled = settle(&stored, &taken, &now);
        let served = definition::is_served(&settled);
        let terminating = definition::has(&settled, "Terminating");
        match self.definitions.get_mut(name) {
            // Only what the kinds are made of matters to those who use them.
            Some(held) if alike(&held.settled, &settled) && served != held.kinds.is_empty() => {
                let ending = terminating != definition::has(&held.settled, "Terminating");
                if ending {
                    held.kinds = custom_kind::kinds(&settled, Some(&RuleCompiler));
                }
                (held.stored, held.settled) = (stored, settled);
                ending
            }
            _ => {
                let kinds =
                    if served { custom_kind::kinds(&settled, Some(&RuleCompiler)) } else { Vec::new() };
                let some = !kinds.is_empty();
                let held = Held { stored, settled, kinds, ended: CancellationToken::new() };
                let before = self.definitions.insert(name.to_owned(), held);
                let had = before.as_ref().is_some_and(|before| !before.kinds.is_empty());
                self.replaced.extend(before.map(|before| before.ended));
                some || had
            }
        }
    }

    /// The built-in kinds and all others, those of a group in the order of preference.
    pub fn registry(&self, builtin: &Registry) -> Registry {
        let mut kinds: Vec<&Arc<Kind>> = self.definitions.values().flat_map(|held| &held.kinds).collect();
        kinds.sort_by(|a, b| {
            a.group
                .cmp(&b.group)
                .then_with(|| version::compare(&a.version, &b.version))
                .then_with(|| a.plural.cmp(&b.plural))
        });
        builtin.with(kinds.into_iter().cloned())
    }

    /// Ends what goes on with kinds that are no longer served.
    pub fn end_replaced(&mut self) {
        self.replaced.drain(..).for_each(|ended| ended.cancel());
    }
}
