//! Keeps VolumeAttributesClasses that are deleted until no claim and no volume has them.
//!
//! Flow: a class that has to get or to lose its finalizer is queued, and the deleted ones with every claim
//! or volume that changes or goes.

use gantry_client::{Change, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kube::{Api, ResourceExt};

use crate::Context;
use crate::protection::{Step, keep, step};

const FINALIZER: &str = "kubernetes.io/vac-protection";

/// Runs until shutdown.
pub async fn run(context: Context) {
    let classes = context.informers.get::<VolumeAttributesClass>();
    let claims = context.informers.get::<PersistentVolumeClaim>();
    let volumes = context.informers.get::<PersistentVolume>();
    classes.synced().await;
    claims.synced().await;
    volumes.synced().await;
    let queue = WorkQueue::new();
    let freed = || {
        for class in
            classes.list().iter().filter(|class| step(&***class, FINALIZER) == Step::RemoveUnlessUsed)
        {
            queue.add(ObjectKey::of(&class.metadata));
        }
    };
    let of_classes = classes.changes().each(|change| {
        if let Change::Applied { new, .. } = change
            && step(&*new, FINALIZER) != Step::Leave
        {
            queue.add(ObjectKey::of(&new.metadata));
        }
    });
    let of_claims = claims.changes().each(|_| freed());
    let of_volumes = volumes.changes().each(|_| freed());
    let work = async |key: ObjectKey| {
        let Some(class) = classes.get(&key) else { return Ok(None) };
        let name = class.name_any();
        let api: Api<VolumeAttributesClass> = Api::all(context.client.clone());
        let used = async || {
            let claimed = claims.list().iter().any(|claim| names_of(claim).any(|each| each == name));
            let of_volume =
                |volume: &PersistentVolume| volume.spec.as_ref()?.volume_attributes_class_name.clone();
            Ok(claimed || volumes.list().iter().any(|volume| of_volume(volume).as_ref() == Some(&name)))
        };
        keep(&api, &class, FINALIZER, used).await
    };
    let workers = run_workers("vac-protection", queue.clone(), 2, work, context.shutdown.clone());
    tokio::join!(of_classes, of_claims, of_volumes, workers);
}

/// The classes that a claim has, wants or is coming to.
fn names_of(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let current = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let target = status.and_then(|status| status.modify_volume_status.as_ref());
    let target = target.and_then(|target| target.target_volume_attributes_class_name.as_deref());
    wanted.into_iter().chain(current).chain(target)
}
