//! Plans for one service: what each pod becomes, and how slices are filled.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_client::PodView;
use gantry_json::{Value, json};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use proptest::prelude::*;

use super::packing::FULL;
use super::plan::{Plan, Snapshot, plan};

fn service(spec: &Value) -> Service {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "s1", "labels": {"team": "a"}},
        "spec": {"clusterIP": "10.43.0.7", "ipFamilies": ["IPv4"], "selector": {"app": "web"},
                 "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    });
    for (key, field) in spec.as_object().into_iter().flatten() {
        value["spec"][key] = field.clone();
    }
    gantry_json::from_value(value).expect("a Service")
}

fn pod(number: usize, more: &Value) -> Arc<PodView> {
    let mut value = json!({
        "metadata": {"name": format!("web-{number}"), "namespace": "shop", "uid": format!("p{number}")},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": format!("10.42.{}.{}", number / 250, number % 250),
                   "conditions": [{"type": "Ready", "status": "True"}]},
    });
    for (path, field) in more.as_object().into_iter().flatten() {
        let (path, last) = path.rsplit_once('/').expect("a path");
        value.pointer_mut(path).expect("a parent")[last] = field.clone();
    }
    Arc::new(gantry_json::from_value::<Pod>(value).expect("a Pod").into())
}

fn nodes() -> BTreeMap<String, BTreeMap<String, String>> {
    [("n1".into(), BTreeMap::from([("topology.kubernetes.io/zone".into(), "z1".into())]))].into()
}

fn planned(service: &Service, pods: &[Arc<PodView>], slices: &[Arc<EndpointSlice>]) -> Plan {
    plan(&Snapshot { service, pods, slices, nodes: &nodes(), trigger: None })
}

/// What the API holds after `plan` was carried out.
fn carried_out(plan: Plan, slices: &[Arc<EndpointSlice>], names: &mut usize) -> Vec<Arc<EndpointSlice>> {
    let gone =
        |slice: &EndpointSlice| plan.delete.iter().any(|each| each.metadata.name == slice.metadata.name);
    let mut after: Vec<_> = slices.iter().filter(|slice| !gone(slice)).cloned().collect();
    for slice in plan.update {
        let old = after.iter_mut().find(|each| each.metadata.name == slice.metadata.name);
        *old.expect("an update of a slice that is there") = Arc::new(slice);
    }
    for mut slice in plan.create {
        *names += 1;
        slice.metadata.name = Some(format!("web-{names:05}"));
        after.push(Arc::new(slice));
    }
    after
}

fn only_endpoint(spec: &Value, more: &Value) -> Value {
    let plan = planned(&service(spec), &[pod(7, more)], &[]);
    assert_eq!(plan.create.len(), 1);
    gantry_json::to_value(plan.create[0].endpoints.first()).expect("JSON")
}

#[test]
fn a_ready_pod_is_an_endpoint() {
    let plan = planned(&service(&json!({})), &[pod(7, &json!({}))], &[]);
    let slice = gantry_json::to_value(&plan.create[0]).expect("JSON");
    assert_eq!(
        slice,
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "generateName": "web-", "namespace": "shop",
                "labels": {"team": "a", "kubernetes.io/service-name": "web",
                           "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "s1",
                                     "controller": true, "blockOwnerDeletion": true}],
            },
            "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
            "endpoints": [{
                "addresses": ["10.42.0.7"], "nodeName": "n1", "zone": "z1",
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-7", "uid": "p7"},
            }],
        })
    );
}

#[test]
fn conditions_follow_readiness_and_deletion() {
    let check = |spec: Value, more: Value, expect: [bool; 3]| {
        let conditions = &only_endpoint(&spec, &more)["conditions"];
        let got = ["ready", "serving", "terminating"].map(|name| conditions[name] == true);
        assert_eq!(got, expect, "{spec} {more}");
    };
    let unready = json!({"/status/conditions": [{"type": "Ready", "status": "False"}]});
    let leaving = json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"});
    check(json!({}), json!({}), [true, true, false]);
    check(json!({}), unready.clone(), [false, false, false]);
    check(json!({}), leaving.clone(), [false, true, true]);
    check(json!({"publishNotReadyAddresses": true}), unready, [true, false, false]);
    check(json!({"publishNotReadyAddresses": true}), leaving, [true, true, true]);
}

#[test]
fn hostnames_and_hints_are_for_those_who_ask() {
    let named = json!({"/spec/hostname": "web-7", "/spec/subdomain": "web"});
    assert_eq!(only_endpoint(&json!({}), &named)["hostname"], "web-7");
    let elsewhere = json!({"/spec/hostname": "web-7", "/spec/subdomain": "other"});
    assert_eq!(only_endpoint(&json!({}), &elsewhere)["hostname"], Value::Null);
    let close = json!({"trafficDistribution": "PreferClose"});
    assert_eq!(only_endpoint(&close, &json!({}))["hints"], json!({"forZones": [{"name": "z1"}]}));
    let node = json!({"trafficDistribution": "PreferSameNode"});
    assert_eq!(only_endpoint(&node, &json!({}))["hints"]["forNodes"], json!([{"name": "n1"}]));
}

