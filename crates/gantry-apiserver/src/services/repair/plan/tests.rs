//! Each way of being out of step, and the property that mending comes to an end with everything in step.

use std::collections::BTreeMap;

use gantry_json::{Value, json};
use proptest::prelude::*;

use super::*;
use crate::authz::feed::Index;
use crate::services::address::ip_address;
use crate::services::holdings::{ADDRESSES, RANGES, SERVICES};

const CREATED: &str = "2026-01-01T00:00:00Z";

fn after(seconds: i64) -> Timestamp {
    CREATED.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// A cluster's Services and IPAddresses.
#[derive(Debug, Default)]
struct Cluster {
    objects: BTreeMap<String, Value>,
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self::default();
        cluster.objects.insert(format!("{RANGES}kubernetes"), json!({"spec": {"cidrs": ["10.43.0.0/28"]}}));
        cluster
    }

    fn service(&mut self, name: &str, addresses: &[&str]) -> &mut Self {
        self.objects.insert(format!("{SERVICES}{name}"), json!({"spec": {"clusterIPs": addresses}}));
        self
    }

    fn address(&mut self, address: &str, mut object: Value) -> &mut Self {
        object["metadata"]["creationTimestamp"] = CREATED.into();
        self.objects.insert(format!("{ADDRESSES}{address}"), object);
        self
    }

    /// The IPAddress that the allocator makes for a Service.
    fn own(&mut self, address: &str, namespace: &str, name: &str) -> &mut Self {
        self.address(address, ip_address(address.parse().unwrap(), namespace, name))
    }

    fn holdings(&self) -> Holdings {
        let mut holdings = Holdings::default();
        for (key, object) in &self.objects {
            holdings.apply(key, Some(object.to_string().as_bytes()));
        }
        holdings
    }

    /// Everything that is wrong.
    fn findings(&self, now: Timestamp) -> Vec<Finding> {
        let holdings = self.holdings();
        let services = holdings.services().flat_map(|service| of_service(&holdings, service));
        let addresses =
            holdings.addresses().filter_map(|address| match of_address(&holdings, address, now) {
                Verdict::Wrong(finding) => Some(finding),
                _ => None,
            });
        services.chain(addresses).collect()
    }

    fn mend(&mut self, remedy: &Remedy) {
        let key = |address: &IpAddr| format!("{ADDRESSES}{address}");
        if let Remedy::Recreate(address, _) | Remedy::Remove(address) = remedy {
            self.objects.remove(&key(address));
        }
        if let Remedy::Create(address, service) | Remedy::Recreate(address, service) = remedy {
            let (namespace, name) = service.split_once('/').unwrap();
            let object = ip_address(*address, namespace, name);
            self.objects.entry(key(address)).or_insert(object);
        }
    }

    /// Reasons, messages and remedies.
    fn check(&self, now: Timestamp, expect: &[(&str, &str, Remedy)]) {
        let findings = self.findings(now);
        let found: Vec<(&str, &str, Remedy)> = findings
            .iter()
            .map(|finding| match &finding.event {
                Some(event) => (&*event.reason, &*event.message, finding.remedy.clone()),
                None => ("", "", finding.remedy.clone()),
            })
            .collect();
        assert_eq!(found, expect);
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_in_step_is_left_alone() {
    let mut cluster = Cluster::new();
    cluster.service("a/x", &["10.43.0.7"]).own("10.43.0.7", "a", "x");
    cluster.service("a/headless", &["None"]);
    let gateway = json!({"spec": {"parentRef": {"group": "g", "resource": "gateways", "name": "g"}}});
    cluster.address("10.43.0.9", gateway);
    cluster.check(after(1000), &[]);
}

#[test]
fn addresses_of_services_are_made_and_put_right() {
    let service = ServiceName::from("a/x");
    let mut cluster = Cluster::new();
    cluster.service("a/x", &["10.43.0.7"]);
    let words = "Cluster IP [IPv4]: 10.43.0.7 is not allocated; repairing";
    let create = Remedy::Create(ip("10.43.0.7"), service.clone());
    cluster.check(after(0), &[("ClusterIPNotAllocated", words, create)]);

    let recreate = Remedy::Recreate(ip("10.43.0.7"), service);
    let words = "the ClusterIP [IPv4]: 10.43.0.7 for Service a/x has a wrong reference; repairing";
    let wrong = [("ClusterIPNotAllocated", words, recreate.clone())];
    let gateway = json!({"spec": {"parentRef": {"group": "g", "resource": "gateways", "name": "g"}}});
    cluster.address("10.43.0.7", gateway).check(after(0), &wrong);
    cluster.own("10.43.0.7", "a", "gone").check(after(0), &wrong);

    let mut unlabelled = ip_address(ip("10.43.0.7"), "a", "x");
    unlabelled["metadata"]["labels"] = json!({});
    cluster.address("10.43.0.7", unlabelled).check(after(0), &[("", "", recreate)]);
}

#[test]
fn what_a_program_cannot_mend_is_told() {
    let mut cluster = Cluster::new();
    cluster.service("a/x", &["10.43.0.7"]).own("10.43.0.7", "a", "x").service("b/y", &["10.43.0.7"]);
    let words = "Cluster IP [IPv4]:10.43.0.7 was assigned to multiple services; please recreate service";
    cluster.check(after(0), &[("ClusterIPAlreadyAllocated", words, Remedy::None)]);
    let mut cluster = Cluster::new();
    cluster.service("a/x", &["10.44.0.7"]);
    let words =
        "Cluster IP [IPv4]: 10.44.0.7 is not within any configured Service CIDR; please recreate service";
    cluster.check(after(0), &[("ClusterIPOutOfRange", words, Remedy::None)]);
}

#[test]
fn leftovers_go() {
    let remove = || Remedy::Remove(ip("10.43.0.7"));
    let mut cluster = Cluster::new();
    cluster.own("10.43.0.7", "a", "x");
    cluster.check(after(59), &[]);
    assert_eq!(of_address(&cluster.holdings(), ip("10.43.0.7"), after(1)), Verdict::Later(after(60)));
    let words = "IPAddress: 10.43.0.7 for Service a/x appears to have leaked: cleaning up";
    cluster.check(after(60), &[("IPAddressNotAllocated", words, remove())]);

    cluster.service("a/x", &["10.43.0.8"]).own("10.43.0.8", "a", "x");
    let words = "IPAddress: 10.43.0.7 for Service a/x has a wrong reference; cleaning up";
    cluster.check(after(0), &[("IPAddressWrongReference", words, remove())]);

    let mut changed = ip_address(ip("10.43.0.7"), "a", "x");
    changed["spec"]["parentRef"] = json!({"group": "g", "resource": "gateways", "name": "n"});
    let words = "IPAddress 10.43.0.7 appears to have been modified, not referencing a Service \
                 &ParentReference{Group:g,Resource:gateways,Namespace:,Name:n,}: cleaning up";
    cluster.address("10.43.0.7", changed).check(after(0), &[("IPAddressNotAllocated", words, remove())]);
}

proptest! {
    /// From any state, mending ends; then each address in range has the IPAddress of one of its Services, no
    /// other IPAddress of the allocator's is there, and what others made for free addresses still is.
    #[test]
    fn mending_ends_in_step(
        services in prop::collection::vec((0u8..4, 1u8..20), 0..6),
        addresses in prop::collection::vec((1u8..14, 0u8..5, 0u8..6), 0..8),
    ) {
        let mut cluster = Cluster::new();
        for (name, last) in services {
            cluster.service(&format!("a/{name}"), &[&format!("10.43.0.{last}")]);
        }
        for (last, name, form) in addresses {
            let address = format!("10.43.0.{last}");
            let mut object = ip_address(ip(&address), "a", &name.to_string());
            match form {
                0 => object["metadata"]["labels"] = json!({}),
                1 => object["spec"]["parentRef"]["resource"] = json!("gateways"),
                2 => {
                    object["metadata"]["labels"] = json!({});
                    object["spec"]["parentRef"]["resource"] = json!("gateways");
                }
                _ => {}
            }
            cluster.address(&address, object);
        }
        let before = cluster.holdings();
        let mut rounds = 0;
        loop {
            let findings = cluster.findings(after(3600));
            let wanted = findings.iter().filter(|finding| finding.remedy != Remedy::None);
            // One after the other, as they come, each on the state that was seen.
            let remedies: Vec<Remedy> = wanted.map(|finding| finding.remedy.clone()).collect();
            if remedies.is_empty() {
                break;
            }
            remedies.iter().for_each(|remedy| cluster.mend(remedy));
            rounds += 1;
            prop_assert!(rounds < 6, "it does not end: {:?}", cluster);
        }
        let after = cluster.holdings();
        for service in after.services() {
            for address in after.held(service).unwrap().ips.iter().filter(|address| after.in_range(**address)) {
                let object = after.address(*address).unwrap();
                prop_assert!(object.labelled);
                let Parent::Service(owner) = &object.parent else { panic!("{object:?}") };
                prop_assert!(after.held(owner).unwrap().ips.contains(address));
            }
        }
        for address in after.addresses() {
            if after.address(address).unwrap().managed {
                prop_assert!(after.holders(address).next().is_some());
            }
        }
        for address in before.addresses() {
            if !before.address(address).unwrap().managed && before.holders(address).next().is_none() {
                prop_assert_eq!(before.address(address), after.address(address));
            }
        }
    }
}
