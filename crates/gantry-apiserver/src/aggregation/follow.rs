//! Keeps the condition Available of every APIService true to the facts.
//!
//! Flow: one worker for each APIService that somebody else answers for. It looks again when the
//! APIService, its Service or what is behind that changes, and in between it asks the server from time to
//! time. Guarantee: what has no remote APIServices has no workers, no timers and no watches but that of
//! APIServices. Assumption: several servers may do this at the same time and come to the same result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::SelectAll;
use gantry_json::Value;
use gantry_store::{Event, WatchEnd, Watcher};
use http::Method;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::availability::{self, Availability};
use super::documents;
use super::service::{ApiService, PREFIX, Remote};
use crate::ApiServer;
use crate::bootstrap::Api as _;

/// How often a server is asked whether it is still there: nothing tells us when it is not.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// How often a server is asked for its documents again: nothing tells us when they change.
const DESCRIBE_AGAIN: Duration = Duration::from_secs(60);

/// How soon a server that did not answer is asked again; twice as long each time, up to the above.
const RETRY: Duration = Duration::from_millis(100);

const SERVICES: &str = "/registry/services/";
const SLICES: &str = "/registry/discovery.k8s.io/endpointslices/";
const ENDPOINTS: &str = "/registry/endpoints/";

/// One APIService that is looked after.
struct Worker {
    remote: Remote,
    changed: Arc<Notify>,
    _running: AbortOnDropHandle<()>,
}

/// Runs until the store closes; dropping it is safe.
pub(crate) async fn run(server: Arc<ApiServer>) {
    let mut workers: BTreeMap<String, Worker> = BTreeMap::new();
    loop {
        let snapshot = server.store.snapshot();
        if server.store.wait_for(snapshot.revision()).await.is_err() {
            return;
        }
        let namespaces = needed(&server);
        let mut prefixes = vec![PREFIX.to_owned()];
        for kind in [SERVICES, SLICES, ENDPOINTS] {
            prefixes.extend(namespaces.iter().map(|namespace| format!("{kind}{namespace}/")));
        }
        let watches: Result<Vec<Watcher>, _> =
            prefixes.iter().map(|prefix| server.store.watch(prefix, snapshot.revision(), None)).collect();
        let watches = match watches {
            Ok(watches) => watches,
            // Compacted between the two calls.
            Err(gantry_store::Error::Compacted { .. }) => continue,
            Err(_) => return,
        };
        drop(snapshot);
        // What changed before the watches began is looked at now.
        workers.values().for_each(|worker| worker.changed.notify_one());
        if !follow(&server, &mut workers, watches, &namespaces).await {
            return;
        }
    }
}

/// Follows the changes until other ones are to be followed; false: the store closed.
async fn follow(
    server: &Arc<ApiServer>,
    workers: &mut BTreeMap<String, Worker>,
    watches: Vec<Watcher>,
    namespaces: &BTreeSet<String>,
) -> bool {
    let ended = |watch: &Watcher| watch.end();
    let mut streams = SelectAll::new();
    for watch in watches {
        // A watch's end is an item, so that it is seen.
        streams.push(Box::pin(futures::stream::unfold(Some(watch), move |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Some(event) => Some((Ok(event), Some(watch))),
                None => Some((Err(ended(&watch)), None)),
            }
        })));
    }
    reconcile(server, workers).await;
    if needed(server) != *namespaces {
        return true;
    }
    while let Some(item) = streams.next().await {
        match item {
            Ok(event) if event.entry.key.starts_with(PREFIX) => {
                // The index of APIServices is to know of it too.
                if server.store.wait_for(event.entry.mod_revision).await.is_err() {
                    return false;
                }
                reconcile(server, workers).await;
                if needed(server) != *namespaces {
                    return true;
                }
            }
            Ok(event) => {
                for worker in workers.values().filter(|worker| concerns(&event, &worker.remote)) {
                    worker.changed.notify_one();
                }
            }
            Err(WatchEnd::TooSlow) => return true,
            Err(_) => return false,
        }
    }
    false
}

