//! Services and their EndpointSlices as last told, and which Services are to be looked at again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_client::{Change, ObjectKey};
use k8s_openapi::api::{core::v1::Service as Object, discovery::v1::EndpointSlice};

use super::{
    Place,
    endpoints::local_addresses,
    health::Check,
    rules::{self, Part},
    service::{Service, health_check_port},
};
use crate::nft::{Family, Owner};

/// The Service that a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What a Service or a pod adds, in each family.
pub type Parts = BTreeMap<Family, Part>;

/// Services and their EndpointSlices.
#[derive(Debug, Default)]
pub struct Index {
    services: BTreeMap<ObjectKey, Arc<Object>>,
    slices: BTreeMap<ObjectKey, BTreeMap<String, Arc<EndpointSlice>>>,
    changed: BTreeSet<ObjectKey>,
    checks: BTreeMap<ObjectKey, Check>,
}

impl Index {
    /// Takes in what happened to a Service.
    pub fn service(&mut self, change: Change<Object>) {
        let key = ObjectKey::of(&change.object().metadata);
        self.changed.insert(key.clone());
        match change {
            Change::Applied { new, .. } => drop(self.services.insert(key, new)),
            Change::Deleted(_) => drop(self.services.remove(&key)),
        }
    }

    /// Takes in what happened to an EndpointSlice.
    pub fn slice(&mut self, change: Change<EndpointSlice>) {
        let (old, new) = match change {
            Change::Applied { old, new } => (old, Some(new)),
            Change::Deleted(last) => (Some(last), None),
        };
        // Its label may name another Service than before.
        if let Some((old, service)) = old.and_then(|old| service_of(&old).map(|service| (old, service))) {
            if let Some(slices) = self.slices.get_mut(&service) {
                slices.remove(old.metadata.name.as_deref().unwrap_or_default());
                if slices.is_empty() {
                    self.slices.remove(&service);
                }
            }
            self.changed.insert(service);
        }
        if let Some((new, service)) = new.and_then(|new| service_of(&new).map(|service| (new, service))) {
            let name = new.metadata.name.clone().unwrap_or_default();
            self.slices.entry(service.clone()).or_default().insert(name, new);
            self.changed.insert(service);
        }
    }

    /// Has every Service looked at again.
    pub fn touch_all(&mut self) {
        self.changed.extend(self.services.keys().cloned());
    }

    /// What the Services add now that were to be looked at again.
    pub fn take_changed(&mut self, place: &Place, families: &[Family]) -> Vec<(Owner, Parts)> {
        let changed = std::mem::take(&mut self.changed);
        for key in &changed {
            match self.check(key, place) {
                Some(check) => drop(self.checks.insert(key.clone(), check)),
                None => drop(self.checks.remove(key)),
            }
        }
        changed.into_iter().map(|key| (owner(&key), self.parts(&key, place, families))).collect()
    }

    /// What load balancers ask about Services, as of the last [`Self::take_changed`].
    pub fn checks(&self) -> &BTreeMap<ObjectKey, Check> {
        &self.checks
    }

    fn check(&self, key: &ObjectKey, place: &Place) -> Option<Check> {
        let port = health_check_port(self.services.get(key)?)?;
        let slices = self.slices.get(key).into_iter().flatten().map(|(_, slice)| &**slice);
        Some(Check { port, local_endpoints: local_addresses(slices, place).len() })
    }

    fn parts(&self, key: &ObjectKey, place: &Place, families: &[Family]) -> Parts {
        let Some(object) = self.services.get(key) else { return Parts::new() };
        let slices: Vec<&EndpointSlice> =
            self.slices.get(key).into_iter().flatten().map(|(_, slice)| &**slice).collect();
        let of = |family: &Family| {
            let service = Service::read(object, *family)?;
            Some((*family, rules::service(&service, &slices, place)))
        };
        families.iter().filter_map(of).collect()
    }
}

fn owner(key: &ObjectKey) -> Owner {
    Owner::Service(key.namespace.clone(), key.name.clone())
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}
