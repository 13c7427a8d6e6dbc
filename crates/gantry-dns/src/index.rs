//! What DNS knows of the cluster, kept up change by change.

mod endpoints;
mod service;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub(crate) use endpoints::{EndpointFacts, SliceFacts, facts as slice_facts};
pub(crate) use service::{Port, ServiceFacts, Shape};

use crate::DnsError;
use crate::update::Update;

/// Every Service with its endpoints, by namespace and name, and by address.
///
/// Changes may come in any order: what is known depends only on the objects that exist.
#[derive(Clone, Debug)]
pub struct Index {
    zone: Name,
    serial: u32,
    namespaces: HashMap<String, NamespaceEntry>,
    /// The Service that each slice was last seen to belong to, by namespace and name of the slice.
    owners: HashMap<(String, String), String>,
    cluster_addresses: HashMap<IpAddr, BTreeSet<ServiceName>>,
    endpoint_addresses: HashMap<IpAddr, BTreeSet<(ServiceName, String)>>,
}

/// Namespace and name.
pub(crate) type ServiceName = (String, String);

#[derive(Clone, Debug, Default, PartialEq)]
struct NamespaceEntry {
    exists: bool,
    services: HashMap<String, Entry>,
}

/// A Service and its slices; either may be known before the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) service: Option<ServiceFacts>,
    pub(crate) slices: BTreeMap<String, SliceFacts>,
}

impl Entry {
    /// Every endpoint that DNS shows: the ready ones, or all where the Service publishes them so.
    pub(crate) fn shown(&self) -> impl Iterator<Item = (&SliceFacts, &EndpointFacts)> {
        let all = self.service.as_ref().is_some_and(|service| service.publish_not_ready);
        let slices = self.slices.values();
        slices.flat_map(move |slice| {
            slice
                .endpoints
                .iter()
                .filter(move |endpoint| all || endpoint.ready)
                .map(move |endpoint| (slice, endpoint))
        })
    }
}

impl Index {
    /// An index that knows nothing yet of the cluster with that domain.
    pub fn new(domain: &str) -> Result<Self, DnsError> {
        let mut zone =
            Name::from_ascii(domain).map_err(|_| DnsError::Domain(domain.to_owned()))?.to_lowercase();
        zone.set_fqdn(true);
        if zone.is_root() {
            return Err(DnsError::Domain(domain.to_owned()));
        }
        Ok(Self {
            zone,
            serial: 1,
            namespaces: HashMap::new(),
            owners: HashMap::new(),
            cluster_addresses: HashMap::new(),
            endpoint_addresses: HashMap::new(),
        })
    }

    /// A namespace exists.
    pub fn apply_namespace(&mut self, name: &str) {
        self.apply(Update::Namespace { name: name.to_owned(), exists: true });
    }

