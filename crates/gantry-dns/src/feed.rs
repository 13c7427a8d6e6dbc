//! Carries changes from the informers into the index.

use std::sync::Arc;

use gantry_client::{Change, Informers};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::Index;

/// Keeps `index` up until the informers end. `synced` turns true when it holds everything that
/// their first lists held.
pub(crate) async fn feed(informers: &Informers, index: Arc<RwLock<Index>>, synced: watch::Sender<bool>) {
    let (namespaces, services, slices) =
        (informers.get::<Namespace>(), informers.get::<Service>(), informers.get::<EndpointSlice>());
    let (mut of_namespaces, mut of_services, mut of_slices) =
        (namespaces.changes(), services.changes(), slices.changes());
    let mut lists =
        std::pin::pin!(async { tokio::join!(namespaces.synced(), services.synced(), slices.synced()) });
    loop {
        tokio::select! {
            change = of_namespaces.next() => match change {
                Some(change) => namespace(&mut index.write(), &change),
                None => return,
            },
            change = of_services.next() => match change {
                Some(change) => service(&mut index.write(), &change),
                None => return,
            },
            change = of_slices.next() => match change {
                Some(change) => slice(&mut index.write(), &change),
                None => return,
            },
            _ = &mut lists, if !*synced.borrow() => {
                let mut index = index.write();
                while let Some(change) = of_namespaces.try_next() {
                    namespace(&mut index, &change);
                }
                while let Some(change) = of_services.try_next() {
                    service(&mut index, &change);
                }
                while let Some(change) = of_slices.try_next() {
                    slice(&mut index, &change);
                }
                synced.send_replace(true);
            }
        }
    }
}

fn namespace(index: &mut Index, change: &Change<Namespace>) {
    let name = change.object().metadata.name.as_deref().unwrap_or_default();
    match change {
        Change::Applied { .. } => index.apply_namespace(name),
        Change::Deleted(_) => index.remove_namespace(name),
    }
}

fn service(index: &mut Index, change: &Change<Service>) {
    match change {
        Change::Applied { new, .. } => index.apply_service(new),
        Change::Deleted(last) => index.remove_service(last),
    }
}

fn slice(index: &mut Index, change: &Change<EndpointSlice>) {
    match change {
        Change::Applied { new, .. } => index.apply_slice(new),
        Change::Deleted(last) => index.remove_slice(last),
    }
}
