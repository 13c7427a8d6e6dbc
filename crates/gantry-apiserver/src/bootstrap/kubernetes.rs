//! The `kubernetes` Service in `default` and its endpoints: how pods reach the API server.

use std::net::{IpAddr, SocketAddr};

use gantry_json::{Value, json};
use ipnet::IpNet;

/// The first address of the service range: the API server's cluster IP.
pub fn service_address(range: IpNet) -> IpAddr {
    match range.trunc().network() {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + 1).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + 1).into()),
    }
}

fn labels() -> Value {
    json!({"component": "apiserver", "provider": "kubernetes"})
}

/// The Service.
pub fn kubernetes_service(range: IpNet, server: SocketAddr) -> Value {
    let address = service_address(range).to_string();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels()},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "sessionAffinity": "None",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": server.port()}],
        },
    })
}

/// The servers that others can reach: a loopback address says nothing to them.
fn reachable(servers: &[SocketAddr]) -> Vec<SocketAddr> {
    servers.iter().filter(|server| !server.ip().is_loopback()).copied().collect()
}

/// The Endpoints object, with the address of every server.
pub fn kubernetes_endpoints(servers: &[SocketAddr]) -> Value {
    let servers = reachable(servers);
    let addresses: Vec<_> = servers.iter().map(|server| json!({"ip": server.ip().to_string()})).collect();
    let mut endpoints = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
    });
    if let Some(server) = servers.first() {
        let ports = json!([{"name": "https", "port": server.port(), "protocol": "TCP"}]);
        endpoints["subsets"] = json!([{"addresses": addresses, "ports": ports}]);
    }
    endpoints
}

/// The EndpointSlice, with the address of every server.
pub fn kubernetes_endpoint_slice(servers: &[SocketAddr]) -> Value {
    let endpoint =
        |server: &SocketAddr| json!({"addresses": [server.ip().to_string()], "conditions": {"ready": true}});
    let port = servers.first().map_or(6443, SocketAddr::port);
    let family = if servers.first().is_none_or(SocketAddr::is_ipv4) { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": family,
        "endpoints": reachable(servers).iter().map(endpoint).collect::<Vec<_>>(),
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_is_kept_from_others() {
        let servers = [([127, 0, 0, 1], 6443).into()];
        assert!(kubernetes_endpoints(&servers).get("subsets").is_none());
        assert_eq!(kubernetes_endpoint_slice(&servers)["endpoints"], json!([]));
        let servers = [([192, 0, 2, 1], 6443).into()];
        assert_eq!(kubernetes_endpoints(&servers)["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
    }

    #[test]
    fn the_server_has_the_first_address() {
        let check = |range: &str, expect: &str| {
            assert_eq!(service_address(range.parse().unwrap()).to_string(), expect);
        };
        check("10.43.0.0/16", "10.43.0.1");
        check("fd00::/112", "fd00::1");
    }
}
