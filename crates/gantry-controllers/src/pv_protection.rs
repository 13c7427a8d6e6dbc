//! Keeps PersistentVolumes that are deleted while they are bound.
//!
//! Flow: a volume that has to get or to lose its finalizer is queued, with every change.

use gantry_client::{Change, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::Api;

use crate::Context;
use crate::protection::{Step, keep, step};

const FINALIZER: &str = "kubernetes.io/pv-protection";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let volumes = context.informers.get::<PersistentVolume>();
    volumes.synced().await;
    let queue = WorkQueue::new();
    let follow = volumes.changes().each(|change| {
        if let Change::Applied { new, .. } = change
            && step(&*new, FINALIZER) != Step::Leave
        {
            queue.add(ObjectKey::of(&new.metadata));
        }
    });
    let work = async |key: ObjectKey| {
        let Some(volume) = volumes.get(&key) else { return Ok(None) };
        let api: Api<PersistentVolume> = Api::all(context.client.clone());
        keep(&api, &volume, FINALIZER, async || Ok(is_bound(&volume))).await
    };
    let workers = run_workers("pv-protection", queue.clone(), 2, work, context.shutdown.clone());
    tokio::join!(follow, workers);
}

fn is_bound(volume: &PersistentVolume) -> bool {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}
