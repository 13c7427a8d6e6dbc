//! What a Service takes from the pods that it selects: shared by Endpoints and EndpointSlices.

use std::collections::BTreeMap;
use std::net::IpAddr;

use gantry_client::{Informer, ObjectKey, PodView};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Says since when the endpoints are as they are, for whoever measures how long that takes.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Marks the endpoints of a service without an address of its own.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

type Map = BTreeMap<String, String>;

/// Whether endpoints are made for this service at all: it selects pods and is not a mere name.
pub(crate) fn is_served(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.type_.as_deref() != Some("ExternalName")
            && spec.selector.as_ref().is_some_and(|map| !map.is_empty())
    })
}

/// Whether the service has no address of its own.
pub(crate) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    matches!(address, None | Some("" | "None"))
}

/// Whether unready pods are published too.
pub(crate) fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.publish_not_ready_addresses == Some(true))
}

/// Whether the service selects a pod with these labels.
pub(crate) fn selects(service: &Service, labels: Option<&Map>) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    is_served(service)
        && selector
            .into_iter()
            .flatten()
            .all(|(key, value)| labels.and_then(|all| all.get(key)) == Some(value))
}

/// The services that select a pod as it was or as it is, where the difference matters to them.
pub(crate) fn services_of(
    services: &Informer<Service>,
    old: Option<&PodView>,
    new: Option<&PodView>,
) -> Vec<ObjectKey> {
    if let (Some(old), Some(new)) = (old, new)
        && !differs(old, new)
    {
        return Vec::new();
    }
    let namespace = new.or(old).and_then(|pod| pod.metadata.namespace.as_deref()).unwrap_or_default();
    let pods = [old, new];
    let concerned = services
        .in_namespace(namespace)
        .into_iter()
        .filter(|service| pods.iter().flatten().any(|pod| selects(service, pod.metadata.labels.as_ref())));
    concerned.map(|service| ObjectKey::of(&service.metadata)).collect()
}

/// Whether endpoints of `new` can look other than those of `old`.
fn differs(old: &PodView, new: &PodView) -> bool {
    old.metadata.labels != new.metadata.labels
        || old.metadata.uid != new.metadata.uid
        || old.is_ready() != new.is_ready()
        || old.is_deleted() != new.is_deleted()
        || old.is_terminal() != new.is_terminal()
        || old.pod_ip != new.pod_ip
        || old.pod_ips != new.pod_ips
        || old.node_name != new.node_name
        || old.hostname != new.hostname
        || old.subdomain != new.subdomain
        || old.ports != new.ports
}

/// Whether a pod has endpoints: it has an address and has not ended.
pub(crate) fn has_endpoint(pod: &PodView, also_leaving: bool) -> bool {
    let address = pod.pod_ip.is_some() || !pod.pod_ips.is_empty();
    address && !pod.is_terminal() && (also_leaving || !pod.is_deleted())
}

/// The pod's addresses of one family.
pub(crate) fn addresses(pod: &PodView, ipv6: bool) -> Vec<String> {
    let one = pod.pod_ip.iter().filter(|_| pod.pod_ips.is_empty());
    let all = pod.pod_ips.iter().chain(one);
    all.filter(|text| text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == ipv6))
        .cloned()
        .collect()
}

/// The number that a port of the service has on this pod; `None` where the pod has no port of
/// that name.
pub(crate) fn target_port(pod: &PodView, port: &ServicePort) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let protocol = |text: &Option<String>| text.clone().unwrap_or_else(|| "TCP".into());
            let found = pod.ports.iter().find(|each| {
                each.name.as_ref() == Some(name) && protocol(&each.protocol) == protocol(&port.protocol)
            });
            found.map(|each| each.container_port)
        }
    }
}

/// The name under which the cluster's DNS knows the pod as part of this service.
pub(crate) fn hostname(pod: &PodView, service: &Service) -> Option<String> {
    let part = pod.subdomain.is_some()
        && pod.subdomain == service.metadata.name
        && pod.metadata.namespace == service.metadata.namespace;
    pod.hostname.clone().filter(|_| part)
}

