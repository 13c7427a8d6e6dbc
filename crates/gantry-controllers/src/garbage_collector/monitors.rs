//! Watches of everything that can be deleted, as discovery lists it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use gantry_client::Unmanaged;
use kube::Api;
use kube::core::TypeMeta;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::{Notify, RwLock, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::collector::Collector;
use super::kinds::{Kinds, Live, Metadata};
use super::uid::Uid;
use crate::resources::{Discovered, Served, discover};

/// How long a new watch may take until its objects are known; work goes on without it then.
const SYNC: Duration = Duration::from_secs(30);
/// What a definition announces is served within this time.
const SERVED_SOON: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(4)];
/// When discovery that failed is asked again.
const RETRY: Duration = Duration::from_secs(10);

/// Where new kinds come from.
const DEFINITIONS: [(&str, &str); 2] =
    [("apiextensions.k8s.io", "customresourcedefinitions"), ("apiregistration.k8s.io", "apiservices")];

/// The watches, and whether work may go on.
pub(super) struct Monitors {
    pub collector: Arc<Collector<Live>>,
    /// Held for reading by whoever works, for writing while new watches get to know their objects.
    pub gate: Arc<RwLock<()>>,
    pub shutdown: CancellationToken,
}

struct Monitor {
    synced: watch::Receiver<bool>,
    /// Ends the watch.
    _guard: DropGuard,
}

type Key = (String, String, String);

fn key(served: &Served) -> Key {
    let resource = &served.resource;
    (resource.group.clone(), resource.version.clone(), resource.plural.clone())
}

/// Whether objects of a resource are in the graph.
fn is_watched(served: &Served) -> bool {
    let resource = &served.resource;
    let ignored = resource.plural == "events" && matches!(&*resource.group, "" | "events.k8s.io");
    served.can(&["delete", "list", "watch"]) && !ignored
}

fn types(served: &Served) -> TypeMeta {
    TypeMeta { api_version: served.resource.api_version.clone(), kind: served.resource.kind.clone() }
}

