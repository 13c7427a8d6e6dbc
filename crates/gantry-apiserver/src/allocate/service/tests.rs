//! Services through creation, change and deletion, and the property that nothing is handed out twice.

use std::collections::HashSet;

use gantry_json::{Value, json};
use proptest::prelude::*;

use super::*;

fn allocator() -> ServiceAllocator {
    ServiceAllocator::new(&["10.43.0.0/24".parse().unwrap()], 30_000..=30_099)
}

fn ranges(networks: &[&str]) -> Vec<Range> {
    networks.iter().map(|network| Range::new(network.parse().unwrap()).unwrap()).collect()
}

#[derive(Default)]
struct Used {
    ips: HashSet<IpAddr>,
    ports: HashSet<u16>,
}

impl InUse for Used {
    fn ip(&self, address: IpAddr) -> bool {
        self.ips.contains(&address)
    }

    fn port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }
}

/// What these Services hold.
fn used<'a>(services: impl IntoIterator<Item = &'a Value>) -> Used {
    let mut used = Used::default();
    for held in services.into_iter().map(Held::of) {
        used.ips.extend(held.ips);
        used.ports.extend(held.ports);
    }
    used
}

/// A new Service beside `others`.
fn create(spec: Value, others: &[Value]) -> Result<(Value, Claim), AllocationError> {
    let mut made = service(spec);
    let pool = Pool { ranges: &ranges(&["10.43.0.0/24"]), in_use: &used(others) };
    allocator().create(&mut made, pool, &mut counter()).map(|claim| (made, claim))
}

/// The only Service, changed.
fn update(mut new: Value, old: &Value) -> (Value, Claim) {
    let pool = Pool { ranges: &ranges(&["10.43.0.0/24"]), in_use: &used([old]) };
    let claim = allocator().update(&mut new, old, pool, &mut counter()).unwrap();
    (new, claim)
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
    let spec = json!({"selector": {"a": "b"}, "ports": [{"port": 80, "protocol": "TCP"}]});
    let (web, claim) = create(spec, &[]).unwrap();
    let spec = &web["spec"];
    assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
    assert_eq!(spec["ipFamilies"], json!(["IPv4"]));
    assert_eq!(spec["ipFamilyPolicy"], "SingleStack");
    assert_eq!(spec["internalTrafficPolicy"], "Cluster");
    assert!(spec["ports"][0].get("nodePort").is_none());
    assert_eq!(claim, Claim { ips: Held::of(&web).ips, ports: Vec::new() });
}

