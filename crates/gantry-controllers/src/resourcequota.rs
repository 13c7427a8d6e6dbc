//! Keeps the status of ResourceQuotas: what they allow, and what the objects of their namespace use.
//!
//! Flow: a new quota, a change of what it allows, and whatever may make objects use less queue the
//! namespace. Its quotas and the objects that they count are read from the API and counted, and the
//! statuses that differ are written.
//!
//! Guarantees: the quotas are read before the objects, and written only if they have not changed since.
//! Admission charges a quota in the same commit that stores an object, so that no object is missed. What
//! a quota newly allows is counted twice, since before its first status nothing is charged.
//!
//! Assumes that admission charges what objects use more; only what they use less is followed here.

mod count;
mod monitors;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::quota::Resource;
use gantry_client::{Change, Failure, Informer, WorkQueue, run_workers};
use gantry_json::Value;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ResourceQuota, Service};
use kube::Client;
use kube::api::{ListParams, PostParams};
use kube::core::Request;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::Context;
use crate::resources::{Served, discover};
use crate::writes::{MANAGER, is_gone, is_stale};
use gantry_client::PodView;
use monitors::Monitors;

/// Namespaces worked on at once.
const WORKERS: usize = 5;
/// Time between two counts of a namespace: pods end by the hundred, and are counted once.
const PACE: Duration = Duration::from_millis(200);
/// When it is asked again whether a resource that a quota names is served.
const UNKNOWN: Duration = Duration::from_secs(30);
/// Resources that need no watch of their own here.
const SHARED: [&str; 3] = ["pods", "services", "persistentvolumeclaims"];

/// Runs until shutdown.
pub async fn run(context: Context) {
    let quotas = context.informers.get::<ResourceQuota>();
    let pods = context.informers.get::<PodView>();
    let services = context.informers.get::<Service>();
    let claims = context.informers.get::<PersistentVolumeClaim>();
    quotas.synced().await;
    let mut of_quotas = quotas.changes();
    let (mut of_pods, mut of_services, mut of_claims) =
        (pods.changes(), services.changes(), claims.changes());
    let queue = WorkQueue::new();
    let controller = Controller {
        monitors: Monitors::new(context.client.clone(), context.shutdown.clone()),
        context: context.clone(),
        quotas,
        queue: queue.clone(),
        served: tokio::sync::Mutex::default(),
        counted: Mutex::default(),
    };
    let follow = async {
        loop {
            tokio::select! {
                Some(change) = of_quotas.next() => controller.quota(&change),
                Some(change) = of_pods.next() => {
                    if frees_pod(&change) {
                        controller.freed(Resource::new("", "pods"), change.object().metadata.namespace.as_deref());
                    }
                }
                Some(change) = of_services.next() => {
                    if !is_new(&change) {
                        controller.freed(Resource::new("", "services"), change.object().metadata.namespace.as_deref());
                    }
                }
                Some(change) = of_claims.next() => {
                    if !is_new(&change) {
                        let claims = Resource::new("", "persistentvolumeclaims");
                        controller.freed(claims, change.object().metadata.namespace.as_deref());
                    }
                }
                Some(freed) = controller.monitors.next() => {
                    let (group, plural) = (&freed.group, &freed.plural);
                    controller.freed(Resource::new(group, plural), freed.namespace.as_deref());
                }
                // The monitors come and go with what quotas name, so their end tells nothing.
                () = context.shutdown.cancelled() => break,
            }
        }
    };
    let reconcile = |namespace| controller.reconcile(namespace);
    let workers = run_workers("resourcequota", queue, WORKERS, reconcile, context.shutdown.clone());
    tokio::join!(follow, workers);
}

/// Whether it is about an object that was not known before, which admission has counted.
fn is_new<T>(change: &Change<T>) -> bool {
    matches!(change, Change::Applied { old: None, .. })
}

/// Whether a pod may use less than before: it has ended, or its spec has changed.
fn frees_pod(change: &Change<PodView>) -> bool {
    match change {
        Change::Deleted(_) => true,
        Change::Applied { old: None, .. } => false,
        Change::Applied { old: Some(old), new } => {
            old.is_terminal() != new.is_terminal() || old.metadata.generation != new.metadata.generation
        }
    }
}

struct Controller {
    context: Context,
    quotas: Informer<ResourceQuota>,
    queue: WorkQueue<String>,
    monitors: Monitors,
    /// What the API serves, as it was asked last.
    served: tokio::sync::Mutex<Arc<Vec<Served>>>,
    /// When a namespace was counted last.
    counted: Mutex<HashMap<String, Instant>>,
}

impl Controller {
    fn quota(&self, change: &Change<ResourceQuota>) {
        let namespace = change.object().metadata.namespace.clone().unwrap_or_default();
        match change {
            Change::Applied { old: Some(old), new } if old.spec == new.spec && is_counted(new) => {}
            Change::Applied { .. } => self.queue.add(namespace),
            Change::Deleted(_) => {
                self.counted.lock().remove(&namespace);
                self.monitors.keep(&self.names());
            }
        }
    }

