//! The objects of one kind in memory, with their subscribers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, watch};

use super::member::{Key, Member};
use super::{Cached, Change};
use crate::{Meta, ObjectKey};

/// Objects and subscribers. Changes are published while the objects are locked for writing, so a
/// subscriber misses none and sees none twice.
pub struct Store<T> {
    objects: RwLock<Objects<T>>,
    subscribers: Mutex<Vec<mpsc::UnboundedSender<Change<T>>>>,
    synced: watch::Sender<bool>,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { objects: RwLock::default(), subscribers: Mutex::default(), synced: watch::Sender::new(false) }
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
        for Member(new) in &objects.all {
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
        let old = objects.get(&ObjectKey::of(new.meta()));
        let version = new.meta().resource_version();
        if old.as_ref().is_some_and(|old| old.meta().resource_version() == version && version.is_some()) {
            return;
        }
        // An object of the same name that was deleted and made again between two lists.
        if let Some(old) = old.as_ref().filter(|old| old.meta().uid() != new.meta().uid()) {
            objects.remove(&ObjectKey::of(new.meta()));
            self.publish(Change::Deleted(old.clone()));
        }
        let old = old.filter(|old| old.meta().uid() == new.meta().uid());
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

    /// What a list that begins now has to take note of; `None` where it may find nothing gone.
    pub fn begin_list(&self) -> Option<HashSet<ObjectKey>> {
        (!self.objects.read().all.is_empty()).then(HashSet::new)
    }

    /// Ends a list: whatever is not among the `listed` is gone.
    pub fn end_list(&self, listed: Option<&HashSet<ObjectKey>>) {
        if let Some(listed) = listed {
            let mut objects = self.objects.write();
            let keys = objects.all.iter().map(|member| ObjectKey::of(member.0.meta()));
            let gone: Vec<_> = keys.filter(|key| !listed.contains(key)).collect();
            for last in gone.iter().filter_map(|key| objects.remove(key)) {
                self.publish(Change::Deleted(last));
            }
        }
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

/// The objects themselves, in the order of their keys.
pub struct Objects<T> {
    all: BTreeSet<Member<T>>,
    by_controller: HashMap<Box<str>, BTreeSet<Member<T>>>,
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), by_controller: HashMap::new() }
    }
}

impl<T: Cached> Objects<T> {
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.all.get(key as &dyn Key).map(|member| member.0.clone())
    }

    pub fn list(&self) -> Vec<Arc<T>> {
        self.all.iter().map(|member| member.0.clone()).collect()
    }

    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        let first = ObjectKey::new(namespace, "");
        let from = self.all.range::<dyn Key, _>((Bound::Included(&first as &dyn Key), Bound::Unbounded));
        from.take_while(|member| member.parts().0 == namespace).map(|member| member.0.clone()).collect()
    }

    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<T>> {
        self.by_controller.get(uid).into_iter().flatten().map(|member| member.0.clone()).collect()
    }

    fn insert(&mut self, object: Arc<T>) {
        self.remove(&ObjectKey::of(object.meta()));
        if let Some(controller) = controller(object.meta()) {
            self.by_controller.entry(controller.into()).or_default().insert(Member(object.clone()));
        }
        self.all.insert(Member(object));
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<T>> {
        let Member(last) = self.all.take(key as &dyn Key)?;
        if let Some(controller) = controller(last.meta())
            && let Some(members) = self.by_controller.get_mut(controller)
        {
            members.remove(key as &dyn Key);
            if members.is_empty() {
                self.by_controller.remove(controller);
            }
        }
        Some(last)
    }
}

fn controller(meta: &dyn Meta) -> Option<&str> {
    meta.owner_references().iter().find(|owner| owner.controller == Some(true)).map(|owner| &*owner.uid)
}