impl Monitors {
    /// Keeps the watches as discovery says until shutdown. `gate` is closed at the beginning; `open`
    /// is called when the objects of the first watches are known.
    pub async fn run(self, open: impl FnOnce()) {
        let changed = Arc::new(Notify::new());
        let mut running: HashMap<Key, (TypeMeta, Monitor)> = HashMap::new();
        let mut open = Some(open);
        let mut soon = SERVED_SOON.iter();
        loop {
            let wait = match discover(&self.collector.objects.client).await {
                Ok(found) => {
                    let different = self.adapt(&found, &mut running, &changed);
                    if different {
                        self.sync(&running).await;
                        self.collector.remap();
                    }
                    if let Some(open) = open.take() {
                        open();
                        soon = [].iter();
                    }
                    match soon.next() {
                        Some(delay) if !different => Some(*delay),
                        _ if !found.failures.is_empty() => Some(RETRY),
                        _ => None,
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "discovery failed; it is asked again");
                    Some(RETRY)
                }
            };
            let delay = async {
                match wait {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed.notified() => soon = SERVED_SOON.iter(),
                () = delay => {}
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    /// Starts and ends watches; whether anything is served that was not, or no longer.
    fn adapt(
        &self,
        found: &Discovered,
        running: &mut HashMap<Key, (TypeMeta, Monitor)>,
        changed: &Arc<Notify>,
    ) -> bool {
        let wanted: HashMap<Key, &Served> = found
            .resources
            .iter()
            .filter(|served| is_watched(served))
            .map(|each| (key(each), each))
            .collect();
        let unknown = |group: &str, version: &str| {
            let name = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            found.failures.iter().any(|failure| failure.split(':').next() == Some(&*name))
        };
        let left: Vec<Key> = running
            .keys()
            .filter(|key| !wanted.contains_key(key) && !unknown(&key.0, &key.1))
            .cloned()
            .collect();
        let mut different = !left.is_empty();
        for (types, monitor) in left.iter().filter_map(|key| running.remove(key)) {
            drop(monitor);
            self.collector.change(|graph| graph.keep_only(&types, &HashSet::new()));
        }
        for (key, served) in wanted {
            running.entry(key).or_insert_with(|| {
                different = true;
                (types(served), self.start(served, changed.clone()))
            });
        }
        let kinds: Kinds = found.kinds.iter().map(|served| (types(served), served.clone())).collect();
        let mut known = self.collector.objects.kinds.write();
        if found.failures.is_empty() {
            different |= *known != kinds;
            *known = kinds;
        } else {
            known.extend(kinds);
        }
        different
    }

    /// Waits until every watch knows its objects; nothing is decided meanwhile.
    async fn sync(&self, running: &HashMap<Key, (TypeMeta, Monitor)>) {
        let _closed = self.gate.write().await;
        let all = join_all(running.values().map(|(_, monitor)| {
            let mut synced = monitor.synced.clone();
            async move {
                // An error means that the watch has ended.
                let _ = synced.wait_for(|synced| *synced).await;
            }
        }));
        tokio::select! {
            _ = all => {}
            () = tokio::time::sleep(SYNC) => {
                let late = running.values().filter(|(_, monitor)| !*monitor.synced.borrow());
                let kinds: Vec<_> = late.map(|(types, _)| types.kind.as_str()).collect();
                tracing::warn!(?kinds, "these cannot be watched yet; garbage collection goes on without them");
            }
            () = self.shutdown.cancelled() => {}
        }
    }

    fn start(&self, served: &Served, changed: Arc<Notify>) -> Monitor {
        let (sender, synced) = watch::channel(false);
        let stop = self.shutdown.child_token();
        let api: Api<Unmanaged<Metadata>> =
            Api::all_with(self.collector.objects.client.clone(), &served.resource);
        let defines = DEFINITIONS.contains(&(&*served.resource.group, &*served.resource.plural));
        let follow = Follow {
            collector: self.collector.clone(),
            types: types(served),
            defines: defines.then_some(changed),
            synced: sender,
            listed: None,
        };
        tokio::spawn({
            let stop = stop.clone();
            async move {
                tokio::select! {
                    () = follow.run(api) => {}
                    () = stop.cancelled() => {}
                }
            }
        });
        Monitor { synced, _guard: stop.drop_guard() }
    }
}

/// One watch.
struct Follow {
    collector: Arc<Collector<Live>>,
    types: TypeMeta,
    /// Told of changes, where the objects define kinds.
    defines: Option<Arc<Notify>>,
    synced: watch::Sender<bool>,
    /// What a list after the first has named.
    listed: Option<HashSet<Uid>>,
}

impl Follow {
    async fn run(mut self, api: Api<Unmanaged<Metadata>>) {
        let config = watcher::Config::default().streaming_lists();
        let mut events = watcher(api, config).default_backoff().boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    tracing::debug!(%error, kind = self.types.kind, "watch interrupted; it resumes")
                }
            }
        }
    }

    fn take(&mut self, event: watcher::Event<Unmanaged<Metadata>>) {
        let uid = |object: &Metadata| object.metadata.uid.as_deref().map(Uid::of);
        match event {
            watcher::Event::Init => self.listed = self.synced.borrow().then(HashSet::new),
            watcher::Event::InitApply(Unmanaged(object)) => {
                if let (Some(listed), Some(uid)) = (&mut self.listed, uid(&object)) {
                    listed.insert(uid);
                }
                self.collector.change(|graph| graph.apply(&self.types, &object.metadata));
            }
            watcher::Event::InitDone => {
                if let Some(listed) = self.listed.take() {
                    self.collector.change(|graph| graph.keep_only(&self.types, &listed));
                    self.tell();
                }
                self.synced.send_replace(true);
            }
            watcher::Event::Apply(Unmanaged(object)) => {
                self.collector.change(|graph| graph.apply(&self.types, &object.metadata));
                self.tell();
            }
            watcher::Event::Delete(Unmanaged(object)) => {
                if let Some(uid) = uid(&object) {
                    self.collector.change(|graph| graph.remove(uid));
                }
                self.tell();
            }
        }
    }

    fn tell(&self) {
        if let Some(changed) = &self.defines {
            changed.notify_one();
        }
    }
}
