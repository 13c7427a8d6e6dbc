//! A network follows a real API server.

use std::time::Duration;

use gantry_client::Informers;
use gantry_json::{from_value, json};
use gantry_testing::TestServer;
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use tokio_util::sync::CancellationToken;

use super::support::{Namespace, bring_up, on_host};
use crate::{Network, netlink::Socket};

#[test]
fn what_the_api_says_is_done_until_shutdown() {
    on_host(async |host| {
        let _outside = host.uplink();
        let server = TestServer::start().await.unwrap();
        let client = server.client();
        let mut config = host.config();
        config.pod_cidrs.clear();
        let network = Network::open(config).unwrap();
        let shutdown = CancellationToken::new();
        let informers = Informers::new(client.clone(), shutdown.clone());
        let running = tokio::spawn(network.clone().run(informers, shutdown.clone()));

        let node: Node = from_value(json!({"metadata": {"name": "here"}, "spec": {
            "podCIDR": "10.42.9.0/24", "podCIDRs": ["10.42.9.0/24"],
        }}))
        .unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &node).await.unwrap();
        until(&network, || network.not_ready().is_none()).await;
        let (one, two) = (Namespace::new(), Namespace::new());
        let mut ips = Vec::new();
        for (name, namespace) in [("one", &one), ("two", &two)] {
            let ip = network.attach(name, &namespace.path(), &[]).await.unwrap()[0];
            namespace.serve(name, ip, 8080);
            ips.push(ip.to_string());
        }
        assert_eq!(ips[0], "10.42.9.1");

        let service: Service = from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"clusterIP": "10.43.0.5", "ports": [{"port": 80, "targetPort": 8080}]},
        }))
        .unwrap();
        let services: Api<Service> = Api::namespaced(client.clone(), "default");
        services.create(&PostParams::default(), &service).await.unwrap();
        let slice: EndpointSlice = from_value(json!({
            "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ips[0]], "conditions": {"ready": true}}],
        }))
        .unwrap();
        let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), "default");
        slices.create(&PostParams::default(), &slice).await.unwrap();
        let asks = |expect: &'static str| {
            let answer = host.namespace.ask("10.43.0.5:80");
            answer.is_ok_and(|answer| answer == expect)
        };
        until(&network, || asks("one 192.0.2.1")).await;
        let other = json!({"endpoints": [{"addresses": [ips[1]], "conditions": {"ready": true}}]});
        slices.patch("web-1", &PatchParams::default(), &Patch::Merge(other)).await.unwrap();
        until(&network, || asks("two 192.0.2.1")).await;
        let proxied = json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "other"}}});
        services.patch("web", &PatchParams::default(), &Patch::Merge(proxied)).await.unwrap();
        until(&network, || host.namespace.refused("10.43.0.5:80")).await;
        let ours = json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": null}}});
        services.patch("web", &PatchParams::default(), &Patch::Merge(ours)).await.unwrap();
        until(&network, || asks("two 192.0.2.1")).await;

        // Others interfere.
        let flushed = std::process::Command::new("nft").args(["flush", "ruleset"]).status().unwrap();
        assert!(flushed.success() && !asks("two 192.0.2.1"));
        until(&network, || asks("two 192.0.2.1")).await;
        let other: Node = from_value(json!({"metadata": {"name": "there"}, "spec": {
            "podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24"],
        }}))
        .unwrap();
        let nodes: Api<Node> = Api::all(client.clone());
        nodes.create(&PostParams::default(), &other).await.unwrap();
        let address = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]}});
        nodes.patch_status("there", &PatchParams::default(), &Patch::Merge(address)).await.unwrap();
        let routed = || {
            let routes = Socket::route().unwrap().own_routes().unwrap();
            routes.iter().any(|route| route.destination.to_string() == "10.42.1.0/24")
        };
        until(&network, routed).await;
        let down = std::process::Command::new("ip").args(["link", "set", "up0", "down"]).status().unwrap();
        assert!(down.success() && !routed());
        bring_up("up0");
        until(&network, routed).await;

        shutdown.cancel();
        running.await.unwrap();
    });
}

/// Waits until `true_now`, looking whenever the network has done something.
async fn until(network: &Network, mut true_now: impl FnMut() -> bool) {
    let mut applied = network.applied();
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !true_now() {
            applied.changed().await.unwrap();
        }
    });
    waited.await.expect("the network does not follow");
}
