//! Which slices a service is to have, and what that changes of those it has.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_client::PodView;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;

use super::packing::{self, Slices};
use crate::service_pods::{
    HEADLESS, TRIGGER_TIME, addresses, has_endpoint, hostname, is_headless, publishes_unready, target_port,
    target_ref,
};

/// Names the service that a slice belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Names who looks after a slice.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// This controller.
pub(super) const CONTROLLER: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What a plan is made from.
pub(super) struct Snapshot<'a> {
    pub service: &'a Service,
    /// The pods that it selects.
    pub pods: &'a [Arc<PodView>],
    /// The slices that carry the service's name.
    pub slices: &'a [Arc<EndpointSlice>],
    /// Labels of the nodes that pods run on; a node that is missing is not known.
    pub nodes: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Since when the endpoints differ.
    pub trigger: Option<Timestamp>,
}

/// What is to be written.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub create: Vec<EndpointSlice>,
    pub update: Vec<EndpointSlice>,
    pub delete: Vec<Arc<EndpointSlice>>,
    /// A pod was left out because its node is not known yet.
    pub unknown_node: Option<String>,
}

/// A set of ports that endpoints share, in an order that makes equal sets equal.
pub(crate) type Ports = Vec<(String, String, i32, Option<String>)>;

/// Compares `snapshot` with what should be.
pub(super) fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let mut plan = Plan::default();
    let families = families(snapshot.service);
    let uid = snapshot.service.metadata.uid.as_deref();
    for slice in snapshot.slices {
        let own = slice.metadata.owner_references.iter().flatten().any(|owner| Some(&*owner.uid) == uid);
        if !own || !families.contains(&&*slice.address_type) {
            plan.delete.push(slice.clone());
        }
    }
    for family in &families {
        plan_family(snapshot, family, &mut plan);
    }
    reuse(&mut plan);
    if snapshot.service.metadata.deletion_timestamp.is_some() {
        plan.create.clear();
    }
    for slice in plan.create.iter_mut().chain(&mut plan.update) {
        match snapshot.trigger {
            Some(time) => {
                let annotations = slice.metadata.annotations.get_or_insert_default();
                annotations.insert(TRIGGER_TIME.into(), time.to_string());
            }
            None => {
                slice.metadata.annotations.as_mut().map(|all| all.remove(TRIGGER_TIME));
            }
        }
    }
    plan
}

fn families(service: &Service) -> Vec<&str> {
    let given = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref()).unwrap_or_default();
    match given {
        [] => vec!["IPv4"],
        given => given.iter().map(String::as_str).collect(),
    }
}

