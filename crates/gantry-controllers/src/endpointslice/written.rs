//! What this controller wrote and the informer does not show yet.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_client::Change;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::answer;

/// Slices newer than the informer's, by uid; `None` where the slice was deleted. Without them, a slice
/// that was just made would be made again.
#[derive(Debug, Default)]
pub(crate) struct Written(HashMap<String, (u64, Option<Arc<EndpointSlice>>)>);

fn uid(slice: &EndpointSlice) -> String {
    slice.metadata.uid.clone().unwrap_or_default()
}

fn version(slice: &EndpointSlice) -> u64 {
    let version = slice.metadata.resource_version.as_deref();
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

impl Written {
    /// Remembers what a write answered.
    pub fn wrote(&mut self, slice: EndpointSlice) {
        self.0.insert(uid(&slice), (version(&slice), Some(Arc::new(slice))));
    }

    /// Remembers a deletion.
    pub fn deleted(&mut self, slice: &EndpointSlice) {
        self.0.insert(uid(slice), (u64::MAX, None));
    }

    /// Forgets a slice that turned out to be gone.
    pub fn forget(&mut self, slice: &EndpointSlice) {
        self.0.remove(&uid(slice));
    }

    /// Takes note of what the informer shows now; whether that was known already.
    pub fn observe(&mut self, change: &Change<EndpointSlice>) -> bool {
        match change {
            Change::Deleted(slice) => matches!(self.0.remove(&uid(slice)), Some((_, None))),
            Change::Applied { new, .. } => {
                let (uid, version) = (uid(new), version(new));
                let Some((ours, _)) = self.0.get(&uid) else { return false };
                let (older, same) = (version < *ours, version == *ours);
                if !older {
                    self.0.remove(&uid);
                }
                older || same
            }
        }
    }

    /// The slices of `selected` in the informer's `shown` and in what was written since.
    pub fn overlay(
        &self,
        shown: Vec<Arc<EndpointSlice>>,
        selected: impl Fn(&EndpointSlice) -> bool,
    ) -> Vec<Arc<EndpointSlice>> {
        let mut slices: Vec<_> = shown
            .into_iter()
            .filter(|slice| selected(slice))
            .filter_map(|slice| match self.0.get(&uid(&slice)) {
                Some((ours, newer)) if *ours > version(&slice) => newer.clone(),
                _ => Some(slice),
            })
            .collect();
        for (_, ours) in self.0.values() {
            if let Some(ours) = ours
                && selected(ours)
                && !slices.iter().any(|slice| slice.metadata.uid == ours.metadata.uid)
            {
                slices.push(ours.clone());
            }
        }
        slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        slices
    }
}

/// Makes, changes and deletes slices of `namespace`, and remembers it in `written`.
pub(crate) async fn write(
    client: &Client,
    namespace: &str,
    written: &Mutex<Written>,
    create: &[EndpointSlice],
    update: &[EndpointSlice],
    delete: &[Arc<EndpointSlice>],
) -> kube::Result<()> {
    let api = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    for slice in create {
        match api.create(&PostParams::default(), slice).await {
            Ok(made) => written.lock().wrote(made),
            Err(error) if answer::namespace_leaves(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    for slice in update {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        match api.replace(name, &PostParams::default(), slice).await {
            Ok(made) => written.lock().wrote(made),
            Err(error) => {
                if answer::code(&error) == 404 {
                    written.lock().forget(slice);
                }
                return Err(error);
            }
        }
    }
    for slice in delete {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let preconditions = Preconditions { uid: slice.metadata.uid.clone(), ..Default::default() };
        let params = DeleteParams { preconditions: Some(preconditions), ..Default::default() };
        match api.delete(name, &params).await {
            Ok(_) => written.lock().deleted(slice),
            Err(error) if answer::code(&error) == 404 => written.lock().forget(slice),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
