//! Kinds of `networking.k8s.io`.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_refused, refused, status_refused};
use crate::rules::common::DNS_SUBDOMAIN;

fn path(each: Value) -> Value {
    let mut full = json!({"path": "/", "pathType": "Prefix",
        "backend": {"service": {"name": "s", "port": {"number": 80}}}});
    crate::patch::merge(&mut full, &each);
    json!({"spec": {"rules": [{"http": {"paths": [full]}}]}})
}

#[test]
fn ingress() {
    let check = |patch, expected: &[&str]| refused("Ingress", patch, expected);
    check(
        json!({"spec": {"rules": null}}),
        &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
    );
    let at = "spec.rules[0].http.paths[0]";
    let fails = |each, expected: &str| check(path(each), &[&format!("{at}{expected}")]);
    fails(json!({"pathType": null}), ".pathType: Required value: pathType must be specified");
    fails(
        json!({"pathType": "Odd"}),
        ".pathType: Unsupported value: \"Odd\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\"",
    );
    fails(json!({"path": "a"}), ".path: Invalid value: \"a\": must be an absolute path");
    fails(json!({"path": "/a//b"}), ".path: Invalid value: \"/a//b\": must not contain '//'");
    fails(json!({"path": "/a/.."}), ".path: Invalid value: \"/a/..\": cannot end with '/..'");
    fails(
        json!({"backend": {"service": null}}),
        ".backend: Invalid value: \"\": resource or service backend is required",
    );
    fails(
        json!({"backend": {"resource": {"kind": "k", "name": "n"}}}),
        ".backend: Invalid value: \"\": cannot set both resource and service backends",
    );
    fails(
        json!({"backend": {"service": {"port": null}}}),
        ".backend: Required value: port name or number is required",
    );
    fails(
        json!({"backend": {"service": {"port": {"name": "http"}}}}),
        ".backend: Invalid value: \"\": cannot set both port name & port number",
    );
    fails(
        json!({"backend": {"service": {"port": {"number": 70000}}}}),
        ".backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive",
    );
    check(
        json!({"spec": {"rules": [{"host": "10.0.0.1"}]}}),
        &["spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address"],
    );
    check(json!({"spec": {"rules": [{"host": "*.example.com"}]}}), &[]);
    check(
        json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {"ingressClassName": "y"}}),
        &[
            "annotations.kubernetes.io/ingress.class: Invalid value: \"x\": must match `ingressClassName` when both are specified",
        ],
    );
    check(
        json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "x"}}, "spec": {"ingressClassName": "x"}}),
        &[],
    );
    fails(
        json!({"backend": {"service": null, "resource": {"apiGroup": "a.b", "kind": "a/b", "name": "n"}}}),
        ".backend.resource.kind: Invalid value: \"a/b\": may not contain '/'",
    );
    check(
        json!({"spec": {"tls": [{"secretName": "A_b"}]}}),
        &[&format!("spec.tls[0].secretName: Invalid value: \"A_b\": {DNS_SUBDOMAIN}")],
    );
    let status = |each: Value| json!({"loadBalancer": {"ingress": [each]}});
    status_refused(
        "Ingress",
        status(json!({"ip": "1.2.3"})),
        &[
            "status.loadBalancer.ingress[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
    );
    status_refused("Ingress", status(json!({"ip": "1.2.3.04"})), &[]);
    status_refused(
        "Ingress",
        status(json!({"hostname": "1.2.3.4"})),
        &[
            "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
        ],
    );
}