fn plan_family(snapshot: &Snapshot<'_>, family: &str, plan: &mut Plan) {
    let service = snapshot.service;
    let (desired, unknown) = desired(snapshot, family == "IPv6");
    plan.unknown_node = unknown.or(plan.unknown_node.take());
    let mut by_ports: BTreeMap<Ports, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    let known = snapshot.slices.iter().filter(|slice| {
        slice.address_type == family && !plan.delete.iter().any(|leaving| Arc::ptr_eq(leaving, slice))
    });
    for slice in known {
        by_ports.entry(ports_of(slice)).or_default().push(slice.clone());
    }
    let had: usize = by_ports.values().map(Vec::len).sum();
    let labels = labels(service);
    let (mut create, mut update, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    for (ports, endpoints) in desired {
        let existing = by_ports.remove(&ports).unwrap_or_default();
        let template = template(service, family, &ports, &labels);
        let Slices { new, changed, empty } = packing::pack(&existing, endpoints, &template);
        create.extend(new);
        update.extend(changed);
        delete.extend(empty);
    }
    delete.extend(by_ports.into_values().flatten());
    // A service without endpoints has one empty slice: it says that there are none.
    if had == delete.len() && create.is_empty() && update.is_empty() {
        let template = template(service, family, &Ports::new(), &labels);
        match &delete[..] {
            [only]
                if only.endpoints.is_empty()
                    && ports_of(only).is_empty()
                    && only.metadata.labels == template.metadata.labels =>
            {
                delete.clear();
            }
            _ => create.push(template),
        }
    }
    plan.create.extend(create);
    plan.update.extend(update);
    plan.delete.extend(delete);
}

/// The endpoints to publish, by the ports that their pods have; and a node that is missing.
fn desired(snapshot: &Snapshot<'_>, ipv6: bool) -> (BTreeMap<Ports, Vec<Endpoint>>, Option<String>) {
    let service = snapshot.service;
    let unready = publishes_unready(service);
    let mut by_ports: BTreeMap<Ports, Vec<Endpoint>> = BTreeMap::new();
    let mut unknown = None;
    for pod in snapshot.pods.iter().filter(|pod| has_endpoint(pod, true)) {
        let addresses = addresses(pod, ipv6);
        if addresses.is_empty() {
            continue;
        }
        let node = pod.node_name.as_ref().map(|name| (name, snapshot.nodes.get(name)));
        if let Some((name, None)) = node
            && !unready
        {
            unknown = Some(name.clone());
            continue;
        }
        let serving = pod.is_ready();
        let ready = unready || serving && !pod.is_deleted();
        let zone = node.and_then(|(_, labels)| labels?.get(ZONE).cloned());
        let endpoint = Endpoint {
            addresses,
            conditions: Some(EndpointConditions {
                ready: Some(ready),
                serving: Some(serving),
                terminating: Some(pod.is_deleted()),
            }),
            hints: hints(service, ready, zone.as_deref(), pod.node_name.as_deref()),
            hostname: hostname(pod, service),
            node_name: pod.node_name.clone(),
            target_ref: Some(target_ref(pod)),
            zone,
            ..Default::default()
        };
        by_ports.entry(ports(service, pod)).or_default().push(endpoint);
    }
    (by_ports, unknown)
}

/// Where traffic to an endpoint had best come from, as the service's `trafficDistribution` says.
fn hints(service: &Service, ready: bool, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let wish = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
    let same_node = match wish {
        Some("PreferClose" | "PreferSameZone") if ready => false,
        Some("PreferSameNode") if ready => true,
        _ => return None,
    };
    let hints = EndpointHints {
        for_zones: zone.map(|zone| vec![ForZone { name: zone.into() }]),
        for_nodes: node.filter(|_| same_node).map(|node| vec![ForNode { name: node.into() }]),
    };
    (hints != EndpointHints::default()).then_some(hints)
}

fn ports(service: &Service, pod: &PodView) -> Ports {
    let all = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let found = all.iter().filter_map(|port| {
        let number = target_port(pod, port)?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        Some((port.name.clone().unwrap_or_default(), protocol, number, port.app_protocol.clone()))
    });
    let mut ports: Ports = found.collect();
    ports.sort();
    ports
}

/// The ports of a slice.
pub(crate) fn ports_of(slice: &EndpointSlice) -> Ports {
    let all = slice.ports.iter().flatten().map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        let number = port.port.unwrap_or_default();
        (port.name.clone().unwrap_or_default(), protocol, number, port.app_protocol.clone())
    });
    let mut ports: Ports = all.collect();
    ports.sort();
    ports
}

/// The labels of a service's slices: the service's own and those that say whose they are.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.into(), String::new());
    }
    labels.insert(SERVICE_NAME.into(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.into(), CONTROLLER.into());
    labels
}

/// A slice without endpoints.
fn template(
    service: &Service,
    family: &str,
    ports: &Ports,
    labels: &BTreeMap<String, String>,
) -> EndpointSlice {
    let name = service.metadata.name.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Service".into(),
        name: name.clone(),
        uid: service.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        address_type: family.into(),
        endpoints: Vec::new(),
        ports: slice_ports(ports),
    }
}

/// Ports as a slice names them.
pub(crate) fn slice_ports(ports: &Ports) -> Option<Vec<EndpointPort>> {
    let port = |(name, protocol, port, app_protocol): &(String, String, i32, Option<String>)| EndpointPort {
        name: Some(name.clone()),
        protocol: Some(protocol.clone()),
        port: Some(*port),
        app_protocol: app_protocol.clone(),
    };
    (!ports.is_empty()).then(|| ports.iter().map(port).collect())
}

/// Changes slices that would go into those that would be made: one write instead of two.
fn reuse(plan: &mut Plan) {
    let create = std::mem::take(&mut plan.create);
    for mut slice in create {
        let owner = slice.metadata.owner_references.clone();
        let at = plan.delete.iter().position(|leaving| {
            leaving.address_type == slice.address_type && leaving.metadata.owner_references == owner
        });
        match at.map(|at| plan.delete.remove(at)) {
            Some(leaving) => {
                let labels = slice.metadata.labels.take();
                slice.metadata = ObjectMeta { labels, ..leaving.metadata.clone() };
                plan.update.push(slice);
            }
            None => plan.create.push(slice),
        }
    }
}