#[test]
fn says_why_not() {
    let first =
        json!({"clusterIP": "10.43.0.10", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30_080}]});
    let (first, _) = create(first, &[]).unwrap();
    let check = |spec: Value, expect: &str| {
        let error = create(spec, std::slice::from_ref(&first)).unwrap_err();
        assert_eq!(error.to_string(), expect);
    };
    check(
        json!({"clusterIP": "10.43.0.10"}),
        "spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: \
         failed to allocate IP 10.43.0.10: provided IP is already allocated",
    );
    check(
        json!({"clusterIP": "10.44.0.10"}),
        "spec.clusterIPs: Invalid value: [\"10.44.0.10\"]: \
         failed to allocate IP 10.44.0.10: the provided network does not match the current range",
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
fn every_range_is_used_before_there_is_nothing_left() {
    let check = |ranges: &[Range], expect: usize| {
        let mut stored: Vec<Value> = Vec::new();
        let outcome = loop {
            let mut next = service(json!({}));
            let pool = Pool { ranges, in_use: &used(&stored) };
            match allocator().create(&mut next, pool, &mut counter_from(stored.len() as u64)) {
                Ok(_) => stored.push(next),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(outcome, "failed to allocate a serviceIP: range is full");
        assert_eq!(used(&stored).ips.len(), stored.len());
        assert_eq!(stored.len(), expect);
    };
    check(&ranges(&["10.43.0.0/29", "10.44.0.0/30", "fd00::/64"]), 6 + 2);
    check(&ranges(&["10.43.0.0/29", "10.43.0.0/28"]), 14);
    check(&ranges(&["fd00::/64"]), 0);
    check(&[], 0);
}

#[test]
fn both_families_of_a_cluster_that_has_two() {
    let allocator =
        ServiceAllocator::new(&["10.43.0.0/24".parse().unwrap(), "fd00:43::/108".parse().unwrap()], 1..=1);
    let ranges = ranges(&["10.43.0.0/24", "fd00:43::/108"]);
    let pool = Pool { ranges: &ranges, in_use: &Used::default() };
    let mut both = service(json!({"ipFamilyPolicy": "RequireDualStack"}));
    let claim = allocator.create(&mut both, pool, &mut counter()).unwrap();
    assert_eq!(claim.ips.len(), 2);
    assert!(claim.ips[0].is_ipv4() && !claim.ips[1].is_ipv4());
    assert_eq!(both["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
}

#[test]
fn headless_and_external_name_take_nothing() {
    let check = |spec: Value, families: Value, policy: Value| {
        let (service, claim) = create(spec, &[]).unwrap();
        assert_eq!(claim, Claim::default());
        assert_eq!(service["spec"]["ipFamilies"], families);
        assert_eq!(service["spec"]["ipFamilyPolicy"], policy);
    };
    check(json!({"clusterIP": "None", "selector": {"a": "b"}}), json!(["IPv4"]), json!("SingleStack"));
    check(json!({"clusterIP": "None"}), json!(["IPv4", "IPv6"]), json!("RequireDualStack"));
    check(json!({"type": "ExternalName", "externalName": "a.b"}), Value::Null, Value::Null);
}

#[test]
fn one_number_serves_both_protocols_of_a_port() {
    let ports = json!([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
    let (dns, claim) = create(json!({"type": "NodePort", "ports": ports}), &[]).unwrap();
    assert_eq!(dns["spec"]["ports"][0]["nodePort"], dns["spec"]["ports"][1]["nodePort"]);
    assert_eq!(claim.ports.len(), 1);
}

#[test]
fn updates_keep_and_change() {
    let (old, _) = create(json!({"type": "NodePort", "ports": [{"port": 80}]}), &[]).unwrap();
    let (same, claim) =
        update(service(json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81}]})), &old);
    assert_eq!(same["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    assert_eq!(same["spec"]["ports"][0]["nodePort"], old["spec"]["ports"][0]["nodePort"]);
    assert_eq!((claim.ips.len(), claim.ports.len()), (0, 1));

    let mut plain = same.clone();
    plain["spec"]["type"] = json!("ClusterIP");
    let (plain, claim) = update(plain, &same);
    assert!(Held::of(&plain).ports.is_empty());
    assert_eq!(claim, Claim::default());

    let mut external = plain.clone();
    external["spec"]["type"] = json!("ExternalName");
    let (external, _) = update(external, &plain);
    assert!(external["spec"].get("clusterIP").is_none());
    assert_eq!(Held::of(&external), Held::default());

    let mut back = external.clone();
    back["spec"]["type"] = json!("ClusterIP");
    let (back, claim) = update(back, &external);
    assert_eq!(claim.ips, Held::of(&back).ips);
    assert_eq!(claim.ips.len(), 1);
}

#[test]
fn local_load_balancers_get_a_health_check_port() {
    let spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]});
    let (web, claim) = create(spec, &[]).unwrap();
    assert!(web["spec"]["healthCheckNodePort"].as_u64().unwrap() >= 30_000);
    assert_eq!(web["spec"]["allocateLoadBalancerNodePorts"], true);
    assert_eq!(claim.ports.len(), 2);
    assert_eq!(Held::of(&web).ports.len(), 2);
}

/// A write between its choice and its end.
struct Pending {
    slot: usize,
    old: Option<Value>,
    new: Value,
    claim: Claim,
}

proptest! {
    /// Whatever is created, changed, deleted, written late or given up, many at a time: no two stored
    /// Services share an address or a port.
    #[test]
    fn never_hands_out_twice(
        steps in prop::collection::vec((0u8..5, 0usize..8, 0u8..5, any::<u64>()), 0..120),
    ) {
        let allocator = ServiceAllocator::new(&["10.43.0.0/28".parse().unwrap()], 30_000..=30_009);
        let ranges = ranges(&["10.43.0.0/28", "10.43.0.8/29"]);
        let mut stored: Vec<Option<Value>> = vec![None; 8];
        let mut pending: Vec<Pending> = Vec::new();
        for (step, slot, shape, seed) in steps {
            match step {
                0 => stored[slot] = None,
                // The store takes a write only where the Service is still as it was.
                1 if !pending.is_empty() => {
                    let write = pending.swap_remove(slot % pending.len());
                    if stored[write.slot] == write.old {
                        stored[write.slot] = Some(write.new);
                    }
                }
                2 if !pending.is_empty() => drop(pending.swap_remove(slot % pending.len())),
                _ => {
                    let mut in_use = used(stored.iter().flatten());
                    for write in &pending {
                        in_use.ips.extend(&write.claim.ips);
                        in_use.ports.extend(&write.claim.ports);
                    }
                    let pool = Pool { ranges: &ranges, in_use: &in_use };
                    let (mut random, mut new, old) =
                        (counter_from(seed), shape_of(shape, seed), stored[slot].clone());
                    let result = match &old {
                        Some(old) => allocator.update(&mut new, old, pool, &mut random),
                        None => allocator.create(&mut new, pool, &mut random),
                    };
                    if let Ok(claim) = result {
                        let (held, had) = (Held::of(&new), old.as_ref().map(Held::of).unwrap_or_default());
                        let had_or_new = |ip| had.ips.contains(ip) != claim.ips.contains(ip);
                        prop_assert!(held.ips.iter().all(had_or_new));
                        let had_or_new = |port| had.ports.contains(port) || claim.ports.contains(port);
                        prop_assert!(held.ports.iter().all(had_or_new));
                        pending.push(Pending { slot, old, new, claim });
                    }
                }
            }
            let held: Vec<Held> = stored.iter().flatten().map(Held::of).collect();
            let all = used(stored.iter().flatten());
            prop_assert_eq!(held.iter().map(|held| held.ips.len()).sum::<usize>(), all.ips.len());
            prop_assert_eq!(held.iter().map(|held| held.ports.len()).sum::<usize>(), all.ports.len());
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
