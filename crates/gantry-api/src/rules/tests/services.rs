//! Services, nodes, namespaces and secrets.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_of, created, minimal, refused, status_refused, warned};

fn service(spec: Value, expected: &[&str]) {
    refused("Service", json!({"spec": spec}), expected);
}

#[test]
fn service_defaults() {
    becomes(
        "Service",
        json!({"spec": {"sessionAffinity": "ClientIP"}}),
        json!({"spec": {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
            "internalTrafficPolicy": "Cluster", "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]}}),
    );
    becomes(
        "Service",
        json!({"spec": {"externalIPs": ["192.0.2.1"]}}),
        json!({"spec": {"externalTrafficPolicy": "Cluster"}}),
    );
    becomes(
        "Service",
        json!({"spec": {"type": "LoadBalancer"}}),
        json!({"spec": {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": true}}),
    );
}

#[test]
fn service_ports_and_names() {
    service(json!({"ports": []}), &["spec.ports: Required value"]);
    service(json!({"ports": [], "clusterIP": "None"}), &[]);
    service(
        json!({"ports": [{"name": "a", "port": 0, "protocol": "X", "targetPort": "Bad_Name", "nodePort": 30000},
            {"name": "a", "port": 80, "appProtocol": "-", "nodePort": 30000}]}),
        &[
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ports[0].targetPort: Invalid value: \"Bad_Name\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            "spec.ports[1].name: Duplicate value: \"a\"",
            "spec.ports[1].appProtocol: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            "spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ],
    );
    let twice =
        json!([{"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 2, "nodePort": 30000}]);
    service(json!({"type": "NodePort", "ports": twice}), &["spec.ports[1].nodePort: Duplicate value: 30000"]);
    service(
        json!({"type": "ExternalName", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack"}),
        &[
            "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
            "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
            "spec.externalName: Required value",
        ],
    );
    service(json!({"type": "ExternalName", "externalName": "a.example."}), &[]);
    service(
        json!({"type": "Odd", "sessionAffinity": "Odd"}),
        &[
            "spec.sessionAffinity: Unsupported value: \"Odd\": supported values: \"ClientIP\", \"None\"",
            "spec.type: Unsupported value: \"Odd\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
        ],
    );
    service(
        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
        &[
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
        ],
    );
}

#[test]
fn service_addresses() {
    service(
        json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.2"]}),
        &["spec.clusterIPs: Invalid value: [\"10.0.0.2\"]: first value must match `clusterIP`"],
    );
    service(
        json!({"clusterIP": "None", "clusterIPs": ["None", "x"]}),
        &[
            "spec.clusterIPs: Invalid value: [\"None\",\"x\"]: 'None' must be the first and only value",
            "spec.clusterIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
    );
    service(
        json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"], "ipFamilies": ["IPv6", "IPv6", "X"],
            "ipFamilyPolicy": "Odd"}),
        &[
            "spec.ipFamilies[1]: Duplicate value: \"IPv6\"",
            "spec.ipFamilies[2]: Unsupported value: \"X\": supported values: \"IPv4\", \"IPv6\"",
            "spec.ipFamilyPolicy: Unsupported value: \"Odd\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\"",
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
            "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            "spec.clusterIPs[1]: Invalid value: \"10.0.0.2\": expected an IPv6 value as indicated by `ipFamilies[1]`",
        ],
    );
    service(
        json!({"externalIPs": ["127.0.0.1", "x"]}),
        &[
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "spec.externalIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
    );
}

#[test]
fn service_traffic() {
    service(
        json!({"externalTrafficPolicy": "Local", "healthCheckNodePort": 30000, "allocateLoadBalancerNodePorts": true,
            "loadBalancerClass": "a/b", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
        &[
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ],
    );
    service(
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Odd", "internalTrafficPolicy": "Odd",
            "trafficDistribution": "Odd", "loadBalancerSourceRanges": ["10.0.0.0", " 10.0.0.0/8 "]}),
        &[
            "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            "spec.externalTrafficPolicy: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Local\"",
            "spec.internalTrafficPolicy: Unsupported value: \"Odd\": supported values: \"Cluster\", \"Local\"",
            "spec.trafficDistribution: Unsupported value: \"Odd\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
        ],
    );
    service(json!({"trafficDistribution": "PreferSameNode"}), &[]);
}

#[test]
fn services_change() {
    let made = |spec: Value| {
        let mut object = minimal("Service");
        crate::patch::merge(&mut object, &json!({"spec": spec}));
        created(object)
    };
    let two = made(
        json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"],
        "ipFamilyPolicy": "PreferDualStack"}),
    );
    change_of(
        two.clone(),
        json!({"spec": {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2", "fd00::1"]}}),
        &["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\",\"fd00::1\"]: may not change once set"],
    );
    change_of(
        two,
        json!({"spec": {"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]}}),
        &[
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP",
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary ipFamily",
        ],
    );
    let balanced =
        made(json!({"type": "LoadBalancer", "loadBalancerClass": "a/b", "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30000}));
    change_of(
        balanced.clone(),
        json!({"spec": {"loadBalancerClass": "a/c", "healthCheckNodePort": 30001}}),
        &[
            "spec.loadBalancerClass: Invalid value: \"a/c\": may not change once set",
            "spec.healthCheckNodePort: Forbidden: field is immutable",
        ],
    );
    // The port for health checks goes with the policy that needs it.
    change_of(balanced, json!({"spec": {"externalTrafficPolicy": "Cluster"}}), &[]);
}

#[test]
fn service_status() {
    let ingress = json!([{"ip": "192.0.2.1", "ipMode": "VIP"}]);
    status_refused(
        "Service",
        json!({"loadBalancer": {"ingress": ingress}}),
        &["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"],
    );
}

#[test]
fn what_is_said_about_services() {
    warned(
        "Service",
        json!({"spec": {"clusterIP": "None", "externalIPs": ["192.0.2.1"], "loadBalancerSourceRanges": ["10.0.0.1/8"]}}),
        &[
            "spec.externalIPs is ignored for headless services",
            "spec.loadBalancerSourceRanges[0]: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)",
        ],
    );
}

#[test]
fn nodes() {
    becomes(
        "Node",
        json!({"spec": {"podCIDR": "10.42.0.0/24", "configSource": {}}, "status": {"capacity": {"cpu": "2"}}}),
        json!({"spec": {"podCIDRs": ["10.42.0.0/24"], "configSource": null}, "status": {"allocatable": {"cpu": "2"}}}),
    );
    refused(
        "Node",
        json!({"spec": {"podCIDRs": ["10.0.0.0/8", "10.0.0.0/8"],
            "taints": [{"key": "a", "effect": "Odd"}, {"key": "a", "effect": "Odd"}]},
            "status": {"capacity": {"pods": "1500m", "cpu": "-1"}}}),
        &[
            "metadata.taints[0].effect: Unsupported value: \"Odd\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"",
            "metadata.taints[1].effect: Unsupported value: \"Odd\": supported values: \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\"",
            "metadata.taints[1]: Duplicate value: {\"effect\":\"Odd\",\"key\":\"a\"}: taints must be unique by key and effect pair",
            "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
            "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
            "status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
            "status.allocatable.pods: Invalid value: \"1500m\": must be an integer",
            "spec.podCIDRs: Invalid value: [\"10.0.0.0/8\",\"10.0.0.0/8\"]: may specify no more than one CIDR for each IP family",
            "spec.podCIDRs[1]: Duplicate value: \"10.0.0.0/8\"",
        ],
    );
    let mut node = minimal("Node");
    node["spec"] = json!({"podCIDRs": ["10.0.0.0/24"], "podCIDR": "10.0.0.0/24", "providerID": "a"});
    change_of(
        created(node),
        json!({"spec": {"podCIDRs": ["10.0.1.0/24"], "podCIDR": "10.0.1.0/24", "providerID": "b", "externalID": "c"}}),
        &[
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
            "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
            "spec.externalID: Forbidden: may not be updated",
        ],
    );
    let address = json!({"type": "InternalIP", "address": "10.0.0.1"});
    status_refused(
        "Node",
        json!({"addresses": [address, address]}),
        &["status.addresses[1]: Duplicate value: {\"address\":\"10.0.0.1\",\"type\":\"InternalIP\"}"],
    );
}

#[test]
fn namespaces() {
    refused(
        "Namespace",
        json!({"spec": {"finalizers": ["mine"]}}),
        &[
            "spec.finalizers: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
        ],
    );
    status_refused(
        "Namespace",
        json!({"phase": "Terminating"}),
        &[
            "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
        ],
    );
}

#[test]
fn types_of_secrets() {
    let check = |kind: &str, data: Value, expected: &[&str]| {
        refused("Secret", json!({"type": format!("kubernetes.io/{kind}"), "data": data}), expected);
    };
    check("basic-auth", json!({}), &["data[username]: Required value", "data[password]: Required value"]);
    check("basic-auth", json!({"password": ""}), &[]);
    check("ssh-auth", json!({"ssh-privatekey": ""}), &["data[ssh-privatekey]: Required value"]);
    check("tls", json!({"tls.crt": ""}), &["data[tls.key]: Required value"]);
    check("dockercfg", json!({".dockercfg": "e30="}), &[]);
    check(
        "dockerconfigjson",
        json!({".dockerconfigjson": "eA=="}),
        &[
            "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'x' looking for beginning of value",
        ],
    );
    for (bytes, why) in [
        ("", "unexpected end of JSON input"),
        ("W10=", "json: cannot unmarshal array into Go value of type map[string]interface {}"),
    ] {
        let expected = format!("data[.dockercfg]: Invalid value: \"<secret contents redacted>\": {why}");
        check("dockercfg", json!({".dockercfg": bytes}), &[&expected]);
    }
    check("dockerconfigjson", json!({}), &["data[.dockerconfigjson]: Required value"]);
    refused(
        "ConfigMap",
        json!({"data": {"..": "a", "..b": "c"}}),
        &[
            "data[..]: Invalid value: \"..\": must not be '..'",
            "data[..b]: Invalid value: \"..b\": must not start with '..'",
        ],
    );
}

#[test]
fn replication_controllers_have_a_template() {
    refused(
        "ReplicationController",
        json!({"spec": {"template": null, "selector": {"a": "b"}}}),
        &["spec.template: Required value"],
    );
}
