//! Pods and their templates, beside what is refused part by part: what changes, what is said, whole specs.

use gantry_json::{Value, json};

use super::fixtures::{becomes, change_of, created, kind_of, minimal, refused, warned};

fn made(spec: Value) -> Value {
    let mut pod = minimal("Pod");
    crate::patch::merge(&mut pod, &json!({"spec": spec}));
    created(pod)
}

fn container(rest: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i:1"});
    crate::patch::merge(&mut container, &rest);
    json!([container])
}

fn check(rest: Value, expected: &[&str]) {
    refused("Pod", json!({"spec": {"containers": container(rest)}}), expected);
}

fn spec(spec: Value, expected: &[&str]) {
    refused("Pod", json!({"spec": spec}), expected);
}

#[test]
fn templates_have_fewer_defaults_than_pods() {
    let limited = json!({"resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 80}]});
    let pod = made(json!({"containers": container(limited.clone()), "hostNetwork": true}));
    let own = &pod["spec"]["containers"][0];
    assert_eq!(
        (&own["resources"]["requests"]["cpu"], &own["ports"][0]["hostPort"]),
        (&json!("1"), &json!(80))
    );
    let mut template = minimal("Deployment");
    template["spec"]["template"]["spec"] = json!({"containers": container(limited), "hostNetwork": true});
    let own = created(template)["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!((&own["resources"]["requests"], &own["ports"][0]["hostPort"]), (&json!(null), &json!(null)));
}

#[test]
fn what_pods_get() {
    let policy = |image: &str| {
        let pod = made(json!({"containers": container(json!({"image": image}))}));
        pod["spec"]["containers"][0]["imagePullPolicy"].clone()
    };
    for (image, expected) in [
        ("nginx", "Always"),
        ("a.b:5000/nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:latest@sha256:0123", "Always"),
        ("nginx@sha256:0123", "IfNotPresent"),
        ("nginx:1", "IfNotPresent"),
        ("Nginx", "IfNotPresent"),
    ] {
        assert_eq!(policy(image), expected, "{image}");
    }
    let pod = made(
        json!({"containers": container(json!({"livenessProbe": {"periodSeconds": 0, "tcpSocket": {"port": 1}}})),
        "volumes": [{"name": "i", "image": {"reference": "a"}}, {"name": "r", "rbd": {"monitors": ["m"], "image": "i"}}]}),
    );
    assert_eq!(pod["spec"]["containers"][0]["livenessProbe"]["periodSeconds"], 10);
    assert_eq!(pod["spec"]["volumes"][0]["image"]["pullPolicy"], "Always");
    assert_eq!(pod["spec"]["volumes"][1]["rbd"]["pool"], "rbd");
    let whole = json!({"resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
        "containers": container(json!({"resources": {"requests": {"cpu": "1"}}}))});
    assert_eq!(made(whole)["spec"]["resources"]["requests"], json!({"cpu": "1", "memory": "1Gi"}));
    becomes("Pod", json!({"spec": {"workloadRef": {"name": "w"}}}), json!({"spec": {"workloadRef": null}}));
}

#[test]
fn keys_become_selectors_of_a_pods_own_labels() {
    let mut pod = minimal("Pod");
    let term = json!({"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["a"], "mismatchLabelKeys": ["t"]});
    let constraint = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {}, "matchLabelKeys": ["a"]});
    crate::patch::merge(
        &mut pod,
        &json!({"metadata": {"labels": {"a": "b", "t": "u"}}, "spec": {"topologySpreadConstraints": [constraint],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}}),
    );
    let spec = created(pod)["spec"].clone();
    let own = json!({"key": "a", "operator": "In", "values": ["b"]});
    let other = json!({"key": "t", "operator": "NotIn", "values": ["u"]});
    assert_eq!(spec["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"], json!([own]));
    let term = &spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(term["labelSelector"]["matchExpressions"], json!([own, other]));
}

#[test]
fn containers() {
    let at = "spec.containers[0]";
    check(
        json!({"image": " i"}),
        &[&format!("{at}.image: Invalid value: \" i\": must not have leading or trailing whitespace")],
    );
    check(
        json!({"restartPolicyRules": [{"action": "Odd", "exitCodes": {"operator": "", "values": []}}]}),
        &[
            &format!(
                "{at}.restartPolicy: Required value: must specify restartPolicy when restart rules are used"
            ),
            &format!(
                "{at}.restartPolicyRules[0].action: Unsupported value: \"Odd\": supported values: \"Restart\""
            ),
            &format!(
                "{at}.restartPolicyRules[0].exitCodes.operator: Unsupported value: \"\": supported values: \"In\", \"NotIn\""
            ),
        ],
    );
    check(
        json!({"resizePolicy": [{"resourceName": "disk", "restartPolicy": ""}]}),
        &[
            &format!("{at}.resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\""),
            &format!("{at}.resizePolicy: Required value"),
        ],
    );
    check(
        json!({"volumeMounts": [{"name": "v", "mountPath": "/a"}]}),
        &[&format!("{at}.volumeMounts[0].name: Not found: \"v\"")],
    );
    let mounts = json!([{"name": "v", "mountPath": "/a", "subPath": "/x", "subPathExpr": "y", "mountPropagation": "Bidirectional",
        "recursiveReadOnly": "Enabled"}, {"name": "v", "mountPath": "/a"}]);
    spec(
        json!({"volumes": [{"name": "v"}], "containers": container(json!({"volumeMounts": mounts,
            "volumeDevices": [{"name": "v", "devicePath": "/a/.."}]}))}),
        &[
            &format!(
                "{at}.volumeMounts[0].name: Invalid value: \"v\": must not already exist in volumeDevices"
            ),
            &format!("{at}.volumeMounts.subPath: Invalid value: \"/x\": must be a relative path"),
            &format!(
                "{at}.volumeMounts[0].subPathExpr: Invalid value: \"y\": subPathExpr and subPath are mutually exclusive"
            ),
            &format!(
                "{at}.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers"
            ),
            &format!(
                "{at}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"
            ),
            &format!(
                "{at}.volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropagation is None or not specified"
            ),
            &format!("{at}.volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique"),
            &format!(
                "{at}.volumeMounts[1].name: Invalid value: \"v\": must not already exist in volumeDevices"
            ),
            &format!(
                "{at}.volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            ),
            &format!(
                "{at}.volumeDevices[0].devicePath: Invalid value: \"/a/..\": can not contain backsteps ('..')"
            ),
            &format!(
                "{at}.volumeDevices[0].name: Invalid value: \"v\": must not already exist in volumeMounts"
            ),
        ],
    );
}

#[test]
fn amounts() {
    let at = "spec.containers[0].resources";
    let of = |resources: Value, expected: &[&str]| check(json!({"resources": resources}), expected);
    of(
        json!({"requests": {"disk": "1", "kubernetes.io/x": "1"}}),
        &[
            &format!(
                "{at}.requests[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified"
            ),
            &format!(
                "{at}.requests[disk]: Invalid value: \"disk\": must be a standard resource for containers"
            ),
        ],
    );
    of(
        json!({"requests": {"a.b/gpu": "1"}}),
        &[&format!("{at}.limits: Required value: Limit must be set for non overcommitable resources")],
    );
    of(
        json!({"requests": {"a.b/gpu": "1"}, "limits": {"a.b/gpu": "1500m"}}),
        &[
            &format!("{at}.limits[a.b/gpu]: Invalid value: \"1500m\": must be an integer"),
            &format!("{at}.requests: Invalid value: \"1\": must be equal to a.b/gpu limit of 1500m"),
        ],
    );
    of(
        json!({"limits": {"hugepages-2Mi": "3Mi"}}),
        &[
            &format!(
                "{at}.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"
            ),
            &format!(
                "{at}.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi"
            ),
            &format!("{at}: Forbidden: HugePages require cpu or memory"),
        ],
    );
    of(
        json!({"claims": [{"name": "x"}]}),
        &[&format!(
            "{at}.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty"
        )],
    );
    spec(
        json!({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
            "containers": container(json!({"resources": {"limits": {"cpu": "3"}}}))}),
        &[
            "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 3",
            "spec.resources.containers[0][cpu].limits: Invalid value: \"3\": must be less than or equal to pod limits of 2",
        ],
    );
}

#[test]
fn variables() {
    let at = "spec.containers[0].env[0].valueFrom";
    let of = |source: Value, expected: &[&str]| {
        check(json!({"env": [{"name": "A", "valueFrom": source}]}), expected)
    };
    of(json!({"fieldRef": {"fieldPath": "metadata.labels['a']"}}), &[]);
    of(
        json!({"fieldRef": {"fieldPath": "metadata.labels"}}),
        &[&format!(
            "{at}.fieldRef.fieldPath: Unsupported value: \"metadata.labels\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""
        )],
    );
    of(
        json!({"fieldRef": {"fieldPath": "spec.x"}}),
        &[&format!(
            "{at}.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x"
        )],
    );
    of(
        json!({"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Mi"}}),
        &[&format!(
            "{at}.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"
        )],
    );
    of(
        json!({"secretKeyRef": {"name": "s", "key": "a b"}}),
        &[&format!(
            "{at}.secretKeyRef.key: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        )],
    );
}

#[test]
fn probes() {
    let at = "spec.containers[0]";
    check(
        json!({"readinessProbe": {"terminationGracePeriodSeconds": 5, "httpGet": {"port": "a_b", "scheme": "FTP",
            "httpHeaders": [{"name": "a b", "value": ""}]}}, "livenessProbe": {"grpc": {"port": 0}, "successThreshold": 2}}),
        &[
            &format!(
                "{at}.livenessProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive"
            ),
            &format!("{at}.livenessProbe.successThreshold: Invalid value: 2: must be 1"),
            &format!(
                "{at}.readinessProbe.httpGet.port: Invalid value: \"a_b\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
            ),
            &format!(
                "{at}.readinessProbe.httpGet.scheme: Unsupported value: \"FTP\": supported values: \"HTTP\", \"HTTPS\""
            ),
            &format!(
                "{at}.readinessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            ),
            &format!(
                "{at}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes"
            ),
        ],
    );
    check(
        json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}),
        &[&format!(
            "{at}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"
        )],
    );
}

#[test]
fn whole_specs() {
    spec(
        json!({"dnsPolicy": "None"}),
        &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    );
    spec(
        json!({"dnsConfig": {"nameservers": ["x"], "searches": ["_a.b.", ".", "A"], "options": [{}]}}),
        &[
            "spec.dnsConfig.nameservers[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "spec.dnsConfig.searches[2]: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '_' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9_]([-_a-z0-9]*[a-z0-9])?(\\.[a-z0-9_]([-_a-z0-9]*[a-z0-9])?)*')",
            "spec.dnsConfig.options[0]: Required value: must not be empty",
        ],
    );
    spec(
        json!({"schedulingGates": [{"name": "a"}, {"name": "a"}], "nodeName": "n"}),
        &[
            "spec.schedulingGates[1]: Duplicate value: \"a\"",
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ],
    );
    spec(
        json!({"hostUsers": false, "hostNetwork": true, "hostPID": true, "shareProcessNamespace": true}),
        &[
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
            "spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false",
            "spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false",
        ],
    );
    spec(
        json!({"hostNetwork": true, "containers": container(json!({"ports": [{"containerPort": 80, "hostPort": 81}]}))}),
        &[
            "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
        ],
    );
    spec(
        json!({"resourceClaims": [{"name": "a"}, {"name": "a", "resourceClaimName": "b"}]}),
        &[
            "spec.resourceClaims[0]: Invalid value: {\"name\":\"a\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            "spec.resourceClaims[1].name: Duplicate value: \"a\"",
        ],
    );
    spec(
        json!({"os": {"name": "windows"}, "hostPID": true, "containers": container(json!({"securityContext": {"runAsUser": 1}}))}),
        &[
            "spec.hostPID: Forbidden: cannot be set for a windows pod",
            "spec.containers[0].securityContext.runAsUser: Forbidden: cannot be set for a windows pod",
        ],
    );
    spec(
        json!({"ephemeralContainers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}], "targetContainerName": "x"}]}),
        &[
            "spec.ephemeralContainers[0].name: Duplicate value: \"c\"",
            "spec.ephemeralContainers[0].targetContainerName: Not found: \"x\"",
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ],
    );
    refused(
        "Pod",
        json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x",
            "controller.kubernetes.io/pod-deletion-cost": "+1"}}}),
        &[
            "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set",
            "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer",
        ],
    );
    spec(
        json!({"tolerations": [{"key": "a", "value": "-"}, {"operator": "Equal"}]}),
        &[
            "spec.tolerations[0].operator: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            "spec.tolerations[1].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ],
    );
    spec(
        json!({"volumes": [{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}, "cephfs": {"monitors": ["m"]}}]}),
        &[
            "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
            "spec.volumes[0].cephFS: Forbidden: may not specify more than 1 volume type",
        ],
    );
}

