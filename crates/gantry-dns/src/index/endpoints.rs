//! The part of an EndpointSlice that DNS answers from.

use std::net::IpAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Serialize};

use super::Port;

/// The label that names a slice's Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What DNS keeps of a slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SliceFacts {
    pub(crate) endpoints: Vec<EndpointFacts>,
    pub(crate) ports: Vec<Port>,
}

/// What DNS keeps of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointFacts {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) hostname: Option<String>,
    pub(crate) ready: bool,
}

impl SliceFacts {
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.endpoints.iter().flat_map(|endpoint| endpoint.addresses.iter().copied())
    }
}

impl EndpointFacts {
    /// Its label under the Service's name: its hostname, or its address with dashes.
    pub(crate) fn label(&self, address: IpAddr) -> String {
        match &self.hostname {
            Some(hostname) => hostname.clone(),
            None => dashed(address),
        }
    }

    /// Whether that label names this endpoint with that address.
    pub(crate) fn is_called(&self, label: &str, address: IpAddr) -> bool {
        match &self.hostname {
            Some(hostname) => hostname == label,
            None => dashed(address) == label,
        }
    }
}

/// An address as one label: `10-42-0-7`, `fd00--7`.
fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

/// The slice's Service and what there is to keep; `None` for slices without a Service.
pub(crate) fn facts(slice: &EndpointSlice) -> Option<(String, SliceFacts)> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE_NAME).filter(|name| !name.is_empty())?;
    let endpoints = slice.endpoints.iter().map(|endpoint| EndpointFacts {
        addresses: endpoint.addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        hostname: endpoint
            .hostname
            .as_ref()
            .filter(|name| !name.is_empty())
            .map(|name| name.to_ascii_lowercase()),
        ready: endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true),
    });
    let ports = slice.ports.iter().flatten();
    let facts = SliceFacts {
        endpoints: endpoints.collect(),
        ports: ports
            .filter_map(|port| Port::of(port.name.as_deref(), port.protocol.as_deref(), port.port))
            .collect(),
    };
    Some((service.clone(), facts))
}
