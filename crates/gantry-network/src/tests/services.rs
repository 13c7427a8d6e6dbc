//! Connections to Services reach endpoints.

use std::collections::BTreeSet;

use gantry_json::json;

use super::{
    cluster::*,
    support::{Host, Namespace, Pod, ask_udp, on_host, pod},
};
use crate::{Network, cleanup, local_address};

const SERVICE: &str = "10.43.0.5:80";

/// A host with an uplink, three pods, of which two serve at 8080, and a Service of these two.
struct Scene {
    host: Host,
    outside: Namespace,
    client: Pod,
    one: Pod,
    two: Pod,
    cluster: Cluster,
}

impl Scene {
    async fn new(host: Host) -> Self {
        let outside = host.uplink();
        // The other machine knows of nothing but this one.
        let network = Network::open(host.config()).unwrap();
        let cluster = Cluster::new(&network);
        let client = pod(&network, "client").await;
        let (one, two) = (pod(&network, "one").await, pod(&network, "two").await);
        one.namespace.serve("one", one.ip, 8080);
        two.namespace.serve("two", two.ip, 8080);
        let mut scene = Self { host, outside, client, one, two, cluster };
        scene.cluster.service(spec("10.43.0.5", json!({})));
        scene.cluster.endpoints(&[ready(scene.one.ip), ready(scene.two.ip)]);
        scene
    }
}

/// What different connections from `namespace` are answered.
fn answers(namespace: &Namespace, address: &str) -> BTreeSet<String> {
    (0..20).map(|_| namespace.ask(address).unwrap()).collect()
}

fn set(answers: &[&str]) -> BTreeSet<String> {
    answers.iter().map(|a| (*a).to_owned()).collect()
}

#[test]
fn cluster_ip_from_pods_and_from_the_node() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        assert_eq!(answers(&scene.client.namespace, SERVICE), set(&["one 10.42.0.1", "two 10.42.0.1"]));
        assert_eq!(answers(&scene.host.namespace, SERVICE), set(&["one 192.0.2.1", "two 192.0.2.1"]));
        // A pod may reach itself, and then sees the node.
        assert_eq!(answers(&scene.one.namespace, SERVICE), set(&["one 192.0.2.1", "two 10.42.0.2"]));
        let udp = scene.client.namespace.udp();
        assert!(ask_udp(&udp, SERVICE).unwrap().ends_with(" 10.42.0.1"));
        scene.cluster.no_service();
        assert!(scene.client.namespace.refused(SERVICE), "an address of no Service");
        assert!(scene.host.namespace.refused(SERVICE));
    });
}

#[test]
fn node_port_from_everywhere() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        assert!(scene.outside.refused("192.0.2.1:30080"));
        scene.cluster.service(node_port("10.43.0.5", json!({})));
        assert_eq!(answers(&scene.outside, "192.0.2.1:30080"), set(&["one 192.0.2.1", "two 192.0.2.1"]));
        assert_eq!(
            answers(&scene.host.namespace, "192.0.2.1:30080"),
            set(&["one 192.0.2.1", "two 192.0.2.1"])
        );
        assert_eq!(
            answers(&scene.client.namespace, "192.0.2.1:30080"),
            set(&["one 192.0.2.1", "two 192.0.2.1"])
        );
        let udp = scene.outside.udp();
        assert!(ask_udp(&udp, "192.0.2.1:30080").unwrap().ends_with(" 192.0.2.1"));
        scene.cluster.service(node_port("10.43.0.5", json!({"externalTrafficPolicy": "Local"})));
        assert_eq!(answers(&scene.outside, "192.0.2.1:30080"), set(&["one 192.0.2.2", "two 192.0.2.2"]));
        scene.cluster.endpoints(&[elsewhere(scene.one.ip)]);
        assert!(scene.outside.silent("192.0.2.1:30080"), "dropped, so that the sender tries elsewhere");
        assert_eq!(answers(&scene.client.namespace, "192.0.2.1:30080"), set(&["one 10.42.0.1"]));
        assert_eq!(answers(&scene.host.namespace, "192.0.2.1:30080"), set(&["one 192.0.2.1"]));
    });
}

