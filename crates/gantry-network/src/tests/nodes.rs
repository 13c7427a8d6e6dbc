//! Pods of one node reach those of another.

use std::sync::Arc;

use super::{
    cluster::*,
    support::{Host, Namespace, Pod, config, link, on_host, pod, reach},
};
use crate::{Network, cleanup, netlink::Socket, overlay};

/// Two nodes with a pod each.
struct Nodes {
    host: Host,
    here: Arc<Network>,
    a: Pod,
    cluster: Cluster,
    there: Namespace,
    other: Other,
}

/// The other node.
struct Other {
    b: Pod,
    cluster: Cluster,
    _state: tempfile::TempDir,
}

/// Nodes whose addresses have this prefix length.
async fn nodes(host: Host, prefix: u8) -> Nodes {
    let there = Namespace::new();
    link(&there, &format!("192.0.2.1/{prefix}"), &format!("192.0.2.2/{prefix}"));
    if prefix == 32 {
        reach("192.0.2.2/32");
        there.run(|| reach("192.0.2.1/32"));
    }
    let here = Network::open(host.config()).unwrap();
    let a = pod(&here, "a").await;
    let mut cluster = Cluster::new(&here);
    tell(&mut cluster);
    let other = there.run_async(async || {
        let state = tempfile::tempdir().unwrap();
        let network = Network::open(config(state.path(), "there", "192.0.2.2", "10.42.1.0/24")).unwrap();
        let b = pod(&network, "b").await;
        b.namespace.serve("b", b.ip, 8080);
        let mut cluster = Cluster::new(&network);
        tell(&mut cluster);
        Other { b, cluster, _state: state }
    });
    Nodes { host, here, a, cluster, there, other }
}

fn tell(cluster: &mut Cluster) {
    cluster.node("here", "192.0.2.1", "10.42.0.0/24");
    cluster.node("there", "192.0.2.2", "10.42.1.0/24");
}

fn has_device() -> bool {
    Socket::route().unwrap().link(overlay::DEVICE).unwrap().is_some()
}

#[test]
fn on_the_same_link_packets_are_routed() {
    on_host(async |host| {
        let mut nodes = nodes(host, 24).await;
        assert!(!has_device());
        assert_eq!(nodes.a.namespace.ask("10.42.1.1:8080").unwrap(), "b 10.42.0.1");
        assert_eq!(nodes.host.namespace.ask("10.42.1.1:8080").unwrap(), "b 192.0.2.1");
        nodes.cluster.service(node_port("10.43.0.5", gantry_json::json!({})));
        nodes.cluster.endpoints(&[elsewhere(nodes.other.b.ip)]);
        assert_eq!(nodes.a.namespace.ask("10.43.0.5:80").unwrap(), "b 10.42.0.1");
        assert_eq!(nodes.host.namespace.ask("10.43.0.5:80").unwrap(), "b 192.0.2.1");
        assert_eq!(nodes.there.ask("192.0.2.1:30080").unwrap(), "b 192.0.2.1");
        nodes.cluster.no_node("there");
        assert!(nodes.a.namespace.ask("10.42.1.1:8080").is_err());
        assert_eq!(nodes.here.not_ready(), None);
    });
}

#[test]
fn otherwise_packets_go_through_a_tunnel() {
    on_host(async |host| {
        let mut nodes = nodes(host, 32).await;
        assert!(has_device());
        assert_eq!(nodes.a.namespace.ask("10.42.1.1:8080").unwrap(), "b 10.42.0.1");
        // The node's own address in the tunnel.
        assert_eq!(nodes.host.namespace.ask("10.42.1.1:8080").unwrap(), "b 10.42.0.0");
        nodes.cluster.service(node_port("10.43.0.5", gantry_json::json!({})));
        nodes.cluster.endpoints(&[elsewhere(nodes.other.b.ip)]);
        assert_eq!(nodes.a.namespace.ask("10.43.0.5:80").unwrap(), "b 10.42.0.1");
        assert_eq!(nodes.host.namespace.ask("10.43.0.5:80").unwrap(), "b 10.42.0.0");
        nodes.cluster.node("there", "192.0.2.9", "10.42.1.0/24");
        assert!(nodes.a.namespace.silent("10.42.1.1:8080"));
        nodes.cluster.node("there", "192.0.2.2", "10.42.1.0/24");
        assert_eq!(nodes.a.namespace.ask("10.42.1.1:8080").unwrap(), "b 10.42.0.1");
        // A new run finds everything as it should be.
        let again = Network::open(nodes.host.config()).unwrap();
        tell(&mut Cluster::new(&again));
        assert_eq!(nodes.a.namespace.ask("10.42.1.1:8080").unwrap(), "b 10.42.0.1");
        nodes.cluster.no_node("there");
        assert!(!has_device());
    });
}

#[test]
fn clean_up_removes_routes_and_the_tunnel() {
    on_host(async |host| {
        let nodes = nodes(host, 32).await;
        cleanup(nodes.host.state.path()).unwrap();
        assert!(!has_device());
        assert_eq!(Socket::route().unwrap().own_routes().unwrap(), []);
        drop(nodes.other.cluster);
    });
}
