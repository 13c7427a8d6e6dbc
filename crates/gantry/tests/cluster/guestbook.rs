//! The demo application, as the tests use it.

use crate::cluster::{Cluster, NODE, workspace};

/// Applies the guestbook and waits until all of it is ready.
pub fn deploy(cluster: &Cluster) {
    let manifest = workspace().join("examples/guestbook/guestbook.yaml");
    cluster.kubectl(&["apply", "-f", manifest.to_str().expect("a path")]);
    ready(cluster);
}

/// Waits until all Deployments of the guestbook are ready.
pub fn ready(cluster: &Cluster) {
    for deployment in ["redis", "app", "front"] {
        rolled_out(cluster, deployment);
    }
}

/// Waits until a Deployment of the guestbook has rolled out.
pub fn rolled_out(cluster: &Cluster, deployment: &str) {
    let name = format!("deployment/{deployment}");
    cluster.kubectl(&["-n", "guestbook", "rollout", "status", &name, "--timeout=120s"]);
}

/// The front's address on every node.
pub fn node_port() -> String {
    format!("{NODE}:30080")
}

/// The cluster IP and port of a Service of the guestbook.
pub fn service(cluster: &Cluster, name: &str) -> String {
    let template = "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}";
    cluster.kubectl(&["-n", "guestbook", "get", "service", name, "-o", template])
}

/// Names of the pods with the label `app=LABEL`.
pub fn pods(cluster: &Cluster, app: &str) -> Vec<String> {
    let selector = format!("app={app}");
    let template = "jsonpath={.items[*].metadata.name}";
    let names = cluster.kubectl(&["-n", "guestbook", "get", "pods", "-l", &selector, "-o", template]);
    names.split_whitespace().map(str::to_owned).collect()
}
