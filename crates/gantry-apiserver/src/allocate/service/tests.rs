//! Services through creation, change and deletion, and the property that nothing is handed out twice.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn allocator() -> ServiceAllocator {
    ServiceAllocator::new(&["10.43.0.0/24".parse().unwrap()], 30_000..=30_099)
}

fn counter() -> impl FnMut() -> u64 {
    let mut next = 0u64;
    move || {
        next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        next >> 11
    }
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec})
}

#[test]
fn defaults_a_cluster_ip_service() {
    let mut allocator = allocator();
    let mut web = service(json!({"selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}]}));
    let reservation = allocator.create(&mut web, &mut counter()).unwrap();
    allocator.commit(reservation);
    let spec = &web["spec"];
    assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
    assert_eq!(spec["ipFamilies"], json!(["IPv4"]));
    assert_eq!(spec["ipFamilyPolicy"], "SingleStack");
    assert_eq!(spec["internalTrafficPolicy"], "Cluster");
    assert!(spec["ports"][0].get("nodePort").is_none());
}

#[test]
fn says_why_not() {
    let mut allocator = allocator();
    let mut random = counter();
    let first =
        json!({"clusterIP": "10.43.0.10", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30_080}]});
    let reservation = allocator.create(&mut service(first), &mut random).unwrap();
    allocator.commit(reservation);
    let mut check = |spec: Value, expect: &str| {
        let before = (allocator.ips[0].1.used(), allocator.ports.used());
        let error = allocator.create(&mut service(spec), &mut random).unwrap_err();
        assert_eq!(error.to_string(), expect);
        assert_eq!((allocator.ips[0].1.used(), allocator.ports.used()), before, "nothing leaks: {expect}");
    };
    check(
        json!({"clusterIP": "10.43.0.10"}),
        "spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: \
         failed to allocate IP 10.43.0.10: provided IP is already allocated",
    );
    check(
        json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_080}]}),
        "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated",
    );
    check(
        json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81, "nodePort": 80}]}),
        "spec.ports[1].nodePort: Invalid value: 80: provided port is not in the valid range. \
         The range of valid ports is 30000-30099",
    );
    check(
        json!({"ipFamilyPolicy": "RequireDualStack"}),
        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": \
         this cluster is not configured for dual-stack services",
    );
    check(
        json!({"ipFamilies": ["IPv6"]}),
        "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster",
    );
}

#[test]
fn headless_and_external_name_take_nothing() {
    let mut allocator = allocator();
    let check = |allocator: &mut ServiceAllocator, spec: Value, families: Value, policy: Value| {
        let mut service = service(spec);
        let reservation = allocator.create(&mut service, &mut counter()).unwrap();
        assert_eq!(reservation, Reservation::default());
        assert_eq!(service["spec"]["ipFamilies"], families);
        assert_eq!(service["spec"]["ipFamilyPolicy"], policy);
    };
    check(
        &mut allocator,
        json!({"clusterIP": "None", "selector": {"a": "b"}}),
        json!(["IPv4"]),
        json!("SingleStack"),
    );
    check(&mut allocator, json!({"clusterIP": "None"}), json!(["IPv4", "IPv6"]), json!("RequireDualStack"));
    check(&mut allocator, json!({"type": "ExternalName", "externalName": "a.b"}), Value::Null, Value::Null);
}

