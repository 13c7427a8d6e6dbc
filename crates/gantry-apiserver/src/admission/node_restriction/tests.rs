//! What nodes may and may not write.

use gantry_json::json;

use super::super::testing::request;
use super::*;
use crate::User;
use crate::lookup::Objects;

fn pod_on(node: &str) -> Value {
    json!({"metadata": {"namespace": "shop", "name": "web", "uid": "u1"}, "spec": {"nodeName": node}})
}

fn judged(request: &Request<'_>, objects: &Objects) -> Result<(), String> {
    let question = judge(request, objects).map_err(|error| error.message)?;
    question.map_or(Ok(()), |question| Err(question.otherwise.message))
}

fn run(operation: Operation, target: &str, object: Value, old: Option<&Value>) -> Result<(), String> {
    let user = User::new("system:node:n1", ["system:nodes"]);
    let mut pod = pod_on("n1");
    pod["spec"]["volumes"] =
        json!([{"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]);
    let objects = Objects(vec![("pods", pod)]);
    judged(&request(operation, target, &user, object, old), &objects)
}

#[test]
fn pods() {
    let check = |operation, target: &str, object: Value, old: Option<Value>, expect: Result<(), &str>| {
        let got = run(operation, target, object, old.as_ref());
        let expect = expect.map_err(|why| format!("pods \"web\" is forbidden: {why}"));
        assert_eq!(got, expect);
    };
    let other = "node \"n1\" can only delete pods with spec.nodeName set to itself";
    check(Operation::Delete, "pods", Value::Null, Some(pod_on("n1")), Ok(()));
    check(Operation::Delete, "pods", Value::Null, Some(pod_on("n2")), Err(other));
    let mut mirror = pod_on("n1");
    let plain = "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods";
    check(Operation::Create, "pods", mirror.clone(), None, Err(plain));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    check(Operation::Create, "pods", mirror.clone(), None, Ok(()));
    mirror["spec"]["volumes"] = json!([{"secret": {"secretName": "a"}}]);
    let secrets = "node \"n1\" can not create pods that reference secrets";
    check(Operation::Create, "pods", mirror, None, Err(secrets));
    let status = "node \"n1\" can only update pod status for pods with spec.nodeName set to itself";
    check(Operation::Update, "pods/status", pod_on("n1"), Some(pod_on("n1")), Ok(()));
    check(Operation::Update, "pods/status", pod_on("n2"), Some(pod_on("n2")), Err(status));
    let mut labelled = pod_on("n1");
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let labels = "node \"n1\" cannot update labels through pod status";
    check(Operation::Update, "pods/status", labelled, Some(pod_on("n1")), Err(labels));
    check(Operation::Create, "pods/eviction", pod_on("n1"), None, Ok(()));
}

#[test]
fn its_own_node_without_more_rights() {
    let node = |name: &str, label: &str, taints: Value| json!({"metadata": {"name": name, "labels": {label: "x"}}, "spec": {"taints": taints}});
    let plain = || node("n1", "kubernetes.io/hostname", Value::Null);
    let check = |operation, object: Value, old: Option<Value>, expect: Result<(), &str>| {
        let got = run(operation, "nodes", object, old.as_ref());
        assert_eq!(got, expect.map_err(str::to_owned));
    };
    check(Operation::Create, plain(), None, Ok(()));
    let foreign = "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"";
    check(Operation::Create, node("n2", "a", Value::Null), None, Err(foreign));
    let role = "node-role.kubernetes.io/control-plane";
    let refused = format!("nodes \"n1\" is forbidden: is not allowed to set the following labels: {role}");
    check(Operation::Create, node("n1", role, Value::Null), None, Err(&refused));
    let taints = json!([{"key": "a", "effect": "NoSchedule"}]);
    let refused = "nodes \"n1\" is forbidden: node \"n1\" is not allowed to modify taints";
    let tainted = node("n1", "kubernetes.io/hostname", taints);
    check(Operation::Update, plain(), Some(tainted.clone()), Err(refused));
    check(Operation::Update, tainted.clone(), Some(tainted), Ok(()));
    check(Operation::Update, node("n1", "mine", Value::Null), Some(node("n1", "other", Value::Null)), Ok(()));
}

#[test]
fn labels_it_may_set() {
    let check = |key: &str, expect| assert_eq!(is_restricted(key), expect, "{key}");
    check("mine", false);
    check("example.com/mine", false);
    check("kubernetes.io/os", false);
    check("node.kubernetes.io/anything", false);
    check("kubernetes.io/anything", true);
    check("node-restriction.kubernetes.io/a", true);
    check("x.k8s.io/a", true);
}

#[test]
fn tokens_and_leases() {
    let check = |target: &str, object: Value, expect: bool| {
        let got = run(Operation::Create, target, object, None);
        assert_eq!(got.is_ok(), expect, "{got:?}");
    };
    let token = |bound: Value| json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"boundObjectRef": bound}});
    check("serviceaccounts/token", token(Value::Null), false);
    check("serviceaccounts/token", token(json!({"kind": "Pod", "name": "web"})), false);
    check("serviceaccounts/token", token(json!({"kind": "Pod", "name": "web", "uid": "u1"})), true);
    check("serviceaccounts/token", token(json!({"kind": "Pod", "name": "web", "uid": "u2"})), false);
    let lease = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
    check("coordination.k8s.io:leases", lease("kube-node-lease", "n1"), true);
    check("coordination.k8s.io:leases", lease("kube-node-lease", "n2"), false);
    check("coordination.k8s.io:leases", lease("shop", "n1"), false);
    check("configmaps", lease("shop", "n1"), true);
}

