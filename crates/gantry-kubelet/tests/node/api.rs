//! The node's HTTPS API: who may use it, logs, statistics.

use std::process::Stdio;

use gantry_json::json;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
    rbac::v1::{ClusterRole, ClusterRoleBinding},
};
use kube::{Api, api::PostParams};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{NODE, Node, pod, status, with, within};

/// Options of curl that show the token of a new service account which may `get` these subresources of
/// nodes.
async fn account(node: &Node, name: &str, subresources: &[&str]) -> Vec<String> {
    let post = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(node.client.clone(), "default");
    let account = gantry_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accounts.create(&post, &account).await.unwrap();
    let resources: Vec<String> = subresources.iter().map(|sub| format!("nodes/{sub}")).collect();
    let role: ClusterRole = gantry_json::from_value(json!({
        "metadata": {"name": name},
        "rules": [{"apiGroups": [""], "resources": resources, "verbs": ["get"]}],
    }))
    .unwrap();
    Api::all(node.client.clone()).create(&post, &role).await.unwrap();
    let binding: ClusterRoleBinding = gantry_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }))
    .unwrap();
    Api::all(node.client.clone()).create(&post, &binding).await.unwrap();
    let request = TokenRequest { spec: TokenRequestSpec::default(), ..Default::default() };
    let token = accounts.create_token_request(name, &post, &request).await.unwrap().status.unwrap().token;
    vec!["--header".into(), format!("Authorization: Bearer {token}")]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_is_answered() {
    Node::with(async |node| {
        node.kubelet_is_registered().await;
        let nobody = node.curl(&[], "/healthz").await;
        assert_eq!(nobody, (401, "Unauthorized".into()));
        let wrong = ["--header".into(), "Authorization: Bearer nonsense".into()];
        assert_eq!(node.curl(&wrong, "/pods").await.0, 401);
        let jane = node.as_user(&node.server.authority.issue("jane", &["people"]).unwrap());
        let refused = node.curl(&jane, "/pods").await;
        let message = "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[pods proxy])";
        assert_eq!(refused, (403, message.into()));
        let stranger = gantry_testing::Authority::new().unwrap();
        let stranger = node.as_user(&stranger.issue("admin", &["system:masters"]).unwrap());
        let refused = node.curl_command(&stranger, "/pods").output().await.unwrap();
        assert!(!refused.status.success(), "another authority's certificate");
        assert_eq!(node.read("/healthz").await, "ok");

        let paths = ["/healthz", "/pods", "/configz", "/metrics", "/stats/summary", "/logs/", "/exec/a/b/c"];
        for (subresource, allowed) in [
            ("proxy", &["/healthz", "/pods", "/configz", "/exec/a/b/c"][..]),
            ("healthz", &["/healthz"]),
            ("pods", &["/pods"]),
            ("configz", &["/configz"]),
            ("metrics", &["/metrics"]),
            ("stats", &["/stats/summary"]),
            ("log", &["/logs/"]),
        ] {
            let account = account(node, subresource, &[subresource]).await;
            for path in paths {
                let (code, text) = node.curl(&account, path).await;
                assert_eq!(code != 403, allowed.contains(&path), "{subresource} {path}: {code} {text}");
            }
        }
        let configuration: gantry_json::Value = gantry_json::from_str(&node.read("/configz").await).unwrap();
        let configuration = &configuration["kubeletconfig"];
        assert_eq!(configuration["port"], node.port);
        assert_eq!(configuration["evictionHard"], json!({"memory.available": "100Mi"}));
        assert_eq!(configuration["imageGCHighThresholdPercent"], 100);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_read_as_asked() {
    Node::with(async |node| {
        // Fails once, and waits for a file the second time.
        let script = "if [ -e /shared/again ]; then echo second; while [ ! -e /shared/end ]; do sleep 0.1; done; \
                      echo last; sleep 1000; fi; touch /shared/again; \
                      for n in 1 2 3; do echo line $n; done; sleep 0.1; echo problem >&2; exit 1";
        let shared = json!({"spec": {"volumes": [{"name": "shared", "emptyDir": {}}],
            "containers": [{"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}]}});
        let created = node.create(with(pod("talker", script), shared)).await;
        node.wait("talker", |pod| status(pod, "main").is_some_and(|s| s.restart_count == 1 && s.ready)).await;
        let log = |query: &str| format!("/containerLogs/default/talker/main{query}");
        assert_eq!(node.read(&log("?previous=true")).await, "line 1\nline 2\nline 3\nproblem\n");
        assert_eq!(node.read(&log("?previous=true&tailLines=2")).await, "line 3\nproblem\n");
        assert_eq!(node.read(&log("?previous=true&limitBytes=8")).await, "line 1\nl");
        assert_eq!(node.read(&log("?previous=true&stream=Stderr")).await, "problem\n");
        assert_eq!(node.read(&log("?previous=true&sinceTime=2100-01-01T00:00:00Z")).await, "");
        assert_eq!(node.read(&log("?previous=true&sinceSeconds=600&tailLines=1")).await, "problem\n");
        let stamped = node.read(&log("?previous=true&timestamps=true&tailLines=1")).await;
        let (time, text) = stamped.split_once(' ').unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok() && text == "problem\n", "{stamped}");
        assert_eq!(node.read(&log("")).await, "second\n");

        let admin = node.as_user(&node.server.admin);
        let mut follower = node.curl_command(&admin, &log("?follow=true")).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
        assert_eq!(within("the first line", lines.next_line()).await.unwrap().unwrap(), "second");
        let uid = created.metadata.uid.unwrap();
        let volume = format!("kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir/shared/end");
        std::fs::write(node.dir.path().join(volume), "").unwrap();
        assert_eq!(within("the last line", lines.next_line()).await.unwrap().unwrap(), "last");
        // The stream ends with the container.
        node.delete("talker").await;
        assert_eq!(within("the end", lines.next_line()).await.unwrap(), None);

        let (code, text) = node.curl(&admin, "/containerLogs/default/nobody/main").await;
        assert_eq!((code, text.as_str()), (404, "pod \"nobody\" does not exist"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_name_what_runs() {
    Node::with(async |node| {
        node.run(pod("busy", "sleep 1000")).await;
        let json = async |path: &str| -> gantry_json::Value {
            gantry_json::from_str(&node.read(path).await).unwrap()
        };
        for path in ["/pods", "/runningpods"] {
            let list = json(path).await;
            assert_eq!(list["kind"], "PodList");
            assert_eq!(list["items"][0]["metadata"]["name"], "busy", "{path}");
        }
        let summary = json("/stats/summary").await;
        assert_eq!(summary["node"]["nodeName"], NODE);
        assert_eq!(summary["pods"][0]["podRef"]["name"], "busy");
        let container = &summary["pods"][0]["containers"][0];
        assert!(container["memory"]["workingSetBytes"].as_u64().unwrap() > 0, "{container}");
        assert!(container["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap() > 0, "{container}");
        let metrics = node.read("/metrics/resource").await;
        for name in ["container_memory_working_set_bytes", "container_cpu_usage_seconds_total"] {
            let line = format!("{name}{{container=\"main\",namespace=\"default\",pod=\"busy\"}} ");
            assert!(metrics.contains(&line), "{metrics}");
        }
        assert!(node.read("/metrics").await.contains("kubelet_running_pods 1"));
    })
    .await;
}
