//! What a Service gets, and the defaults that go with it: IP families, cluster IPs, node ports, the health
//! check node port.
//!
//! Flow: `create`, `update` write what they choose into the object and return it as a [`Claim`]; the caller
//! counts it as in use until the object is stored or is not. Guarantee: nothing is chosen that is in use.

mod family;
mod held;
mod ports;
mod transition;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use gantry_json::{Value, json};
use ipnet::IpNet;

use super::{IpError, Ports, Range};
use family::Family;
pub use held::Held;

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

/// What is in use, by other Services or for other reasons.
pub trait InUse {
    /// Whether this address is.
    fn ip(&self, address: IpAddr) -> bool;
    /// Whether this node port is.
    fn port(&self, port: u16) -> bool;
}

/// What there is to choose from.
#[derive(Clone, Copy)]
pub struct Pool<'a> {
    /// Ranges of addresses, which may overlap.
    pub ranges: &'a [Range],
    /// What of all that is in use.
    pub in_use: &'a dyn InUse,
}

/// What one write takes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Addresses that the Service does not have yet.
    pub ips: Vec<IpAddr>,
    /// Node ports that it does not have yet.
    pub ports: Vec<u16>,
}

/// What all Services of a cluster are given by: its IP families, the default one first, and its node ports.
#[derive(Debug, Clone)]
pub struct ServiceAllocator {
    families: Vec<Family>,
    ports: Ports,
}

impl ServiceAllocator {
    /// For a cluster with the families of `networks` (one or two, of different families) and `node_ports`.
    pub fn new(networks: &[IpNet], node_ports: RangeInclusive<u16>) -> Self {
        let families = networks.iter().map(|network| Family::of(network.addr())).collect();
        Self { families, ports: Ports::new(node_ports) }
    }

    /// Defaults and chooses for a new Service; `random` gives random numbers.
    pub fn create(
        &self,
        service: &mut Value,
        pool: Pool<'_>,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Claim, AllocationError> {
        transition::normalize(service, None);
        self.allocate(service, None, pool, random)
    }

    /// Carries the old Service's values over, then chooses what is missing.
    pub fn update(
        &self,
        service: &mut Value,
        old: &Value,
        pool: Pool<'_>,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Claim, AllocationError> {
        transition::normalize(service, Some(old));
        transition::carry_over(service, old);
        self.allocate(service, Some(old), pool, random)
    }

    fn allocate(
        &self,
        service: &mut Value,
        old: Option<&Value>,
        pool: Pool<'_>,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Claim, AllocationError> {
        family::default(service, old, &self.families)?;
        let had = old.map(Held::of).unwrap_or_default();
        let mut claim = Claim::default();
        cluster_ips(service, &had.ips, pool, random, &mut claim)?;
        self.node_ports(service, &had.ports, pool.in_use, random, &mut claim)?;
        Ok(claim)
    }
}

fn cluster_ips(
    service: &mut Value,
    had: &[IpAddr],
    pool: Pool<'_>,
    random: &mut dyn FnMut() -> u64,
    claim: &mut Claim,
) -> Result<(), AllocationError> {
    if !wants_cluster_ip(service) {
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
                check(address, pool).map_err(|error| {
                    invalid("spec.clusterIPs", all, format!("failed to allocate IP {asked}: {error}"))
                })?;
                claim.ips.push(address);
            }
        } else {
            let address = pick(*family, pool, random).map_err(|error| {
                AllocationError::Exhausted(format!("failed to allocate a serviceIP: {error}"))
            })?;
            claim.ips.push(address);
            given.truncate(index);
            given.push(address.to_string());
        }
    }
    service["spec"]["clusterIP"] = json!(given.first());
    service["spec"]["clusterIPs"] = json!(given);
    Ok(())
}

/// Whether `address` can be had.
fn check(address: IpAddr, pool: Pool<'_>) -> Result<(), IpError> {
    if !pool.ranges.iter().any(|range| range.contains(address)) {
        return Err(IpError::NotInRange);
    }
    if pool.in_use.ip(address) { Err(IpError::Allocated) } else { Ok(()) }
}

/// Any free address of the family, out of any range that has one.
fn pick(family: Family, pool: Pool<'_>, random: &mut dyn FnMut() -> u64) -> Result<IpAddr, IpError> {
    let ranges: Vec<&Range> =
        pool.ranges.iter().filter(|range| Family::of(range.network().addr()) == family).collect();
    let start = random() as usize % ranges.len().max(1);
    let (before, from) = ranges.split_at(start);
    let mut found =
        from.iter().chain(before).filter_map(|range| range.pick(random(), |address| pool.in_use.ip(address)));
    found.next().ok_or(IpError::Full)
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

#[cfg(test)]
mod tests;