fn needed(server: &ApiServer) -> BTreeSet<String> {
    let services = server.aggregation.services();
    services.iter().filter_map(|each| Some(each.remote.as_ref()?.namespace.clone())).collect()
}

/// Whether a change of a Service, or of what is behind one, is of that of an APIService.
fn concerns(event: &Event, remote: &Remote) -> bool {
    let key: &str = &event.entry.key;
    let within = |kind: &str| key.strip_prefix(kind)?.strip_prefix(&*remote.namespace)?.strip_prefix('/');
    if let Some(name) = within(SERVICES).or_else(|| within(ENDPOINTS)) {
        return name == remote.name;
    }
    // A slice is named after its Service by those who keep it, but its label says whose it is.
    let label = format!("\"kubernetes.io/service-name\":\"{}\"", remote.name);
    within(SLICES).is_some() && memchr::memmem::find(&event.entry.value, label.as_bytes()).is_some()
}

/// A worker for each APIService that needs one, and the right condition for those that need none.
async fn reconcile(server: &Arc<ApiServer>, workers: &mut BTreeMap<String, Worker>) {
    let services = server.aggregation.services();
    let kept = |name: &String, worker: &mut Worker| {
        let kept =
            services.iter().any(|each| each.name == *name && each.remote.as_ref() == Some(&worker.remote));
        if !kept {
            server.metrics.no_longer_available(name);
        }
        kept
    };
    server.aggregation.describe(None);
    let before = workers.len();
    workers.retain(kept);
    if workers.len() != before {
        server.aggregation.forget_others(&services);
    }
    for service in services {
        match &service.remote {
            Some(remote) if !workers.contains_key(&service.name) => {
                let changed = Arc::new(Notify::new());
                let running = look_after(server.clone(), service.clone(), remote.clone(), changed.clone());
                let worker = Worker {
                    remote: remote.clone(),
                    changed,
                    _running: AbortOnDropHandle::new(tokio::spawn(running)),
                };
                workers.insert(service.name.clone(), worker);
            }
            Some(_) => {}
            None if !service.available => {
                write(server, &service, &Availability::local()).await;
            }
            None => {}
        }
    }
}

async fn look_after(server: Arc<ApiServer>, service: Arc<ApiService>, remote: Remote, changed: Arc<Notify>) {
    let mut retry = RETRY;
    let mut asked: Option<Instant> = None;
    loop {
        let availability = availability::check(&server, &service, &remote).await;
        if !availability.is_available() {
            // What it says may be another thing when it is there again.
            asked = None;
        } else if asked.is_none_or(|asked| asked.elapsed() >= DESCRIBE_AGAIN) {
            // Before anybody is told that it is available, so that it is discovered then.
            let last = server.aggregation.described().of(&service.name);
            let said = documents::ask(&server, &service, &remote, last).await;
            asked = Some(Instant::now());
            server.aggregation.describe(Some((&service.name, said)));
        }
        let written = write(&server, &service, &availability).await;
        let wait = if availability.is_available() && written {
            retry = RETRY;
            ASK_AGAIN
        } else {
            let wait = retry;
            retry = (retry * 2).min(ASK_AGAIN);
            wait
        };
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Writes the condition where it is another one; false: that failed.
async fn write(server: &ApiServer, service: &ApiService, availability: &Availability) -> bool {
    let Ok(object) = server.read_object("apiregistration.k8s.io", "apiservices", "", &service.name) else {
        return true;
    };
    // Another one of the same name has another worker.
    if ApiService::read(&object).remote != service.remote {
        return true;
    }
    server.metrics.available(&service.name, availability.is_available(), availability.reason);
    let Some(next) = availability.written(&object, &now()) else { return true };
    let path = format!("/apis/apiregistration.k8s.io/v1/apiservices/{}/status", service.name);
    let (code, answer) = server.call(Method::PUT, &path, Some(&next)).await;
    if code >= 400 && code != 404 && code != 409 {
        let message: &Value = &answer["message"];
        tracing::warn!(apiservice = service.name, code, %message, "the condition of an APIService is not written");
    }
    code < 400
}

fn now() -> String {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    now.to_string()
}
