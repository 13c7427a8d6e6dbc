//! What resource quotas count: which resources an object uses, under which names, and which quotas it
//! counts for. Admission and the quota controller count by the same functions.

mod claims;
mod pods;
mod scopes;

use std::collections::BTreeMap;

use gantry_json::Value;
use jiff::Timestamp;

use crate::pod_resources::ResourceList;
use crate::quantity::{Format, Quantity};
use crate::rules::common::{list, text};

pub use pods::{missing, uncounted_after};
pub use scopes::{Requirement, in_scope, requirements};

/// Resources that are never counted.
const IGNORED: [(&str, &str); 9] = [
    ("", "bindings"),
    ("", "componentstatuses"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
];
/// Resources of the core group that are counted under their plain name as well.
const PLAIN: [&str; 4] = ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
const SERVICES: [&str; 3] = ["services", "services.nodeports", "services.loadbalancers"];

/// A resource: its group and plural name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Empty for the core group.
    pub group: &'a str,
    /// The plural name.
    pub plural: &'a str,
}

impl<'a> Resource<'a> {
    /// A resource.
    pub fn new(group: &'a str, plural: &'a str) -> Self {
        Self { group, plural }
    }

    /// Whether quotas know nothing of it.
    pub fn is_ignored(self) -> bool {
        IGNORED.contains(&(self.group, self.plural))
    }

    fn core(self) -> Option<&'a str> {
        self.group.is_empty().then_some(self.plural)
    }

    /// The name under which its objects are counted: `count/RESOURCE.GROUP`.
    pub fn count_name(self) -> String {
        match self.group {
            "" => format!("count/{}", self.plural),
            group => format!("count/{}.{group}", self.plural),
        }
    }

    /// Whether a quota's amount of `name` says something about these objects.
    pub fn matches(self, name: &str) -> bool {
        if let Some(counted) = name.strip_prefix("count/") {
            return match self.group {
                "" => counted == self.plural,
                group => counted
                    .strip_suffix(group)
                    .and_then(|rest| rest.strip_suffix('.'))
                    .is_some_and(|plural| plural == self.plural),
            };
        }
        match (self.core(), self.group, self.plural) {
            (Some("pods"), ..) => pods::is_counted(name),
            (Some("services"), ..) => SERVICES.contains(&name),
            (Some("persistentvolumeclaims"), ..) => claims::is_counted(name),
            (Some(plural), ..) => PLAIN.contains(&plural) && name == plural,
            (None, "resource.k8s.io", "resourceclaims") => claims::is_device_class(name),
            _ => false,
        }
    }

    /// What `object` uses at the time `now`, by the names of quotas.
    pub fn usage(self, object: &Value, now: Timestamp) -> ResourceList {
        let mut usage = BTreeMap::from([(self.count_name(), one())]);
        match (self.core(), self.group, self.plural) {
            (Some("pods"), ..) => pods::usage(object, now, &mut usage),
            (Some("services"), ..) => services(object, &mut usage),
            (Some("persistentvolumeclaims"), ..) => claims::usage(object, &mut usage),
            (Some(plural), ..) if PLAIN.contains(&plural) => {
                usage.insert(plural.to_owned(), one());
            }
            (None, "resource.k8s.io", "resourceclaims") => claims::devices(object, &mut usage),
            _ => {}
        }
        usage
    }

    /// Whether a change of `old` to `new` through `subresource` can change what is used.
    pub fn changes(self, subresource: &str, new: &Value, old: &Value) -> bool {
        match (self.core(), self.group, self.plural, subresource) {
            (Some("pods"), _, _, "resize") | (Some("services"), ..) => true,
            (Some("persistentvolumeclaims"), _, _, "") | (None, "resource.k8s.io", "resourceclaims", "") => {
                true
            }
            (Some("persistentvolumeclaims"), _, _, "status") => claims::status_counts(new, old),
            _ => false,
        }
    }
}

fn one() -> Quantity {
    count(1)
}

fn count(count: usize) -> Quantity {
    Quantity::from_value(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi)
}

fn services(service: &Value, usage: &mut ResourceList) {
    let spec = &service["spec"];
    let ports = list(spec, "ports");
    let (mut node_ports, mut balancers) = (0, 0);
    match text(spec, "type") {
        "NodePort" => node_ports = ports.len(),
        "LoadBalancer" => {
            balancers = 1;
            // Ports are still to be given out: what counts is what is asked for.
            let chosen = |port: &&Value| port["nodePort"].as_i64().is_some_and(|number| number != 0);
            node_ports = match spec["allocateLoadBalancerNodePorts"] == false {
                true => ports.iter().filter(chosen).count(),
                false => ports.len(),
            };
        }
        _ => {}
    }
    for (name, number) in SERVICES.into_iter().zip([1, node_ports, balancers]) {
        usage.insert(name.to_owned(), count(number));
    }
}

/// The names of `amounts` in a text: `cpu=1,pods=2`.
pub fn shown(amounts: &ResourceList) -> String {
    let texts: Vec<String> = amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests;
