//! Custom kinds: they come and go with CustomResourceDefinitions.
//!
//! Flow: [`ApiServer::follow_definitions`] watches the definitions in the store. What is known of each,
//! its names and conditions among them, is a function of all of them (`conditions`); the kinds of those
//! whose names are accepted make the next registry, which takes the place of the one before as a whole.
//! Only then the conditions are written, by the ordinary pipeline: whoever reads `Established` finds the
//! kind served. A definition that is being deleted stays until its objects are gone (`cleanup`).
//!
//! Every server of a cluster does all of this for itself; writes that another one was first with fail
//! and are made anew from what it wrote, where anything is left to write.

mod cleanup;
mod conditions;
mod convert;
mod installed;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use gantry_api::custom_kind::definition;
use gantry_api::registry::{Kind, Registry};
use gantry_json::{Value, json};
use gantry_store::{EventKind, Snapshot, Store, WatchEnd, Watcher};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::body::Body;
use crate::webhook::Webhooks;
use crate::{ApiServer, User, storage};
use conditions::Condition;
use installed::Installed;

pub(crate) use convert::Converter;

const GROUP: &str = "apiextensions.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
/// When a write that failed for another reason than a newer one is made again.
const RETRY: Duration = Duration::from_secs(1);

/// What the server keeps of custom kinds beside the registry.
pub(crate) struct CustomResources {
    /// Converts their objects.
    pub converter: Arc<Converter>,
    installed: Mutex<Installed>,
}

impl CustomResources {
    /// The kinds of the definitions that are stored.
    pub fn new(store: &Store, webhooks: Arc<Webhooks>) -> Self {
        let mut installed = Installed::default();
        installed.load(&store.snapshot());
        let converter = Arc::new(Converter::new(webhooks));
        Self { converter, installed: Mutex::new(installed) }
    }

    /// All kinds, beside the built-in ones.
    pub fn registry(&self, builtin: &Registry) -> Registry {
        self.installed.lock().registry(builtin)
    }

    /// What is cancelled when a custom kind is another or none; `None` for a built-in kind.
    pub fn ended(&self, kind: &Kind) -> Option<CancellationToken> {
        let custom = kind.as_custom()?;
        Some(self.installed.lock().ended(&custom.definition.name))
    }
}

/// Marks a definition whose deletion was asked for at `now`: it stays until its objects are gone.
pub(crate) fn terminate(object: &mut Value, now: &str) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("deletionGracePeriodSeconds");
        let finalizers = metadata.entry("finalizers").or_insert_with(|| json!([]));
        if let Some(finalizers) =
            finalizers.as_array_mut().filter(|all| !all.contains(&definition::CLEANUP.into()))
        {
            finalizers.push(definition::CLEANUP.into());
        }
    }
    let words = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    Condition::terminating("True", "InstanceDeletionPending", words).set(object, now);
}

/// What work on one definition came to.
enum Done {
    /// Nothing more is to be done.
    Finished,
    /// Another write was first: its event follows.
    Overtaken,
    /// It is to be done again after a while.
    Failed,
}

type Work<'a> = FuturesUnordered<BoxFuture<'a, (String, Done)>>;

