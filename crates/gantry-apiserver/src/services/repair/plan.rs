//! What is wrong with a Service's addresses or with an IPAddress, and what mends it.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::COMPONENT;
use crate::server::event::Warning;
use crate::services::address::family;
use crate::services::holdings::{Address, Holdings, Parent, ServiceName};

/// How long an IPAddress may be there before its Service is.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum About {
    Service(ServiceName),
    Address(IpAddr),
}

/// What mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing that a program may do.
    None,
    /// An IPAddress for the Service.
    Create(IpAddr, ServiceName),
    /// The same in the place of another one.
    Recreate(IpAddr, ServiceName),
    /// The IPAddress goes.
    Remove(IpAddr),
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub about: About,
    /// What is told of it.
    pub event: Option<Warning>,
    pub remedy: Remedy,
}

/// What is to be said of an IPAddress.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Right,
    /// It is to be looked at again then.
    Later(Timestamp),
    Wrong(Finding),
}

fn warning(reason: &str, action: &'static str, message: String) -> Option<Warning> {
    Some(Warning { component: COMPONENT, reason: reason.to_owned(), action, message })
}

/// What is wrong with the addresses of a Service.
pub fn of_service(holdings: &Holdings, service: &ServiceName) -> Vec<Finding> {
    let held = holdings.held(service).map_or(&[][..], |held| &held.ips);
    held.iter().filter_map(|address| of_held(holdings, service, *address)).collect()
}

fn of_held(holdings: &Holdings, service: &ServiceName, address: IpAddr) -> Option<Finding> {
    const ACTION: &str = "ClusterIPAllocation";
    let family = family(address);
    let finding = |event: Option<Warning>, remedy: Remedy| {
        Some(Finding { about: About::Service(service.clone()), event, remedy })
    };
    if !holdings.in_range(address) {
        let message = format!(
            "Cluster IP [{family}]: {address} is not within any configured Service CIDR; please recreate service"
        );
        return finding(warning("ClusterIPOutOfRange", ACTION, message), Remedy::None);
    }
    let Some(object) = holdings.address(address) else {
        let message = format!("Cluster IP [{family}]: {address} is not allocated; repairing");
        let event = warning("ClusterIPNotAllocated", ACTION, message);
        return finding(event, Remedy::Create(address, service.clone()));
    };
    let wrong = || {
        let message = format!(
            "the ClusterIP [{family}]: {address} for Service {service} has a wrong reference; repairing"
        );
        let event = warning("ClusterIPNotAllocated", ACTION, message);
        finding(event, Remedy::Recreate(address, service.clone()))
    };
    let Parent::Service(parent) = &object.parent else { return wrong() };
    if parent != service {
        match holdings.held(parent) {
            None => return wrong(),
            Some(other) if other.ips.contains(&address) => {
                let message = format!(
                    "Cluster IP [{family}]:{address} was assigned to multiple services; please recreate service"
                );
                return finding(warning("ClusterIPAlreadyAllocated", ACTION, message), Remedy::None);
            }
            // The IPAddress is what is wrong, and goes first.
            Some(_) => {}
        }
    }
    if !object.labelled {
        return finding(None, Remedy::Recreate(address, service.clone()));
    }
    None
}

/// What is to be said of the IPAddress of `address` at `now`.
pub fn of_address(holdings: &Holdings, address: IpAddr, now: Timestamp) -> Verdict {
    const ACTION: &str = "IPAddressAllocation";
    let Some(object) = holdings.address(address).filter(|object| object.managed) else {
        return Verdict::Right;
    };
    let leftover = |reason: &str, message: String| {
        let event = warning(reason, ACTION, message);
        Verdict::Wrong(Finding { about: About::Address(address), event, remedy: Remedy::Remove(address) })
    };
    let Address { parent, created, .. } = object;
    let service = match parent {
        Parent::Service(service) => service,
        Parent::Other([group, resource, namespace, name]) => {
            let message = format!(
                "IPAddress {address} appears to have been modified, not referencing a Service \
                 &ParentReference{{Group:{group},Resource:{resource},Namespace:{namespace},Name:{name},}}: \
                 cleaning up"
            );
            return leftover("IPAddressNotAllocated", message);
        }
    };
    match holdings.held(service) {
        Some(held) if held.ips.contains(&address) => Verdict::Right,
        Some(_) => {
            let message =
                format!("IPAddress: {address} for Service {service} has a wrong reference; cleaning up");
            leftover("IPAddressWrongReference", message)
        }
        None => {
            let end = created.checked_add(GRACE).unwrap_or(Timestamp::MAX);
            if now < end {
                return Verdict::Later(end);
            }
            let message =
                format!("IPAddress: {address} for Service {service} appears to have leaked: cleaning up");
            leftover("IPAddressNotAllocated", message)
        }
    }
}

#[cfg(test)]
mod tests;
