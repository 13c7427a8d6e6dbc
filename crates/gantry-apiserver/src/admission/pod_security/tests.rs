//! Pods against the standards, and namespaces that change theirs.

use gantry_json::json;

use super::super::testing::request;
use super::*;
use crate::User;
use crate::lookup::Objects;
use configuration::Exemptions;
use policy::Version;

fn found(level: Level, minor: Option<u32>, metadata: Value, spec: Value) -> String {
    let version = minor.map_or(Version::Latest, Version::Minor);
    let pod = Pod { metadata: &metadata, spec: &spec };
    checks::details(&checks::violations(Standard { level, version }, pod))
}

/// A container with this security context.
fn container(context: Value) -> Value {
    json!({"name": "a", "securityContext": context})
}

fn spec(context: Value) -> Value {
    json!({"containers": [container(context)]})
}

#[test]
fn baseline() {
    let check = |spec: Value, expect: &str| {
        assert_eq!(found(Level::Baseline, None, Value::Null, spec.clone()), expect, "{spec}");
    };
    check(json!({"containers": [{"name": "a"}]}), "");
    check(
        json!({"hostNetwork": true, "hostPID": true, "hostIPC": true, "containers": [{"name": "a"}]}),
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    );
    check(
        json!({"containers": [container(json!({"privileged": true}))],
            "initContainers": [{"name": "i", "securityContext": {"privileged": true}}]}),
        "privileged (containers \"i\", \"a\" must not set securityContext.privileged=true)",
    );
    check(
        spec(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN", "ALL"]}})),
        "non-default capabilities (container \"a\" must not include \"ALL\", \"NET_ADMIN\" \
         in securityContext.capabilities.add)",
    );
    check(
        json!({"containers": [], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
        "hostPath volumes (volume \"v\")",
    );
    let ports = |name: &str, ports: &[u32]| {
        let ports: Vec<_> = ports.iter().map(|port| json!({"hostPort": port})).collect();
        json!({"name": name, "ports": ports})
    };
    check(json!({"containers": [ports("a", &[0, 80])]}), "hostPort (container \"a\" uses hostPort 80)");
    check(
        json!({"containers": [ports("a", &[80]), ports("b", &[8080])]}),
        "hostPort (containers \"a\", \"b\" use hostPorts 80, 8080)",
    );
    check(
        json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "x"}},
            "lifecycle": {"preStop": {"tcpSocket": {"host": "y"}}}}]}),
        "probe or lifecycle host (container \"a\" uses probe or lifecycle hosts \"x\", \"y\")",
    );
    check(
        spec(json!({"procMount": "Unmasked"})),
        "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
    );
    check(json!({"hostUsers": false, "containers": [container(json!({"procMount": "Unmasked"}))]}), "");
    check(
        json!({"securityContext": {"seLinuxOptions": {"type": "foo", "user": "u"}},
            "containers": [container(json!({"seLinuxOptions": {"role": "r"}}))]}),
        "seLinuxOptions (pod and container \"a\" set forbidden securityContext.seLinuxOptions: \
         type \"foo\"; user may not be set; role may not be set)",
    );
    check(spec(json!({"seLinuxOptions": {"type": "container_engine_t"}})), "");
    check(
        json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}, "containers": [{"name": "a"}]}),
        "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    check(
        json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem"}, {"name": "a"}, {"name": "b"}]},
            "containers": []}),
        "forbidden sysctls (a, b)",
    );
    check(
        spec(json!({"windowsOptions": {"hostProcess": true}})),
        "hostProcess (container \"a\" must not set securityContext.windowsOptions.hostProcess=true)",
    );
    check(
        spec(json!({"appArmorProfile": {"type": "Unconfined"}})),
        "forbidden AppArmor profile (container \"a\" must not set AppArmor profile type to \"Unconfined\")",
    );
    check(
        json!({"hostPID": true, "containers": [container(json!({"privileged": true, "capabilities": {"add": ["X"]}}))]}),
        "non-default capabilities (container \"a\" must not include \"X\" in securityContext.capabilities.add), \
         host namespaces (hostPID=true), \
         privileged (container \"a\" must not set securityContext.privileged=true)",
    );
}

#[test]
fn annotations_of_old() {
    let key = "container.apparmor.security.beta.kubernetes.io/a";
    let metadata = json!({"annotations": {key: "unconfined"}});
    let plain = || json!({"containers": [{"name": "a"}]});
    assert_eq!(
        found(Level::Baseline, None, metadata, plain()),
        format!(
            "forbidden AppArmor profile (annotation must not set AppArmor profile type to \"{key}=\"unconfined\"\")"
        )
    );
    let key = "seccomp.security.alpha.kubernetes.io/pod";
    let metadata = json!({"annotations": {key: "unconfined"}});
    assert_eq!(found(Level::Baseline, None, metadata.clone(), plain()), "");
    assert_eq!(
        found(Level::Baseline, Some(18), metadata, plain()),
        format!("seccompProfile (forbidden annotation {key}=\"unconfined\")")
    );
}