#[test]
fn other_addresses_of_a_service() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        let ranges = json!({"externalIPs": ["203.0.113.5"], "loadBalancerSourceRanges": ["192.0.2.0/24"]});
        let ingress = json!([{"ip": "203.0.113.6"}, {"ip": "203.0.113.7", "ipMode": "Proxy"}]);
        scene.cluster.named("web", node_port("10.43.0.5", ranges), ingress.clone());
        scene.outside.run(|| {
            let socket = crate::netlink::Socket::route().unwrap();
            let link = socket.link("up0").unwrap().unwrap().index;
            let (destination, gateway) =
                ("203.0.113.0/24".parse().unwrap(), Some("192.0.2.1".parse().unwrap()));
            let route =
                crate::netlink::route::Route { destination, gateway, link, source: None, on_link: false };
            socket.set_route(&route).unwrap();
        });
        assert_eq!(answers(&scene.outside, "203.0.113.5:80"), set(&["one 192.0.2.1", "two 192.0.2.1"]));
        assert_eq!(answers(&scene.outside, "203.0.113.6:80"), set(&["one 192.0.2.1", "two 192.0.2.1"]));
        assert!(scene.outside.ask("203.0.113.7:80").is_err());
        let ranges = json!({"loadBalancerSourceRanges": ["198.51.100.0/24"]});
        scene.cluster.named("web", node_port("10.43.0.5", ranges), ingress);
        assert!(scene.outside.silent("203.0.113.6:80"));
    });
}

#[test]
fn affinity_keeps_a_client_with_its_endpoint() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        let affinity = json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}});
        scene.cluster.service(spec("10.43.0.5", affinity));
        let first = answers(&scene.client.namespace, SERVICE);
        assert_eq!(first.len(), 1);
        let (kept, other) =
            if first.contains("one 10.42.0.1") { (&scene.one, "two") } else { (&scene.two, "one") };
        // A third endpoint, which is nobody's, changes nothing for this client.
        let more = [ready(scene.one.ip), ready(scene.two.ip), ready("10.42.0.77")];
        scene.cluster.endpoints(&more);
        assert_eq!(answers(&scene.client.namespace, SERVICE), first);
        let rest: Vec<_> =
            [&scene.one, &scene.two].iter().filter(|p| p.ip != kept.ip).map(|p| ready(p.ip)).collect();
        scene.cluster.endpoints(&rest);
        assert_eq!(answers(&scene.client.namespace, SERVICE), set(&[&format!("{other} 10.42.0.1")]));
    });
}

#[test]
fn without_endpoints_connections_are_refused_at_once() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        scene.cluster.service(node_port("10.43.0.5", json!({})));
        scene.cluster.endpoints(&[]);
        assert!(scene.client.namespace.refused(SERVICE));
        assert!(scene.host.namespace.refused(SERVICE));
        assert!(scene.outside.refused("192.0.2.1:30080"));
        let udp = scene.client.namespace.udp();
        let error = ask_udp(&udp, SERVICE).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn internal_traffic_stays_on_the_node_if_it_has_to() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        scene.cluster.service(spec("10.43.0.5", json!({"internalTrafficPolicy": "Local"})));
        scene.cluster.endpoints(&[ready(scene.one.ip), elsewhere(scene.two.ip)]);
        assert_eq!(answers(&scene.client.namespace, SERVICE), set(&["one 10.42.0.1"]));
        scene.cluster.endpoints(&[elsewhere(scene.two.ip)]);
        assert!(scene.client.namespace.silent(SERVICE));
    });
}

#[test]
fn connections_outlive_their_endpoint_and_new_ones_go_elsewhere() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        scene.cluster.endpoints(&[ready(scene.one.ip)]);
        let mut connection = scene.client.namespace.connect(SERVICE).unwrap();
        assert_eq!(connection.ask().unwrap(), "one 10.42.0.1");
        scene.cluster.endpoints(&[draining(scene.one.ip), ready(scene.two.ip)]);
        assert_eq!(connection.ask().unwrap(), "one 10.42.0.1");
        assert_eq!(answers(&scene.client.namespace, SERVICE), set(&["two 10.42.0.1"]));
        // With none that is ready, those that still answer serve.
        scene.cluster.endpoints(&[draining(scene.one.ip)]);
        assert_eq!(answers(&scene.client.namespace, SERVICE), set(&["one 10.42.0.1"]));
        scene.cluster.endpoints(&[]);
        assert_eq!(connection.ask().unwrap(), "one 10.42.0.1");
        assert!(scene.client.namespace.refused(SERVICE));
    });
}

