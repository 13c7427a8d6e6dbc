//! The definitions, as they are stored and as they are to be, and the kinds that they make.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use gantry_api::custom::rules::Compiler;
use gantry_api::custom_kind::{self, From, Source, definition, version};
use gantry_api::registry::{Kind, Registry};
use gantry_cel::custom::RuleCompiler;
use gantry_json::Value;
use gantry_store::Snapshot;
use tokio_util::sync::CancellationToken;

use super::conditions::{APPROVAL, Taken, settle};
use super::{GROUP, PLURAL, cleanup};
use crate::storage;

/// One definition. Its schemas are large, and nothing here needs them but now and then: they stay in
/// the bytes that the store has.
struct Held {
    source: Arc<Source>,
    /// As it is stored, without its versions.
    stored: Value,
    /// The same with the names and conditions that it has.
    settled: Value,
    /// Of all that it asks for.
    digest: String,
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

/// The versions of a definition, taken out of it, with whatever else is large and says nothing here.
fn strip(definition: &mut Value) -> Value {
    if let Some(metadata) = definition["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| name == APPROVAL);
        }
    }
    definition["spec"]["versions"].take()
}

fn digest(spec: &Value) -> String {
    let bytes = ring::digest::digest(&ring::digest::SHA256, spec.to_string().as_bytes());
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parsed(bytes: &Bytes) -> Option<Value> {
    gantry_json::from_slice(bytes).ok()
}

impl Held {
    /// Whether what is there has to become something else, or to go.
    fn is_unsettled(&self) -> bool {
        cleanup::is_due(&self.stored) || self.stored["status"] != self.settled["status"]
    }
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
            changed |= self.put(name, Some(&entry.value), &mut touched);
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

    /// A definition as it is stored and as it is to be, where anything is to be done for it.
    pub fn unsettled(&self, name: &str) -> Option<(Value, Value)> {
        let held = self.definitions.get(name).filter(|held| held.is_unsettled())?;
        let stored = parsed(&held.source.bytes())?;
        let mut settled = stored.clone();
        settled["status"] = held.settled["status"].clone();
        Some((stored, settled))
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
    pub fn put(&mut self, name: &str, bytes: Option<&Bytes>, touched: &mut HashSet<String>) -> bool {
        touched.insert(name.to_owned());
        let stored = bytes.and_then(|bytes| Some((bytes, parsed(bytes)?)));
        let before = self.definitions.get(name);
        let unchanged = stored.as_ref().is_some_and(|(_, stored)| {
            before.is_some_and(|held| {
                held.stored["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
            })
        });
        if unchanged {
            return false;
        }
        let group = match (&stored, before) {
            (Some((_, stored)), _) => text(stored, "group").to_owned(),
            (None, Some(held)) => text(&held.stored, "group").to_owned(),
            (None, None) => return false,
        };
        let mut changed = match stored {
            Some((bytes, stored)) => self.install(name, bytes, stored),
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
            let bytes = self.definitions.get(&other).map(|held| held.source.bytes());
            if let Some((bytes, stored)) =
                bytes.and_then(|bytes| parsed(&bytes).map(|stored| (bytes, stored)))
            {
                changed |= self.install(&other, &bytes, stored);
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

    fn install(&mut self, name: &str, bytes: &Bytes, mut stored: Value) -> bool {
        let group = text(&stored, "group");
        let others = self
            .definitions
            .iter()
            .filter(|(other, held)| *other != name && text(&held.settled, "group") == group);
        let taken = Taken::by(others.map(|(_, held)| &held.settled));
        let digest = digest(&stored["spec"]);
        let versions = strip(&mut stored);
        let now = jiff::Timestamp::now();
        let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
        let settled = settle(&stored, &taken, &now);
        let served = definition::is_served(&settled);
        let kinds = |source: &Arc<Source>| {
            if !served {
                return Vec::new();
            }
            let mut whole = settled.clone();
            whole["spec"]["versions"] = versions;
            let compiler: Option<&'static dyn Compiler> = Some(&RuleCompiler);
            let digest = format!("{digest} {}", settled["status"]["acceptedNames"]);
            custom_kind::kinds(&whole, &From { source: source.clone(), compiler, digest })
        };
        let alike = |held: &Held| {
            held.digest == digest
                && held.settled["status"]["acceptedNames"] == settled["status"]["acceptedNames"]
                && served != held.kinds.is_empty()
        };
        match self.definitions.get_mut(name) {
            // Only what the kinds are made of matters to those who use them.
            Some(held) if alike(held) => {
                held.source.replace(bytes.clone());
                let terminating = |definition: &Value| definition::has(definition, "Terminating");
                let ending = terminating(&settled) != terminating(&held.settled);
                if ending {
                    held.kinds = kinds(&held.source);
                }
                (held.stored, held.settled) = (stored, settled);
                ending
            }
            _ => {
                let source = Arc::new(Source::new(bytes.clone()));
                let kinds = kinds(&source);
                let some = !kinds.is_empty();
                let held = Held { source, stored, settled, digest, kinds, ended: CancellationToken::new() };
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
