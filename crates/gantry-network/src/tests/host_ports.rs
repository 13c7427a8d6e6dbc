//! Ports of the host lead to ports of pods.

use super::{
    cluster::Cluster,
    support::{Namespace, ask_udp, on_host, pod},
};
use crate::{HostPort, Network, Protocol};

fn port(host_ip: Option<&str>, host_port: u16, protocol: Protocol) -> HostPort {
    let host_ip = host_ip.map(|ip| ip.parse().unwrap());
    HostPort { host_ip, host_port, container_port: 8080, protocol }
}

#[test]
fn they_work_from_everywhere_while_the_pod_is_there() {
    on_host(async |host| {
        let outside = host.uplink();
        let network = Network::open(host.config()).unwrap();
        let mut cluster = Cluster::new(&network);
        let client = pod(&network, "client").await;
        let server = Namespace::new();
        let ports = [
            port(None, 8081, Protocol::Tcp),
            port(None, 8081, Protocol::Udp),
            port(Some("192.0.2.1"), 8082, Protocol::Tcp),
            port(Some("198.51.100.1"), 8083, Protocol::Tcp),
        ];
        let ip = network.attach("server", &server.path(), &ports).await.unwrap()[0];
        server.serve("server", ip, 8080);
        assert_eq!(outside.ask("192.0.2.1:8081").unwrap(), "server 192.0.2.2");
        assert_eq!(outside.ask("192.0.2.1:8082").unwrap(), "server 192.0.2.2");
        assert!(outside.refused("192.0.2.1:8083"), "another address's");
        assert_eq!(client.namespace.ask("192.0.2.1:8081").unwrap(), "server 10.42.0.1");
        assert_eq!(server.ask("192.0.2.1:8081").unwrap(), "server 192.0.2.1");
        assert_eq!(host.namespace.ask("192.0.2.1:8081").unwrap(), "server 192.0.2.1");
        assert!(host.namespace.ask("127.0.0.1:8081").unwrap().starts_with("server "));
        assert!(host.namespace.refused("127.0.0.1:8082"), "another address's");
        let udp = outside.udp();
        assert_eq!(ask_udp(&udp, "192.0.2.1:8081").unwrap(), "server 192.0.2.2");
        // A new run knows them before the pods are attached again.
        drop(cluster);
        let network = Network::open(host.config()).unwrap();
        cluster = Cluster::new(&network);
        assert_eq!(outside.ask("192.0.2.1:8081").unwrap(), "server 192.0.2.2");
        network.detach("server").await.unwrap();
        assert!(outside.refused("192.0.2.1:8081"));
        assert!(ask_udp(&udp, "192.0.2.1:8081").is_err(), "also what has been going on");
        cluster.apply();
    });
}

#[test]
fn the_first_pod_that_asks_for_a_port_gets_it_until_it_goes() {
    on_host(async |host| {
        let outside = host.uplink();
        let network = Network::open(host.config()).unwrap();
        let _cluster = Cluster::new(&network);
        let ports = [port(None, 8081, Protocol::Tcp)];
        let pods = [("a", Namespace::new()), ("b", Namespace::new())];
        for (name, namespace) in &pods {
            let ip = network.attach(name, &namespace.path(), &ports).await.unwrap()[0];
            namespace.serve(name, ip, 8080);
        }
        assert_eq!(outside.ask("192.0.2.1:8081").unwrap(), "a 192.0.2.2");
        network.detach("a").await.unwrap();
        assert_eq!(outside.ask("192.0.2.1:8081").unwrap(), "b 192.0.2.2");
    });
}
