//! The end of a definition: its objects are deleted, and when the last has gone, which their own
//! finalizers may delay, the definition goes as well.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use gantry_api::custom_kind::definition;
use gantry_json::{Value, json};
use gantry_store::{Entry, Error, EventKind};

use super::Done;
use super::conditions::Condition;
use crate::{ApiServer, storage};

/// How many objects are deleted at once.
const AT_ONCE: usize = 64;

/// Whether a definition is being deleted and waits for its objects.
pub(super) fn is_due(definition: &Value) -> bool {
    let finalizers = definition["metadata"]["finalizers"].as_array().into_iter().flatten();
    let waits = finalizers.into_iter().any(|finalizer| finalizer == definition::CLEANUP);
    waits && definition["metadata"]["deletionTimestamp"].is_string()
}

impl ApiServer {
    /// Deletes the objects of a definition, waits until they are gone, and lets the definition go.
    pub(super) async fn clean_up(&self, stored: &Value) -> Done {
        let now = now();
        let mut definition = stored.clone();
        if !definition::has(stored, "Established") {
            let words = "resource was never established";
            Condition::terminating("False", "NeverEstablished", words).set(&mut definition, &now);
            return self.release(definition).await;
        }
        let begun = "CustomResource deletion is in progress";
        Condition::terminating("True", "InstanceDeletionInProgress", begun).set(&mut definition, &now);
        if definition["status"] != stored["status"] {
            // The event of this write begins the work.
            return self.write_definition(&definition).await;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names = (text(&stored["spec"]["group"]), text(&stored["spec"]["names"]["plural"]));
        if !self.delete_all(&storage::prefix(&names.0, &names.1)).await {
            return Done::Failed;
        }
        let words = "removed all instances";
        Condition::terminating("False", "InstanceDeletionCompleted", words).set(&mut definition, &now);
        self.release(definition).await
    }

    /// Takes the finalizer from a definition.
    async fn release(&self, mut definition: Value) -> Done {
        if let Some(finalizers) = definition["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|finalizer| finalizer != definition::CLEANUP);
        }
        match self.write_definition(&definition).await {
            Done::Finished => Done::Finished,
            // Whoever else wrote did not take the finalizer.
            Done::Overtaken | Done::Failed => Done::Failed,
        }
    }

    /// Deletes everything under a prefix and waits until it is gone; false where it cannot be followed.
    async fn delete_all(&self, prefix: &str) -> bool {
        let snapshot = self.store.snapshot();
        let Ok(mut watcher) = self.store.watch(prefix, snapshot.revision(), None) else { return false };
        let found: Vec<Arc<Entry>> = snapshot.range(prefix, None).cloned().collect();
        let mut left: HashSet<Arc<str>> = found.iter().map(|entry| entry.key.clone()).collect();
        drop(snapshot);
        let deleted = futures::stream::iter(found).map(|entry| self.delete_entry(entry));
        let refused =
            deleted.buffer_unordered(AT_ONCE).filter(|done| std::future::ready(!done)).count().await;
        if refused > 0 {
            return false;
        }
        while !left.is_empty() {
            let Some(event) = watcher.next().await else { return false };
            match event.kind {
                EventKind::Delete => drop(left.remove(&event.entry.key)),
                // A create that was under way when the definition was deleted.
                EventKind::Create => {
                    left.insert(event.entry.key.clone());
                    if !self.delete_entry(event.entry.clone()).await {
                        return false;
                    }
                }
                EventKind::Update => {}
            }
        }
        true
    }

    /// Deletes an object, or marks one that its finalizers hold.
    async fn delete_entry(&self, mut entry: Arc<Entry>) -> bool {
        loop {
            let Ok(mut object) = gantry_json::from_slice::<Value>(&entry.value) else { return false };
            let held = object["metadata"]["finalizers"].as_array().is_some_and(|all| !all.is_empty());
            let result = if !held {
                self.store.delete(&entry.key, Some(entry.mod_revision), Some(storage::encode(&object))).await
            } else if object["metadata"]["deletionTimestamp"].is_string() {
                return true;
            } else {
                let metadata = &mut object["metadata"];
                metadata["deletionTimestamp"] = now().into();
                metadata["deletionGracePeriodSeconds"] = json!(0);
                if let Some(generation) = metadata["generation"].as_i64() {
                    metadata["generation"] = (generation + 1).into();
                }
                self.store.update(&entry.key, entry.mod_revision, storage::encode(&object)).await
            };
            match result {
                Ok(_) | Err(Error::NotFound { .. }) => return true,
                Err(Error::Conflict { .. }) => match self.store.snapshot().get(&entry.key).cloned() {
                    Some(newer) => entry = newer,
                    None => return true,
                },
                Err(error) => {
                    tracing::warn!(%error, key = &*entry.key, "an object of a deleted kind could not be deleted");
                    return false;
                }
            }
        }
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}
