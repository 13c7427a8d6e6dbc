//! Node ports: those of the Service's ports and the one that load balancers check its health on.

use gantry_json::{Value, json};

use super::{
    AllocationError, Claim, InUse, ServiceAllocator, invalid, may_have_node_ports, text, wants_node_ports,
};
use crate::allocate::PortError;

/// A node port that the Service being allocated holds already.
struct Held {
    number: u16,
    protocol: String,
    service_port: u64,
}

impl ServiceAllocator {
    pub(super) fn node_ports(
        &self,
        service: &mut Value,
        had: &[u16],
        in_use: &dyn InUse,
        random: &mut dyn FnMut() -> u64,
        claim: &mut Claim,
    ) -> Result<(), AllocationError> {
        let allocate = wants_node_ports(service);
        let may_have = may_have_node_ports(service);
        let mut own: Vec<Held> = Vec::new();
        let mut ports = service.pointer_mut("/spec/ports").map(Value::take).unwrap_or(Value::Null);
        let mut result = Ok(());
        for (index, port) in ports.as_array_mut().into_iter().flatten().enumerate() {
            let asked = port["nodePort"].as_u64().unwrap_or(0);
            if !may_have || (asked == 0 && !allocate) {
                continue;
            }
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
            let service_port = port["port"].as_u64().unwrap_or(0);
            match self.node_port(asked, &protocol, service_port, &own, had, in_use, random, claim) {
                Ok(number) => {
                    own.push(Held { number, protocol, service_port });
                    port["nodePort"] = json!(number);
                }
                Err(PortError::Full) => {
                    let why = format!("failed to allocate a nodePort: {}", PortError::Full);
                    result = Err(AllocationError::Exhausted(why));
                    break;
                }
                Err(error) => {
                    result = Err(invalid(format!("spec.ports[{index}].nodePort"), json!(asked), error));
                    break;
                }
            }
        }
        if !ports.is_null() {
            service["spec"]["ports"] = ports;
        }
        result?;
        self.health_check_port(service, had, in_use, random, claim)
    }

    /// One port's number: the one asked for, the one that the same service port has for its other
    /// protocol, or a free one. A number may serve several protocols of one Service.
    #[allow(clippy::too_many_arguments)]
    fn node_port(
        &self,
        asked: u64,
        protocol: &str,
        service_port: u64,
        own: &[Held],
        had: &[u16],
        in_use: &dyn InUse,
        random: &mut dyn FnMut() -> u64,
        claim: &mut Claim,
    ) -> Result<u16, PortError> {
        let taken = |port: u16, claim: &Claim| claim.ports.contains(&port) || in_use.port(port);
        if asked == 0 {
            let twin = own.iter().find(|held| held.service_port == service_port && held.protocol != protocol);
            if let Some(twin) = twin {
                return Ok(twin.number);
            }
            let number = self.ports.pick(random(), |port| taken(port, claim))?;
            claim.ports.push(number);
            return Ok(number);
        }
        let number = u16::try_from(asked).unwrap_or(0);
        if own.iter().any(|held| held.number == number && held.protocol == protocol) {
            return Err(PortError::Allocated);
        }
        if !had.contains(&number) && !own.iter().any(|held| held.number == number) {
            self.ports.check(number, |port| taken(port, claim))?;
            claim.ports.push(number);
        }
        Ok(number)
    }

    fn health_check_port(
        &self,
        service: &mut Value,
        had: &[u16],
        in_use: &dyn InUse,
        random: &mut dyn FnMut() -> u64,
        claim: &mut Claim,
    ) -> Result<(), AllocationError> {
        let needed = text(service, "/spec/type") == "LoadBalancer"
            && text(service, "/spec/externalTrafficPolicy") == "Local";
        if !needed {
            return Ok(());
        }
        let taken = |port: u16, claim: &Claim| claim.ports.contains(&port) || in_use.port(port);
        let asked = service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64).unwrap_or(0) as u16;
        let port = if asked == 0 {
            let port = self.ports.pick(random(), |port| taken(port, claim)).map_err(|error| {
                AllocationError::Exhausted(format!("failed to allocate a HealthCheck NodePort: {error}"))
            })?;
            claim.ports.push(port);
            port
        } else {
            if !had.contains(&asked) {
                self.ports.check(asked, |port| taken(port, claim)).map_err(|error| {
                    let why = format!("failed to allocate requested HealthCheck NodePort {asked}: {error}");
                    invalid("spec.healthCheckNodePort", json!(asked), why)
                })?;
                claim.ports.push(asked);
            }
            asked
        };
        service["spec"]["healthCheckNodePort"] = json!(port);
        Ok(())
    }
}