#[test]
fn udp_flows_leave_an_endpoint_that_is_gone() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        scene.cluster.service(node_port("10.43.0.5", json!({})));
        scene.cluster.endpoints(&[ready(scene.one.ip)]);
        let (pod, outside) = (scene.client.namespace.udp(), scene.outside.udp());
        assert_eq!(ask_udp(&pod, SERVICE).unwrap(), "one 10.42.0.1");
        assert_eq!(ask_udp(&outside, "192.0.2.1:30080").unwrap(), "one 192.0.2.1");
        scene.cluster.endpoints(&[ready(scene.one.ip), ready(scene.two.ip)]);
        assert_eq!(ask_udp(&pod, SERVICE).unwrap(), "one 10.42.0.1", "the same flow");
        scene.cluster.endpoints(&[draining(scene.one.ip), ready(scene.two.ip)]);
        assert_eq!(ask_udp(&pod, SERVICE).unwrap(), "one 10.42.0.1", "it still answers");
        scene.cluster.endpoints(&[ready(scene.two.ip)]);
        assert_eq!(ask_udp(&pod, SERVICE).unwrap(), "two 10.42.0.1");
        assert_eq!(ask_udp(&outside, "192.0.2.1:30080").unwrap(), "two 192.0.2.1");
        scene.cluster.no_service();
        assert!(ask_udp(&pod, SERVICE).is_err());
        assert!(ask_udp(&outside, "192.0.2.1:30080").is_err());
    });
}

#[test]
fn a_node_serves_its_own_cluster_ips() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        local_address::add("10.43.0.10".parse().unwrap()).unwrap();
        scene.host.namespace.serve("dns", "10.43.0.10".parse().unwrap(), 53);
        scene.cluster.named("dns", spec("10.43.0.10", json!({})), json!(null));
        assert_eq!(scene.client.namespace.ask("10.43.0.10:53").unwrap(), "dns 10.42.0.1");
        assert_eq!(scene.host.namespace.ask("10.43.0.10:53").unwrap(), "dns 10.43.0.10");
        // The node does not show this address to anybody.
        assert_eq!(answers(&scene.host.namespace, SERVICE), set(&["one 192.0.2.1", "two 192.0.2.1"]));
        assert_eq!(answers(&scene.one.namespace, SERVICE), set(&["one 192.0.2.1", "two 10.42.0.2"]));
        assert_eq!(scene.host.namespace.ask("10.42.0.2:8080").unwrap(), "one 192.0.2.1");
    });
}

#[test]
fn endpoints_may_be_the_nodes_own() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        scene.host.namespace.serve("node", "192.0.2.1".parse().unwrap(), 8080);
        scene.cluster.service(node_port("10.43.0.5", json!({})));
        scene.cluster.endpoints(&[ready("192.0.2.1")]);
        assert_eq!(answers(&scene.client.namespace, SERVICE), set(&["node 10.42.0.1"]));
        assert_eq!(answers(&scene.host.namespace, SERVICE), set(&["node 192.0.2.1"]));
        assert_eq!(answers(&scene.outside, "192.0.2.1:30080"), set(&["node 192.0.2.2"]));
        assert_eq!(answers(&scene.host.namespace, "192.0.2.1:30080"), set(&["node 192.0.2.1"]));
    });
}

#[test]
fn a_new_run_takes_over_without_a_gap() {
    on_host(async |host| {
        let Scene { host, client, one, two, cluster, outside: _outside } = Scene::new(host).await;
        let mut connection = client.namespace.connect(SERVICE).unwrap();
        let answer = connection.ask().unwrap();
        drop(cluster);
        let network = Network::open(host.config()).unwrap();
        assert_eq!(answers(&client.namespace, SERVICE).len(), 2, "before the API has answered");
        let mut cluster = Cluster::new(&network);
        assert!(client.namespace.refused(SERVICE));
        cluster.service(spec("10.43.0.5", json!({})));
        cluster.endpoints(&[ready(one.ip), ready(two.ip)]);
        assert_eq!(answers(&one.namespace, SERVICE), set(&["one 192.0.2.1", "two 10.42.0.2"]));
        assert_eq!(connection.ask().unwrap(), answer);
    });
}

#[test]
fn somebody_elses_change_is_repaired_with_the_next_one() {
    on_host(async |host| {
        let mut scene = Scene::new(host).await;
        crate::proxy::table::remove().unwrap();
        assert!(scene.client.namespace.ask(SERVICE).is_err());
        scene.cluster.endpoints(&[ready(scene.one.ip)]);
        assert_eq!(answers(&scene.client.namespace, SERVICE), set(&["one 10.42.0.1"]));
    });
}

#[test]
fn clean_up_removes_the_table() {
    on_host(async |host| {
        let scene = Scene::new(host).await;
        assert!(tables().contains("gantry"));
        cleanup(scene.host.state.path()).unwrap();
        assert_eq!(tables(), "");
    });
}

fn tables() -> String {
    let listed = std::process::Command::new("nft").args(["list", "tables"]).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}
