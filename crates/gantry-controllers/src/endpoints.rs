//! Keeps the Endpoints of every Service that selects pods, for clients from before EndpointSlices.
//!
//! Flow: a service, one of its pods or its Endpoints changes; the object is made, changed or, with its
//! service, deleted. Guarantees: unchanged input causes no write; at most 1000 addresses, and an
//! annotation where there were more. Endpoints of services without a selector are left alone.

mod subsets;

use std::collections::HashMap;
use std::time::Duration;

use gantry_client::{Change, Failure, Informer, ObjectKey, PodView, WorkQueue, reference, run_workers};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use parking_lot::Mutex;

use crate::service_pods::{
    HEADLESS, TRIGGER_TIME, TriggerTimes, is_headless, is_served, selects, services_of,
};
use crate::{Context, answer};

/// Says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Says who made the object.
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// An object with this annotation is somebody's lock, not a service's endpoints.
const LOCK: &str = "control-plane.alpha.kubernetes.io/leader";
/// Services worked on at the same time.
const WORKERS: usize = 5;

struct Controller {
    context: Context,
    services: Informer<Service>,
    pods: Informer<PodView>,
    endpoints: Informer<Endpoints>,
    triggers: Mutex<HashMap<ObjectKey, TriggerTimes>>,
    queue: WorkQueue<ObjectKey>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let informers = &context.informers;
    let controller = Controller {
        services: informers.get(),
        pods: informers.get(),
        endpoints: informers.get(),
        triggers: Mutex::default(),
        queue: WorkQueue::new(),
        context,
    };
    let controller = &controller;
    let (services, pods, mut endpoints) =
        (controller.services.changes(), controller.pods.changes(), controller.endpoints.changes());
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.endpoints.synced().await;
    let queue = &controller.queue;
    // What was left over while no controller ran.
    while let Some(change) = endpoints.try_next() {
        queue.add(ObjectKey::of(&change.object().metadata));
    }
    let of_services = services.each(|change| queue.add(ObjectKey::of(&change.object().metadata)));
    let of_endpoints = endpoints.each(|change| controller.endpoints_changed(&change));
    let of_pods = pods.each(|change| controller.pod_changed(&change));
    let shutdown = controller.context.shutdown.clone();
    let reconcile = async |key| controller.reconcile(key).await;
    let work = run_workers("endpoints", queue.clone(), WORKERS, reconcile, shutdown);
    tokio::join!(of_services, of_endpoints, of_pods, work);
}

impl Controller {
    /// Endpoints may be shown before the service for which somebody made them: they are no leftovers.
    fn endpoints_changed(&self, change: &Change<Endpoints>) {
        let metadata = &change.object().metadata;
        let label = metadata.labels.as_ref().and_then(|all| all.get(MANAGED_BY.0));
        let key = ObjectKey::of(metadata);
        if label.is_some_and(|by| by == MANAGED_BY.1) || self.services.get(&key).is_some() {
            self.queue.add(key);
        }
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let (old, new) = change.states();
        for key in services_of(&self.services, old, new) {
            self.queue.add(key);
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let api = Api::<Endpoints>::namespaced(self.context.client.clone(), &key.namespace);
        let existing = self.endpoints.get(&key);
        let Some(service) = self.services.get(&key) else {
            self.triggers.lock().remove(&key);
            if existing.is_some_and(|existing| !is_lock(&existing)) {
                return match api.delete(&key.name, &DeleteParams::default()).await {
                    Err(error) if answer::code(&error) != 404 => Err(error.into()),
                    _ => Ok(None),
                };
            }
            return Ok(None);
        };
        if !is_served(&service) {
            return Ok(None);
        }
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selects(&service, pod.metadata.labels.as_ref()));
        let trigger = {
            let mut triggers = self.triggers.lock();
            triggers.entry(key.clone()).or_default().observe(&service, pods.iter().map(|pod| &**pod))
        };
        let Some(wanted) = wanted(&service, pods.iter().map(|pod| &**pod), existing.as_deref(), trigger)
        else {
            return Ok(None);
        };
        let written = match existing {
            Some(_) => api.replace(&key.name, &PostParams::default(), &wanted).await,
            None => api.create(&PostParams::default(), &wanted).await,
        };
        match written {
            Ok(_) => Ok(None),
            Err(error) if answer::namespace_leaves(&error) => Ok(None),
            // The informer shows what is there before long, and that brings the key back.
            Err(error) if answer::code(&error) == 409 && existing.is_none() => Ok(None),
            Err(error) => {
                let (reason, what) = match existing {
                    Some(_) => ("FailedToUpdateEndpoint", "update endpoint"),
                    None => ("FailedToCreateEndpoint", "create endpoint for service"),
                };
                let message = format!("Failed to {what} {}/{}: {error}", key.namespace, key.name);
                self.context.recorder.event(reference(&wanted), true, reason, message);
                Err(error.into())
            }
        }
    }
}

fn is_lock(endpoints: &Endpoints) -> bool {
    endpoints.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LOCK))
}

/// What the object has to become; `None` where it is right.
fn wanted<'a>(
    service: &Service,
    pods: impl IntoIterator<Item = &'a PodView>,
    existing: Option<&Endpoints>,
    trigger: Option<Timestamp>,
) -> Option<Endpoints> {
    let mut subsets = subsets::subsets(service, pods);
    let cut = subsets::truncate(&mut subsets);
    let subsets = (!subsets.is_empty()).then_some(subsets);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(MANAGED_BY.0.into(), MANAGED_BY.1.into());
    let same = existing.is_some_and(|existing| {
        let annotation = existing.metadata.annotations.as_ref().and_then(|all| all.get(OVER_CAPACITY));
        let before = existing.subsets.clone().filter(|list| !list.is_empty());
        before == subsets
            && existing.metadata.labels.as_ref() == Some(&labels)
            && annotation.map(String::as_str) == cut.then_some("truncated")
    });
    if same {
        return None;
    }
    let mut metadata = existing.map(|existing| existing.metadata.clone()).unwrap_or_default();
    metadata.name = service.metadata.name.clone();
    metadata.namespace = service.metadata.namespace.clone();
    metadata.labels = Some(labels);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.remove(OVER_CAPACITY);
    annotations.remove(TRIGGER_TIME);
    if cut {
        annotations.insert(OVER_CAPACITY.into(), "truncated".into());
    }
    if let Some(time) = trigger {
        annotations.insert(TRIGGER_TIME.into(), time.to_string());
    }
    if annotations.is_empty() {
        metadata.annotations = None;
    }
    Some(Endpoints { metadata, subsets })
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn what_is_right_is_left_alone() {
        let service: Service = gantry_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "labels": {"team": "a"}},
            "spec": {"clusterIP": "10.43.0.7", "selector": {"app": "web"}, "ports": [{"port": 80}]},
        }))
        .expect("a Service");
        let at = "2026-01-01T00:00:00Z".parse().ok();
        let made = wanted(&service, [], None, at).expect("it is missing");
        let annotation = made.metadata.annotations.as_ref().and_then(|all| all.get(TRIGGER_TIME));
        assert_eq!(annotation.map(String::as_str), Some("2026-01-01T00:00:00Z"));
        assert_eq!(wanted(&service, [], Some(&made), at), None);
        let mut relabelled = service.clone();
        relabelled.metadata.labels = None;
        assert!(wanted(&relabelled, [], Some(&made), None).is_some());
    }
}
