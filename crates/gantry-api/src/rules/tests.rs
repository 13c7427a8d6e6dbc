//! Defaults and validation of the built-in kinds, as tables.

mod access;
mod autoscaling;
mod coordination;
mod definitions;
mod devices;
mod endpoints;
mod every_kind;
mod extensions;
mod fixtures;
mod flow_control;
mod limits;
mod networking;
mod pod_specs;
mod pods;
mod services;
mod storage;
mod volumes;
mod workloads;

use gantry_json::{Value, json};
use proptest::prelude::*;

use crate::registry::{Kind, Registry};

fn kind(name: &str) -> &'static Kind {
    let found = Registry::builtin().iter().find(|kind| kind.kind == name);
    found.unwrap_or_else(|| panic!("{name} is not served"))
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": spec});
    kind("Pod").default(&mut pod);
    pod
}

fn deployment(extra: Value) -> Value {
    let mut object = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    crate::patch::merge(&mut object, &extra);
    kind("Deployment").default(&mut object);
    object
}

fn check(name: &str, object: &Value, expected: &[&str]) {
    let errors: Vec<_> = kind(name).validate(object).iter().map(ToString::to_string).collect();
    assert_eq!(errors, expected);
}

#[test]
fn pod_defaults() {
    let pod = pod(json!({"containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"httpGet": {"port": 80}}}],
        "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}], "serviceAccountName": "sa"}));
    assert_eq!(
        pod["spec"],
        json!({"containers": [{"name": "c", "image": "nginx", "imagePullPolicy": "Always",
            "ports": [{"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}, "timeoutSeconds": 1,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}}],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}}],
            "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "schedulerName": "default-scheduler", "securityContext": {}, "enableServiceLinks": true,
            "serviceAccount": "sa", "serviceAccountName": "sa"})
    );
}

#[test]
fn pod_errors() {
    check("Pod", &pod(json!({})), &["spec.containers: Required value"]);
    let bad = pod(json!({"containers": [
        {"name": "A", "image": ""}, {"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}],
         "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}, "ports": [{"containerPort": 70000}]},
        {"name": "c", "image": "i"}], "restartPolicy": "Sometimes"}));
    check(
        "Pod",
        &bad,
        &[
            "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
            "spec.containers[0].image: Required value",
            "spec.containers[1].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.containers[1].volumeMounts[0].name: Not found: \"v\"",
            "spec.containers[1].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
            "spec.containers[2].name: Duplicate value: \"c\"",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"",
        ],
    );
}

#[test]
fn pod_updates_change_images_only() {
    let old = pod(json!({"containers": [{"name": "c", "image": "i:1"}]}));
    let rules = kind("Pod");
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = "i:2".into();
    assert_eq!(rules.validate_update(&new, &old), []);
    new["spec"]["containers"][0]["command"] = json!(["x"]);
    let errors = rules.validate_update(&new, &old);
    let text = errors[0].to_string();
    assert!(text.starts_with("spec: Forbidden: pod updates may not change fields other than"), "{text}");
    assert!(text.contains("\n+   \"Command\": [\n+    \"x\"\n+   ],\n"), "{text}");
}

#[test]
fn deployment_defaults_and_errors() {
    let object = deployment(json!({}));
    let spec = &object["spec"];
    assert_eq!((&spec["replicas"], &spec["revisionHistoryLimit"]), (&json!(1), &json!(10)));
    assert_eq!(
        spec["strategy"],
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
    );
    check("Deployment", &object, &[]);
    check(
        "Deployment",
        &deployment(json!({"spec": {"replicas": -1, "selector": {"matchLabels": {"a": "x"}}}})),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
        ],
    );
    let zero = json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}});
    check(
        "Deployment",
        &deployment(zero),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    );
    let changed = deployment(json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}}));
    let errors = kind("Deployment").validate_update(&changed, &object);
    assert_eq!(
        errors[0].to_string(),
        "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"c\"}}: field is immutable"
    );
}

#[test]
fn secrets_keep_texts_as_bytes() {
    let mut secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "hello"}});
    kind("Secret").default(&mut secret);
    assert_eq!(secret, json!({"metadata": {"name": "s"}, "type": "Opaque", "data": {"a": "aGVsbG8="}}));
    let mut changed = secret.clone();
    changed["type"] = "x".into();
    let errors = kind("Secret").validate_update(&changed, &secret);
    assert_eq!(errors[0].to_string(), "type: Invalid value: \"x\": field is immutable");
}

