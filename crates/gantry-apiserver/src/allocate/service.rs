//! What a Service gets from the allocators, and the defaults that go with it: IP families, cluster
//! IPs, node ports, the health check node port.
//!
//! Flow: `create`, `update` write the allocated values into the object and return a [`Reservation`];
//! the caller stores the object and then calls `commit`, or `rollback` when the write failed.
//! Guarantee: an address or port is in at most one stored Service. Assumption: calls are serialised.

mod family;
mod ports;
mod transition;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{IpAllocator, IpError, PortAllocator};
use family::Family;

/// Why a Service could not get what it asked for. `field` is a path such as `spec.clusterIPs`.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AllocationError {
    /// The object asks for something that it cannot have.
    #[error("{field}: Invalid value: {value}: {detail}")]
    Invalid {
        /// The field.
        field: String,
        /// What stands in it.
        value: Value,
        /// What is wrong with it.
        detail: String,
    },
    /// There is nothing left to give; not the client's fault.
    #[error("{0}")]
    Exhausted(String),
}

fn invalid(field: impl Into<String>, value: Value, detail: impl ToString) -> AllocationError {
    AllocationError::Invalid { field: field.into(), value, detail: detail.to_string() }
}

/// What one write took and what it will free.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
#[must_use = "commit it after the write, or roll it back"]
pub struct Reservation {
    taken_ips: Vec<IpAddr>,
    taken_ports: Vec<u16>,
    freed_ips: Vec<IpAddr>,
    freed_ports: Vec<u16>,
}

/// The allocators of a cluster: one per IP family (the first is the default) and the node ports.
#[derive(Debug, Clone)]
pub struct ServiceAllocator {
    ips: Vec<(Family, IpAllocator)>,
    ports: PortAllocator,
}

impl ServiceAllocator {
    /// Empty allocators over `networks` (one or two, of different families) and `node_ports`.
    pub fn new(networks: &[IpNet], node_ports: RangeInclusive<u16>) -> Self {
        let ips = networks.iter().map(|net| (Family::of(net.addr()), IpAllocator::new(*net))).collect();
        Self { ips, ports: PortAllocator::new(node_ports) }
    }

    /// Takes what the stored `service` has. Returns a line for each value that another Service has
    /// too, or that is out of range.
    pub fn restore(&mut self, service: &Value) -> Vec<String> {
        let name = format!("{}/{}", text(service, "/metadata/namespace"), text(service, "/metadata/name"));
        let mut faults = Vec::new();
        for address in addresses(service) {
            if let Err(error) = self.take_ip(address) {
                faults.push(format!("service {name}: cluster IP {address}: {error}"));
            }
        }
        let mut own = Vec::new();
        for port in node_ports(service) {
            if own.contains(&port) {
                continue;
            }
            own.push(port);
            if let Err(error) = self.ports.take(port) {
                faults.push(format!("service {name}: node port {port}: {error}"));
            }
        }
        faults
    }