    /// A namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) {
        self.apply(Update::Namespace { name: name.to_owned(), exists: false });
    }

    /// A Service exists, newly or in a new state.
    pub fn apply_service(&mut self, service: &Service) {
        self.apply(Update::service(service));
    }

    /// A Service is gone.
    pub fn remove_service(&mut self, service: &Service) {
        self.apply(Update::no_service(service));
    }

    /// A slice exists, newly or in a new state.
    pub fn apply_slice(&mut self, slice: &EndpointSlice) {
        self.apply(Update::slice(slice));
    }

    /// A slice is gone.
    pub fn remove_slice(&mut self, slice: &EndpointSlice) {
        self.apply(Update::no_slice(slice));
    }

    /// Follows a change.
    pub(crate) fn apply(&mut self, update: Update) {
        match update {
            Update::Namespace { name, exists } => self.put_namespace(name, exists),
            Update::Service { namespace, name, facts } => self.put_service(namespace, name, facts),
            Update::Slice { namespace, name, facts } => self.put_slice(namespace, name, facts),
            Update::Known => {}
        }
    }

    /// The cluster's domain.
    pub(crate) fn zone(&self) -> &Name {
        &self.zone
    }

    /// A number that grows with every change.
    pub(crate) fn serial(&self) -> u32 {
        self.serial
    }

    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains_key(name)
    }

    pub(crate) fn service(&self, namespace: &str, name: &str) -> Option<(&ServiceFacts, &Entry)> {
        let entry = self.namespaces.get(namespace)?.services.get(name)?;
        Some((entry.service.as_ref()?, entry))
    }

    /// The Services with that ClusterIP: one, but for moments of change.
    pub(crate) fn with_cluster_address(&self, address: IpAddr) -> impl Iterator<Item = &ServiceName> {
        self.cluster_addresses.get(&address).into_iter().flatten()
    }

    /// The Services that have an endpoint with that address, in order, each once or more.
    pub(crate) fn with_endpoint(&self, address: IpAddr) -> impl Iterator<Item = &ServiceName> {
        self.endpoint_addresses.get(&address).into_iter().flatten().map(|(service, _)| service)
    }

    fn put_namespace(&mut self, name: String, exists: bool) {
        self.touch();
        self.namespaces.entry(name.clone()).or_default().exists = exists;
        self.tidy(&name, None);
    }

    fn put_service(&mut self, namespace: String, name: String, facts: Option<ServiceFacts>) {
        self.touch();
        let key = (namespace, name);
        let old = std::mem::replace(&mut self.entry(&key.0, &key.1).service, facts.clone());
        for address in old.iter().flat_map(ServiceFacts::cluster_addresses) {
            forget(&mut self.cluster_addresses, address, &key);
        }
        for address in facts.iter().flat_map(ServiceFacts::cluster_addresses) {
            self.cluster_addresses.entry(address).or_default().insert(key.clone());
        }
        self.tidy(&key.0, Some(&key.1));
    }

    fn put_slice(&mut self, namespace: String, name: String, facts: Option<(String, SliceFacts)>) {
        self.drop_slice(&namespace, &name);
        let Some((service, facts)) = facts else { return };
        for address in facts.addresses() {
            let owner = (namespace.clone(), service.clone());
            self.endpoint_addresses.entry(address).or_default().insert((owner, name.clone()));
        }
        self.entry(&namespace, &service).slices.insert(name.clone(), facts);
        self.owners.insert((namespace, name), service);
    }

    fn drop_slice(&mut self, namespace: &str, name: &str) {
        self.touch();
        let Some(service) = self.owners.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        let old = self.entry(namespace, &service).slices.remove(name);
        let reference = ((namespace.to_owned(), service.clone()), name.to_owned());
        for address in old.iter().flat_map(SliceFacts::addresses) {
            forget(&mut self.endpoint_addresses, address, &reference);
        }
        self.tidy(namespace, Some(&service));
    }

    fn entry(&mut self, namespace: &str, name: &str) -> &mut Entry {
        let services = &mut self.namespaces.entry(namespace.to_owned()).or_default().services;
        services.entry(name.to_owned()).or_default()
    }

    /// Removes what has become empty.
    fn tidy(&mut self, namespace: &str, service: Option<&str>) {
        let Some(entry) = self.namespaces.get_mut(namespace) else { return };
        if let Some(name) = service
            && entry
                .services
                .get(name)
                .is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty())
        {
            entry.services.remove(name);
        }
        if !entry.exists && entry.services.is_empty() {
            self.namespaces.remove(namespace);
        }
    }

    fn touch(&mut self) {
        self.serial = self.serial.wrapping_add(1);
    }
}

/// Equal in everything that answers are made of; the serial only counts changes.
impl PartialEq for Index {
    fn eq(&self, other: &Self) -> bool {
        self.zone == other.zone
            && self.namespaces == other.namespaces
            && self.owners == other.owners
            && self.cluster_addresses == other.cluster_addresses
            && self.endpoint_addresses == other.endpoint_addresses
    }
}

fn forget<T: Ord>(map: &mut HashMap<IpAddr, BTreeSet<T>>, address: IpAddr, value: &T) {
    if let Some(set) = map.get_mut(&address) {
        set.remove(value);
        if set.is_empty() {
            map.remove(&address);
        }
    }
}

/// Namespace and name of an object.
pub(crate) fn names(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> ServiceName {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
