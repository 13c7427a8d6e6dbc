//! The part of a Service that DNS answers from.

use std::net::IpAddr;

use hickory_proto::rr::Name;
use k8s_openapi::api::core::v1::Service;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What DNS keeps of a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServiceFacts {
    pub(crate) shape: Shape,
    pub(crate) ports: Vec<Port>,
    pub(crate) publish_not_ready: bool,
}

/// What the name of a Service stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// Its own addresses.
    Cluster(Vec<IpAddr>),
    /// Its endpoints' addresses.
    Headless,
    /// Another name; none where the field is no domain name.
    External(#[serde(serialize_with = "write_name", deserialize_with = "read_name")] Option<Name>),
}

/// A named port. Names and protocols are in lower case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) number: u16,
}

impl Port {
    /// A port that has a name and a number; DNS does not speak of others.
    pub(crate) fn of(name: Option<&str>, protocol: Option<&str>, number: Option<i32>) -> Option<Self> {
        Some(Self {
            name: name.filter(|name| !name.is_empty())?.to_ascii_lowercase(),
            protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
            number: number.and_then(|number| u16::try_from(number).ok())?,
        })
    }
}

impl ServiceFacts {
    /// `None` for a Service that has no address yet.
    pub(crate) fn of(service: &Service) -> Option<Self> {
        let spec = service.spec.as_ref()?;
        let shape = if spec.type_.as_deref() == Some("ExternalName") {
            Shape::External(external(spec.external_name.as_deref().unwrap_or_default()))
        } else {
            let listed = spec.cluster_ips.as_deref().unwrap_or_default();
            let mut addresses =
                listed.iter().chain(listed.is_empty().then_some(()).and(spec.cluster_ip.as_ref()));
            if addresses.clone().any(|address| address == "None") {
                Shape::Headless
            } else {
                let known: Vec<IpAddr> =
                    addresses.by_ref().filter_map(|address| address.parse().ok()).collect();
                if known.is_empty() {
                    return None;
                }
                Shape::Cluster(known)
            }
        };
        let ports = spec.ports.iter().flatten();
        Some(Self {
            shape,
            ports: ports
                .filter_map(|port| Port::of(port.name.as_deref(), port.protocol.as_deref(), Some(port.port)))
                .collect(),
            publish_not_ready: spec.publish_not_ready_addresses == Some(true),
        })
    }

    pub(crate) fn cluster_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let addresses: &[IpAddr] = match &self.shape {
            Shape::Cluster(addresses) => addresses,
            Shape::Headless | Shape::External(_) => &[],
        };
        addresses.iter().copied()
    }
}

/// An address is no target of a CNAME.
fn external(name: &str) -> Option<Name> {
    if name.is_empty() || name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn write_name<S: Serializer>(name: &Option<Name>, to: S) -> Result<S::Ok, S::Error> {
    name.as_ref().map(Name::to_ascii).serialize(to)
}

fn read_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Name>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(Name::from_ascii).transpose().map_err(serde::de::Error::custom)
}
