//! Pods get interfaces, reach each other and the node, and leave nothing.

use std::collections::BTreeSet;

use super::support::*;
use crate::{Network, cleanup, netlink::Socket};

fn interfaces() -> Vec<String> {
    let links = Socket::route().unwrap().links().unwrap();
    links.into_iter().map(|l| l.name).filter(|name| name.starts_with("gantry")).collect()
}

#[test]
fn pods_reach_each_other_and_the_node() {
    on_host(async |host| {
        let _outside = host.uplink();
        let network = Network::open(host.config()).unwrap();
        assert_eq!(network.not_ready(), None);
        assert_eq!(kernel_parameter("net/ipv4/ip_forward"), "1");
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        assert_eq!((a.ip.to_string(), b.ip.to_string()), ("10.42.0.1".into(), "10.42.0.2".into()));
        b.namespace.serve("b", b.ip, 80);
        host.namespace.serve("node", "192.0.2.1".parse().unwrap(), 80);
        assert_eq!(a.namespace.ask("10.42.0.2:80").unwrap(), "b 10.42.0.1");
        assert_eq!(a.namespace.ask("192.0.2.1:80").unwrap(), "node 10.42.0.1");
        assert_eq!(host.namespace.ask("10.42.0.2:80").unwrap(), "b 192.0.2.1");
        a.namespace.serve("loopback", "127.0.0.1".parse().unwrap(), 81);
        assert_eq!(a.namespace.ask("127.0.0.1:81").unwrap(), "loopback 127.0.0.1");
    });
}

#[test]
fn a_machine_without_an_address_reaches_its_pods() {
    on_host(async |host| {
        let network = Network::open(host.config()).unwrap();
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        a.namespace.serve("a", a.ip, 80);
        b.namespace.serve("b", b.ip, 80);
        assert_eq!(host.namespace.ask("10.42.0.1:80").unwrap(), "a 169.254.1.1");
        assert_eq!(b.namespace.ask("10.42.0.1:80").unwrap(), "a 10.42.0.2");
        network.detach("a").await.unwrap();
        assert_eq!(host.namespace.ask("10.42.0.2:80").unwrap(), "b 169.254.1.1");
    });
}

#[test]
fn attaching_again_changes_nothing_and_a_new_namespace_gets_the_same_address() {
    on_host(async |host| {
        let network = Network::open(host.config()).unwrap();
        let (a, b) = (pod(&network, "a").await, pod(&network, "b").await);
        b.namespace.serve("b", b.ip, 80);
        let mut connection = a.namespace.connect("10.42.0.2:80").unwrap();
        assert_eq!(network.attach("b", &b.namespace.path(), &[]).await.unwrap(), [b.ip]);
        assert_eq!(connection.ask().unwrap(), "b 10.42.0.1");
        let other = Namespace::new();
        assert_eq!(network.attach("b", &other.path(), &[]).await.unwrap(), [b.ip]);
        other.serve("other", b.ip, 80);
        assert_eq!(a.namespace.ask("10.42.0.2:80").unwrap(), "other 10.42.0.1");
    });
}

#[test]
fn a_new_run_keeps_leases_and_removes_what_is_gone() {
    on_host(async |host| {
        let network = Network::open(host.config()).unwrap();
        let (a, _gone) = (pod(&network, "a").await, pod(&network, "gone").await);
        drop(network);
        let network = Network::open(host.config()).unwrap();
        network.retain(BTreeSet::from(["a".into()])).await.unwrap();
        assert_eq!(interfaces().len(), 1);
        assert_eq!(network.attach("a", &a.namespace.path(), &[]).await.unwrap(), [a.ip]);
        network.detach("a").await.unwrap();
        network.detach("a").await.unwrap();
        assert_eq!(interfaces(), [""; 0]);
    });
}

#[test]
fn clean_up_leaves_nothing() {
    on_host(async |host| {
        let network = Network::open(host.config()).unwrap();
        let _a = pod(&network, "a").await;
        drop(network);
        for _ in 0..2 {
            cleanup(host.state.path()).unwrap();
            assert_eq!(interfaces(), [""; 0]);
            assert_eq!(Socket::route().unwrap().own_routes().unwrap(), []);
            assert!(!host.state.path().exists());
        }
    });
}

#[test]
fn without_a_range_pods_wait() {
    on_host(async |host| {
        let mut config = host.config();
        config.pod_cidrs.clear();
        let network = Network::open(config).unwrap();
        assert_eq!(network.not_ready().unwrap(), "node here has no pod CIDR yet");
        let namespace = Namespace::new();
        assert!(network.attach("a", &namespace.path(), &[]).await.is_err());
        network.set_pod_cidrs(vec!["10.42.7.0/24".parse().unwrap()]);
        assert_eq!(network.attach("a", &namespace.path(), &[]).await.unwrap()[0].to_string(), "10.42.7.1");
    });
}