#[test]
fn names_follow_their_kind() {
    let errors = |kind_name: &str, name: &str| {
        let object = json!({"metadata": {"name": name}});
        super::metadata::validate(kind(kind_name), &object).len()
    };
    for (kind_name, name, expected) in [
        ("ConfigMap", "a.b-c", 0),
        ("ConfigMap", "Upper", 1),
        ("Namespace", "a.b", 1),
        ("Event", "system:Node.17", 0),
        ("Event", "a/b", 1),
        ("Service", "1a", 1),
        ("Service", "a1", 0),
        ("ClusterRole", "system:Node", 0),
        ("ClusterRole", "a/b", 1),
    ] {
        assert_eq!(errors(kind_name, name), expected, "{kind_name} {name}");
    }
    assert_eq!(errors("ConfigMap", &"a".repeat(254)), 1);
    let labelled = json!({"metadata": {"name": "a", "labels": {"k": "-"}, "annotations": {"x/y": "z"}}});
    let errors = super::metadata::validate(kind("Pod"), &labelled);
    assert!(
        errors[0].to_string().starts_with("metadata.labels: Invalid value: \"-\": a valid label must be")
    );
}

#[test]
fn service_ports() {
    let mut service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}, {"port": 80}]}});
    kind("Service").default(&mut service);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 80);
    check(
        "Service",
        &service,
        &[
            "spec.ports[0].name: Required value",
            "spec.ports[1].name: Required value",
            "spec.ports[1]: Duplicate value: {\"port\":80,\"protocol\":\"TCP\"}",
        ],
    );
}

proptest! {
    #[test]
    fn defaulting_twice_is_defaulting_once(
        image in "[a-z]{1,5}(:[a-z0-9]{1,4})?", host in any::<bool>(), port in 1..70000, volume in any::<bool>(),
    ) {
        let spec = json!({"hostNetwork": host, "containers": [{"name": "c", "image": image,
            "ports": [{"containerPort": port}]}], "volumes": if volume { json!([{"name": "v"}]) } else { json!([]) }});
        let once = pod(spec.clone());
        let mut twice = once.clone();
        kind("Pod").default(&mut twice);
        prop_assert_eq!(once, twice);
        let mut once = deployment(json!({"spec": {"template": {"spec": spec}}}));
        let copy = once.clone();
        kind("Deployment").default(&mut once);
        prop_assert_eq!(once, copy);
    }
}

/// A request for `CN=system:node:n1, O=system:nodes`, signed with a P-256 key.
const NODE_REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIcU1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVRBTFFrSmRJYWZRTzFMCklnbW1QZGpjdjdxM1hCSHVYOWwyWHp2NVA1TzBLenNZRHMrS0M1Z0JQRmdkUEgzbEkyUU9ieW93NDBnSnlTQXoKT2tVTkpiZFRvQUF3Q2dZSUtvWkl6ajBFQXdJRFJ3QXdSQUlnQXdYcHpkOXNnUFdhOE1Cckk0OWZRanBmbjlaRAppbldiMkZHTG42M240YThDSUY4SDNvY29Ncm9VVWZJaGxBcXMxQkRvRVJOa29mQUJNNlZDSFE0amJzRFcKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

