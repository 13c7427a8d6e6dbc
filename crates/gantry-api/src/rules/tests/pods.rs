//! What pods and their templates are refused for, part by part; endpoints and leases.

use gantry_json::{Value, json};

use super::fixtures::{refused, status_refused};
use crate::rules::common::QUALIFIED_NAME;

fn pod(spec: Value, expected: &[&str]) {
    refused("Pod", json!({"spec": spec}), expected);
}

fn container(patch: Value, expected: &[&str]) {
    let mut container = json!({"name": "c", "image": "i:1"});
    crate::patch::merge(&mut container, &patch);
    let expected: Vec<String> = expected.iter().map(|fault| format!("spec.containers[0].{fault}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    pod(json!({"containers": [container]}), &expected);
}

fn volume(source: Value, expected: &[&str]) {
    let mut volume = json!({"name": "v"});
    crate::patch::merge(&mut volume, &source);
    let expected: Vec<String> = expected.iter().map(|fault| format!("spec.volumes[0].{fault}")).collect();
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    pod(json!({"volumes": [volume]}), &expected);
}

#[test]
fn affinity() {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let terms = |terms| json!({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}});
    let at = format!("spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms");
    pod(terms(json!([])), &[&format!("{at}: Required value: must have at least one node selector term")]);
    pod(
        terms(
            json!([{"matchExpressions": [{"key": "a", "operator": "In"}, {"key": "a", "operator": "Gt", "values": ["1", "2"]},
            {"key": "a", "operator": "Odd"}], "matchFields": [{"key": "spec.x", "operator": "In", "values": ["n"]}]}]),
        ),
        &[
            &format!(
                "{at}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            ),
            &format!(
                "{at}[0].matchExpressions[1].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'"
            ),
            &format!(
                "{at}[0].matchExpressions[2].operator: Invalid value: \"Odd\": not a valid selector operator"
            ),
            &format!("{at}[0].matchFields[0].key: Invalid value: \"spec.x\": not a valid field selector key"),
        ],
    );
    let term = format!("spec.affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm");
    pod(
        json!({"affinity": {"podAntiAffinity": {PREFERRED: [{"weight": 0, "podAffinityTerm": {"topologyKey": ""}}]}}}),
        &[
            &format!(
                "spec.affinity.podAntiAffinity.{PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100"
            ),
            &format!("{term}.topologyKey: Required value: can not be empty"),
            &format!("{term}.topologyKey: Invalid value: \"\": name part must be non-empty"),
            &format!("{term}.topologyKey: Invalid value: \"\": {QUALIFIED_NAME}"),
        ],
    );
}

#[test]
fn spread() {
    let one = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    pod(
        json!({"topologySpreadConstraints": [one, one]}),
        &[
            "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{zone, DoNotSchedule}\"",
        ],
    );
    pod(
        json!({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "minDomains": 2}]}),
        &[
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ],
    );
}

#[test]
fn security() {
    pod(
        json!({"securityContext": {"runAsUser": -1, "fsGroupChangePolicy": "Never", "seccompProfile": {"type": "Localhost"},
            "sysctls": [{"name": "a b", "value": "1"}]}}),
        &[
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            "spec.securityContext.sysctls[0].name: Invalid value: \"a b\": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported values: \"Always\", \"OnRootMismatch\"",
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ],
    );
    container(
        json!({"securityContext": {"allowPrivilegeEscalation": false, "privileged": true}}),
        &[
            "securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ],
    );
}

#[test]
fn volumes() {
    volume(
        json!({"hostPath": {"path": "/", "type": "Odd"}}),
        &[
            "hostPath.type: Unsupported value: \"Odd\": supported values: \"\", \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \"FileOrCreate\", \"Socket\"",
        ],
    );
    volume(json!({"persistentVolumeClaim": {}}), &["persistentVolumeClaim.claimName: Required value"]);
    volume(
        json!({"configMap": {"name": "c", "defaultMode": 1000, "items": [{"key": "k", "path": "/a"}, {"path": "../b"}]}}),
        &[
            "configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive",
            "configMap.items[0].path: Invalid value: \"/a\": must be a relative path",
            "configMap.items[1].key: Required value",
            "configMap.items[1].path: Invalid value: \"../b\": must not contain '..'",
        ],
    );
    volume(
        json!({"projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 5}},
            {"downwardAPI": {"items": [{"path": "a"}]}}]}}),
        &[
            "projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
            "projected.path: Required value",
            "projected.sources[1].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required",
            "projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
        ],
    );
    volume(
        json!({"nfs": {"server": "s", "path": "p"}}),
        &["nfs.path: Invalid value: \"p\": must be an absolute path"],
    );
    volume(json!({"ephemeral": {}}), &["ephemeral.volumeClaimTemplate: Required value"]);
}

