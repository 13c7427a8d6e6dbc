//! The real binary driven by the real kubectl 1.35, as a person at a terminal would.
//!
//! `hack/packages.sh` puts kubectl into `target/tools`, `hack/test.sh` puts that into `PATH`.

use crate::server::Server;

#[test]
fn a_person_works_with_the_control_plane() {
    let server = Server::start();
    let kubectl = |words: &[&str]| server.kubectl(words);
    let guestbook = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/guestbook/guestbook.yaml");

    assert!(kubectl(&["get", "namespaces"]).contains("kube-node-lease   Active"));
    let created = kubectl(&["apply", "-f", guestbook]);
    assert!(created.contains("deployment.apps/front created"), "{created}");
    let again = kubectl(&["apply", "-f", guestbook]);
    assert!(again.lines().all(|line| line.ends_with(" unchanged")), "{again}");
    let applied = kubectl(&["apply", "--server-side", "--force-conflicts", "-f", guestbook]);
    assert!(applied.lines().all(|line| line.ends_with(" serverside-applied")), "{applied}");
    assert_eq!(kubectl(&["diff", "-f", guestbook]), "");

    let services = kubectl(&["-n", "guestbook", "get", "services"]);
    assert!(services.contains("80:30080/TCP"), "{services}");
    let replicas = ["-n", "guestbook", "get", "deployment", "front", "-o", "jsonpath={.spec.replicas}"];
    assert_eq!(kubectl(&replicas), "2");
    kubectl(&["-n", "guestbook", "patch", "deployment", "front", "-p", r#"{"spec":{"replicas":5}}"#]);
    assert_eq!(kubectl(&replicas), "5");
    kubectl(&["-n", "guestbook", "label", "service", "front", "team=web"]);
    let labelled = kubectl(&["-n", "guestbook", "get", "service", "-l", "team=web", "-o", "name"]);
    assert_eq!(labelled, "service/front\n");
    assert!(kubectl(&["explain", "deployment.spec.strategy"]).contains("rollingUpdate"));
    let resources = kubectl(&["api-resources"]);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let deployments = ["deployments", "deploy", "apps/v1", "true", "Deployment"];
    assert!(resources.lines().any(|line| words(line) == deployments), "{resources}");
    kubectl(&["-n", "guestbook", "delete", "deployment", "front"]);
    let gone = server.refused(&["-n", "guestbook", "get", "deployment", "front"]);
    assert_eq!(gone, "Error from server (NotFound): deployments.apps \"front\" not found\n");
}

#[test]
fn mistakes_are_told_as_kubernetes_tells_them() {
    let server = Server::start();
    let strict = server.refused_input(
        &["create", "--validate=strict", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatum: {}\n",
    );
    assert!(strict.contains("unknown field \"datum\""), "{strict}");
    let invalid = server
        .refused_input(&["create", "-f", "-"], "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Upper}\n");
    assert!(
        invalid.contains("The ConfigMap \"Upper\" is invalid: metadata.name: Invalid value"),
        "{invalid}"
    );
}

#[test]
fn deletion_reaches_as_far_as_asked() {
    let server = Server::start();
    let kubectl = |words: &[&str]| server.kubectl(words);
    kubectl(&["create", "deployment", "web", "--image=i", "--replicas=2"]);
    kubectl(&["wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "--timeout=60s"]);
    kubectl(&["delete", "deployment", "web", "--cascade=orphan"]);
    let owners =
        ["get", "replicasets", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.ownerReferences}"];
    assert_eq!(kubectl(&owners), "");
    assert_eq!(kubectl(&["get", "pods", "-l", "app=web", "-o", "name"]).lines().count(), 2);
    kubectl(&["delete", "replicaset", "-l", "app=web", "--cascade=foreground"]);
    assert_eq!(kubectl(&["get", "pods", "-l", "app=web", "-o", "name"]), "", "the owner went last");

    kubectl(&["create", "job", "sum", "--image=i"]);
    kubectl(&["wait", "--for=jsonpath={.status.active}=1", "job/sum", "--timeout=60s"]);
    kubectl(&["delete", "job", "sum"]);
    kubectl(&["wait", "--for=delete", "pod", "-l", "job-name=sum", "--timeout=60s"]);

    kubectl(&["create", "namespace", "shop"]);
    kubectl(&["-n", "shop", "create", "configmap", "a"]);
    kubectl(&["delete", "namespace", "shop", "--timeout=60s"]);
    assert!(!kubectl(&["get", "namespaces", "-o", "name"]).contains("shop"));
}