#[test]
fn pods_change() {
    let old = made(json!({"activeDeadlineSeconds": 10}));
    change_of(
        old.clone(),
        json!({"spec": {"activeDeadlineSeconds": 20}}),
        &["spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal to previous value"],
    );
    change_of(
        old,
        json!({"spec": {"activeDeadlineSeconds": null}}),
        &[
            "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
        ],
    );
    let gated = made(json!({"schedulingGates": [{"name": "a"}], "nodeSelector": {"x": "y"}}));
    change_of(gated.clone(), json!({"spec": {"nodeSelector": {"z": "y"}, "schedulingGates": []}}), &[]);
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}}});
    change_of(gated.clone(), json!({"spec": {"affinity": affinity}}), &[]);
    change_of(
        gated,
        json!({"spec": {"nodeSelector": {"x": "other"}, "schedulingGates": [{"name": "b"}]}}),
        &[
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'b'",
            "spec.nodeSelector: Invalid value: {\"x\":\"other\"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)",
        ],
    );
    change_of(
        made(json!({})),
        json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "m"}}}),
        &[
            "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"m\": must set spec.nodeName if mirror pod annotation is set",
            "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation",
        ],
    );
}

#[test]
fn statuses_of_pods() {
    let mut old = made(json!({"restartPolicy": "Never"}));
    let state = |state: Value| json!([{"name": "c", "state": state}]);
    old["status"]["containerStatuses"] = state(json!({"terminated": {"exitCode": 0}}));
    let status = |patch: Value| {
        let mut new = old.clone();
        crate::patch::merge(&mut new, &json!({"status": patch}));
        kind_of(&old).prepare_status(&mut new, &old, "status");
        let errors = kind_of(&old).validate_status(&new, &old, "status", &mut Vec::new());
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(status(json!({"qosClass": null})), Vec::<String>::new());
    assert_eq!(
        status(json!({"qosClass": "Burstable"})),
        ["status.qosClass: Invalid value: \"Burstable\": field is immutable"]
    );
    assert_eq!(
        status(json!({"containerStatuses": state(json!({"running": {}}))})),
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
    assert_eq!(
        status(json!({"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "nominatedNodeName": "N"})).len(),
        2
    );
}

#[test]
fn what_is_said_about_pods() {
    let port = |rest: Value| {
        let mut port = json!({"containerPort": 80});
        crate::patch::merge(&mut port, &rest);
        port
    };
    warned(
        "Pod",
        json!({"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "terminationGracePeriodSeconds": -1,
            "imagePullSecrets": [{"name": "s"}, {"name": "s"}], "volumes": [{"name": "g", "gitRepo": {"repository": "r"}}],
            "containers": container(json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
                "resources": {"requests": {"memory": "1500m"}},
                "ports": [port(json!({})), port(json!({"name": "x", "hostPort": 80}))]}))}}),
        &[
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.imagePullSecrets[1].name: duplicate name \"s\"",
            "spec.containers[0].resources.requests[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ],
    );
    let template =
        json!({"spec": {"template": {"spec": {"hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.1"}]}}}});
    warned("Deployment", template, &["spec.template.spec.hostAliases[1].ip: duplicate ip \"10.0.0.1\""]);
}

#[test]
fn annotations_that_say_nothing_any_more_are_told_of() {
    let pod = "seccomp.security.alpha.kubernetes.io/pod";
    let container = "container.seccomp.security.alpha.kubernetes.io/c";
    let words = r#"non-functional in v1.27+; use the "seccompProfile" field instead"#;
    let annotations = json!({pod: "runtime/default", container: "runtime/default"});
    let told = [pod, container].map(|key| format!("metadata.annotations[{key}]: {words}"));
    warned("Pod", json!({"metadata": {"annotations": annotations}}), &[&told[0], &told[1]]);
    let profile = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    warned(
        "Pod",
        json!({"metadata": {"annotations": annotations}, "spec": {"securityContext": profile}}),
        &[&told[1]],
    );
}