#[test]
fn containers_and_ports() {
    container(
        json!({"envFrom": [{}]}),
        &["envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
    );
    container(json!({"envFrom": [{"secretRef": {}}]}), &["envFrom[0].secretRef.name: Required value"]);
    let port = json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"});
    pod(
        json!({"containers": [{"name": "a", "image": "i", "ports": [port]}, {"name": "b", "image": "i", "ports": [port]}]}),
        &["spec.containers[1].ports[0].hostPort: Duplicate value: \"TCP//80\""],
    );
    pod(
        json!({"hostAliases": [{"ip": "x"}], "readinessGates": [{"conditionType": "a b"}]}),
        &[
            "spec.readinessGates[0].conditionType: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
    );
}

#[test]
fn variables_from_files() {
    let variable = |file: Value| json!([{"name": "A", "valueFrom": {"fileKeyRef": file}}]);
    let reads = |file: Value| {
        json!({"containers": [{"name": "c", "image": "i:1", "env": variable(file)}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/"}}]})
    };
    let at = "spec.containers[0].env[0].valueFrom.fileKeyRef";
    pod(
        reads(json!({"volumeName": "", "path": "", "key": ""})),
        &[
            &format!("{at}.volumeName: Required value"),
            &format!("{at}.path: Required value"),
            &format!("{at}.key: Required value"),
        ],
    );
    pod(
        reads(json!({"volumeName": "none", "path": "../x", "key": "a=b"})),
        &[
            &format!("{at}.path: Invalid value: \"../x\": must not contain '..'"),
            &format!(
                "{at}.key: Invalid value: \"a=b\": a valid environment variable name must consist only of \
                 printable ASCII characters other than '='"
            ),
            &format!("{at}.volumeName: Not found: \"none\""),
        ],
    );
    pod(
        reads(json!({"volumeName": "host", "path": "x", "key": "A"})),
        &[&format!("{at}.volumeName: Invalid value: \"host\": referenced volume must be of type emptyDir")],
    );
}

#[test]
fn endpoint_slices_and_leases() {
    refused(
        "EndpointSlice",
        json!({"endpoints": [{"addresses": ["2001:db8::1"]}], "ports": [{"name": "a"}, {"name": "a", "protocol": "ICMP"}]}),
        &[
            "endpoints[0].addresses[0]: Invalid value: \"2001:db8::1\": must be a valid IPv4 address",
            "ports[1].name: Duplicate value: \"a\"",
            "ports[1].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ],
    );
    let special = json!(["x", "127.0.0.2", "0.0.0.0", "169.254.1.1", "224.0.0.5", "224.0.1.5"]);
    refused(
        "EndpointSlice",
        json!({"endpoints": [{"addresses": special}]}),
        &[
            "endpoints[0].addresses[0]: Invalid value: \"x\": must be a valid IPv4 address",
            "endpoints[0].addresses[0]: Invalid value: \"x\": must be a valid IP address",
            "endpoints[0].addresses[1]: Invalid value: \"127.0.0.2\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "endpoints[0].addresses[2]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
            "endpoints[0].addresses[3]: Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            "endpoints[0].addresses[4]: Invalid value: \"224.0.0.5\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ],
    );
    refused(
        "Lease",
        json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
        &[
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
}

#[test]
fn init_containers_and_endpoints() {
    let probe = json!({"exec": {"command": ["x"]}});
    let init = |policy: Value| json!({"initContainers": [{"name": "i", "image": "i", "restartPolicy": policy, "startupProbe": probe}]});
    pod(init(json!("Always")), &[]);
    pod(
        init(Value::Null),
        &[
            "spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
    refused(
        "Endpoints",
        json!({"subsets": [{"ports": [{"port": 80}, {"port": 81, "name": "b"}]}, {"addresses": [{"ip": "x"}]}]}),
        &[
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            "subsets[0].ports[0].name: Required value",
            "subsets[1].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "subsets[1].addresses[0].ip: Invalid value: \"x\": must be a valid IP address",
        ],
    );
    refused(
        "Endpoints",
        json!({"subsets": [{"addresses": [{"ip": "::1"}], "notReadyAddresses": [{"ip": "fe80::1"}, {"ip": "ff12::1"}]}]}),
        &[
            "subsets[0].addresses[0].ip: Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "subsets[0].notReadyAddresses[0].ip: Invalid value: \"fe80::1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)",
            "subsets[0].notReadyAddresses[1].ip: Invalid value: \"ff12::1\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ],
    );
}

#[test]
fn numbers_of_workloads() {
    status_refused(
        "Deployment",
        json!({"replicas": 2, "availableReplicas": 3, "readyReplicas": 1}),
        &[
            "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
        ],
    );
    status_refused(
        "ReplicaSet",
        json!({"replicas": -1}),
        &["status.replicas: Invalid value: -1: must be greater than or equal to 0"],
    );
}
