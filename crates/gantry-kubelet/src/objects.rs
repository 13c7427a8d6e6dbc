//! ConfigMaps and Secrets that pods of this node use: one watch per object, shared, ended with its last user.

use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt, watcher},
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::JoinHandle};

use crate::pod;

/// Ends its task when dropped.
#[derive(Debug)]
pub struct AbortOnDrop(pub JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is known of an object.
#[derive(Clone, Debug)]
pub enum Loaded<K> {
    /// Not asked yet.
    Pending,
    /// Does not exist.
    Missing,
    /// Exists.
    Present(Arc<K>),
    /// Cannot be read.
    Failed(String),
}

/// A watched object.
pub struct Entry<K> {
    /// Latest state.
    pub state: watch::Receiver<Loaded<K>>,
    _task: AbortOnDrop,
}

impl<K> Entry<K> {
    /// The object once the first answer is in; an error when it cannot be read.
    pub async fn get(&self) -> Result<Option<Arc<K>>, String> {
        let mut state = self.state.clone();
        let known = state.wait_for(|s| !matches!(s, Loaded::Pending));
        match tokio::time::timeout(Duration::from_secs(10), known).await {
            Ok(Ok(state)) => match &*state {
                Loaded::Present(object) => Ok(Some(object.clone())),
                Loaded::Failed(error) => Err(error.clone()),
                _ => Ok(None),
            },
            _ => Err("timed out waiting for the object".into()),
        }
    }
}

/// Entries by namespace and name.
type Entries<K> = HashMap<(String, String), Weak<Entry<K>>>;

/// The objects of one kind.
pub struct Cache<K> {
    client: Client,
    entries: Mutex<Entries<K>>,
}

impl<K> Cache<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    /// An empty cache.
    pub fn new(client: Client) -> Self {
        Self { client, entries: Mutex::default() }
    }

    /// The entry of an object, watched as long as someone holds it.
    pub fn subscribe(&self, namespace: &str, name: &str) -> Arc<Entry<K>> {
        let mut entries = self.entries.lock();
        let key = (namespace.to_string(), name.to_string());
        if let Some(entry) = entries.get(&key).and_then(Weak::upgrade) {
            return entry;
        }
        entries.retain(|_, e| e.strong_count() > 0);
        let (tx, state) = watch::channel(Loaded::Pending);
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let task = AbortOnDrop(tokio::spawn(follow(api, name.to_string(), tx)));
        let entry = Arc::new(Entry { state, _task: task });
        entries.insert(key, Arc::downgrade(&entry));
        entry
    }
}

async fn follow<K>(api: Api<K>, name: String, tx: watch::Sender<Loaded<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let set = |object: Option<K>| {
        tx.send_replace(object.map_or(Loaded::Missing, |o| Loaded::Present(Arc::new(o))));
    };
    // The authorizer may learn of the pod a moment after the node does.
    for delay in [10u64, 30, 100, 300, 1000] {
        match api.get_opt(&name).await {
            Ok(object) => {
                set(object);
                break;
            }
            Err(error) => {
                if delay == 1000 {
                    tx.send_replace(Loaded::Failed(error.to_string()));
                }
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
        }
    }
    let mut stream = watcher::watch_object(api, &name).default_backoff().boxed();
    while let Some(next) = stream.next().await {
        match next {
            Ok(object) => set(object),
            Err(error) => tracing::debug!(%error, name, "watch of an object failed"),
        }
    }
}

/// Names of the ConfigMaps and the Secrets a pod uses.
pub fn references(pod: &Pod) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    let spec = pod::spec(pod);
    for (_, c) in pod::all_containers(pod) {
        for from in c.env_from.iter().flatten() {
            maps.extend(from.config_map_ref.as_ref().map(|r| r.name.clone()));
            secrets.extend(from.secret_ref.as_ref().map(|r| r.name.clone()));
        }
        for source in c.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
            maps.extend(source.config_map_key_ref.as_ref().map(|r| r.name.clone()));
            secrets.extend(source.secret_key_ref.as_ref().map(|r| r.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        maps.extend(volume.config_map.as_ref().map(|v| v.name.clone()));
        secrets.extend(volume.secret.as_ref().and_then(|v| v.secret_name.clone()));
        for p in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            maps.extend(p.config_map.as_ref().map(|v| v.name.clone()));
            secrets.extend(p.secret.as_ref().map(|v| v.name.clone()));
        }
    }
    secrets.extend(spec.image_pull_secrets.iter().flatten().map(|s| s.name.clone()));
    for list in [&mut maps, &mut secrets] {
        list.retain(|n| !n.is_empty());
        list.sort();
        list.dedup();
    }
    (maps, secrets)
}
