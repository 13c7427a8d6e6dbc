//! Ways to other nodes.

use super::*;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn here() -> Here {
    Here {
        node_name: "a".into(),
        node_ips: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        connected: vec![(2, net("192.0.2.1/24")), (2, net("2001:db8::1/64"))],
        pod_cidrs: vec![net("10.42.0.0/24"), net("fd00:42::/64")],
    }
}

fn peers(peers: &[(&str, &[&str], &[&str])]) -> BTreeMap<String, Peer> {
    let read = |(name, addresses, cidrs): &(&str, &[&str], &[&str])| {
        let node = gantry_json::from_value(gantry_json::json!({
            "metadata": {"name": name},
            "spec": {"podCIDRs": cidrs},
            "status": {"addresses": addresses.iter()
                .map(|a| gantry_json::json!({"type": "InternalIP", "address": a}))
                .chain([gantry_json::json!({"type": "Hostname", "address": name})])
                .collect::<Vec<_>>()},
        }));
        ((*name).to_owned(), Peer::read(&node.unwrap()))
    };
    peers.iter().map(read).collect()
}

#[test]
fn nodes_on_the_same_link_are_reached_straight() {
    let peers = peers(&[
        ("a", &["192.0.2.1"], &["10.42.0.0/24"]),
        ("b", &["192.0.2.2", "2001:db8::2"], &["10.42.1.0/24", "fd00:42:0:1::/64"]),
    ]);
    let plan = plan(&here(), &peers);
    let route = |destination, gateway| Route {
        destination: net(destination),
        gateway: Some(ip(gateway)),
        link: 2,
        source: None,
        on_link: false,
    };
    assert_eq!(plan.routes, [route("10.42.1.0/24", "192.0.2.2"), route("fd00:42:0:1::/64", "2001:db8::2")]);
    assert!(plan.tunnels.is_empty() && plan.unreachable.is_empty());
}

#[test]
fn other_nodes_are_reached_through_the_tunnel() {
    let peers = peers(&[("c", &["198.51.100.1"], &["10.42.2.0/24", "fd00:42:0:2::/64"])]);
    let plan = plan(&here(), &peers);
    assert!(plan.routes.is_empty());
    let tunnel =
        |destination| Tunnel { destination: net(destination), mac: mac("c"), remote: ip("198.51.100.1") };
    assert_eq!(plan.tunnels, [tunnel("10.42.2.0/24"), tunnel("fd00:42:0:2::/64")].into());
    assert_eq!(plan.local, Some(ip("192.0.2.1")));
}

#[test]
fn what_cannot_be_reached_is_named() {
    let peers = peers(&[
        ("itself", &["192.0.2.1"], &["10.42.3.0/24"]),
        ("none", &[], &["10.42.4.0/24"]),
        ("same-range", &["192.0.2.5"], &["10.42.0.128/25"]),
        ("waits", &["192.0.2.6"], &[]),
    ]);
    let plan = plan(&here(), &peers);
    assert_eq!(plan.unreachable, ["itself", "none", "same-range"]);
    assert!(plan.routes.is_empty() && plan.tunnels.is_empty());
}

#[test]
fn a_node_whose_address_is_its_whole_network_has_no_neighbours() {
    let mut here = here();
    here.connected = vec![(2, net("192.0.2.1/32"))];
    let plan = plan(&here, &peers(&[("b", &["192.0.2.2"], &["10.42.1.0/24"])]));
    assert_eq!((plan.routes.len(), plan.tunnels.len()), (0, 1));
}

#[test]
fn ethernet_addresses_differ() {
    assert_ne!(mac("a"), mac("b"));
    assert_eq!(mac("a")[0] & 3, 2, "locally administered, one receiver");
}
