//! A person operates the guestbook with kubectl, from its first request to its end.

use crate::cluster::{Cluster, workspace};
use crate::guestbook::{deploy, node_port, pods, ready, rolled_out, service};
use crate::load::{Load, get, post};

#[test]
fn a_person_operates_the_guestbook() {
    let cluster = Cluster::start("ops");
    let kubectl = |words: &[&str]| cluster.kubectl(words);
    let guestbook = |words: &[&str]| cluster.kubectl(&[&["-n", "guestbook"], words].concat());
    deploy(&cluster);

    // It works: what is written through one Service is read through another.
    let entry = r#"{"name": "Ada", "message": "hello"}"#;
    let (status, _) = cluster.within(|| post(&node_port(), "/entries", entry)).expect("answered");
    assert!(status.contains(" 201 "), "{status}");
    let front = service(&cluster, "front");
    let (_, page) = cluster.within(|| get(&front, "/")).expect("answered");
    assert!(page.contains("<b>Ada</b>: hello"), "{page}");

    // Looking.
    guestbook(&["wait", "--for=condition=Available", "deployment", "--all", "--timeout=10s"]);
    let all = kubectl(&["get", "pods", "-A", "-o", "wide"]);
    assert_eq!(all.lines().filter(|line| line.contains("1/1     Running   0")).count(), 5, "{all}");
    let pod = pods(&cluster, "guestbook").remove(0);
    let described = guestbook(&["describe", "pod", &pod]);
    for expected in ["Successfully assigned guestbook/", "Started", "Container started", "QoS Class:"] {
        assert!(described.contains(expected), "{expected} is not in {described}");
    }
    assert!(guestbook(&["describe", "deployment", "app"]).contains("Scaled up replica set app-"));
    assert!(guestbook(&["describe", "service", "front"]).contains("NodePort:"));
    assert!(kubectl(&["describe", "node", "one"]).contains("Ready            True"));
    assert!(guestbook(&["logs", &pod]).contains("listening on 8080"));
    let mut following = cluster.background(&["-n", "guestbook", "logs", "-f", "deployment/front"]);
    // The Service has two pods, of which one is followed.
    Load::on(&cluster, &front, "/follow-me").requests(20);
    following.line(|line| line.contains("GET /follow-me"));
    assert!(kubectl(&["explain", "pod.spec.containers"]).contains("DESCRIPTION"));
    assert!(kubectl(&["api-resources"]).contains("endpointslices"));
    assert_eq!(kubectl(&["auth", "can-i", "create", "deployments"]), "yes\n");
    let denied = cluster.refused(&["auth", "can-i", "create", "deployments", "--as", "nobody"]);
    assert_eq!(denied, "");
    assert!(cluster.refused(&["top", "nodes"]).contains("Metrics API not available"));

    // Reaching in.
    assert_eq!(guestbook(&["exec", &pod, "--", "/bin/sh", "-c", "echo $POD"]), format!("{pod}\n"));
    let piped = cluster.kubectl_with(&["-n", "guestbook", "exec", "-i", &pod, "--", "cat"], "through\n");
    assert_eq!(piped, "through\n");
    let seen = cluster.terminal(&format!("kubectl -n guestbook exec -it {pod} -- sh -c tty"));
    assert!(seen.contains("/dev/pts/"), "{seen}");
    let failed = cluster.refused(&["-n", "guestbook", "exec", &pod, "--", "sh", "-c", "exit 3"]);
    assert!(failed.contains("exit code 3"), "{failed}");
    let mut forward = cluster.background(&["-n", "guestbook", "port-forward", "service/front", ":80"]);
    let line = forward.line(|line| line.starts_with("Forwarding from 127.0.0.1:"));
    let port = line["Forwarding from 127.0.0.1:".len()..].split(' ').next().expect("a port").to_owned();
    let (_, page) = cluster.within(|| get(&format!("127.0.0.1:{port}"), "/")).expect("answered");
    assert!(page.contains("Guestbook"), "{page}");
    drop(forward);

    // Changing.
    guestbook(&["scale", "deployment", "app", "--replicas=4"]);
    rolled_out(&cluster, "app");
    assert_eq!(pods(&cluster, "guestbook").len(), 4);
    guestbook(&["scale", "deployment", "app", "--replicas=2"]);
    guestbook(&["set", "env", "deployment/app", "COLOR=green"]);
    rolled_out(&cluster, "app");
    let history = guestbook(&["rollout", "history", "deployment/app"]);
    assert!(history.contains("2         <none>"), "{history}");
    assert!(guestbook(&["rollout", "undo", "deployment/app"]).contains("rolled back"));
    rolled_out(&cluster, "app");
    let environment = guestbook(&["get", "deployment", "app", "-o", "jsonpath={..env[*].name}"]);
    assert_eq!(environment, "REDIS POD");
    let manifest = workspace().join("examples/guestbook/guestbook.yaml");
    let manifest = manifest.to_str().expect("a path");
    assert_eq!(kubectl(&["diff", "-f", manifest]), "");
    kubectl(&["apply", "--server-side", "--force-conflicts", "-f", manifest]);

    // Restarting under load loses nothing.
    let restarted = Load::on(&cluster, &front, "/").during(|| {
        for deployment in ["front", "app"] {
            let name = format!("deployment/{deployment}");
            guestbook(&["rollout", "restart", &name]);
            rolled_out(&cluster, deployment);
        }
    });
    restarted.lost_none_of(50);

    // Failing: a process that ends is started again, a pod that is deleted is replaced.
    let pod = pods(&cluster, "redis").remove(0);
    let watch = ["-n", "guestbook", "get", "pod", &pod, "--watch", "--no-headers"];
    let mut watching = cluster.background(&watch);
    guestbook(&["exec", &pod, "--", "sh", "-c", "kill 1"]);
    watching.line(|line| line.split_whitespace().nth(3) == Some("1") && line.contains("1/1"));
    drop(watching);
    guestbook(&["delete", "pod", &pod]);
    rolled_out(&cluster, "redis");
    assert_ne!(pods(&cluster, "redis"), [pod]);
    ready(&cluster);

    // Ending.
    kubectl(&["delete", "-f", manifest, "--timeout=120s"]);
    assert_eq!(kubectl(&["get", "pods", "-A"]), "");
}