#[test]
fn restricted() {
    let check = |spec: Value, expect: &str| {
        assert_eq!(found(Level::Restricted, None, Value::Null, spec.clone()), expect, "{spec}");
    };
    let good = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    let but = |more: Value| {
        let mut context = good.clone();
        context.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        context
    };
    check(spec(good.clone()), "");
    check(
        json!({"containers": [{"name": "a"}, {"name": "b"}]}),
        "allowPrivilegeEscalation != false (containers \"a\", \"b\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (containers \"a\", \"b\" \
         must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or containers \
         \"a\", \"b\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or containers \"a\", \
         \"b\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
    );
    check(
        spec(but(json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "CHOWN"]}}))),
        "unrestricted capabilities (container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
    );
    check(
        spec(but(json!({"capabilities": {"add": ["CHOWN"]}}))),
        "unrestricted capabilities (container \"a\" must set securityContext.capabilities.drop=[\"ALL\"]; \
         container \"a\" must not include \"CHOWN\" in securityContext.capabilities.add)",
    );
    check(spec(but(json!({"runAsUser": 0}))), "runAsUser=0 (container \"a\" must not set runAsUser=0)");
    check(
        json!({"securityContext": {"runAsNonRoot": false}, "containers": [container(but(json!({"runAsNonRoot": false})))]}),
        "runAsNonRoot != true (pod and container \"a\" must not set securityContext.runAsNonRoot=false)",
    );
    check(
        json!({"containers": [container(good.clone())], "volumes": [{"name": "h", "hostPath": {"path": "/"}},
            {"name": "n", "nfs": {}}, {"name": "e", "emptyDir": {}}, {"name": "i", "image": {}}]}),
        "restricted volume types (volumes \"h\", \"n\", \"i\" use restricted volume types \
         \"hostPath\", \"nfs\", \"unknown\")",
    );
    check(
        spec(but(json!({"seccompProfile": {"type": "Unconfined"}}))),
        "seccompProfile (container \"a\" must not set securityContext.seccompProfile.type to \"Unconfined\")",
    );
    check(
        json!({"hostUsers": false, "containers": [container(but(json!({"procMount": "Unmasked", "runAsUser": 0})))]}),
        "procMount (container \"a\" must not set securityContext.procMount to \"Unmasked\")",
    );
    check(
        json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}, "containers": [{"name": "a"}]}),
        "",
    );
}

#[test]
fn each_release_has_its_form() {
    let bare = || json!({"containers": [{"name": "a"}]});
    let count = |minor: u32| {
        let spec = bare();
        let pod = Pod { metadata: &Value::Null, spec: &spec };
        let standard = Standard { level: Level::Restricted, version: Version::Minor(minor) };
        checks::violations(standard, pod).iter().map(|each| each.reason.clone()).collect::<Vec<_>>()
    };
    assert_eq!(count(0), ["runAsNonRoot != true"]);
    assert_eq!(count(18), ["allowPrivilegeEscalation != false", "runAsNonRoot != true"]);
    assert_eq!(count(19).len(), 3);
    assert_eq!(count(22).len(), 4);
    assert_eq!(count(99), count(35));
    let context = json!({"seLinuxOptions": {"type": "container_engine_t"}});
    assert_ne!(found(Level::Baseline, Some(30), Value::Null, spec(context)), "");
    let probe = json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"host": "x"}}}]});
    assert_eq!(found(Level::Baseline, Some(33), Value::Null, probe), "");
    let sysctl = |name: &str| json!({"securityContext": {"sysctls": [{"name": name}]}, "containers": []});
    for (name, since) in [
        ("net.ipv4.ip_local_reserved_ports", 27),
        ("net.ipv4.tcp_fin_timeout", 29),
        ("net.ipv4.tcp_wmem", 32),
    ] {
        assert_eq!(found(Level::Baseline, Some(since), Value::Null, sysctl(name)), "");
        assert_ne!(found(Level::Baseline, Some(since - 1), Value::Null, sysctl(name)), "");
    }
}

fn namespace(labels: Value) -> Value {
    json!({"metadata": {"name": "shop", "labels": labels}})
}

fn label(mode: &str) -> String {
    format!("pod-security.kubernetes.io/{mode}")
}

fn run(request: &Request<'_>, objects: &Objects) -> (Result<(), String>, Verdict) {
    assert!(concerns(request));
    let verdict = Configuration::default().decide(request, objects);
    (verdict.refusal.clone().map_or(Ok(()), |refusal| Err(refusal.message)), verdict)
}