#[test]
fn ingress_class() {
    becomes(
        "IngressClass",
        json!({"spec": {"parameters": {"kind": "k", "name": "n"}}}),
        json!({"spec": {"parameters": {"scope": "Cluster"}}}),
    );
    let check = |spec, expected: &[&str]| refused("IngressClass", json!({"spec": spec}), expected);
    check(
        json!({"controller": "plain"}),
        &[
            "spec.controller: Invalid value: \"plain\": must be a domain-prefixed path (such as \"acme.io/foo\")",
        ],
    );
    check(
        json!({"parameters": {"scope": "Namespace", "name": "n"}}),
        &[
            "spec.parameters.kind: Required value",
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ],
    );
    check(
        json!({"parameters": {"kind": "k", "name": "n", "namespace": "x"}}),
        &["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
    );
    change_refused(
        "IngressClass",
        json!({"spec": {"controller": "a.b/d"}}),
        &["spec.controller: Invalid value: \"a.b/d\": field is immutable"],
    );
}

#[test]
fn network_policy() {
    becomes("NetworkPolicy", json!({}), json!({"spec": {"policyTypes": ["Ingress"]}}));
    becomes(
        "NetworkPolicy",
        json!({"spec": {"egress": [{"ports": [{"port": 53}]}]}}),
        json!({"spec": {"policyTypes": ["Ingress", "Egress"], "egress": [{"ports": [{"port": 53, "protocol": "TCP"}]}]}}),
    );
    let check = |spec, expected: &[&str]| refused("NetworkPolicy", json!({"spec": spec}), expected);
    let ports = |port| json!({"ingress": [{"ports": [port]}]});
    check(
        ports(json!({"port": 70000, "protocol": "ICMP"})),
        &[
            "spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ],
    );
    check(
        ports(json!({"endPort": 5})),
        &[
            "spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is not specified",
        ],
    );
    check(
        ports(json!({"port": "http", "endPort": 5})),
        &[
            "spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is non-numeric",
        ],
    );
    let peer = |peer| json!({"ingress": [{"from": [peer]}]});
    check(peer(json!({})), &["spec.ingress[0].from[0]: Required value: must specify a peer"]);
    check(
        peer(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})),
        &["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"],
    );
    check(
        peer(json!({"ipBlock": {"cidr": "10.0.0.0"}})),
        &[
            "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ],
    );
    check(
        peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}})),
        &[
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
        ],
    );
    check(
        json!({"policyTypes": ["Ingress", "Odd"]}),
        &["spec.policyTypes[1]: Unsupported value: \"Odd\": supported values: \"Egress\", \"Ingress\""],
    );
    check(
        json!({"policyTypes": ["Ingress", "Egress", "Ingress"]}),
        &[
            "spec.policyTypes: Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes",
        ],
    );
}

#[test]
fn ip_address() {
    refused(
        "IPAddress",
        json!({"metadata": {"name": "10.43.0.01"}}),
        &["metadata.name: Invalid value: \"10.43.0.01\": must not have leading 0s"],
    );
    refused("IPAddress", json!({"spec": null}), &["spec.parentRef: Required value"]);
    refused(
        "IPAddress",
        json!({"spec": {"parentRef": {"name": null}}}),
        &["spec.parentRef.name: Required value"],
    );
    change_refused(
        "IPAddress",
        json!({"spec": {"parentRef": {"name": "x"}}}),
        &[
            "spec.parentRef: Invalid value: {\"name\":\"x\",\"namespace\":\"default\",\"resource\":\"services\"}: field is immutable",
        ],
    );
}

#[test]
fn service_cidr() {
    let check =
        |cidrs, expected: &[&str]| refused("ServiceCIDR", json!({"spec": {"cidrs": cidrs}}), expected);
    check(json!([]), &["spec.cidrs: Required value: at least one CIDR required"]);
    check(
        json!(["10.0.0.0/8", "11.0.0.0/8"]),
        &[
            "spec.cidrs: Invalid value: [\"10.0.0.0/8\",\"11.0.0.0/8\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        ],
    );
    check(
        json!(["10.0.0.1/8"]),
        &["spec.cidrs[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length"],
    );
    change_refused("ServiceCIDR", json!({"spec": {"cidrs": ["10.43.0.0/16", "2001:db8::/64"]}}), &[]);
    change_refused(
        "ServiceCIDR",
        json!({"spec": {"cidrs": ["10.44.0.0/16"]}}),
        &["spec.cidrs[0]: Invalid value: \"10.44.0.0/16\": field is immutable"],
    );
}
