//! Watches of the resources that quotas count, for what is deleted.

use std::collections::HashMap;

use futures::StreamExt;
use gantry_api::quota::Resource;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// An object was deleted, or, where there is no namespace, may have been.
pub struct Freed {
    pub group: String,
    pub plural: String,
    pub namespace: Option<String>,
}

/// One watch for each resource.
pub struct Monitors {
    client: Client,
    shutdown: CancellationToken,
    running: Mutex<HashMap<(String, String), DropGuard>>,
    sender: mpsc::UnboundedSender<Freed>,
    freed: tokio::sync::Mutex<mpsc::UnboundedReceiver<Freed>>,
}

impl Monitors {
    pub fn new(client: Client, shutdown: CancellationToken) -> Self {
        let (sender, freed) = mpsc::unbounded_channel();
        Self { client, shutdown, running: Mutex::default(), sender, freed: freed.into() }
    }

    /// The next deletion.
    pub async fn next(&self) -> Option<Freed> {
        self.freed.lock().await.recv().await
    }

    /// Watches the resource from now on.
    pub fn watch(&self, resource: &ApiResource) {
        let key = (resource.group.clone(), resource.plural.clone());
        let mut running = self.running.lock();
        if running.contains_key(&key) {
            return;
        }
        let stop = self.shutdown.child_token();
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.client.clone(), resource);
        let (sender, (group, plural)) = (self.sender.clone(), key.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            let freed = |namespace: Option<String>| {
                // Nobody listens at shutdown only.
                let _ = sender.send(Freed { group: group.clone(), plural: plural.clone(), namespace });
            };
            let config = watcher::Config::default().streaming_lists();
            let mut events = watcher(api, config).default_backoff().boxed();
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Delete(object)) => freed(object.metadata.namespace),
                    // What went while nobody watched is not told.
                    Ok(watcher::Event::InitDone) => freed(None),
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, %plural, "watch interrupted; it resumes"),
                }
            }
        }));
        running.insert(key, stop.drop_guard());
    }

    /// Ends the watches of resources that none of the quotas' `names` speaks of.
    pub fn keep(&self, names: &[String]) {
        self.running.lock().retain(|(group, plural), _| {
            let resource = Resource::new(group, plural);
            names.iter().any(|name| resource.matches(name))
        });
    }
}
