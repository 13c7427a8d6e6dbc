//! Which endpoints are chosen.

use gantry_json::{Value, json};

use super::*;

/// Chooses for node `n1` in zone `z1`, from endpoints written `ADDRESS CONDITIONS NODE HINTS..`, where
/// conditions are letters of ready, serving and terminating, and hints zones or nodes.
fn check(endpoints: &[&str], cluster: &[&str], local: &[&str]) {
    let object = |text: &&str| -> Value {
        let mut words = text.split(' ');
        let (address, conditions, node) = (words.next(), words.next().unwrap(), words.next());
        let hints: Vec<&str> = words.collect();
        let named = |letter| {
            hints.iter().filter(|h| h.starts_with(letter)).map(|h| json!({"name": h})).collect::<Vec<_>>()
        };
        json!({
            "addresses": [address],
            "conditions": {
                "ready": conditions.contains('r'),
                "serving": conditions.contains('s'),
                "terminating": conditions.contains('t'),
            },
            "nodeName": node,
            "hints": {"forZones": named('z'), "forNodes": named('n')},
        })
    };
    let slice = |address_type: &str, endpoints: &[Value]| -> EndpointSlice {
        gantry_json::from_value(json!({
            "metadata": {"name": "s"},
            "addressType": address_type,
            "ports": [{"name": "web", "port": 80}, {"name": "other", "port": 81}],
            "endpoints": endpoints,
        }))
        .unwrap()
    };
    let slices = [
        slice("IPv4", &endpoints.iter().map(object).collect::<Vec<_>>()),
        slice("IPv6", &[json!({"addresses": ["fd00::1"]})]),
        slice("FQDN", &[json!({"addresses": ["example.com"]})]),
    ];
    let service = gantry_json::from_value(json!({
        "metadata": {"namespace": "d", "name": "s"},
        "spec": {"clusterIP": "10.43.0.1", "ports": [{"name": "web", "port": 8080}]},
    }));
    let service = Service::read(&service.unwrap(), Family::Ipv4).unwrap();
    let place = Place { node: "n1".into(), zone: Some("z1".into()), ..Place::default() };
    let slices: Vec<&EndpointSlice> = slices.iter().collect();
    let chosen = Endpoints::choose(&service, &service.ports[0], &slices, &place);
    let texts = |list: &[SocketAddr]| list.iter().map(|a| a.to_string()).collect::<Vec<_>>();
    let expect = |list: &[&str]| list.iter().map(|a| format!("{a}:80")).collect::<Vec<_>>();
    assert_eq!(texts(&chosen.cluster), expect(cluster), "in the cluster, of {endpoints:?}");
    assert_eq!(texts(&chosen.local), expect(local), "here, of {endpoints:?}");
}

#[test]
fn ready_ones_are_used() {
    check(&[], &[], &[]);
    check(&["10.0.0.1 rs n1", "10.0.0.2 rs n2"], &["10.0.0.1", "10.0.0.2"], &["10.0.0.1"]);
    check(&["10.0.0.1 - n1", "10.0.0.2 s n1"], &[], &[]);
}

#[test]
fn without_ready_ones_those_that_drain_are_used() {
    check(&["10.0.0.1 st n1", "10.0.0.2 rs n2"], &["10.0.0.2"], &["10.0.0.1"]);
    check(&["10.0.0.1 st n1", "10.0.0.2 st n2", "10.0.0.3 t n1"], &["10.0.0.1", "10.0.0.2"], &["10.0.0.1"]);
}

#[test]
fn hints_are_followed_if_all_have_some_and_one_is_for_here() {
    check(&["10.0.0.1 rs n2 z1", "10.0.0.2 rs n3 z2"], &["10.0.0.1"], &[]);
    check(&["10.0.0.1 rs n2 z2", "10.0.0.2 rs n3 z3"], &["10.0.0.1", "10.0.0.2"], &[]);
    check(&["10.0.0.1 rs n2 z1", "10.0.0.2 rs n3"], &["10.0.0.1", "10.0.0.2"], &[]);
    check(&["10.0.0.1 rs n2 z1", "10.0.0.2 st n3"], &["10.0.0.1"], &[]);
    check(&["10.0.0.1 rs n1 z1 n1", "10.0.0.2 rs n2 z1 n2"], &["10.0.0.1"], &["10.0.0.1"]);
}

#[test]
fn an_endpoint_in_two_slices_counts_once_and_ready_if_it_is_in_one() {
    check(&["10.0.0.1 st n1", "10.0.0.1 rs n1"], &["10.0.0.1"], &["10.0.0.1"]);
}
