//! Pods and Services with addresses of both families.

use std::{path::Path, sync::Arc};

use gantry_client::Change;
use gantry_json::{from_value, json};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};

use super::support::{self, Host, Namespace, link, on_host, reach};
use crate::{Network, NetworkConfig, cleanup, run::Told};

fn config(host: &Host) -> NetworkConfig {
    let mut config = host.config();
    config.node_ips.push("2001:db8::1".parse().unwrap());
    config.pod_cidrs.push("fd00:42::/64".parse().unwrap());
    config.cluster_cidrs.push("fd00:42::/48".parse().unwrap());
    config.service_cidrs.push("fd00:43::/112".parse().unwrap());
    config
}

#[test]
fn both_families_are_served() {
    on_host(async |host| {
        let outside = Namespace::new();
        link(&outside, "192.0.2.1/24", "192.0.2.2/24");
        let add = |address: &'static str| {
            let socket = crate::netlink::Socket::route().unwrap();
            let link = socket.link("up0").unwrap().unwrap().index;
            socket.add_address(link, address.parse().unwrap()).unwrap();
        };
        add("2001:db8::1/64");
        outside.run(move || add("2001:db8::2/64"));
        let network = Network::open(config(&host)).unwrap();
        let (client, server) = (Namespace::new(), Namespace::new());
        network.attach("client", &client.path(), &[]).await.unwrap();
        let ips = network.attach("server", &server.path(), &[]).await.unwrap();
        assert_eq!(ips[1].to_string(), "fd00:42::2");
        server.serve("four", ips[0], 8080);
        server.serve("six", ips[1], 8080);

        let mut told = Told::new(network.place());
        let service: Service = from_value(json!({
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {
                "clusterIP": "10.43.0.5", "clusterIPs": ["10.43.0.5", "fd00:43::5"],
                "sessionAffinity": "ClientIP",
                "ports": [{"port": 80, "nodePort": 30080}],
            },
        }))
        .unwrap();
        told.index.service(Change::Applied { old: None, new: Arc::new(service) });
        for (kind, ip) in [("IPv4", ips[0]), ("IPv6", ips[1])] {
            let slice: EndpointSlice = from_value(json!({
                "metadata": {
                    "namespace": "default", "name": format!("web-{kind}"),
                    "labels": {"kubernetes.io/service-name": "web"},
                },
                "addressType": kind,
                "ports": [{"name": "", "port": 8080}],
                "endpoints": [{"addresses": [ip.to_string()]}],
            }))
            .unwrap();
            told.index.slice(Change::Applied { old: None, new: Arc::new(slice) });
        }
        network.apply(&mut told).unwrap();

        assert_eq!(client.ask("[fd00:42::2]:8080").unwrap(), "six fd00:42::1");
        assert_eq!(client.ask("10.43.0.5:80").unwrap(), "four 10.42.0.1");
        assert_eq!(client.ask("[fd00:43::5]:80").unwrap(), "six fd00:42::1");
        assert_eq!(host.namespace.ask("[fd00:43::5]:80").unwrap(), "six 2001:db8::1");
        assert_eq!(server.ask("[fd00:43::5]:80").unwrap(), "six 2001:db8::1");
        assert_eq!(outside.ask("[2001:db8::1]:30080").unwrap(), "six 2001:db8::1");
        // Here the kernel has no route for packets from elsewhere, and says so as quickly.
        let error = client.ask("[fd00:43::6]:80").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NetworkUnreachable);
        assert!(host.namespace.refused("[fd00:43::6]:80"));
        cleanup(host.state.path()).unwrap();
    });
}

#[test]
fn both_families_go_through_the_tunnel() {
    on_host(async |host| {
        let there = Namespace::new();
        link(&there, "192.0.2.1/32", "192.0.2.2/32");
        reach("192.0.2.2/32");
        there.run(|| reach("192.0.2.1/32"));
        let join = async |state: &Path, name: &str, node_ip: &str, four: &str, six: &str| {
            let mut config = support::config(state, name, node_ip, four);
            config.pod_cidrs.push(six.parse().unwrap());
            config.cluster_cidrs.push("fd00:42::/48".parse().unwrap());
            let network = Network::open(config).unwrap();
            let namespace = Namespace::new();
            let ips = network.attach(name, &namespace.path(), &[]).await.unwrap();
            let mut told = Told::new(network.place());
            for (name, address, four, six) in [
                ("here", "192.0.2.1", "10.42.0.0/24", "fd00:42::/64"),
                ("there", "192.0.2.2", "10.42.1.0/24", "fd00:42:0:1::/64"),
            ] {
                let node: Node = from_value(json!({
                    "metadata": {"name": name},
                    "spec": {"podCIDRs": [four, six]},
                    "status": {"addresses": [{"type": "InternalIP", "address": address}]},
                }))
                .unwrap();
                told.node(&Change::Applied { old: None, new: Arc::new(node) });
            }
            network.apply(&mut told).unwrap();
            network.apply(&mut told).unwrap();
            (namespace, ips)
        };
        let (a, _) = join(host.state.path(), "here", "192.0.2.1", "10.42.0.0/24", "fd00:42::/64").await;
        let (_b, _state) = there.run_async(async move || {
            let state = tempfile::tempdir().unwrap();
            let (b, ips) = join(state.path(), "there", "192.0.2.2", "10.42.1.0/24", "fd00:42:0:1::/64").await;
            b.serve("four", ips[0], 8080);
            b.serve("six", ips[1], 8080);
            (b, state)
        });
        assert_eq!(a.ask("10.42.1.1:8080").unwrap(), "four 10.42.0.1");
        assert_eq!(a.ask("[fd00:42:0:1::1]:8080").unwrap(), "six fd00:42::1");
        assert_eq!(host.namespace.ask("[fd00:42:0:1::1]:8080").unwrap(), "six fd00:42::");
    });
}