#[test]
fn tokens_are_for_audiences_that_the_pod_names() {
    let check = |audiences: Value, expect: Result<(), &str>| {
        let mut pod = pod_on("n1");
        pod["spec"]["volumes"] = json!([
            {"name": "a", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}}, {"serviceAccountToken": {"audience": "vault"}}]}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "data"}}]);
        let named = |name: &str, rest: Value| json!({"metadata": {"name": name}, "spec": rest});
        let mut claim = named("data", json!({"volumeName": "pv"}));
        claim["metadata"]["namespace"] = json!("shop");
        let objects = Objects(vec![
            ("pods", pod),
            ("persistentvolumeclaims", claim),
            ("persistentvolumes", named("pv", json!({"csi": {"driver": "d"}}))),
            ("csidrivers", named("d", json!({"tokenRequests": [{"audience": "storage"}]}))),
        ]);
        let user = User::new("system:node:n1", ["system:nodes"]);
        let token = json!({
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"audiences": audiences, "boundObjectRef": {"kind": "Pod", "name": "web", "uid": "u1"}}});
        let request = request(Operation::Create, "serviceaccounts/token", &user, token, None);
        let got = judged(&request, &objects);
        let expect = expect.map_err(|why| format!("serviceaccounts \"web\" is forbidden: {why}"));
        assert_eq!(got, expect, "{audiences}");
    };
    check(Value::Null, Ok(()));
    check(json!(["vault"]), Ok(()));
    check(json!(["storage"]), Ok(()));
    check(json!(["vault", "storage"]), Err("node may only request 0 or 1 audiences"));
    check(
        json!(["other"]),
        Err(
            "audience \"other\" not found in pod spec volume, system:node:n1 is not authorized to request tokens \
             for this audience",
        ),
    );
}

#[test]
fn its_own_slices_and_certificates() {
    let slice = |node: &str| json!({"metadata": {"name": "s"}, "spec": {"nodeName": node}});
    let target = "resource.k8s.io:resourceslices";
    assert_eq!(run(Operation::Create, target, slice("n1"), None), Ok(()));
    for (operation, verb) in [(Operation::Create, "create"), (Operation::Delete, "delete")] {
        let expect = format!(
            "resourceslices.resource.k8s.io \"s\" is forbidden: can only {verb} ResourceSlice with the same NodeName \
             as the requesting node"
        );
        assert_eq!(run(operation, target, slice("n2"), Some(&slice("n2"))), Err(expect));
    }
    let request = |name: &str| {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let pem = params.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let spec = json!({"signerName": "kubernetes.io/kubelet-serving", "request": STANDARD.encode(pem)});
        json!({"metadata": {"name": "c"}, "spec": spec})
    };
    let target = "certificates.k8s.io:certificatesigningrequests";
    assert_eq!(run(Operation::Create, target, request("system:node:n1"), None), Ok(()));
    let expect = "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: can only create a node CSR with \
                  CN=system:node:n1";
    assert_eq!(run(Operation::Create, target, request("system:node:n2"), None), Err(expect.to_owned()));
}
