//! How endpoints are spread over slices: as few writes as possible before as few slices as possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// Most endpoints in a slice.
pub(super) const FULL: usize = 100;

/// What becomes of the slices of one set of ports.
#[derive(Debug, Default)]
pub(super) struct Slices {
    pub new: Vec<EndpointSlice>,
    pub changed: Vec<EndpointSlice>,
    pub empty: Vec<Arc<EndpointSlice>>,
}

/// An endpoint, whatever its conditions.
type Identity = (Vec<String>, Option<String>, Option<(Option<String>, Option<String>)>);

fn identity(endpoint: &Endpoint) -> Identity {
    let target = endpoint.target_ref.as_ref().map(|target| (target.namespace.clone(), target.name.clone()));
    (endpoint.addresses.clone(), endpoint.node_name.clone(), target)
}

/// Keeps every endpoint of `existing` that is still `desired` where it is; puts the others into slices
/// that change anyway, then into the fullest slice that has room for all of them, then into new
/// ones made from `template`. A slice that loses all its endpoints goes.
pub(super) fn pack(
    existing: &[Arc<EndpointSlice>],
    desired: Vec<Endpoint>,
    template: &EndpointSlice,
) -> Slices {
    let mut left: BTreeMap<Identity, Endpoint> =
        desired.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    let (mut changed, mut unchanged, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for slice in existing {
        let kept: Vec<Endpoint> =
            slice.endpoints.iter().filter_map(|endpoint| left.remove(&identity(endpoint))).collect();
        if kept.is_empty() && !slice.endpoints.is_empty() {
            empty.push(slice.clone());
        } else if kept != slice.endpoints || slice.metadata.labels != template.metadata.labels {
            changed.push(with(slice, kept, template));
        } else {
            unchanged.push(slice.clone());
        }
    }
    let mut left: Vec<Endpoint> = left.into_values().collect();
    changed.sort_by_key(|slice: &EndpointSlice| std::cmp::Reverse(slice.endpoints.len()));
    for slice in &mut changed {
        fill(slice, &mut left);
    }
    let mut new = Vec::new();
    while !left.is_empty() {
        let fits = |slice: &&Arc<EndpointSlice>| slice.endpoints.len() + left.len() <= FULL;
        let fullest = unchanged.iter().filter(fits).max_by_key(|slice| slice.endpoints.len()).cloned();
        let mut slice = match &fullest {
            Some(slice) => with(slice, slice.endpoints.clone(), template),
            None => template.clone(),
        };
        fill(&mut slice, &mut left);
        if fullest.is_some() { changed.push(slice) } else { new.push(slice) }
    }
    Slices { new, changed, empty }
}

fn with(slice: &EndpointSlice, endpoints: Vec<Endpoint>, template: &EndpointSlice) -> EndpointSlice {
    let mut slice = EndpointSlice { endpoints, ports: template.ports.clone(), ..slice.clone() };
    slice.metadata.labels = template.metadata.labels.clone();
    slice
}

fn fill(slice: &mut EndpointSlice, left: &mut Vec<Endpoint>) {
    let room = FULL.saturating_sub(slice.endpoints.len()).min(left.len());
    slice.endpoints.extend(left.drain(..room));
}