#[test]
fn pods_that_cannot_be_reached_are_left_out() {
    let check = |more: Value, unknown: bool| {
        let plan = planned(&service(&json!({})), &[pod(7, &more)], &[]);
        assert!(plan.create[0].endpoints.is_empty(), "{more}");
        assert_eq!(plan.unknown_node.is_some(), unknown, "{more}");
    };
    check(json!({"/status/podIP": null}), false);
    check(json!({"/status/phase": "Succeeded"}), false);
    check(json!({"/status/podIP": "fd00::7"}), false);
    check(json!({"/spec/nodeName": "n2"}), true);
}

#[test]
fn pods_with_other_ports_have_other_slices_and_families_too() {
    let other = pod(
        2,
        &json!({"/spec/containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9}]}]}),
    );
    let pods = [pod(1, &json!({})), other];
    assert_eq!(planned(&service(&json!({})), &pods, &[]).create.len(), 2);
    let dual = service(&json!({"ipFamilies": ["IPv4", "IPv6"]}));
    let both = pod(3, &json!({"/status/podIPs": [{"ip": "10.42.0.3"}, {"ip": "fd00::3"}]}));
    let made = planned(&dual, &[both], &[]).create;
    let addresses: Vec<_> =
        made.iter().map(|slice| (&*slice.address_type, &*slice.endpoints[0].addresses[0])).collect();
    assert_eq!(addresses, [("IPv4", "10.42.0.3"), ("IPv6", "fd00::3")]);
}

#[test]
fn a_service_without_endpoints_keeps_one_empty_slice() {
    let service = service(&json!({}));
    let slices = carried_out(planned(&service, &[], &[]), &[], &mut 0);
    assert_eq!((slices.len(), slices[0].endpoints.len()), (1, 0));
    assert_eq!(planned(&service, &[], &slices), Plan::default());
    let pods = [pod(1, &json!({}))];
    let filled = planned(&service, &pods, &slices);
    assert_eq!((filled.create.len(), filled.update.len(), filled.delete.len()), (0, 1, 0));
    let slices = carried_out(filled, &slices, &mut 1);
    let emptied = carried_out(planned(&service, &[], &slices), &slices, &mut 2);
    assert_eq!((emptied.len(), emptied[0].endpoints.len()), (1, 0));
}

#[test]
fn slices_of_an_earlier_service_of_that_name_go() {
    let first = service(&json!({}));
    let pods = [pod(1, &json!({}))];
    let slices = carried_out(planned(&first, &pods, &[]), &[], &mut 0);
    let mut second = first;
    second.metadata.uid = Some("s2".into());
    let plan = planned(&second, &pods, &slices);
    assert_eq!((plan.create.len(), plan.update.len(), plan.delete.len()), (1, 0, 1));
    second.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    assert!(planned(&second, &pods, &[]).create.is_empty());
}

#[test]
fn headless_services_say_so() {
    let headless = service(&json!({"clusterIP": "None", "ports": null}));
    let plan = planned(&headless, &[pod(1, &json!({}))], &[]);
    let labels = plan.create[0].metadata.labels.clone().unwrap_or_default();
    assert_eq!(labels.get("service.kubernetes.io/headless").map(String::as_str), Some(""));
    assert_eq!((plan.create[0].ports.as_ref(), plan.create[0].endpoints.len()), (None, 1));
}

/// One pod: absent, ready, unready, or with the other port.
fn state() -> impl Strategy<Value = u8> {
    prop_oneof![2 => Just(0), 4 => Just(1), 1 => Just(2), 1 => Just(3)]
}

fn pods(states: &[u8]) -> Vec<Arc<PodView>> {
    let more = |state: u8| match state {
        2 => json!({"/status/conditions": []}),
        3 => json!({"/spec/containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 9}]}]}),
        _ => json!({}),
    };
    let there = states.iter().enumerate().filter(|(_, state)| **state != 0);
    there.map(|(number, state)| pod(number, &more(*state))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// However pods come and go, every pod stands in exactly one slice, no slice is too full, and
    /// looking again changes nothing.
    #[test]
    fn every_pod_is_in_one_slice(
        rounds in prop::collection::vec(prop::collection::vec(state(), 0..350), 1..5)
    ) {
        let service = service(&json!({}));
        let (mut slices, mut names) = (Vec::new(), 0);
        for states in rounds {
            let pods = pods(&states);
            slices = carried_out(planned(&service, &pods, &slices), &slices, &mut names);
            let mut found: Vec<_> = slices
                .iter()
                .flat_map(|slice| &slice.endpoints)
                .filter_map(|endpoint| endpoint.target_ref.as_ref()?.name.clone())
                .collect();
            let mut expected: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
            found.sort();
            expected.sort();
            prop_assert_eq!(found, expected);
            prop_assert!(slices.iter().all(|slice| slice.endpoints.len() <= FULL));
            prop_assert!(!slices.is_empty());
            prop_assert_eq!(planned(&service, &pods, &slices), Plan::default());
        }
    }
}
