//! kubectl, from creating to certificates.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::cluster::Cluster;

/// A cluster with a namespace of the tour's own, which is kubectl's default there.
fn cluster(name: &str) -> Cluster {
    let cluster = Cluster::start(name);
    cluster.kubectl(&["create", "namespace", "tour"]);
    cluster.kubectl(&["config", "set-context", "--current", "--namespace=tour"]);
    cluster
}

#[test]
fn kubectl_makes_and_shows_objects() {
    let cluster = cluster("make");
    let kubectl = |words: &[&str]| cluster.kubectl(words);

    assert_eq!(
        kubectl(&["create", "configmap", "settings", "--from-literal=a=1"]),
        "configmap/settings created\n"
    );
    let again = cluster.refused(&["create", "configmap", "settings"]);
    assert_eq!(again, "error: failed to create configmap: configmaps \"settings\" already exists\n");
    kubectl(&["create", "secret", "generic", "login", "--from-literal=password=x"]);
    kubectl(&["create", "secret", "docker-registry", "pull", "--docker-username=u", "--docker-password=p"]);
    kubectl(&["create", "serviceaccount", "worker"]);
    assert_eq!(kubectl(&["create", "token", "worker"]).split('.').count(), 3);
    kubectl(&["create", "role", "reader", "--verb=get,list", "--resource=pods,configmaps"]);
    kubectl(&["create", "rolebinding", "reads", "--role=reader", "--serviceaccount=tour:worker"]);
    kubectl(&["create", "clusterrole", "lister", "--verb=list", "--resource=nodes"]);
    kubectl(&["create", "clusterrolebinding", "lists", "--clusterrole=lister", "--user=jane"]);
    kubectl(&["create", "quota", "some", "--hard=services=10"]);
    kubectl(&["create", "poddisruptionbudget", "web", "--selector=app=web", "--min-available=1"]);
    kubectl(&["create", "priorityclass", "urgent", "--value=1000"]);
    kubectl(&["create", "service", "nodeport", "door", "--tcp=80:80"]);
    kubectl(&["create", "ingress", "site", "--rule=example.com/=door:80"]);
    kubectl(&["create", "cronjob", "nightly", "--image=gantry.local/busybox:1", "--schedule=0 3 * * *"]);
    kubectl(&["create", "job", "now", "--from=cronjob/nightly"]);
    let all = kubectl(&[
        "get",
        "configmap,secret,serviceaccount,role,rolebinding,quota,pdb,service,ingress,cronjob",
    ]);
    for name in [
        "configmap/settings",
        "secret/login",
        "serviceaccount/worker",
        "role.rbac.authorization.k8s.io/reader",
        "resourcequota/some",
        "poddisruptionbudget.policy/web",
        "service/door",
        "ingress.networking.k8s.io/site",
        "cronjob.batch/nightly",
    ] {
        assert!(all.contains(name), "{name} is not in {all}");
    }

    // One object in every form of output.
    let get = |form: &str| kubectl(&["get", "configmap", "settings", "-o", form]);
    assert_eq!(get("name"), "configmap/settings\n");
    assert_eq!(get("jsonpath={.data.a}"), "1");
    assert_eq!(get("go-template={{.data.a}}"), "1");
    assert_eq!(get("custom-columns=NAME:.metadata.name,A:.data.a"), "NAME       A\nsettings   1\n");
    assert!(get("json").contains("\"a\": \"1\"") && get("yaml").contains("  a: \"1\"\n"));
    let lines = kubectl(&["get", "configmaps", "--sort-by=.metadata.name", "--no-headers"]);
    let names: Vec<&str> = lines.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names, ["kube-root-ca.crt", "settings"]);
    assert_eq!(
        kubectl(&["get", "configmaps", "--field-selector=metadata.name=settings", "-o", "name"]),
        get("name")
    );
    let missing = cluster.refused(&["get", "configmap", "nothing"]);
    assert_eq!(missing, "Error from server (NotFound): configmaps \"nothing\" not found\n");
    let raw = kubectl(&["get", "--raw", "/api/v1/namespaces/tour/configmaps/settings"]);
    assert!(raw.starts_with("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\","), "{raw}");

    // Descriptions and documentation.
    for (kind, name, expected) in [
        ("secret", "login", "password:  1 bytes"),
        ("role", "reader", "pods        []                 []              [get list]"),
        ("quota", "some", "services    1     10"),
        ("ingress", "site", "example.com"),
        ("cronjob", "nightly", "0 3 * * *"),
        ("service", "door", "NodePort"),
        ("priorityclass", "urgent", "Value:             1000"),
    ] {
        let described = kubectl(&["describe", kind, name]);
        assert!(described.contains(expected), "{expected} is not in {described}");
    }
    for (what, expected) in [
        ("deployment.spec.strategy.rollingUpdate.maxSurge", "<IntOrString>"),
        ("pods.spec.containers.resources", "FIELDS:"),
        ("ingress.spec.rules", "<[]IngressRule>"),
        ("cronjob.spec", "schedule\t<string> -required-"),
    ] {
        let explained = kubectl(&["explain", what]);
        assert!(explained.contains("DESCRIPTION:") && explained.contains(expected), "{what}: {explained}");
    }
    assert!(kubectl(&["explain", "pod", "--recursive"]).contains("runAsNonRoot"));
    assert!(kubectl(&["api-versions"]).contains("apps/v1\n"));
    let resources = kubectl(&["api-resources", "--api-group=apps", "--namespaced=true", "-o", "wide"]);
    assert!(resources.contains("deploy") && resources.contains("deletecollection"), "{resources}");

    // Rights.
    assert_eq!(
        kubectl(&["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]),
        "kubernetes-admin"
    );
    let can = |words: &[&str]| kubectl(&[&["auth", "can-i"], words].concat());
    assert_eq!(can(&["list", "pods", "--as=system:serviceaccount:tour:worker"]), "yes\n");
    let rules = can(&["--list", "--as=system:serviceaccount:tour:worker"]);
    assert!(rules.contains("configmaps") && rules.contains("[get list]"), "{rules}");
    let refused = cluster.refused(&["get", "secrets", "--as=system:serviceaccount:tour:worker"]);
    assert_eq!(
        refused,
        "Error from server (Forbidden): secrets is forbidden: User \"system:serviceaccount:tour:worker\" \
         cannot list resource \"secrets\" in API group \"\" in the namespace \"tour\"\n"
    );
    let reconciled = cluster.kubectl_with(
        &["auth", "reconcile", "-f", "-"],
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: reader, namespace: tour}, \
         rules: [{apiGroups: [''], resources: [events], verbs: [get]}]}",
    );
    assert!(reconciled.contains("role.rbac.authorization.k8s.io/reader reconciled"), "{reconciled}");

    // A certificate, from the request to what was signed.
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "jane");
    let request = parameters.serialize_request(&key).expect("signed").pem().expect("text");
    use base64::prelude::{BASE64_STANDARD, Engine};
    let request = format!(
        "{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: jane}}, spec: \
         {{request: {}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth]}}}}",
        BASE64_STANDARD.encode(request)
    );
    cluster.kubectl_with(&["create", "-f", "-"], &request);
    assert!(kubectl(&["get", "csr", "jane"]).contains("Pending"));
    kubectl(&["certificate", "approve", "jane"]);
    kubectl(&["wait", "--for=jsonpath={.status.certificate}", "csr/jane", "--timeout=10s"]);
    assert!(kubectl(&["get", "csr", "jane"]).contains("Approved,Issued"));
}