    /// Everything that some quota limits.
    fn names(&self) -> Vec<String> {
        let quotas = self.quotas.list();
        let hard = quotas.iter().filter_map(|quota| quota.spec.as_ref()?.hard.as_ref());
        hard.flat_map(|hard| hard.keys().cloned()).collect()
    }

    /// Objects of the resource may use less, in one namespace or in any.
    fn freed(&self, resource: Resource<'_>, namespace: Option<&str>) {
        let quotas = match namespace {
            Some(namespace) => self.quotas.in_namespace(namespace),
            None => self.quotas.list(),
        };
        for quota in quotas {
            let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
            if hard.is_some_and(|hard| hard.keys().any(|name| resource.matches(name))) {
                self.queue.add(quota.metadata.namespace.clone().unwrap_or_default());
            }
        }
    }

    async fn reconcile(&self, namespace: String) -> Result<Option<Duration>, Failure> {
        if let Some(wait) = self.pace(&namespace) {
            return Ok(Some(wait));
        }
        let client = &self.context.client;
        let quotas = list(client, "/api/v1", &namespace, "resourcequotas").await?;
        if quotas.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = quotas
            .iter()
            .flat_map(|quota| quota["spec"]["hard"].as_object().into_iter().flatten())
            .map(|(name, _)| name.as_str())
            .collect();
        let (counted, unknown) = self.resources(&names).await?;
        let mut objects = Vec::new();
        for served in &counted {
            let resource = &served.resource;
            let base = match &*resource.group {
                "" => format!("/api/{}", resource.version),
                group => format!("/apis/{group}/{}", resource.version),
            };
            let found = list(client, &base, &namespace, &resource.plural).await?;
            objects.push((Resource::new(&resource.group, &resource.plural), found));
        }
        let now = Timestamp::now();
        let mut again = unknown.then_some(UNKNOWN);
        for mut quota in quotas {
            let Some(status) = count::status(&quota, &objects, now) else { continue };
            // Before this nothing was charged to it: objects may have been made meanwhile.
            let renewed = status["hard"] != quota["status"]["hard"];
            quota["status"] = status;
            match self.write(&namespace, &quota).await {
                Ok(()) if renewed => again = Some(PACE),
                Ok(()) => {}
                // Charged meanwhile; the count is old.
                Err(error) if is_stale(&error) => again = Some(PACE),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let ends = count::next_end(&objects, now);
        Ok(again.into_iter().chain(ends).min())
    }

    /// How long to wait before the namespace is counted again.
    fn pace(&self, namespace: &str) -> Option<Duration> {
        let mut counted = self.counted.lock();
        let now = Instant::now();
        if let Some(last) = counted.get(namespace)
            && now.duration_since(*last) < PACE
        {
            return Some(PACE - now.duration_since(*last));
        }
        counted.insert(namespace.to_owned(), now);
        None
    }

    /// The served resources that the names speak of, now watched, and whether there is a name that speaks
    /// of none.
    async fn resources(&self, names: &[&str]) -> Result<(Vec<Served>, bool), Failure> {
        let of = |served: &Served, name: &str| {
            served.namespaced && Resource::new(&served.resource.group, &served.resource.plural).matches(name)
        };
        let unknown = |served: &[Served]| {
            names.iter().any(|name| name.starts_with("count/") && !served.iter().any(|each| of(each, name)))
        };
        let served = {
            let mut known = self.served.lock().await;
            if known.is_empty() || unknown(&known) {
                *known = Arc::new(discover(&self.context.client).await?.resources);
            }
            known.clone()
        };
        let found: Vec<Served> =
            served.iter().filter(|each| names.iter().any(|name| of(each, name))).cloned().collect();
        for each in &found {
            if !(each.resource.group.is_empty() && SHARED.contains(&&*each.resource.plural)) {
                self.monitors.watch(&each.resource);
            }
        }
        Ok((found, unknown(&served)))
    }

    async fn write(&self, namespace: &str, quota: &Value) -> kube::Result<()> {
        let name = quota["metadata"]["name"].as_str().unwrap_or_default();
        let request = Request::new(format!("/api/v1/namespaces/{namespace}/resourcequotas"));
        let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        let body = gantry_json::to_vec(quota).map_err(kube::Error::SerdeError)?;
        let request = request.replace_subresource("status", name, &params, body);
        self.context.client.request::<Value>(request.map_err(kube::Error::BuildRequest)?).await.map(drop)
    }
}

/// Whether the quota's status is about what it allows.
fn is_counted(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    quota.status.as_ref().is_some_and(|status| status.hard.as_ref() == hard)
}

/// The objects of a resource in a namespace, as the API has them now.
async fn list(client: &Client, base: &str, namespace: &str, plural: &str) -> kube::Result<Vec<Value>> {
    let request = Request::new(format!("{base}/namespaces/{namespace}/{plural}"));
    let request = request.list(&ListParams::default()).map_err(kube::Error::BuildRequest)?;
    let mut found: Value = client.request(request).await?;
    match found["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Ok(Vec::new()),
    }
}
