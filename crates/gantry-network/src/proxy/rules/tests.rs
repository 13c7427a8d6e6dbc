//! What Services and pods add, as text.

use gantry_json::{Value as Json, json};

use super::*;
use crate::lease::HostPort;

fn place() -> Place {
    Place { node: "n1".into(), cluster_cidrs: vec!["10.42.0.0/16".parse().unwrap()], ..Place::default() }
}

/// What a Service `d/s` at 10.43.0.1 with port 80 adds, with endpoints here and elsewhere.
fn check(spec: Json, here: &[&str], elsewhere: &[&str], expect: &str) {
    let mut object = json!({
        "metadata": {"namespace": "d", "name": "s"},
        "spec": {"clusterIP": "10.43.0.1", "ports": [{"port": 80, "nodePort": spec["nodePort"]}]},
        "status": {"loadBalancer": {"ingress": spec["ingress"]}},
    });
    for (name, value) in spec.as_object().unwrap() {
        object["spec"][name] = value.clone();
    }
    let object = gantry_json::from_value(object).unwrap();
    let endpoint = |node: &'static str| move |ip: &&str| json!({"addresses": [ip], "nodeName": node});
    let endpoints: Vec<Json> =
        here.iter().map(endpoint("n1")).chain(elsewhere.iter().map(endpoint("n2"))).collect();
    let slice: EndpointSlice = gantry_json::from_value(json!({
        "metadata": {"name": "s"},
        "addressType": "IPv4",
        "ports": [{"port": 8080}],
        "endpoints": endpoints,
    }))
    .unwrap();
    let read = Service::read(&object, Family::Ipv4).unwrap();
    let text = service(&read, &[&slice], &place()).ruleset.to_string();
    let lines =
        |text: &str| text.lines().map(|l| l.trim().to_owned()).filter(|l| !l.is_empty()).collect::<Vec<_>>();
    assert_eq!(lines(&text), lines(expect), "\n{text}");
}

#[test]
fn a_cluster_ip_leads_to_endpoints() {
    check(
        json!({}),
        &["10.42.0.1"],
        &[],
        "
        chain service-d/s/tcp/80
          dnat to 10.42.0.1:8080
        @services 10.43.0.1 . tcp . 80 : goto service-d/s/tcp/80
    ",
    );
    check(
        json!({}),
        &["10.42.0.1"],
        &["10.42.1.1"],
        "
        chain service-d/s/tcp/80
          dnat to 10.43.0.1 . tcp . 80 . random 2 map @endpoints
          dnat to 10.42.0.1:8080
        @endpoints 10.43.0.1 . tcp . 80 . 0 : 10.42.0.1:8080
        @endpoints 10.43.0.1 . tcp . 80 . 1 : 10.42.1.1:8080
        @services 10.43.0.1 . tcp . 80 : goto service-d/s/tcp/80
    ",
    );
    check(json!({}), &[], &[], "@services 10.43.0.1 . tcp . 80 : goto reject");
}

#[test]
fn internal_traffic_stays_here_if_it_has_to() {
    let local = json!({"internalTrafficPolicy": "Local"});
    check(
        local.clone(),
        &["10.42.0.1"],
        &["10.42.1.1"],
        "
        chain local-d/s/tcp/80
          dnat to 10.42.0.1:8080
        @services 10.43.0.1 . tcp . 80 : goto local-d/s/tcp/80
    ",
    );
    check(local, &[], &["10.42.1.1"], "@services 10.43.0.1 . tcp . 80 : drop");
}

#[test]
fn from_outside_packets_are_masqueraded_or_stay_here() {
    check(
        json!({"nodePort": 30080}),
        &["10.42.0.1"],
        &[],
        "
        chain external-d/s/tcp/80
          mark goto service-d/s/tcp/80
        chain service-d/s/tcp/80
          dnat to 10.42.0.1:8080
        @node-ports tcp . 30080 : goto external-d/s/tcp/80
        @services 10.43.0.1 . tcp . 80 : goto service-d/s/tcp/80
    ",
    );
    check(
        json!({"nodePort": 30080, "externalTrafficPolicy": "Local"}),
        &["10.42.0.1"],
        &["10.42.1.1"],
        "
        chain external-d/s/tcp/80
          saddr 10.42.0.0/16 goto service-d/s/tcp/80
          fib saddr type local mark goto service-d/s/tcp/80
          goto local-d/s/tcp/80
        chain local-d/s/tcp/80
          dnat to 10.42.0.1:8080
        chain service-d/s/tcp/80
          dnat to 10.43.0.1 . tcp . 80 . random 2 map @endpoints
          dnat to 10.42.0.1:8080
        @endpoints 10.43.0.1 . tcp . 80 . 0 : 10.42.0.1:8080
        @endpoints 10.43.0.1 . tcp . 80 . 1 : 10.42.1.1:8080
        @node-ports tcp . 30080 : goto external-d/s/tcp/80
        @services 10.43.0.1 . tcp . 80 : goto service-d/s/tcp/80
    ",
    );
}