#[test]
fn pods_are_refused_and_workloads_warned_of() {
    let user = User::new("ada", []);
    let labels = json!({label("enforce"): "baseline", label("warn"): "baseline", label("audit"): "baseline"});
    let objects = Objects(vec![("namespaces", namespace(labels))]);
    let template = json!({"metadata": {}, "spec": spec(json!({"privileged": true}))});
    let why = "PodSecurity \"baseline:latest\": privileged (container \"a\" must not set \
               securityContext.privileged=true)";

    let mut pod = template.clone();
    pod["metadata"] = json!({"name": "web", "namespace": "shop"});
    let (result, verdict) = run(&request(Operation::Create, "pods", &user, pod.clone(), None), &objects);
    assert_eq!(result, Err(format!("pods \"web\" is forbidden: violates {why}")));
    assert!(verdict.warnings.is_empty());
    assert_eq!(verdict.annotations["enforce-policy"], "baseline:latest");
    assert_eq!(verdict.annotations["audit-violations"], format!("would violate {why}"));

    let set = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"template": template}});
    let (result, verdict) = run(&request(Operation::Create, "apps:deployments", &user, set, None), &objects);
    assert_eq!((result, verdict.warnings), (Ok(()), vec![format!("would violate {why}")]));
    assert!(!verdict.annotations.contains_key("enforce-policy"));

    // What is there may be changed, except in what is checked.
    let mut labelled = pod.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let update = request(Operation::Update, "pods", &user, labelled, Some(&pod));
    assert_eq!(run(&update, &objects).0, Ok(()));
    let mut other = pod.clone();
    other["spec"]["containers"][0]["image"] = json!("x");
    let update = request(Operation::Update, "pods", &user, other, Some(&pod));
    assert!(run(&update, &objects).0.is_err());
    let mut debugged = pod.clone();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "d"}]);
    let update = request(Operation::Update, "pods/ephemeralcontainers", &user, debugged, Some(&pod));
    assert!(run(&update, &objects).0.is_err());
    assert!(!concerns(&request(Operation::Update, "pods/status", &user, pod.clone(), Some(&pod))));
    assert!(!concerns(&request(Operation::Update, "apps:deployments/scale", &user, pod.clone(), Some(&pod))));
}

#[test]
fn who_is_exempt_is_not_checked() {
    let user = User::new("ada", []);
    let objects = Objects(vec![("namespaces", namespace(json!({label("enforce"): "restricted"})))]);
    let mut pod = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec(json!({}))});
    pod["spec"]["runtimeClassName"] = json!("vm");
    let check = |exemptions: Exemptions, expect: Option<&str>| {
        let plugin = Configuration { exemptions, ..Configuration::default() };
        let verdict = plugin.decide(&request(Operation::Create, "pods", &user, pod.clone(), None), &objects);
        assert_eq!(verdict.annotations.get("exempt").map(String::as_str), expect);
        assert_eq!(verdict.refusal.is_none(), expect.is_some());
    };
    let names = |name: &str| vec![name.to_owned()];
    check(Exemptions::default(), None);
    check(Exemptions { usernames: names("ada"), ..Exemptions::default() }, Some("user"));
    check(Exemptions { namespaces: names("shop"), ..Exemptions::default() }, Some("namespace"));
    check(Exemptions { runtime_classes: names("vm"), ..Exemptions::default() }, Some("runtimeClass"));
}

#[test]
fn a_namespace_that_becomes_stricter() {
    let user = User::new("ada", []);
    let pod = |name: &str, owner: &str, context: Value| {
        let owners = json!([{"uid": owner, "controller": true}]);
        let metadata = json!({"name": name, "namespace": "shop", "ownerReferences": owners});
        ("pods", json!({"metadata": metadata, "spec": spec(context)}))
    };
    let objects = Objects(vec![
        pod("web-2", "u", json!({"privileged": true})),
        pod("web-1", "u", json!({"privileged": true})),
        pod("db", "v", json!({"procMount": "Unmasked"})),
        pod("fine", "w", json!({})),
    ]);
    let check = |before: Value, after: Value, expect: Result<&[&str], &str>| {
        let (old, new) = (namespace(before), namespace(after));
        let (result, verdict) =
            run(&request(Operation::Update, "namespaces", &user, new.clone(), Some(&old)), &objects);
        match expect {
            Ok(warnings) => assert_eq!(
                (result, &verdict.warnings[..]),
                (Ok(()), &warnings.iter().map(|each| each.to_string()).collect::<Vec<_>>()[..]),
                "{new}"
            ),
            Err(why) => assert_eq!(result, Err(why.to_owned())),
        }
    };
    let baseline = || json!({label("enforce"): "baseline"});
    check(
        json!({}),
        baseline(),
        Ok(&[
            "existing pods in namespace \"shop\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "db: procMount",
            "web-1 (and 1 other pod): privileged",
        ]),
    );
    check(json!({label("enforce"): "restricted"}), baseline(), Ok(&[]));
    check(baseline(), baseline(), Ok(&[]));
    check(json!({}), json!({label("warn"): "restricted"}), Ok(&[]));
    let wrong = "Namespace \"shop\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: \
                 Invalid value: \"x\": must be one of privileged, baseline, restricted";
    check(json!({}), json!({label("enforce"): "x"}), Err(wrong));
    check(json!({label("enforce"): "x"}), json!({label("enforce"): "x", "a": "b"}), Ok(&[]));
    let create =
        request(Operation::Create, "namespaces", &user, namespace(json!({label("enforce"): "x"})), None);
    assert_eq!(run(&create, &objects).0, Err(wrong.to_owned()));
}