#[test]
fn kubectl_changes_objects() {
    let cluster = cluster("change");
    let kubectl = |words: &[&str]| cluster.kubectl(words);
    let image = "--image=gantry.local/nginx:1";
    kubectl(&["create", "deployment", "web", image, "--port=80", "--replicas=2"]);
    kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    let field = |path: &str| kubectl(&["get", "deployment", "web", "-o", &format!("jsonpath={path}")]);

    // Labels and annotations.
    assert_eq!(kubectl(&["label", "deployment", "web", "tier=front"]), "deployment.apps/web labeled\n");
    let kept = cluster.refused(&["label", "deployment", "web", "tier=back"]);
    assert!(kept.contains("'tier' already has a value (front), and --overwrite is false"), "{kept}");
    kubectl(&["label", "deployment", "web", "tier-"]);
    kubectl(&["annotate", "deployment", "web", "note=first"]);
    assert_eq!(field("{.metadata.annotations.note}"), "first");

    // Every kind of patch.
    kubectl(&["patch", "deployment", "web", "-p", r#"{"spec":{"minReadySeconds":1}}"#]);
    kubectl(&["patch", "deployment", "web", "--type=merge", "-p", r#"{"metadata":{"labels":{"a":"b"}}}"#]);
    let json = r#"[{"op":"test","path":"/metadata/labels/a","value":"b"},{"op":"remove","path":"/metadata/labels/a"}]"#;
    kubectl(&["patch", "deployment", "web", "--type=json", "-p", json]);
    assert_eq!(field("{.spec.minReadySeconds}{.metadata.labels.a}"), "1");
    let bad = cluster.refused(&["patch", "deployment", "web", "-p", r#"{"spec":{"replicas":-1}}"#]);
    assert_eq!(
        bad,
        "The Deployment \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0\n"
    );
    kubectl(&[
        "patch",
        "deployment",
        "web",
        "--subresource=scale",
        "--type=merge",
        "-p",
        r#"{"spec":{"replicas":3}}"#,
    ]);

    // Setting parts.
    kubectl(&["set", "env", "deployment/web", "COLOR=blue"]);
    kubectl(&["set", "resources", "deployment/web", "--limits=memory=64Mi", "--requests=cpu=10m"]);
    kubectl(&["set", "image", "deployment/web", "nginx=gantry.local/nginx:1"]);
    kubectl(&["create", "serviceaccount", "web"]);
    kubectl(&["set", "serviceaccount", "deployment/web", "web"]);
    kubectl(&["rollout", "status", "deployment/web", "--timeout=60s"]);
    assert_eq!(field("{..resources.limits.memory} {..serviceAccountName} {.spec.replicas}"), "64Mi web 3");

    // An editor that is a script.
    let edited = cluster.terminal(
        "KUBE_EDITOR='sed -i s/minReadySeconds:.1/minReadySeconds:\\ 0/' kubectl edit deployment web",
    );
    assert!(edited.contains("deployment.apps/web edited"), "{edited}");
    assert_eq!(field("{.spec.minReadySeconds}"), "");

    // Applying: from the client, then from the server, with what was given up gone.
    let config =
        |data: &str| format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: c}}, data: {data}}}");
    let apply = |words: &[&str], data: &str| {
        cluster.kubectl_with(&[&["apply", "-f", "-"], words].concat(), &config(data))
    };
    assert_eq!(apply(&[], "{a: w, b: x}"), "configmap/c created\n");
    assert_eq!(apply(&[], "{a: w, b: x}"), "configmap/c unchanged\n");
    assert_eq!(apply(&[], "{a: z}"), "configmap/c configured\n");
    assert_eq!(kubectl(&["get", "configmap", "c", "-o", "jsonpath={.data}"]), r#"{"a":"z"}"#);
    assert!(kubectl(&["apply", "view-last-applied", "configmap", "c"]).contains("a: z"));
    assert_eq!(apply(&["--server-side"], "{a: w}"), "configmap/c serverside-applied\n");
    let other = ["apply", "-f", "-", "--server-side", "--field-manager=other"];
    let conflict = cluster.refused_with(&other, &config("{a: v}"));
    assert!(
        conflict.contains("Apply failed with 1 conflict: conflict with \"kubectl\": .data.a"),
        "{conflict}"
    );
    cluster.kubectl_with(&[&other[..], &["--force-conflicts"]].concat(), &config("{a: v}"));
    let unknown = "{apiVersion: v1, kind: ConfigMap, metadata: {name: d}, dat: {}}";
    let unknown = cluster.refused_with(&["apply", "-f", "-"], unknown);
    assert!(unknown.contains("strict decoding error: unknown field \"dat\""), "{unknown}");
    let difference = cluster.differs(&["diff", "-f", "-"], &config("{a: u}"));
    assert!(difference.contains("+  a: u"), "{difference}");
    kubectl(&["delete", "configmap", "c", "--wait=true"]);

    // A service in front, tried through the API's proxies.
    assert_eq!(
        kubectl(&["expose", "deployment", "web", "--port=8080", "--target-port=80"]),
        "service/web exposed\n"
    );
    kubectl(&["autoscale", "deployment", "web", "--min=1", "--max=5", "--cpu=80%"]);
    assert!(kubectl(&["get", "hpa", "web"]).contains("Deployment/web"));
    kubectl(&["wait", "--for=condition=Available", "deployment/web", "--timeout=30s"]);
    let page = kubectl(&["get", "--raw", "/api/v1/namespaces/tour/services/web:8080/proxy/"]);
    assert!(page.contains("nginx"), "{page}");
    let mut proxy = cluster.background(&["proxy", "--port=0"]);
    let line = proxy.line(|line| line.starts_with("Starting to serve on "));
    let address = line["Starting to serve on ".len()..].to_owned();
    let answer = cluster.within(|| {
        let mut stream = TcpStream::connect(&address).expect("connected");
        let request = format!("GET /api/v1/namespaces/tour HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    });
    assert!(answer.contains("200 OK") && answer.contains("\"name\":\"tour\""), "{answer}");
    drop(proxy);

    // Pods by hand, and what happened.
    let busybox = "--image=gantry.local/busybox:1";
    // What ends before anybody is attached leaves its words in the log alone, so these wait to be spoken to.
    let once = ["run", "once", busybox, "--restart=Never", "--rm", "-i", "--", "cat"];
    let said = cluster.kubectl_with(&once, "hello\n");
    assert!(said.contains("hello\n"), "{said}");
    kubectl(&["run", "stays", busybox, "--labels=app=stays", "--", "sleep", "1000"]);
    kubectl(&["wait", "--for=condition=Ready", "pod/stays", "--timeout=30s"]);
    let events = kubectl(&["events", "--for", "pod/stays", "--types=Normal"]);
    for reason in ["Scheduled", "Pulled", "Created", "Started"] {
        assert!(events.contains(reason), "{reason} is not in {events}");
    }
    let debug = ["debug", "stays", busybox, "-i", "--", "sh", "-c", "read go && hostname"];
    let debugged = cluster.kubectl_with(&debug, "go\n");
    assert!(debugged.contains("stays"), "{debugged}");
    kubectl(&["cp", "/etc/hostname", "stays:/tmp/copied"]);
    assert!(!kubectl(&["exec", "stays", "--", "cat", "/tmp/copied"]).is_empty());
    kubectl(&["cordon", "one"]);
    kubectl(&["taint", "nodes", "one", "a=b:NoSchedule"]);
    kubectl(&["run", "waits", busybox, "--", "sleep", "1000"]);
    kubectl(&["wait", "--for=condition=PodScheduled=false", "pod/waits", "--timeout=10s"]);
    let waits = kubectl(&["describe", "pod", "waits"]);
    assert!(waits.contains("0/1 nodes are available: 1 node(s) "), "{waits}");
    kubectl(&["taint", "nodes", "one", "a-"]);
    kubectl(&["uncordon", "one"]);
    kubectl(&["wait", "--for=condition=Ready", "pod/waits", "--timeout=30s"]);
    kubectl(&["delete", "pod", "-l", "app=stays", "--now"]);
    kubectl(&["delete", "pod", "waits", "--grace-period=1"]);
    kubectl(&["delete", "namespace", "tour", "--timeout=60s"]);
    assert_eq!(
        cluster.refused(&["get", "namespace", "tour"]),
        "Error from server (NotFound): namespaces \"tour\" not found\n"
    );
}
