//! `metadata.managedFields`: who owns which fields.

use gantry_json::{Value, json};

use super::Operation;
use super::compare::Changes;
use crate::patch::fields::FieldSet;

/// The most entries of operation Update before the oldest are put together.
const MOST_UPDATES: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// Who owns fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manager {
    name: String,
    operation: Operation,
    api_version: String,
    subresource: String,
}

impl Manager {
    pub fn new(name: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        Self {
            name: name.into(),
            operation,
            api_version: api_version.into(),
            subresource: subresource.into(),
        }
    }

    /// An applier stays the same in another version.
    fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As conflicts show it.
    fn show(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if self.operation == Operation::Update {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

#[derive(Debug, Clone)]
struct Entry {
    manager: Manager,
    time: String,
    set: FieldSet,
}

/// All owners of an object's fields.
#[derive(Debug, Default)]
pub(super) struct Managers {
    entries: Vec<Entry>,
    /// An entry that is taken out to be changed, as it was.
    taken: Option<Entry>,
}

impl Managers {
    /// Reads `managedFields`; nothing where it cannot be read.
    pub fn parse(value: &Value) -> Self {
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let mut entries = Vec::new();
        for entry in value.as_array().into_iter().flatten() {
            let operation = match entry["operation"].as_str() {
                Some("Apply") => Operation::Apply,
                Some("Update") => Operation::Update,
                _ => return Self::default(),
            };
            let manager = Manager {
                name: text(entry, "manager"),
                operation,
                api_version: text(entry, "apiVersion"),
                subresource: text(entry, "subresource"),
            };
            entries.push(Entry {
                manager,
                time: text(entry, "time"),
                set: FieldSet::parse(&entry["fieldsV1"]),
            });
        }
        Self { entries, taken: None }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes the manager's set out.
    pub fn take(&mut self, manager: &Manager) -> Option<FieldSet> {
        let at = self.entries.iter().position(|entry| entry.manager.is(manager))?;
        let entry = self.entries.remove(at);
        let set = entry.set.clone();
        self.taken = Some(entry);
        Some(set)
    }

    /// Puts the manager's set in. The time stays where the set is what it was.
    pub fn put(&mut self, manager: Manager, set: FieldSet, now: &str) {
        let before = self.taken.take();
        if set.is_empty() {
            return;
        }
        let time = match before {
            Some(entry) if entry.set == set && entry.manager == manager => entry.time,
            _ => now.to_owned(),
        };
        self.entries.push(Entry { manager, time, set });
    }

    /// All sets together.
    pub fn all(&self) -> FieldSet {
        let mut all = FieldSet::default();
        self.entries.iter().for_each(|entry| all.add(&entry.set));
        all
    }

    /// What others own of the written fields.
    pub fn conflicts(&self, changes: &Changes) -> Vec<(String, FieldSet)> {
        let both =
            self.entries.iter().map(|entry| (entry.manager.show(), entry.set.common(&changes.written)));
        let mut conflicts: Vec<_> = both.filter(|(_, set)| !set.is_empty()).collect();
        conflicts.sort_by(|a, b| a.0.cmp(&b.0));
        conflicts
    }

    /// Everyone loses what was written or removed.
    pub fn yield_to(&mut self, changes: &Changes) {
        self.entries.retain_mut(|entry| {
            entry.set.subtract(&changes.written);
            entry.set.subtract(&changes.removed);
            !entry.set.is_empty()
        });
    }

    /// Puts the oldest updates together where there are too many.
    pub fn cap(&mut self) {
        let is_update = |entry: &&Entry| entry.manager.operation == Operation::Update;
        let count = self.entries.iter().filter(is_update).count();
        if count <= MOST_UPDATES {
            return;
        }
        self.sort();
        let mut surplus = count - MOST_UPDATES + 1;
        let mut kept = Vec::new();
        let mut ancient: Vec<Entry> = Vec::new();
        for entry in self.entries.drain(..) {
            if entry.manager.operation == Operation::Apply || surplus == 0 {
                kept.push(entry);
                continue;
            }
            surplus -= 1;
            match ancient.iter_mut().find(|each| each.manager.api_version == entry.manager.api_version) {
                Some(each) => {
                    each.set.add(&entry.set);
                    each.time = entry.time;
                }
                None => ancient.push(Entry {
                    manager: Manager::new(ANCIENT, Operation::Update, &entry.manager.api_version, ""),
                    ..entry
                }),
            }
        }
        kept.extend(ancient);
        self.entries = kept;
    }

    fn sort(&mut self) {
        self.entries.sort_by(|a, b| {
            let key =
                |entry: &Entry| (entry.manager.operation, entry.time.clone(), entry.manager.name.clone());
            key(a).cmp(&key(b))
        });
    }

    /// Writes `managedFields`.
    pub fn write(mut self, object: &mut Value) {
        self.sort();
        let entries: Vec<Value> = self
            .entries
            .into_iter()
            .map(|Entry { manager, time, set }| {
                let mut entry = json!({
                    "manager": manager.name,
                    "operation": match manager.operation { Operation::Apply => "Apply", Operation::Update => "Update" },
                    "apiVersion": manager.api_version,
                    "time": time,
                    "fieldsType": "FieldsV1",
                });
                // Not within the macro, which would copy it.
                entry["fieldsV1"] = set.into_value();
                if !manager.subresource.is_empty() {
                    entry["subresource"] = manager.subresource.as_str().into();
                }
                entry
            })
            .collect();
        if entries.is_empty() {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        } else {
            object["metadata"]["managedFields"] = Value::Array(entries);
        }
    }
}
