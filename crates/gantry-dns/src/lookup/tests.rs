//! Questions and answers, by the chapters of the specification.

use gantry_json::{Value, json};
use hickory_proto::rr::{Name, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::{Answer, Index};

fn service(name: &str, spec: Value) -> Service {
    gantry_json::from_value(json!({"metadata": {"namespace": "default", "name": name}, "spec": spec}))
        .unwrap()
}

fn slice(name: &str, service: &str, endpoints: Value) -> EndpointSlice {
    gantry_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}, {"name": "dns", "protocol": "UDP", "port": 53}],
        "endpoints": endpoints,
    }))
    .unwrap()
}

fn cluster() -> Index {
    let mut index = Index::new("cluster.local").unwrap();
    index.apply_namespace("default");
    index.apply_namespace("empty");
    index.apply_service(&service(
        "web",
        json!({"clusterIP": "10.43.0.20", "clusterIPs": ["10.43.0.20", "fd00::20"],
               "ports": [{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}, {"port": 7}]}),
    ));
    index.apply_slice(&slice("web-1", "web", json!([{"addresses": ["10.42.0.9"]}])));
    index.apply_service(&service("db", json!({"clusterIP": "None", "clusterIPs": ["None"]})));
    index.apply_slice(&slice(
        "db-1",
        "db",
        json!([
            {"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.42.0.6"], "hostname": "db-1", "conditions": {"ready": false}},
            {"addresses": ["10.42.0.7"], "conditions": {}},
        ]),
    ));
    index.apply_service(&service("early", json!({"clusterIP": "None", "publishNotReadyAddresses": true})));
    index.apply_slice(&slice(
        "early-1",
        "early",
        json!([{"addresses": ["10.42.0.8"], "conditions": {"ready": false}}]),
    ));
    index.apply_service(&service("idle", json!({"clusterIP": "None"})));
    index.apply_service(&service("pending", json!({"type": "ClusterIP"})));
    index.apply_service(&service("out", json!({"type": "ExternalName", "externalName": "www.example.com"})));
    index.apply_service(&service("bad", json!({"type": "ExternalName", "externalName": "10.1.2.3"})));
    index
}

/// The answer as lines `TTL TYPE DATA`, additional records after `+`.
fn told(index: &Index, name: &str, record_type: RecordType) -> Vec<String> {
    let line = |record: &hickory_proto::rr::Record| {
        let data = record.data.to_string();
        format!("{} {} {data}", record.ttl, record.record_type())
    };
    match index.lookup(&Name::from_ascii(name).unwrap(), record_type) {
        Answer::Records { answers, additionals } => {
            let additionals = additionals.iter().map(|record| format!("+ {} {}", record.name, line(record)));
            answers.iter().map(line).chain(additionals).collect()
        }
        Answer::Alias { alias, target } => vec![line(&alias), format!("> {target}")],
        Answer::NoData => vec!["NODATA".to_owned()],
        Answer::NoName => vec!["NXDOMAIN".to_owned()],
        Answer::Elsewhere => vec!["elsewhere".to_owned()],
    }
}

#[track_caller]
fn check(name: &str, record_type: RecordType, expected: &[&str]) {
    assert_eq!(told(&cluster(), name, record_type), expected, "{name} {record_type}");
}

#[test]
fn services_with_an_address() {
    check("web.default.svc.cluster.local.", RecordType::A, &["30 A 10.43.0.20"]);
    check("WEB.Default.svc.CLUSTER.local.", RecordType::A, &["30 A 10.43.0.20"]);
    check("web.default.svc.cluster.local.", RecordType::AAAA, &["30 AAAA fd00::20"]);
    check("web.default.svc.cluster.local.", RecordType::TXT, &["NODATA"]);
    check("web.empty.svc.cluster.local.", RecordType::A, &["NXDOMAIN"]);
    check("pending.default.svc.cluster.local.", RecordType::A, &["NXDOMAIN"]);
    check("10-42-0-9.web.default.svc.cluster.local.", RecordType::A, &["5 A 10.42.0.9"]);
}

#[test]
fn an_answer_repeats_the_name_as_it_was_asked() {
    let name = Name::from_ascii("wEb.default.svc.cluster.local.").unwrap();
    let Answer::Records { answers, .. } = cluster().lookup(&name, RecordType::A) else {
        panic!("no records")
    };
    assert!(answers[0].name.eq_case(&name));
}

#[test]
fn ports_of_services_with_an_address() {
    check(
        "_http._tcp.web.default.svc.cluster.local.",
        RecordType::SRV,
        &[
            "30 SRV 0 100 80 web.default.svc.cluster.local.",
            "+ web.default.svc.cluster.local. 30 A 10.43.0.20",
            "+ web.default.svc.cluster.local. 30 AAAA fd00::20",
        ],
    );
    check("_http._udp.web.default.svc.cluster.local.", RecordType::SRV, &["NXDOMAIN"]);
    check("_http._tcp.web.default.svc.cluster.local.", RecordType::A, &["NODATA"]);
    check("_tcp.web.default.svc.cluster.local.", RecordType::SRV, &["NODATA"]);
    check("_sctp.web.default.svc.cluster.local.", RecordType::SRV, &["NXDOMAIN"]);
    check("http.tcp.web.default.svc.cluster.local.", RecordType::SRV, &["NXDOMAIN"]);
    let all = told(&cluster(), "web.default.svc.cluster.local.", RecordType::SRV);
    assert_eq!(all.len(), 4, "two named ports, two addresses: {all:?}");
}

