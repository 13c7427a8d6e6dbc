//! helm, through the life of a release whose chart has custom resources, hooks and a test.

use super::baggage;
use crate::cluster::Cluster;

#[test]
fn helm_keeps_a_release() {
    let cluster = Cluster::start("helm");
    let chart = baggage().join("chart");
    let chart = chart.to_str().expect("a path");
    let helm = |words: &[&str]| cluster.helm(&[words, &["-n", "shop"]].concat());
    let get = |what: &str, path: &str| {
        cluster.kubectl(&["-n", "shop", "get", what, "-o", &format!("jsonpath={path}")])
    };

    let wait = ["--wait", "--timeout", "60s"];
    let installed = helm(&[&["install", "first", chart, "--create-namespace"], &wait[..]].concat());
    assert!(installed.contains("STATUS: deployed"), "{installed}");
    assert!(installed.contains("The shop answers at first-shop.shop:80."), "{installed}");
    assert_eq!(get("deployment/first-shop", "{.status.readyReplicas}"), "1");
    assert_eq!(get("offers.shop.example.com/first-shop", "{.spec.price} {.spec.currency}"), "5 EUR");
    assert_eq!(get("jobs", "{.items}"), "[]", "the hook's job is deleted when it has succeeded");
    let tested = helm(&["test", "first", "--timeout", "60s", "--logs"]);
    assert!(tested.contains("Phase:          Succeeded") && tested.contains("nginx"), "{tested}");

    let changes =
        ["--set", "greeting=hello", "--set", "replicaCount=2", "--set", "autoscaling.enabled=false"];
    helm(&[&["upgrade", "first", chart], &wait[..], &changes[..]].concat());
    assert_eq!(get("configmap/first-shop", "{.data.greeting}"), "hello");
    assert_eq!(get("deployment/first-shop", "{.status.readyReplicas}"), "2");
    assert_eq!(get("of", "{.items[*].spec.price}"), "5 7");
    let broken =
        ["upgrade", "first", chart, "--set", "greeting=broken", "--timeout", "60s", "--rollback-on-failure"];
    let refused = cluster.helm_refused(&[&broken[..], &["-n", "shop"]].concat());
    assert!(refused.contains("pre-upgrade hooks failed"), "{refused}");
    let invalid = ["upgrade", "first", chart, "--set", "price=-1", "-n", "shop"];
    let refused = cluster.helm_refused(&invalid);
    assert!(refused.contains("spec.price in body should be greater than or equal to 1"), "{refused}");

    helm(&[&["rollback", "first", "1"], &wait[..]].concat());
    assert_eq!(get("configmap/first-shop", "{.data.greeting}"), "welcome");
    let history = helm(&["history", "first"]);
    assert!(history.contains("Rollback to 1") && history.contains("superseded"), "{history}");
    assert!(helm(&["list"]).contains("shop-0.1.0"));
    assert!(helm(&["get", "manifest", "first"]).contains("kind: Deployment"));
    assert!(helm(&["status", "first"]).contains("STATUS: deployed"));

    helm(&[&["uninstall", "first"], &wait[..]].concat());
    let left = cluster.kubectl(&["-n", "shop", "get", "deployment,service,configmap,offers", "-o", "name"]);
    assert_eq!(left, "configmap/kube-root-ca.crt\n");
    assert!(cluster.kubectl(&["get", "crd", "-o", "name"]).contains("offers.shop.example.com"));
}
