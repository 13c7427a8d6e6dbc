//! What nodes reach.

use gantry_json::json;

use super::*;

fn graph() -> NodeGraph {
    let mut graph = NodeGraph::default();
    let pod = json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "web",
            "imagePullSecrets": [{"name": "pull"}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "tls"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "ca"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "d", "ephemeral": {}},
            ],
            "containers": [{"envFrom": [{"configMapRef": {"name": "env"}}]}],
        },
    });
    graph.set_pod("shop/web", Some(&pod));
    let volume = json!({"spec": {"claimRef": {"namespace": "shop", "name": "data"},
        "csi": {"nodeStageSecretRef": {"namespace": "store", "name": "key"}}}});
    graph.volumes.insert("pv1".into(), references::of_volume(&volume).unwrap());
    graph
}

fn attributes(verb: &str, target: &str, namespace: &str, name: &str, selector: &str) -> Attributes {
    let (group, resource) = target.rsplit_once(':').unwrap_or(("", target));
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        field_selector: selector.into(),
        is_resource: true,
        ..Attributes::default()
    }
}

#[test]
fn a_node_reaches_what_its_pods_refer_to() {
    let graph = graph();
    let check = |node: &str, verb: &str, target: &str, namespace: &str, name: &str, expect: bool| {
        let decision = graph.authorize(node, &attributes(verb, target, namespace, name, ""));
        assert_eq!(decision.is_allowed(), expect, "{node} {verb} {target} {namespace}/{name}: {decision:?}");
    };
    for (target, name) in [
        ("secrets", "tls"),
        ("secrets", "pull"),
        ("configmaps", "ca"),
        ("configmaps", "env"),
        ("persistentvolumeclaims", "data"),
        ("persistentvolumeclaims", "web-d"),
        ("pods", "web"),
    ] {
        check("n1", "get", target, "shop", name, true);
        check("n2", "get", target, "shop", name, false);
        check("n1", "get", target, "other", name, false);
    }
    check("n1", "get", "secrets", "store", "key", true);
    check("n1", "get", "persistentvolumes", "", "pv1", true);
    check("n2", "get", "persistentvolumes", "", "pv1", false);
    check("n1", "update", "secrets", "shop", "tls", false);
    check("n1", "list", "secrets", "shop", "", false);
    check("n1", "watch", "secrets", "shop", "tls", true);
    check("n1", "create", "serviceaccounts/token", "shop", "web", true);
    check("n1", "create", "serviceaccounts/token", "shop", "default", false);
    check("n1", "update", "coordination.k8s.io:leases", "kube-node-lease", "n1", true);
    check("n1", "update", "coordination.k8s.io:leases", "kube-node-lease", "n2", false);
    check("n1", "update", "coordination.k8s.io:leases", "kube-system", "n1", false);
    check("n1", "get", "nodes", "", "n1", true);
    check("n1", "get", "nodes", "", "n2", false);
    check("n1", "patch", "nodes/status", "", "n1", true);
    check("n1", "list", "services", "", "", true);
    check("n1", "create", "pods/eviction", "shop", "web", true);
    check("n1", "create", "certificates.k8s.io:certificatesigningrequests", "", "", true);
    check("n1", "list", "apps:deployments", "", "", false);
}

#[test]
fn lists_are_for_its_own_pods() {
    let graph = graph();
    let check = |target: &str, selector: &str, expect| {
        let decision = graph.authorize("n1", &attributes("list", target, "", "", selector));
        assert_eq!(decision.is_allowed(), expect, "{target} {selector}");
    };
    check("pods", "spec.nodeName=n1", true);
    check("pods", "status.phase!=Failed,spec.nodeName==n1", true);
    check("pods", "spec.nodeName=n2", false);
    check("pods", "spec.nodeName!=n1", false);
    check("pods", "metadata.name!=a\\,spec.nodeName=n1", false);
    check("pods", "", false);
    check("nodes", "metadata.name=n1", true);
    check("nodes", "", false);
}

#[test]
fn a_pod_that_goes_takes_its_references_along() {
    let mut graph = graph();
    graph.set_pod("shop/web", None);
    let decision = graph.authorize("n1", &attributes("get", "secrets", "shop", "tls", ""));
    assert_eq!(decision.reason(), "no relationship found between node 'n1' and this object");
}

#[test]
fn pods_are_taken_from_their_bytes() {
    let mut index = NodeIndex::default();
    let mut pod = json!({
        "metadata": {"name": "web", "namespace": "shop", "managedFields": [{"manager": "m", "fieldsV1": {}}]},
        "spec": {"nodeName": "n1", "volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
        "status": {"nominatedNodeName": "n2", "phase": "Running"},
    });
    let apply = |index: &mut NodeIndex, pod: &Value| {
        index.apply("/registry/pods/shop/web", Some(pod.to_string().as_bytes()));
        let node = index.graph.node_of("shop/web").map(str::to_owned);
        (node, index.graph.refers("n1", &Object::Secret("shop/s".into())))
    };
    assert_eq!(apply(&mut index, &pod), (Some("n1".to_owned()), true));
    pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    assert_eq!(apply(&mut index, &pod), (Some("n1".to_owned()), false), "a mirror pod opens nothing");
    pod["spec"]["nodeName"] = Value::Null;
    assert_eq!(apply(&mut index, &pod), (None, false));
}
