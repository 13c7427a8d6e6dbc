//! Carries changes from the informers to the process that answers.

use std::io;

use gantry_client::{Change, Informers};
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::update::Update;

/// Tells `to` everything that exists, then that this was all, then every change that matters to DNS,
/// until the informers end.
pub(crate) async fn feed(informers: &Informers, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let (namespaces, services, slices) =
        (informers.get::<Namespace>(), informers.get::<Service>(), informers.get::<EndpointSlice>());
    let (mut of_namespaces, mut of_services, mut of_slices) =
        (namespaces.changes(), services.changes(), slices.changes());
    let mut lists =
        std::pin::pin!(async { tokio::join!(namespaces.synced(), services.synced(), slices.synced()) });
    let (mut known, mut bytes) = (false, Vec::new());
    loop {
        let mut updates = Vec::new();
        let mut listed = false;
        tokio::select! {
            change = of_namespaces.next() => match change {
                Some(change) => updates.extend(namespace(&change)),
                None => return Ok(()),
            },
            change = of_services.next() => match change {
                Some(change) => updates.extend(service(&change)),
                None => return Ok(()),
            },
            change = of_slices.next() => match change {
                Some(change) => updates.extend(slice(&change)),
                None => return Ok(()),
            },
            _ = &mut lists, if !known => listed = true,
        }
        // What else is there already goes with the same write.
        updates
            .extend(std::iter::from_fn(|| of_namespaces.try_next()).filter_map(|change| namespace(&change)));
        updates.extend(std::iter::from_fn(|| of_services.try_next()).filter_map(|change| service(&change)));
        updates.extend(std::iter::from_fn(|| of_slices.try_next()).filter_map(|change| slice(&change)));
        if listed {
            known = true;
            updates.push(Update::Known);
        }
        bytes.clear();
        for update in updates {
            update.write(&mut bytes)?;
        }
        to.write_all(&bytes).await?;
    }
}

fn namespace(change: &Change<Namespace>) -> Option<Update> {
    let name = change.object().metadata.name.clone().unwrap_or_default();
    match change {
        Change::Applied { old: Some(_), .. } => None,
        Change::Applied { old: None, .. } => Some(Update::Namespace { name, exists: true }),
        Change::Deleted(_) => Some(Update::Namespace { name, exists: false }),
    }
}

fn service(change: &Change<Service>) -> Option<Update> {
    match change {
        Change::Applied { old, new } => news(old.as_deref().map(Update::service), Update::service(new)),
        Change::Deleted(last) => Some(Update::no_service(last)),
    }
}

fn slice(change: &Change<EndpointSlice>) -> Option<Update> {
    match change {
        Change::Applied { old, new } => news(old.as_deref().map(Update::slice), Update::slice(new)),
        Change::Deleted(last) => Some(Update::no_slice(last)),
    }
}

/// Most changes of an object are none to DNS.
fn news(old: Option<Update>, new: Update) -> Option<Update> {
    (old.as_ref() != Some(&new)).then_some(new)
}