#[test]
fn a_load_balancers_ranges_are_all_that_may_come() {
    let spec = json!({
        "ingress": [{"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "Proxy"}, {"hostname": "lb"}],
        "externalIPs": ["203.0.113.3"],
        "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"],
    });
    check(
        spec,
        &["10.42.0.1"],
        &[],
        "
        chain external-d/s/tcp/80
          mark goto service-d/s/tcp/80
        chain firewall-d/s/tcp/80
          saddr 192.0.2.0/24 goto external-d/s/tcp/80
          drop
        chain service-d/s/tcp/80
          dnat to 10.42.0.1:8080
        @services 10.43.0.1 . tcp . 80 : goto service-d/s/tcp/80
        @services 203.0.113.1 . tcp . 80 : goto firewall-d/s/tcp/80
        @services 203.0.113.3 . tcp . 80 : goto external-d/s/tcp/80
    ",
    );
}

#[test]
fn clients_are_remembered_where_they_are_to_stay() {
    let spec =
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}});
    check(
        spec,
        &["10.42.0.1", "10.42.0.2"],
        &[],
        "
        chain endpoint-d/s/tcp/80/10.42.0.1/8080
          update @clients-d/s/tcp/80/10.42.0.1/8080 { saddr timeout 5s }
          dnat to 10.42.0.1:8080
        chain endpoint-d/s/tcp/80/10.42.0.2/8080
          update @clients-d/s/tcp/80/10.42.0.2/8080 { saddr timeout 5s }
          dnat to 10.42.0.2:8080
        chain service-d/s/tcp/80
          saddr @clients-d/s/tcp/80/10.42.0.1/8080 goto endpoint-d/s/tcp/80/10.42.0.1/8080
          saddr @clients-d/s/tcp/80/10.42.0.2/8080 goto endpoint-d/s/tcp/80/10.42.0.2/8080
          one in 2 goto endpoint-d/s/tcp/80/10.42.0.1/8080
          goto endpoint-d/s/tcp/80/10.42.0.2/8080
        @services 10.43.0.1 . tcp . 80 : goto service-d/s/tcp/80
    ",
    );
}

#[test]
fn headless_and_foreign_services_add_nothing() {
    for spec in [
        json!({"clusterIP": "None"}),
        json!({"clusterIP": ""}),
        json!({"clusterIP": "fd00::1"}),
        json!({"type": "ExternalName", "externalName": "example.com"}),
    ] {
        let object = gantry_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec})).unwrap();
        assert_eq!(Service::read(&object, Family::Ipv4), None);
    }
    let labels = json!({"service.kubernetes.io/service-proxy-name": "mine"});
    let object = json!({"metadata": {"name": "s", "labels": labels}, "spec": {"clusterIP": "10.43.0.1"}});
    assert_eq!(Service::read(&gantry_json::from_value(object).unwrap(), Family::Ipv4), None);
}

#[test]
fn a_pod_adds_its_address_and_its_host_ports() {
    let port = |host_ip: Option<&str>, host_port, protocol| HostPort {
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        host_port,
        container_port: 8080,
        protocol,
    };
    let lease = Lease {
        addresses: vec!["10.42.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        namespace: "/n".into(),
        host_ports: vec![port(None, 80, Protocol::Tcp), port(Some("192.0.2.1"), 53, Protocol::Udp)],
        serial: 0,
    };
    let four = pod(&lease, Family::Ipv4);
    assert_eq!(
        four.ruleset.to_string(),
        "\
@hairpin 10.42.0.1 . 10.42.0.1
@host-address-ports 192.0.2.1 . udp . 53 : 10.42.0.1:8080
@host-ports tcp . 80 : 10.42.0.1:8080
"
    );
    assert_eq!(four.udp.keys().collect::<Vec<_>>(), [&(Some("192.0.2.1".parse().unwrap()), 53)]);
    assert_eq!(
        pod(&lease, Family::Ipv6).ruleset.to_string(),
        "\
@hairpin fd00::1 . fd00::1
@host-ports tcp . 80 : [fd00::1]:8080
"
    );
}
