//! Endpoints and EndpointSlices.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_refused, many, refused, warned};

fn endpoint(rest: Value) -> Value {
    let mut each = json!({"addresses": ["10.0.0.1"]});
    crate::patch::merge(&mut each, &rest);
    json!({"endpoints": [each]})
}

#[test]
fn endpoint_slices() {
    let check = |patch, expected: &[&str]| refused("EndpointSlice", patch, expected);
    becomes(
        "EndpointSlice",
        json!({"ports": [{"port": 80}]}),
        json!({"ports": [{"name": "", "protocol": "TCP", "port": 80}]}),
    );
    check(json!({"addressType": null}), &["addressType: Required value"]);
    check(
        json!({"addressType": "IP"}),
        &["addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""],
    );
    let some = many(1001, |_| json!({"addresses": ["10.0.0.1"]}));
    check(json!({"endpoints": some}), &["endpoints: Too many: 1001: must have at most 1000 items"]);
    let addresses = many(101, |at| format!("10.0.0.{at}").into());
    check(
        endpoint(json!({"addresses": addresses})),
        &["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
    );
    check(
        endpoint(json!({"addresses": []})),
        &["endpoints[0].addresses: Required value: must contain at least 1 address"],
    );
    check(
        endpoint(json!({"addresses": ["127.0.0.1", "169.254.1.1", "224.0.0.9", "0.0.0.0", "fd00::1"]})),
        &[
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "endpoints[0].addresses[1]: Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            "endpoints[0].addresses[2]: Invalid value: \"224.0.0.9\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
            "endpoints[0].addresses[3]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
            "endpoints[0].addresses[4]: Invalid value: \"fd00::1\": must be a valid IPv4 address",
        ],
    );
    let mut named = endpoint(json!({"addresses": ["", "one", "a.example."]}));
    named["addressType"] = "FQDN".into();
    check(
        named,
        &[
            "endpoints[0].addresses[0]: Required value",
            "endpoints[0].addresses[1]: Invalid value: \"one\": should be a domain with at least two segments separated by dots",
        ],
    );
    let ports = json!([{"name": "a", "protocol": "ICMP"}, {"name": "a", "appProtocol": "a//b"}]);
    check(
        json!({"ports": ports}),
        &[
            "ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "ports[1].name: Duplicate value: \"a\"",
            "ports[1].appProtocol: Invalid value: \"a//b\": a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
        ],
    );
    let ports = many(20001, |at| json!({"name": format!("p{at}")}));
    check(json!({"ports": ports}), &["ports: Too many: 20001: must have at most 20000 items"]);
    change_refused(
        "EndpointSlice",
        json!({"addressType": "FQDN", "endpoints": []}),
        &["addressType: Invalid value: \"FQDN\": field is immutable"],
    );
}

#[test]
fn hints_of_endpoints() {
    let check =
        |hints, expected: &[&str]| refused("EndpointSlice", endpoint(json!({"hints": hints})), expected);
    let at = "endpoints[0].hints";
    let nine = || many(9, |at| json!({"name": format!("z{at}")}));
    check(json!({"forZones": [{"name": "a"}], "forNodes": [{"name": "n"}]}), &[]);
    check(
        json!({"forZones": nine(), "forNodes": nine()}),
        &[
            &format!("{at}.forZones: Too many: 9: must have at most 8 items"),
            &format!("{at}.forNodes: Too many: 9: must have at most 8 items"),
        ],
    );
    check(
        json!({"forZones": [{"name": "a"}, {"name": "a"}], "forNodes": [{"name": "n"}, {"name": "n"}]}),
        &[
            &format!("{at}.forZones[1].name: Duplicate value: \"a\""),
            &format!("{at}.forNodes[1].name: Duplicate value: \"n\""),
        ],
    );
}

#[test]
fn what_is_said_about_addresses() {
    let six = |address: &str| json!({"addressType": "IPv6", "endpoints": [{"addresses": [address]}]});
    warned(
        "EndpointSlice",
        endpoint(json!({"addresses": ["010.0.0.1"]})),
        &[
            "endpoints[0].addresses[0]: non-standard IP address \"010.0.0.1\" will be considered invalid in a future Kubernetes release: use \"10.0.0.1\"",
        ],
    );
    warned(
        "EndpointSlice",
        six("FD00::1"),
        &[
            "endpoints[0].addresses[0]: IPv6 address \"FD00::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
        ],
    );
    warned(
        "EndpointSlice",
        json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]}),
        &["spec.addressType: FQDN endpoints are deprecated"],
    );
    warned("Endpoints", json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]}), &[]);
}

#[test]
fn old_endpoints() {
    let port = json!({"port": 0, "protocol": "X", "appProtocol": ""});
    refused(
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "::1", "nodeName": "N"}], "ports": [port]}]}),
        &[
            "subsets[0].addresses[0].nodeName: Invalid value: \"N\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "subsets[0].addresses[0].ip: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "subsets[0].ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "subsets[0].ports[0].appProtocol: Invalid value: \"\": name part must be non-empty",
            "subsets[0].ports[0].appProtocol: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ],
    );
}