impl ApiServer {
    /// Keeps the kinds as the definitions are, and the definitions' conditions, until the server stops.
    pub(crate) async fn follow_definitions(&self) {
        let prefix = storage::prefix(GROUP, PLURAL);
        let mut work: Work<'_> = FuturesUnordered::new();
        // Definitions on which work goes on, and those that ask for more of it afterwards.
        let (mut busy, mut waiting) = (HashSet::new(), HashSet::new());
        while !self.stopping.is_cancelled() {
            let snapshot = self.store.snapshot();
            // A snapshot's revision is newer than what is compacted.
            let Ok(mut watcher) = self.store.watch(&prefix, snapshot.revision(), None) else { continue };
            let mut changed = self.reload(&snapshot);
            loop {
                waiting.extend(changed.drain());
                for name in waiting.extract_if(|name| !busy.contains(name)).collect::<Vec<String>>() {
                    if let Some(next) = self.work_on(&name) {
                        busy.insert(name);
                        work.push(next);
                    }
                }
                tokio::select! {
                    biased;
                    () = self.stopping.cancelled() => return,
                    Some((name, done)) = work.next(), if !work.is_empty() => {
                        busy.remove(&name);
                        match done {
                            Done::Finished | Done::Overtaken => {}
                            Done::Failed => {
                                busy.insert(name.clone());
                                let later = async move {
                                    tokio::time::sleep(RETRY).await;
                                    (name, Done::Overtaken)
                                };
                                work.push(later.boxed());
                                continue;
                            }
                        }
                        if matches!(done, Done::Overtaken) {
                            changed.insert(name);
                        }
                    }
                    event = watcher.next() => match event {
                        Some(event) => changed = self.take(event, &mut watcher),
                        // It fell behind: the next round begins anew.
                        None if watcher.end() == WatchEnd::Closed => return,
                        None => break,
                    },
                }
            }
        }
    }

    /// Takes everything from a snapshot; the names of the definitions that may need work.
    fn reload(&self, snapshot: &Snapshot) -> HashSet<String> {
        let mut installed = self.custom.installed.lock();
        let changed = installed.load(snapshot);
        let all = installed.names();
        self.publish(&mut installed, changed);
        all
    }

    /// Takes an event and those that wait behind it.
    fn take(&self, first: Arc<gantry_store::Event>, watcher: &mut Watcher) -> HashSet<String> {
        let mut installed = self.custom.installed.lock();
        let (mut touched, mut changed) = (HashSet::new(), false);
        let mut next = Some(first);
        while let Some(event) = next {
            let name = event.entry.key.rsplit('/').next().unwrap_or_default().to_owned();
            let bytes = Some(&event.entry.value).filter(|_| event.kind != EventKind::Delete);
            changed |= installed.put(&name, bytes, &mut touched);
            next = watcher.try_next();
        }
        self.publish(&mut installed, changed);
        touched
    }

    /// Serves the kinds that are installed now.
    fn publish(&self, installed: &mut Installed, changed: bool) {
        if changed {
            let registry = Arc::new(installed.registry(&self.builtin));
            let documents = self.documents.load().of_kinds(registry.clone());
            self.documents.store(Arc::new(documents));
            self.registry.store(registry);
            installed.end_replaced();
        }
    }

    /// What is to be done for a definition; `None`: nothing.
    fn work_on(&self, name: &str) -> Option<BoxFuture<'_, (String, Done)>> {
        let (stored, settled) = self.custom.installed.lock().unsettled(name)?;
        let name = name.to_owned();
        Some(match cleanup::is_due(&stored) {
            true => async move { (name, self.clean_up(&stored).await) }.boxed(),
            false => async move { (name, self.write_definition(&settled).await) }.boxed(),
        })
    }

    /// Writes a definition's status.
    async fn write_definition(&self, definition: &Value) -> Done {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/apis/{GROUP}/v1/{PLURAL}/{name}/status");
        let mut request = Request::new(Body::from(definition.to_string().into_bytes()));
        *request.method_mut() = Method::PUT;
        let Ok(uri) = path.parse() else { return Done::Finished };
        *request.uri_mut() = uri;
        let agent = HeaderValue::from_static("kube-apiserver");
        request.headers_mut().insert(USER_AGENT, agent);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.handle(request, Some(User::apiserver())).await.status() {
            StatusCode::OK => Done::Finished,
            StatusCode::CONFLICT | StatusCode::NOT_FOUND => Done::Finished,
            code => {
                tracing::warn!(%code, name, "the conditions of a CustomResourceDefinition could not be written");
                Done::Failed
            }
        }
    }
}
