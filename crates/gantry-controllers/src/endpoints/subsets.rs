//! The subsets of an Endpoints object: addresses that offer the same ports.

use std::collections::BTreeMap;

use gantry_client::PodView;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Service};

use crate::service_pods::{
    addresses, has_endpoint, hostname, is_headless, publishes_unready, target, target_port,
};

/// Most addresses of an object.
pub(super) const CAPACITY: usize = 1000;

/// Address and uid of the pod: what addresses are told apart and ordered by.
type Identity = (String, Option<String>);
type Port = (String, String, i32, Option<String>);
/// The addresses of a port, and which of them are ready.
type Addresses = BTreeMap<Identity, (EndpointAddressKey, bool)>;
/// An address as text, so that it can be compared and ordered.
type EndpointAddressKey = (Option<String>, Option<String>, Option<String>, Option<String>);

/// The subsets for a service and the pods that it selects.
pub(super) fn subsets<'a>(
    service: &Service,
    pods: impl IntoIterator<Item = &'a PodView>,
) -> Vec<EndpointSubset> {
    let spec = service.spec.clone().unwrap_or_default();
    let unready = publishes_unready(service);
    let ipv6 = spec.ip_families.iter().flatten().next().is_some_and(|family| family == "IPv6");
    let mut by_port: BTreeMap<Option<Port>, Addresses> = BTreeMap::new();
    for pod in pods.into_iter().filter(|pod| has_endpoint(pod, unready)) {
        let Some(ip) = addresses(pod, ipv6).into_iter().next() else { continue };
        let identity = (ip, pod.metadata.uid.clone());
        let details = (
            hostname(pod, service),
            pod.node_name.clone(),
            pod.metadata.namespace.clone(),
            pod.metadata.name.clone(),
        );
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
            let number = target_port(pod, port)?;
            Some(Some((port.name.clone().unwrap_or_default(), protocol, number, port.app_protocol.clone())))
        });
        let mut ports: Vec<_> = ports.collect();
        if spec.ports.iter().flatten().next().is_none() && is_headless(service) {
            ports.push(None);
        }
        for port in ports {
            let ready = unready || pod.is_ready();
            by_port.entry(port).or_default().insert(identity.clone(), (details.clone(), ready));
        }
    }
    let mut by_addresses: BTreeMap<Addresses, Vec<Option<Port>>> = BTreeMap::new();
    for (port, addresses) in by_port {
        by_addresses.entry(addresses).or_default().push(port);
    }
    by_addresses.into_iter().map(|(addresses, ports)| subset(&addresses, ports)).collect()
}

fn subset(addresses: &Addresses, ports: Vec<Option<Port>>) -> EndpointSubset {
    let of = |wanted: bool| {
        let chosen = addresses.iter().filter(|(_, (_, ready))| *ready == wanted);
        let list: Vec<EndpointAddress> =
            chosen.map(|(identity, (details, _))| address(identity, details)).collect();
        (!list.is_empty()).then_some(list)
    };
    let ports = ports.into_iter().flatten().map(|(name, protocol, port, app_protocol)| EndpointPort {
        name: Some(name).filter(|name| !name.is_empty()),
        protocol: Some(protocol),
        port,
        app_protocol,
    });
    let ports: Vec<_> = ports.collect();
    EndpointSubset {
        addresses: of(true),
        not_ready_addresses: of(false),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn address(identity: &Identity, details: &EndpointAddressKey) -> EndpointAddress {
    let (hostname, node_name, namespace, name) = details.clone();
    let target_ref = Some(target(namespace, name, identity.1.clone()));
    EndpointAddress { hostname, ip: identity.0.clone(), node_name, target_ref }
}

/// Cuts what is over [`CAPACITY`]: unready addresses first, evenly from all subsets; whether
/// anything was cut.
pub(super) fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|subset| count(&subset.addresses)).sum();
    let unready: usize = subsets.iter().map(|subset| count(&subset.not_ready_addresses)).sum();
    if ready + unready <= CAPACITY {
        return false;
    }
    let keep_ready = ready.min(CAPACITY);
    cut(subsets.iter_mut().map(|subset| &mut subset.addresses), ready, keep_ready);
    cut(subsets.iter_mut().map(|subset| &mut subset.not_ready_addresses), unready, CAPACITY - keep_ready);
    true
}

/// Shortens `lists`, which hold `total` altogether, to `keep` altogether, each by the same share.
fn cut<'a>(lists: impl Iterator<Item = &'a mut Option<Vec<EndpointAddress>>>, total: usize, keep: usize) {
    let (mut seen, mut kept) = (0, 0);
    for list in lists {
        let Some(addresses) = list else { continue };
        seen += addresses.len();
        let until = keep * seen / total.max(1);
        addresses.truncate(until - kept);
        kept = until;
        if addresses.is_empty() {
            *list = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(number: usize, ready: bool, more: &Value) -> PodView {
        let mut value = json!({
            "metadata": {"name": format!("p{number}"), "namespace": "shop", "uid": format!("u{number}")},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"phase": "Running", "podIP": format!("10.42.{}.{}", number / 200, number % 200),
                       "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        });
        for (key, field) in more.as_object().into_iter().flatten() {
            value["metadata"][key] = field.clone();
        }
        gantry_json::from_value::<Pod>(value).expect("a Pod").into()
    }

    fn service(spec: Value) -> Service {
        gantry_json::from_value(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
            .expect("a Service")
    }

    #[test]
    fn addresses_with_the_same_ports_share_a_subset() {
        let web = service(json!({"clusterIP": "10.43.0.7", "ports": [
            {"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81, "targetPort": 9000}]}));
        let leaving = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        let pods = [pod(2, true, &Value::Null), pod(1, false, &Value::Null), pod(3, true, &leaving)];
        let reference =
            |name: &str, uid: &str| json!({"kind": "Pod", "namespace": "shop", "name": name, "uid": uid});
        assert_eq!(
            gantry_json::to_value(subsets(&web, &pods)).expect("JSON"),
            json!([{
                "addresses": [{"ip": "10.42.0.2", "nodeName": "n", "targetRef": reference("p2", "u2")}],
                "notReadyAddresses": [{"ip": "10.42.0.1", "nodeName": "n", "targetRef": reference("p1", "u1")}],
                "ports": [{"name": "a", "port": 8080, "protocol": "TCP"},
                          {"name": "b", "port": 9000, "protocol": "TCP"}],
            }])
        );
        let all = service(json!({"clusterIP": "None", "publishNotReadyAddresses": true}));
        let made = subsets(&all, &pods);
        assert_eq!(
            (made.len(), made[0].addresses.as_ref().map(Vec::len), made[0].ports.as_ref()),
            (1, Some(3), None)
        );
    }

    #[test]
    fn unready_addresses_are_cut_first() {
        let web = service(json!({"clusterIP": "10.43.0.7", "ports": [{"port": 80}]}));
        let check = |ready: usize, unready: usize, expect: (usize, usize, bool)| {
            let pods: Vec<_> =
                (0..ready + unready).map(|number| pod(number, number < ready, &Value::Null)).collect();
            let mut made = subsets(&web, &pods);
            let cut = truncate(&mut made);
            let count = |of: fn(&EndpointSubset) -> &Option<Vec<EndpointAddress>>| {
                made.iter().map(|subset| of(subset).as_ref().map_or(0, Vec::len)).sum::<usize>()
            };
            assert_eq!((count(|s| &s.addresses), count(|s| &s.not_ready_addresses), cut), expect);
        };
        check(600, 400, (600, 400, false));
        check(600, 500, (600, 400, true));
        check(1100, 50, (1000, 0, true));
    }
}