/// The pod as an endpoint names it.
pub(crate) fn target_ref(pod: &PodView) -> ObjectReference {
    let meta = &pod.metadata;
    target(meta.namespace.clone(), meta.name.clone(), meta.uid.clone())
}

/// The pod of that namespace, name and uid, as an endpoint names it.
pub(crate) fn target(
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
) -> ObjectReference {
    ObjectReference { kind: Some("Pod".into()), namespace, name, uid, ..Default::default() }
}

/// What the endpoints of a service were made from last, to tell since when they differ.
#[derive(Debug, Default)]
pub(crate) struct TriggerTimes {
    service: Option<Timestamp>,
    pods: BTreeMap<String, Timestamp>,
}

impl TriggerTimes {
    /// The earliest change since the last call; `None` where nothing that carries a time changed.
    pub fn observe<'a>(
        &mut self,
        service: &Service,
        pods: impl IntoIterator<Item = &'a PodView>,
    ) -> Option<Timestamp> {
        let mut earliest = None;
        let mut change =
            |at: Timestamp| earliest = Some(earliest.map_or(at, |before: Timestamp| before.min(at)));
        let mut now = BTreeMap::new();
        for pod in pods {
            let ready = pod.last_transition("Ready");
            let (Some(ready), Some(name)) = (ready, &pod.metadata.name) else { continue };
            if self.pods.get(name).is_none_or(|before| ready > *before) {
                change(ready);
            }
            now.insert(name.clone(), ready);
        }
        let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
        if let Some(created) = created
            && self.service.is_none_or(|before| created > before)
        {
            change(created);
        }
        *self = Self { service: created, pods: now };
        earliest
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(value: Value) -> PodView {
        gantry_json::from_value::<Pod>(value).expect("a Pod").into()
    }

    #[test]
    fn a_target_port_is_a_number_or_the_name_of_a_port_with_the_same_protocol() {
        let pod = pod(json!({"spec": {"containers": [{"name": "c", "ports": [
            {"name": "dns", "containerPort": 5353, "protocol": "UDP"},
            {"name": "dns", "containerPort": 5354},
        ]}]}}));
        let check = |port: Value, expect: Option<i32>| {
            let port: ServicePort = gantry_json::from_value(port).expect("a port");
            assert_eq!(target_port(&pod, &port), expect, "{port:?}");
        };
        check(json!({"port": 80}), Some(80));
        check(json!({"port": 80, "targetPort": 8080}), Some(8080));
        check(json!({"port": 53, "targetPort": "dns", "protocol": "UDP"}), Some(5353));
        check(json!({"port": 53, "targetPort": "dns"}), Some(5354));
        check(json!({"port": 53, "targetPort": "other"}), None);
    }

    #[test]
    fn the_earliest_change_since_last_time_counts() {
        let service: Service =
            gantry_json::from_value(json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}))
                .expect("a Service");
        let ready = |name: &str, at: &str| {
            pod(json!({"metadata": {"name": name}, "status": {"conditions":
                [{"type": "Ready", "status": "True", "lastTransitionTime": at}]}}))
        };
        let (a, b) = (ready("a", "2026-01-02T00:00:00Z"), ready("b", "2026-01-03T00:00:00Z"));
        let mut times = TriggerTimes::default();
        let mut check = |pods: &[&PodView], expect: Option<&str>| {
            let got = times.observe(&service, pods.iter().copied()).map(|time| time.to_string());
            assert_eq!(got.as_deref(), expect);
        };
        check(&[&a], Some("2026-01-01T00:00:00Z"));
        check(&[&a], None);
        check(&[&a, &b], Some("2026-01-03T00:00:00Z"));
        check(
            &[&ready("a", "2026-01-05T00:00:00Z"), &ready("b", "2026-01-04T00:00:00Z")],
            Some("2026-01-04T00:00:00Z"),
        );
        check(&[], None);
    }
}
