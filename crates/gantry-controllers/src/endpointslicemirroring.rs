//! Mirrors Endpoints that somebody else writes, of Services without a selector, into EndpointSlices, which is
//! what service proxies read.
//!
//! Flow: an Endpoints object, its Service or one of its mirrors changes; the plan compares them, and the
//! difference is written. Guarantees: one slice for each set of ports and family of addresses, with at most 1000
//! endpoints; unchanged input causes no write; mirrors go when there is nothing to mirror. Assumes one writer
//! of slices that carry this controller's label.

mod plan;

use std::time::Duration;

use gantry_client::{Change, Failure, Informer, ObjectKey, WorkQueue, reference, run_workers};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;

use crate::Context;
use crate::endpointslice::{MANAGED_BY, SERVICE_NAME, Written, write};
use plan::{CONTROLLER, MOST, Plan};

/// Endpoints objects worked on at the same time.
const WORKERS: usize = 5;

struct Controller {
    context: Context,
    services: Informer<Service>,
    endpoints: Informer<Endpoints>,
    slices: Informer<EndpointSlice>,
    written: Mutex<Written>,
    queue: WorkQueue<ObjectKey>,
}

/// Runs until shutdown.
pub async fn run(context: Context) {
    let informers = &context.informers;
    let controller = Controller {
        services: informers.get(),
        endpoints: informers.get(),
        slices: informers.get(),
        written: Mutex::default(),
        queue: WorkQueue::new(),
        context,
    };
    let controller = &controller;
    controller.services.synced().await;
    controller.endpoints.synced().await;
    controller.slices.synced().await;
    let queue = &controller.queue;
    let of_services = controller.services.changes().each(|change| controller.service_changed(&change));
    let of_endpoints =
        controller.endpoints.changes().each(|change| queue.add(ObjectKey::of(&change.object().metadata)));
    let of_slices = controller.slices.changes().each(|change| controller.slice_changed(&change));
    let shutdown = controller.context.shutdown.clone();
    let reconcile = async |key| controller.reconcile(key).await;
    let work = run_workers("endpointslicemirroring", queue.clone(), WORKERS, reconcile, shutdown);
    tokio::join!(of_services, of_endpoints, of_slices, work);
}

impl Controller {
    /// Whether there is a selector is all that matters of a service.
    fn service_changed(&self, change: &Change<Service>) {
        let selector = |service: &Service| service.spec.as_ref().and_then(|spec| spec.selector.clone());
        if let Change::Applied { old: Some(old), new } = change
            && selector(old).is_some() == selector(new).is_some()
        {
            return;
        }
        self.queue.add(ObjectKey::of(&change.object().metadata));
    }

    fn slice_changed(&self, change: &Change<EndpointSlice>) {
        let known = self.written.lock().observe(change);
        let slice = change.object();
        if let Some(name) = mirrored(slice).filter(|_| !known) {
            self.queue.add(ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), name));
        }
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Option<Duration>, Failure> {
        let slices = self.written.lock().overlay(self.slices.in_namespace(&key.namespace), |slice| {
            slice.metadata.namespace.as_ref() == Some(&key.namespace)
                && slice.metadata.deletion_timestamp.is_none()
                && mirrored(slice) == Some(&key.name)
        });
        let endpoints = self.endpoints.get(&key);
        let mirrored = endpoints.filter(|endpoints| {
            self.services.get(&key).is_some_and(|service| plan::is_mirrored(endpoints, &service))
        });
        let Some(endpoints) = mirrored else {
            self.write(&key, Plan { delete: slices, ..Plan::default() }).await?;
            return Ok(None);
        };
        let plan = plan::plan(&endpoints, &slices);
        if plan.invalid > 0 {
            let message =
                format!("Skipped {} invalid IP addresses when mirroring to EndpointSlices", plan.invalid);
            self.context.recorder.event(reference(&*endpoints), true, "InvalidIPAddress", message);
        }
        if plan.skipped > plan.invalid {
            let message = format!(
                "A max of {MOST} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were \
                 skipped",
                plan.skipped
            );
            self.context.recorder.event(reference(&*endpoints), true, "TooManyAddressesToMirror", message);
        }
        self.write(&key, plan).await?;
        Ok(None)
    }

    async fn write(&self, key: &ObjectKey, plan: Plan) -> kube::Result<()> {
        let client = &self.context.client;
        write(client, &key.namespace, &self.written, &plan.create, &plan.update, &plan.delete).await
    }
}

/// The name of the Endpoints object that a slice mirrors.
fn mirrored(slice: &EndpointSlice) -> Option<&String> {
    let labels = slice.metadata.labels.as_ref()?;
    labels.get(SERVICE_NAME).filter(|_| labels.get(MANAGED_BY).is_some_and(|by| by == CONTROLLER))
}
