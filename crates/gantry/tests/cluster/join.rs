//! A second machine joins the cluster.

use gantry_json::json;

use crate::cluster::{Cluster, NODE};

/// A pod of the busybox image on `node`.
fn pod(name: &str, node: &str, command: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "c", "image": "gantry.local/busybox:1", "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", command],
            }],
        },
    })
    .to_string()
}

#[test]
fn pods_of_two_nodes_reach_each_other_and_the_api_reaches_both() {
    let cluster = Cluster::start("join");
    let mut second = cluster.join();
    second.import("busybox");
    cluster.kubectl(&["wait", "--for=condition=Ready", "node/two", "--timeout=60s"]);
    let signers = cluster.kubectl(&["get", "csr", "-o", "jsonpath={.items[*].spec.signerName}"]);
    let mut signers: Vec<_> = signers.split(' ').collect();
    signers.sort_unstable();
    assert_eq!(signers, ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"]);

    let serve = "mkdir /w && echo from $(hostname) >/w/index.html && echo serving && exec httpd -f -h /w";
    cluster.kubectl_with(&["create", "-f", "-"], &pod("web", "two", serve));
    cluster.kubectl_with(&["create", "-f", "-"], &pod("back", "one", serve));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s"]);
    cluster.kubectl(&["expose", "pod", "web", "--port=80"]);
    cluster.kubectl(&["expose", "pod", "back", "--port=80"]);
    let address = cluster.kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]);
    let fetch = |from: &str, url: &str| {
        cluster.kubectl(&["exec", from, "--", "wget", "-q", "-O", "-", &format!("http://{url}/")])
    };
    assert_eq!(fetch("back", &address), "from web\n");
    assert_eq!(fetch("back", "web.default.svc.cluster.local"), "from web\n");
    assert_eq!(fetch("web", "back.default.svc.cluster.local"), "from back\n");
    assert_eq!(cluster.kubectl(&["logs", "web"]), "serving\n");
    assert_eq!(cluster.kubectl(&["exec", "web", "--", "hostname"]), "web\n");

    second.crash();
    assert_eq!(fetch("back", &address), "from web\n");
    second.up_with(&["agent", "--server", &format!("https://{NODE}:6443")]);
    assert_eq!(cluster.kubectl_with(&["exec", "-i", "web", "--", "cat"], "again\n"), "again\n");
    assert_eq!(cluster.kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]), address);
    assert_eq!(cluster.kubectl(&["get", "csr", "-o", "name"]).lines().count(), 2);

    second.gantry(&["reset", "--yes"]);
    assert_eq!(second.traces(), Vec::<String>::new());
}

#[test]
fn certificates_are_renewed_without_a_restart() {
    let cluster = Cluster::start_with("renew", &["--certificate-lifetime", "12s"]);
    let second = cluster.join();
    second.import("busybox");
    cluster.kubectl_with(&["create", "-f", "-"], &pod("web", "two", "echo serving; exec sleep 1000"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]);
    // A connection proves its identity when a request begins: this one outlasts its certificate.
    let mut requests = cluster.background(&["get", "csr", "--watch", "--no-headers"]);
    let mut issued = std::collections::HashSet::new();
    while issued.len() < 7 {
        let line = requests.line(|line| line.contains("Issued"));
        issued.insert(line.split(' ').next().unwrap_or_default().to_owned());
    }
    assert_eq!(cluster.kubectl(&["logs", "web"]), "serving\n");
    assert_eq!(cluster.kubectl(&["exec", "web", "--", "hostname"]), "web\n");
    cluster.kubectl(&["label", "pod/web", "seen=yes"]);
    cluster.kubectl(&["delete", "pod/web", "--timeout=60s"]);
}