    /// Defaults and allocates for a new Service; `random` gives random numbers.
    pub fn create(
        &mut self,
        service: &mut Value,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Reservation, AllocationError> {
        transition::normalize(service, None);
        self.allocate(service, None, random)
    }

    /// Carries the old Service's values over, then allocates what is missing and notes what is freed.
    pub fn update(
        &mut self,
        service: &mut Value,
        old: &Value,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Reservation, AllocationError> {
        transition::normalize(service, Some(old));
        transition::carry_over(service, old);
        self.allocate(service, Some(old), random)
    }

    /// Notes that the write happened: what it freed can be handed out again.
    pub fn commit(&mut self, reservation: Reservation) {
        self.free(&reservation.freed_ips, &reservation.freed_ports);
    }

    /// Undoes a reservation whose write did not happen (or was a dry run).
    pub fn rollback(&mut self, reservation: Reservation) {
        self.free(&reservation.taken_ips, &reservation.taken_ports);
    }

    /// Gives back everything that a deleted Service had.
    pub fn delete(&mut self, service: &Value) {
        self.free(&addresses(service), &node_ports(service));
    }

    fn free(&mut self, ips: &[IpAddr], ports: &[u16]) {
        for address in ips {
            self.ips.iter_mut().for_each(|(_, allocator)| {
                allocator.release(*address);
            });
        }
        for port in ports {
            self.ports.release(*port);
        }
    }

    fn take_ip(&mut self, address: IpAddr) -> Result<(), IpError> {
        let family = Family::of(address);
        let default = self.ips[0].1.network();
        match self.ips.iter_mut().find(|(known, _)| *known == family) {
            Some((_, allocator)) => allocator.take(address),
            None => Err(IpError::NotInRange { address, range: default }),
        }
    }

    fn allocate(
        &mut self,
        service: &mut Value,
        old: Option<&Value>,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Reservation, AllocationError> {
        let families: Vec<Family> = self.ips.iter().map(|(family, _)| *family).collect();
        family::default(service, old, &families)?;
        let mut reservation = Reservation::default();
        let result = self
            .cluster_ips(service, old, random, &mut reservation)
            .and_then(|()| self.node_ports(service, old, random, &mut reservation));
        match result {
            Ok(()) => Ok(reservation),
            Err(error) => {
                self.rollback(reservation);
                Err(error)
            }
        }
    }

    fn cluster_ips(
        &mut self,
        service: &mut Value,
        old: Option<&Value>,
        random: &mut dyn FnMut() -> u64,
        reservation: &mut Reservation,
    ) -> Result<(), AllocationError> {
        let had = old.map(addresses).unwrap_or_default();
        if !wants_cluster_ip(service) {
            reservation.freed_ips = had;
            return Ok(());
        }
        let families = family::of_service(service);
        let mut given: Vec<String> = strings(service, "/spec/clusterIPs");
        for (index, family) in families.iter().enumerate() {
            let asked = given.get(index).filter(|address| !address.is_empty()).cloned();
            if let Some(asked) = asked {
                let all = json!(given);
                let address: IpAddr = asked.parse().map_err(|_| {
                    invalid(
                        format!("spec.clusterIPs[{index}]"),
                        json!(asked),
                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    )
                })?;
                if !had.contains(&address) {
                    self.take_ip(address).map_err(|error| {
                        invalid("spec.clusterIPs", all, format!("failed to allocate IP {asked}: {error}"))
                    })?;
                    reservation.taken_ips.push(address);
                }
            } else {
                let (_, allocator) = self
                    .ips
                    .iter_mut()
                    .find(|(known, _)| known == family)
                    .expect("the families were checked against the cluster's");
                let address = allocator.take_any(random()).map_err(|error| {
                    AllocationError::Exhausted(format!("failed to allocate a serviceIP: {error}"))
                })?;
                reservation.taken_ips.push(address);
                given.truncate(index);
                given.push(address.to_string());
            }
        }
        let now: Vec<IpAddr> = given.iter().filter_map(|address| address.parse().ok()).collect();
        reservation.freed_ips = had.into_iter().filter(|address| !now.contains(address)).collect();
        service["spec"]["clusterIP"] = json!(given.first());
        service["spec"]["clusterIPs"] = json!(given);
        Ok(())
    }
}

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn strings(value: &Value, pointer: &str) -> Vec<String> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn service_type(service: &Value) -> &str {
    match text(service, "/spec/type") {
        "" => "ClusterIP",
        kind => kind,
    }
}

fn is_headless(service: &Value) -> bool {
    text(service, "/spec/clusterIP") == "None"
        || strings(service, "/spec/clusterIPs").first().is_some_and(|ip| ip == "None")
}

fn wants_cluster_ip(service: &Value) -> bool {
    service_type(service) != "ExternalName" && !is_headless(service)
}

fn may_have_node_ports(service: &Value) -> bool {
    matches!(service_type(service), "NodePort" | "LoadBalancer")
}

fn wants_node_ports(service: &Value) -> bool {
    match service_type(service) {
        "NodePort" => true,
        "LoadBalancer" => {
            service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true)
        }
        _ => false,
    }
}

/// The cluster IPs that a stored Service holds.
fn addresses(service: &Value) -> Vec<IpAddr> {
    if !wants_cluster_ip(service) {
        return Vec::new();
    }
    let mut all = strings(service, "/spec/clusterIPs");
    if all.is_empty() {
        all.push(text(service, "/spec/clusterIP").to_owned());
    }
    all.iter().filter_map(|address| address.parse().ok()).collect()
}

/// The node ports that a stored Service holds, the health check's included.
fn node_ports(service: &Value) -> Vec<u16> {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    let mut all: Vec<u16> = ports
        .into_iter()
        .flatten()
        .chain([service.pointer("/spec").unwrap_or(&Value::Null)])
        .filter_map(|port| port["nodePort"].as_u64().or_else(|| port["healthCheckNodePort"].as_u64()))
        .filter_map(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0)
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests;