fn signing_request(extra: Value) -> Value {
    let mut object = json!({"metadata": {"name": "r"}, "spec": {"request": NODE_REQUEST,
        "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}});
    crate::patch::merge(&mut object, &extra);
    kind("CertificateSigningRequest").prepare_create(&mut object);
    object
}

#[test]
fn certificate_signing_request_errors() {
    let check = |spec: Value, expected: &[&str]| {
        check("CertificateSigningRequest", &signing_request(json!({"spec": spec})), expected)
    };
    check(json!({"expirationSeconds": 600}), &[]);
    check(
        json!({"expirationSeconds": 599}),
        &[
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
        ],
    );
    check(json!({"usages": []}), &["spec.usages: Required value"]);
    check(json!({"usages": ["signing", "signing"]}), &["spec.usages[1]: Duplicate value: \"signing\""]);
    check(
        json!({"request": "eA=="}),
        &["spec.request: Invalid value: \"eA==\": PEM block type must be CERTIFICATE REQUEST"],
    );
    check(json!({"signerName": ""}), &["spec.signerName: Required value"]);
    check(
        json!({"signerName": "kubernetes.io/legacy-unknown"}),
        &[
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
        ],
    );
    check(
        json!({"signerName": "plain"}),
        &[
            "spec.signerName: Invalid value: \"plain\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ],
    );
    check(
        json!({"signerName": format!("a..b/{}.c", "x".repeat(254))}),
        &[
            &format!(
                "spec.signerName: Invalid value: \"a..b\": validating label \"\": {}",
                super::common::DNS_LABEL
            ),
            &format!(
                "spec.signerName: Invalid value: \"{0}.c\": validating label \"{0}\": must be no more than 253 bytes",
                "x".repeat(254)
            ),
        ],
    );
    check(
        json!({"signerName": "local/x"}),
        &[
            "spec.signerName: Invalid value: \"local\": should be a domain with at least two segments separated by dots",
        ],
    );
}

#[test]
fn certificate_signing_requests_change_by_subresources_only() {
    let rules = kind("CertificateSigningRequest");
    let old = signing_request(json!({}));
    let mut new = old.clone();
    new["spec"]["usages"] = json!(["any"]);
    new["status"]["certificate"] = json!("eA==");
    rules.prepare_update(&mut new, &old);
    assert_eq!(new, old);
    let with = |conditions: Value| {
        let mut object = old.clone();
        object["status"]["conditions"] = conditions;
        object
    };
    let check = |new: Value, old: &Value, subresource: &str, expected: &[&str]| {
        let errors: Vec<_> = rules
            .validate_status(&new, old, subresource, &mut Vec::new())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors, expected);
    };
    let approved = with(json!([{"type": "Approved", "status": "True"}]));
    check(approved.clone(), &old, "approval", &[]);
    let added = "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"";
    check(approved.clone(), &old, "status", &[added]);
    let removed = "status.conditions: Forbidden: updates may not remove a condition of type \"Approved\"";
    check(old.clone(), &approved, "approval", &[removed]);
    check(old.clone(), &approved, "status", &[removed]);
    // What was decided stays as it is where the rest of the status is changed.
    let mut reworded = with(
        json!([{"type": "Approved", "status": "False", "reason": "r"}, {"type": "Failed", "status": "True"}]),
    );
    rules.prepare_status(&mut reworded, &approved, "status");
    assert_eq!(
        reworded["status"]["conditions"],
        json!([{"type": "Approved", "status": "True"}, {"type": "Failed", "status": "True"}])
    );
    check(reworded, &approved, "status", &[]);
    check(
        with(
            json!([{"type": "", "status": ""}, {"type": "a", "status": "Maybe"}, {"type": "a", "status": "False"}]),
        ),
        &old,
        "status",
        &[
            "status.conditions[0].type: Required value",
            "status.conditions[0].status: Required value",
            "status.conditions[1].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
            "status.conditions[2].type: Duplicate value: \"a\"",
        ],
    );
    check(
        with(json!([{"type": "Approved", "status": "False"}])),
        &approved,
        "approval",
        &["status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\""],
    );
    check(
        with(json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}])),
        &approved,
        "approval",
        &[
            "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
        ],
    );
    let mut issued = approved.clone();
    issued["status"]["certificate"] = json!("eA==");
    let malformed = |why: &str| format!("status.certificate: Invalid value: \"<certificate data>\": {why}");
    check(
        issued.clone(),
        &approved,
        "status",
        &[&malformed("must contain at least one CERTIFICATE PEM block")],
    );
    let mut request = approved.clone();
    request["status"]["certificate"] = NODE_REQUEST.into();
    check(
        request,
        &approved,
        "status",
        &[&malformed("only CERTIFICATE PEM blocks are allowed, found \"CERTIFICATE REQUEST\"")],
    );
    let changed = "status.certificate: Forbidden: updates may not modify existing certificate content";
    check(approved.clone(), &issued, "status", &[changed]);
}
