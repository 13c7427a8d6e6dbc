//! `ipFamilies` and `ipFamilyPolicy`: defaults from the cluster's families and the object's addresses,
//! and what cannot be had.

use std::net::IpAddr;

use gantry_json::{Value, json};

use super::{AllocationError, invalid, is_headless, service_type, strings, text};

/// An IP family, spelled as the API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|family| family.name() == name)
    }

    fn other(self) -> Self {
        if self == Self::V4 { Self::V6 } else { Self::V4 }
    }
}

/// The families of a defaulted Service.
pub(super) fn of_service(service: &Value) -> Vec<Family> {
    strings(service, "/spec/ipFamilies").iter().filter_map(|name| Family::parse(name)).collect()
}

/// Fills in families and policy. `cluster` has the cluster's families, the default one first.
pub(super) fn default(
    service: &mut Value,
    old: Option<&Value>,
    cluster: &[Family],
) -> Result<(), AllocationError> {
    if service_type(service) == "ExternalName" {
        return Ok(());
    }
    let mut families = of_service(service);
    let mut policy = text(service, "/spec/ipFamilyPolicy").to_owned();
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    let selectorless = selector.is_none_or(gantry_json::Map::is_empty);
    if is_headless(service) && selectorless {
        // Endpoints are made by somebody else, who may use any family.
        if families.is_empty() {
            families.push(cluster[0]);
        }
        if policy.is_empty() {
            policy = "RequireDualStack".into();
        }
        if policy != "SingleStack" && families.len() == 1 {
            families.push(families[0].other());
        }
        write(service, &families, &policy);
        return Ok(());
    }
    for (index, family) in families.iter().enumerate() {
        if !cluster.contains(family) {
            let field = format!("spec.ipFamilies[{index}]");
            return Err(invalid(field, json!(family.name()), "not configured on this cluster"));
        }
    }
    for address in strings(service, "/spec/clusterIPs").iter().filter_map(|ip| ip.parse::<IpAddr>().ok()) {
        let family = Family::of(address);
        if !families.contains(&family) && families.len() < strings(service, "/spec/clusterIPs").len() {
            families.push(family);
        }
    }
    if families.is_empty() {
        families.push(cluster[0]);
    }
    if policy.is_empty() {
        policy = if families.len() > 1 { "RequireDualStack" } else { "SingleStack" }.into();
    }
    match (policy.as_str(), cluster.len()) {
        ("RequireDualStack", 1) => {
            let why = "this cluster is not configured for dual-stack services";
            return Err(invalid("spec.ipFamilyPolicy", json!(policy), why));
        }
        ("RequireDualStack" | "PreferDualStack", 2) if families.len() == 1 => {
            families.push(families[0].other());
        }
        ("SingleStack", _) if families.len() > 1 => {
            if old.is_some_and(|old| text(old, "/spec/ipFamilyPolicy") != "SingleStack") {
                families.truncate(1);
                let mut addresses = strings(service, "/spec/clusterIPs");
                addresses.truncate(1);
                service["spec"]["clusterIPs"] = json!(addresses);
            } else {
                let why = "may only hold up to 1 values when ipFamilyPolicy is SingleStack";
                let value = json!(families.iter().map(|family| family.name()).collect::<Vec<_>>());
                return Err(invalid("spec.ipFamilies", value, why));
            }
        }
        _ => {}
    }
    write(service, &families, &policy);
    Ok(())
}

fn write(service: &mut Value, families: &[Family], policy: &str) {
    service["spec"]["ipFamilies"] = json!(families.iter().map(|family| family.name()).collect::<Vec<_>>());
    service["spec"]["ipFamilyPolicy"] = json!(policy);
}
