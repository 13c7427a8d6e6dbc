//! One watch per kind and process, many readers.

mod cached;
mod member;
mod store;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use cached::Cached;
use store::Store;

use crate::{ObjectKey, Unmanaged};

/// The informers of a process: asking twice for the same type gives the same one.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    shutdown: CancellationToken,
    started: Arc<Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>>,
}

impl Informers {
    /// Informers that watch through `client` until `shutdown`.
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        Self { client, shutdown, started: Arc::default() }
    }

    /// The client that they watch through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The informer of `T`; its watch starts with the first call.
    pub fn get<T: Cached>(&self) -> Informer<T> {
        let mut started = self.started.lock();
        let known = started.get(&TypeId::of::<T>()).and_then(|any| any.clone().downcast::<Store<T>>().ok());
        let store = known.unwrap_or_else(|| {
            let store = Arc::new(Store::<T>::default());
            started.insert(TypeId::of::<T>(), store.clone());
            tokio::spawn(follow(self.client.clone(), store.clone(), self.shutdown.clone()));
            store
        });
        Informer { store, shutdown: self.shutdown.clone() }
    }
}

/// What is known of all objects of one kind, in all namespaces.
pub struct Informer<T> {
    store: Arc<Store<T>>,
    shutdown: CancellationToken,
}

impl<T> Clone for Informer<T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), shutdown: self.shutdown.clone() }
    }
}

impl<T: Cached> Informer<T> {
    /// The object of that name.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<T>> {
        self.store.read().get(key)
    }

    /// Every object, in the order of their keys.
    pub fn list(&self) -> Vec<Arc<T>> {
        self.store.read().list()
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<T>> {
        self.store.read().in_namespace(namespace)
    }

    /// The objects whose controller, by their owner references, is the object with `uid`.
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<T>> {
        self.store.read().controlled_by(uid)
    }

    /// Follows changes, beginning with every object known now.
    pub fn changes(&self) -> Changes<T> {
        Changes { changes: self.store.subscribe(), kind: PhantomData }
    }

    /// Returns once the first list is complete, or at shutdown.
    pub async fn synced(&self) {
        let mut synced = self.store.synced();
        // The store is there for as long as this handle, so its end says nothing.
        self.shutdown.run_until_cancelled(synced.wait_for(|synced| *synced)).await;
    }
}

/// A subscription to an informer.
pub struct Changes<T> {
    changes: mpsc::UnboundedReceiver<Change<T>>,
    kind: PhantomData<T>,
}

impl<T> Changes<T> {
    /// The next change; `None` at shutdown.
    pub async fn next(&mut self) -> Option<Change<T>> {
        self.changes.recv().await
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change<T>> {
        self.changes.try_recv().ok()
    }

    /// Hands every change to `follow`, until shutdown.
    pub async fn each(mut self, mut follow: impl FnMut(Change<T>)) {
        while let Some(change) = self.next().await {
            follow(change);
        }
    }
}

/// What happened to an object.
#[derive(Debug)]
pub enum Change<T> {
    /// It is there, newly or in a new state.
    Applied {
        /// What was known of it before.
        old: Option<Arc<T>>,
        /// What is known now.
        new: Arc<T>,
    },
    /// It is gone; this was its last known state.
    Deleted(Arc<T>),
}

impl<T> Clone for Change<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { old, new } => Self::Applied { old: old.clone(), new: new.clone() },
            Self::Deleted(last) => Self::Deleted(last.clone()),
        }
    }
}

impl<T> Change<T> {
    /// The object as last known.
    pub fn object(&self) -> &Arc<T> {
        match self {
            Self::Applied { new, .. } => new,
            Self::Deleted(last) => last,
        }
    }

    /// The object as it was and as it is, where it was there and where it is.
    pub fn states(&self) -> (Option<&T>, Option<&T>) {
        match self {
            Self::Applied { old, new } => (old.as_deref(), Some(new)),
            Self::Deleted(last) => (Some(last), None),
        }
    }
}

/// Keeps `store` as the API has it.
async fn follow<T: Cached>(client: Client, store: Arc<Store<T>>, shutdown: CancellationToken) {
    let api: Api<Unmanaged<T::Object>> = Api::all(client);
    let mut config = watcher::Config::default().streaming_lists();
    config.field_selector = T::FIELDS.map(str::to_owned);
    let mut stream = watcher(api, config).default_backoff().boxed();
    let mut listed = None;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => break,
            event = stream.next() => event,
        };
        match event {
            Some(Ok(watcher::Event::Init)) => listed = store.begin_list(),
            Some(Ok(watcher::Event::InitApply(Unmanaged(object)))) => {
                let object = T::from_object(object);
                if let Some(listed) = &mut listed {
                    listed.insert(ObjectKey::of(object.meta()));
                }
                store.apply(object);
            }
            Some(Ok(watcher::Event::InitDone)) => {
                store.end_list(listed.take().as_ref());
            }
            Some(Ok(watcher::Event::Apply(Unmanaged(object)))) => store.apply(T::from_object(object)),
            Some(Ok(watcher::Event::Delete(Unmanaged(object)))) => store.delete(T::from_object(object)),
            Some(Err(error)) => {
                let kind = std::any::type_name::<T>().rsplit("::").next();
                tracing::warn!(%error, kind, "watch interrupted; it resumes");
            }
            None => break,
        }
    }
    store.close();
}

#[cfg(test)]
mod tests;
