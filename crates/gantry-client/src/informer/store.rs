//! The objects of one kind in memory, with their subscribers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, watch};

use super::{Cached, Change};
use crate::ObjectKey;

/// Objects and subscribers. Changes are published while the objects are locked for writing, so a
/// subscriber misses none and sees none twice.
pub struct Store<T> {
    objects: RwLock<Objects<T>>,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<Change<T>>>>,
    synced: watch::Sender<bool>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self {
            objects: RwLock::new(Objects { by_key: BTreeMap::new(), by_controller: HashMap::new() }),
            subscribers: Mutex::default(),
            synced: watch::Sender::new(false),
        }
    }
}

impl<T: Cached> Store<T> {
    pub fn read(&self) -> RwLockReadGuard<'_, Objects<T>> {
        self.objects.read()
    }

    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.subscribe()
    }

    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Change<T>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let objects = self.objects.read();
        for new in objects.by_key.values() {
            // The receiver stands above.
            let _ = sender.send(Change::Applied { old: None, new: new.clone() });
        }
        self.subscribers.lock().push(sender);
        receiver
    }

    /// Takes in a state, unless it is the one known.
    pub fn apply(&self, object: T) {
        let new = Arc::new(object);
        let mut objects = self.objects.write();
        let old = objects.by_key.get(&ObjectKey::of(new.meta())).cloned();
        let version = &new.meta().resource_version;
        if old.as_ref().is_some_and(|old| old.meta().resource_version == *version && version.is_some()) {
            return;
        }
        // An object of the same name that was deleted and made again between two lists.
        if let Some(old) = old.as_ref().filter(|old| old.meta().uid != new.meta().uid) {
            objects.remove(&ObjectKey::of(new.meta()));
            self.publish(Change::Deleted(old.clone()));
        }
        let old = old.filter(|old| old.meta().uid == new.meta().uid);
        objects.insert(new.clone());
        self.publish(Change::Applied { old, new });
    }

    /// Takes in a deletion, with the last state.
    pub fn delete(&self, object: T) {
        let mut objects = self.objects.write();
        if objects.remove(&ObjectKey::of(object.meta())).is_some() {
            self.publish(Change::Deleted(Arc::new(object)));
        }
    }

    /// Ends a list: whatever it did not name is gone.
    pub fn keep_only(&self, listed: &HashSet<ObjectKey>) {
        let mut objects = self.objects.write();
        let gone: Vec<_> = objects.by_key.keys().filter(|key| !listed.contains(key)).cloned().collect();
        for last in gone.iter().filter_map(|key| objects.remove(key)) {
            self.publish(Change::Deleted(last));
        }
        drop(objects);
        self.synced.send_replace(true);
    }

    /// Ends all subscriptions.
    pub fn close(&self) {
        self.subscribers.lock().clear();
        self.synced.send_replace(true);
    }

    fn publish(&self, change: Change<T>) {
        self.subscribers.lock().retain(|subscriber| subscriber.send(change.clone()).is_ok());
    }
}

/// The objects themselves.
pub struct Objects<T> {
    by_key: BTreeMap<ObjectKey, Arc<T>>,
    by_controller: HashMap<String, BTreeSet<ObjectKey>>,
}

impl<T: Cached> Objects<T> {
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.by_key.get(key).cloned()
    }

    pub fn list(&self) -> Vec<Arc<T>> {
        self.by_key.values().cloned().collect()
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let first = ObjectKey::new(namespace, "");
        let from = self.by_key.range((Bound::Included(first), Bound::Unbounded));
        from.take_while(|(key, _)| key.namespace == namespace).map(|(_, object)| object.clone()).collect()
    }

    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<T>> {
        let keys = self.by_controller.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.by_key.get(key).cloned()).collect()
    }

    fn insert(&mut self, object: Arc<T>) {
        let key = ObjectKey::of(object.meta());
        self.remove(&key);
        if let Some(controller) = controller(object.meta()) {
            self.by_controller.entry(controller.to_owned()).or_default().insert(key.clone());
        }
        self.by_key.insert(key, object);
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let last = self.by_key.remove(key)?;
        if let Some(controller) = controller(last.meta())
            && let Some(keys) = self.by_controller.get_mut(controller)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.by_controller.remove(controller);
            }
        }
        Some(last)
    }
}

fn controller(meta: &ObjectMeta) -> Option<&str> {
    let owners = meta.owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}