#[test]
fn one_number_serves_both_protocols_of_a_port() {
    let mut allocator = allocator();
    let ports = json!([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
    let mut dns = service(json!({"type": "NodePort", "ports": ports}));
    let reservation = allocator.create(&mut dns, &mut counter()).unwrap();
    allocator.commit(reservation);
    assert_eq!(dns["spec"]["ports"][0]["nodePort"], dns["spec"]["ports"][1]["nodePort"]);
    assert_eq!(allocator.ports.used(), 1);
    allocator.delete(&dns);
    assert_eq!(allocator.ports.used(), 0);
}

#[test]
fn updates_keep_change_and_free() {
    let mut allocator = allocator();
    let mut random = counter();
    let mut old = service(json!({"type": "NodePort", "ports": [{"port": 80}]}));
    let reservation = allocator.create(&mut old, &mut random).unwrap();
    allocator.commit(reservation);

    let mut same = service(json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]}));
    let reservation = allocator.update(&mut same, &old, &mut random).unwrap();
    allocator.commit(reservation);
    assert_eq!(same["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    assert_eq!(same["spec"]["ports"][0]["nodePort"], old["spec"]["ports"][0]["nodePort"]);
    assert_eq!(allocator.ports.used(), 2);

    let mut plain = same.clone();
    plain["spec"]["type"] = json!("ClusterIP");
    let reservation = allocator.update(&mut plain, &same, &mut random).unwrap();
    allocator.commit(reservation);
    assert!(plain["spec"]["ports"][0].get("nodePort").is_none());
    assert_eq!(allocator.ports.used(), 0);

    let mut external = plain.clone();
    external["spec"]["type"] = json!("ExternalName");
    let reservation = allocator.update(&mut external, &plain, &mut random).unwrap();
    allocator.commit(reservation);
    assert!(external["spec"].get("clusterIP").is_none());
    assert_eq!(allocator.ips[0].1.used(), 0);

    let mut back = external.clone();
    back["spec"]["type"] = json!("ClusterIP");
    let reservation = allocator.update(&mut back, &external, &mut random).unwrap();
    assert_eq!(allocator.ips[0].1.used(), 1);
    allocator.rollback(reservation);
    assert_eq!(allocator.ips[0].1.used(), 0);
}

#[test]
fn local_load_balancers_get_a_health_check_port() {
    let mut allocator = allocator();
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let mut web = service(spec);
    let reservation = allocator.create(&mut web, &mut counter()).unwrap();
    allocator.commit(reservation);
    assert!(web["spec"]["healthCheckNodePort"].as_u64().unwrap() >= 30_000);
    assert_eq!(web["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(allocator.ports.used(), 2);
    allocator.delete(&web);
    assert_eq!(allocator.ports.used(), 0);
}

#[test]
fn restoring_finds_faults() {
    let mut allocator = allocator();
    let stored = service(json!({"clusterIP": "10.43.0.7", "clusterIPs": ["10.43.0.7"]}));
    assert!(allocator.restore(&stored).is_empty());
    let again = allocator.restore(&stored);
    assert_eq!(again, ["service default/web: cluster IP 10.43.0.7: provided IP is already allocated"]);
}

proptest! {
    /// Whatever is created, changed, deleted and rolled back: no two stored Services share an address
    /// or a port, and the allocators hold exactly what is stored.
    #[test]
    fn never_hands_out_twice(steps in prop::collection::vec((0u8..4, 0usize..8, 0u8..5, any::<u64>()), 0..120)) {
        let mut allocator = ServiceAllocator::new(&["10.43.0.0/28".parse().unwrap()], 30_000..=30_009);
        let mut stored: Vec<Option<Value>> = vec![None; 8];
        for (step, slot, shape, seed) in steps {
            let mut random = counter_from(seed);
            let mut next = shape_of(shape, seed);
            match (step, stored[slot].clone()) {
                (0, Some(old)) => {
                    allocator.delete(&old);
                    stored[slot] = None;
                }
                (1, old) => {
                    let result = match &old {
                        Some(old) => allocator.update(&mut next, old, &mut random),
                        None => allocator.create(&mut next, &mut random),
                    };
                    if let Ok(reservation) = result { allocator.rollback(reservation); }
                }
                (_, Some(old)) => if let Ok(reservation) = allocator.update(&mut next, &old, &mut random) {
                    allocator.commit(reservation);
                    stored[slot] = Some(next);
                },
                (_, None) => if let Ok(reservation) = allocator.create(&mut next, &mut random) {
                    allocator.commit(reservation);
                    stored[slot] = Some(next);
                },
            }
            let ips: Vec<_> = stored.iter().flatten().flat_map(addresses).collect();
            let ports: Vec<_> = stored.iter().flatten().flat_map(node_ports).collect();
            prop_assert_eq!(ips.iter().collect::<HashSet<_>>().len(), ips.len());
            prop_assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
            prop_assert_eq!(allocator.ips[0].1.used(), ips.len());
            prop_assert_eq!(allocator.ports.used(), ports.len());
        }
    }
}

fn counter_from(seed: u64) -> impl FnMut() -> u64 {
    let mut next = seed;
    move || {
        next = next.wrapping_add(7);
        next
    }
}

fn shape_of(shape: u8, seed: u64) -> Value {
    let port = 30_000 + seed % 12;
    service(match shape {
        0 => json!({"ports": [{"port": 80}]}),
        1 => json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81, "nodePort": port}]}),
        2 => json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]}),
        3 => json!({"clusterIP": format!("10.43.0.{}", seed % 17), "ports": []}),
        _ => json!({"type": "ExternalName", "externalName": "a.b"}),
    })
}
