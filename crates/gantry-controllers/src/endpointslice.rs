//! Keeps the EndpointSlices of every Service that selects pods.
//!
//! Flow: a service, one of its pods or one of its slices changes; the plan compares what the slices say
//! with what they should, and the difference is written. Guarantees: each endpoint stands in one slice, a
//! slice holds at most 100, unchanged input causes no write. Assumes one writer of slices that carry
//! this controller's label. Slices of a deleted service are the garbage collector's.

mod packing;
mod plan;
mod written;

use std::collections::{BTreeMap, HashMap};

use gantry_client::{Change, Failure, Informer, ObjectKey, PodView, WorkQueue, reference, run_workers};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;

use crate::Context;
use crate::service_pods::{TriggerTimes, is_served, selects, services_of};
use plan::{CONTROLLER, Snapshot};
pub(crate) use plan::{MANAGED_BY, Ports, SERVICE_NAME, ports_of, slice_ports};
pub(crate) use written::{Written, write};

/// Services worked on at the same time.
const WORKERS: usize = 5;

struct Controller {
    context: Context,
    services: Informer<Service>,
    pods: Informer<PodView>,
    slices: Informer<EndpointSlice>,
    nodes: Informer<Node>,
    written: Mutex<Written>,
    triggers: Mutex<HashMap<ObjectKey, TriggerTimes>>,
    queue: WorkQueue<ObjectKey>,
}

/// A pod is left out until its node is known.
#[derive(Debug, thiserror::Error)]
#[error("node {0} of a pod of the service is not known")]
struct UnknownNode(String);

/// Runs until shutdown.
pub async fn run(context: Context) {
    let informers = &context.informers;
    let controller = Controller {
        services: informers.get(),
        pods: informers.get(),
        slices: informers.get(),
        nodes: informers.get(),
        written: Mutex::default(),
        triggers: Mutex::default(),
        queue: WorkQueue::new(),
        context,
    };
    let controller = &controller;
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.slices.synced().await;
    controller.nodes.synced().await;
    let of_services = controller.services.changes().each(|change| controller.service_changed(&change));
    let of_pods = controller.pods.changes().each(|change| controller.pod_changed(&change));
    let of_slices = controller.slices.changes().each(|change| controller.slice_changed(&change));
    let shutdown = controller.context.shutdown.clone();
    let reconcile = async |key| controller.reconcile(key).await;
    let work = run_workers("endpointslice", controller.queue.clone(), WORKERS, reconcile, shutdown);
    tokio::join!(of_services, of_pods, of_slices, work);
}

impl Controller {
    fn service_changed(&self, change: &Change<Service>) {
        let key = ObjectKey::of(&change.object().metadata);
        if matches!(change, Change::Deleted(_)) {
            self.triggers.lock().remove(&key);
        } else {
            self.queue.add(key);
        }
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let (old, new) = change.states();
        for key in services_of(&self.services, old, new) {
            self.queue.add(key);
        }
    }

    fn slice_changed(&self, change: &Change<EndpointSlice>) {
        let known = self.written.lock().observe(change);
        let labels = change.object().metadata.labels.as_ref();
        let label = |name| labels.and_then(|all| all.get(name));
        if let Some(service) = label(SERVICE_NAME)
            && label(MANAGED_BY).is_some_and(|by| by == CONTROLLER)
            && !known
        {
            let namespace = change.object().metadata.namespace.clone().unwrap_or_default();
            self.queue.add(ObjectKey::new(namespace, service));
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<std::time::Duration>, Failure> {
        let Some(service) = self.services.get(&key).filter(|service| is_served(service)) else {
            return Ok(None);
        };
        let mut pods = self.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selects(&service, pod.metadata.labels.as_ref()));
        let slices = self.written.lock().overlay(self.slices.in_namespace(&key.namespace), |slice| {
            let labels = slice.metadata.labels.as_ref();
            let label = |name| labels.and_then(|all| all.get(name)).map(String::as_str);
            slice.metadata.namespace.as_ref() == Some(&key.namespace)
                && slice.metadata.deletion_timestamp.is_none()
                && label(SERVICE_NAME) == Some(&key.name)
                && label(MANAGED_BY) == Some(CONTROLLER)
        });
        let nodes: BTreeMap<_, _> = pods
            .iter()
            .filter_map(|pod| {
                let name = pod.node_name.clone()?;
                let node = self.nodes.get(&ObjectKey::new("", &*name))?;
                Some((name, node.metadata.labels.clone().unwrap_or_default()))
            })
            .collect();
        let trigger = {
            let mut triggers = self.triggers.lock();
            triggers.entry(key.clone()).or_default().observe(&service, pods.iter().map(|pod| &**pod))
        };
        let plan =
            plan::plan(&Snapshot { service: &service, pods: &pods, slices: &slices, nodes: &nodes, trigger });
        let unknown = plan.unknown_node.clone();
        let client = &self.context.client;
        let written = write(client, &key.namespace, &self.written, &plan.create, &plan.update, &plan.delete);
        if let Err(error) = written.await {
            let message =
                format!("Error updating Endpoint Slices for Service {}/{}: {error}", key.namespace, key.name);
            self.context.recorder.event(reference(&*service), true, "FailedToUpdateEndpointSlices", message);
            return Err(error.into());
        }
        match unknown {
            Some(node) => Err(UnknownNode(node).into()),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