#[test]
fn headless_services_show_their_ready_endpoints() {
    check("db.default.svc.cluster.local.", RecordType::A, &["5 A 10.42.0.5", "5 A 10.42.0.7"]);
    check("db.default.svc.cluster.local.", RecordType::AAAA, &["NODATA"]);
    check("db-0.db.default.svc.cluster.local.", RecordType::A, &["5 A 10.42.0.5"]);
    check("db-1.db.default.svc.cluster.local.", RecordType::A, &["NXDOMAIN"]);
    check("10-42-0-7.db.default.svc.cluster.local.", RecordType::A, &["5 A 10.42.0.7"]);
    check("10-42-0-5.db.default.svc.cluster.local.", RecordType::A, &["NXDOMAIN"]);
    check("early.default.svc.cluster.local.", RecordType::A, &["5 A 10.42.0.8"]);
    check("idle.default.svc.cluster.local.", RecordType::A, &["NXDOMAIN"]);
}

#[test]
fn ports_of_headless_services() {
    check(
        "_http._tcp.db.default.svc.cluster.local.",
        RecordType::SRV,
        &[
            "5 SRV 0 50 8080 db-0.db.default.svc.cluster.local.",
            "5 SRV 0 50 8080 10-42-0-7.db.default.svc.cluster.local.",
            "+ db-0.db.default.svc.cluster.local. 5 A 10.42.0.5",
            "+ 10-42-0-7.db.default.svc.cluster.local. 5 A 10.42.0.7",
        ],
    );
    check("_https._tcp.db.default.svc.cluster.local.", RecordType::SRV, &["NXDOMAIN"]);
}

#[test]
fn addresses_have_names() {
    check("20.0.43.10.in-addr.arpa.", RecordType::PTR, &["30 PTR web.default.svc.cluster.local."]);
    check("20.0.43.10.in-addr.arpa.", RecordType::A, &["NODATA"]);
    check("5.0.42.10.in-addr.arpa.", RecordType::PTR, &["5 PTR db-0.db.default.svc.cluster.local."]);
    check("7.0.42.10.in-addr.arpa.", RecordType::PTR, &["5 PTR 10-42-0-7.db.default.svc.cluster.local."]);
    check(
        "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
        RecordType::PTR,
        &["30 PTR web.default.svc.cluster.local."],
    );
    // Not ready; of a Service that is not headless; of nobody; not a whole address.
    for name in
        ["6.0.42.10.in-addr.arpa.", "9.0.42.10.in-addr.arpa.", "1.2.0.192.in-addr.arpa.", "10.in-addr.arpa."]
    {
        check(name, RecordType::PTR, &["elsewhere"]);
    }
}

#[test]
fn external_names_are_aliases() {
    check(
        "out.default.svc.cluster.local.",
        RecordType::A,
        &["30 CNAME www.example.com.", "> www.example.com."],
    );
    check("out.default.svc.cluster.local.", RecordType::CNAME, &["30 CNAME www.example.com."]);
    check("bad.default.svc.cluster.local.", RecordType::A, &["NODATA"]);
    check("x.out.default.svc.cluster.local.", RecordType::A, &["NXDOMAIN"]);
}

#[test]
fn pods_by_address() {
    check("10-42-0-77.default.pod.cluster.local.", RecordType::A, &["30 A 10.42.0.77"]);
    check("fd00--1.default.pod.cluster.local.", RecordType::AAAA, &["30 AAAA fd00::1"]);
    check("10-42-0-77.default.pod.cluster.local.", RecordType::AAAA, &["NODATA"]);
    check("10-42-0-77.nowhere.pod.cluster.local.", RecordType::A, &["NXDOMAIN"]);
    check("10-42-0.default.pod.cluster.local.", RecordType::A, &["NXDOMAIN"]);
}

#[test]
fn the_zone_itself() {
    check("dns-version.cluster.local.", RecordType::TXT, &["30 TXT 1.1.0"]);
    check("dns-version.cluster.local.", RecordType::A, &["NODATA"]);
    check("cluster.local.", RecordType::NS, &["30 NS ns.dns.cluster.local."]);
    check("cluster.local.", RecordType::A, &["NODATA"]);
    for name in ["svc", "pod", "default.svc", "empty.svc", "empty.pod"] {
        check(&format!("{name}.cluster.local."), RecordType::A, &["NODATA"]);
    }
    for name in ["nowhere.svc", "other", "a.b.c.web.default.svc", "example.com.default.svc"] {
        check(&format!("{name}.cluster.local."), RecordType::A, &["NXDOMAIN"]);
    }
    for name in ["example.com.", "local.", ".", "xcluster.local."] {
        check(name, RecordType::A, &["elsewhere"]);
    }
    let soa = cluster().soa();
    assert_eq!(soa.name.to_string(), "cluster.local.");
    assert!(soa.data.to_string().starts_with("ns.dns.cluster.local. hostmaster.cluster.local. "));
}

#[test]
fn the_dns_service_is_the_zones_name_server() {
    let mut index = cluster();
    let dns = json!({"metadata": {"namespace": "kube-system", "name": "kube-dns"}, "spec": {"clusterIP": "10.43.0.10"}});
    index.apply_service(&gantry_json::from_value(dns).unwrap());
    let server = told(&index, "cluster.local.", RecordType::NS);
    assert_eq!(server, ["30 NS kube-dns.kube-system.svc.cluster.local."]);
    assert_eq!(told(&index, "ns.dns.cluster.local.", RecordType::A), ["30 A 10.43.0.10"]);
}

#[test]
fn a_domain_must_be_a_name() {
    assert!(Index::new("cluster..local").is_err());
    assert!(Index::new(".").is_err());
}
