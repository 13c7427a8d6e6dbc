//! What containers are given: environment and volumes, with later changes of both their objects.

use gantry_json::{Value, json};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};

use crate::support::{IMAGE, NODE, Node, phase, pod, status, with};

async fn make_objects(node: &Node) {
    let post = PostParams::default();
    let map: ConfigMap = gantry_json::from_value(json!({"metadata": {"name": "settings"},
        "data": {"color": "blue", "size": "small"}, "binaryData": {"raw": "AAEC"}}))
    .unwrap();
    Api::namespaced(node.client.clone(), "default").create(&post, &map).await.unwrap();
    let secret: Secret = gantry_json::from_value(json!({"metadata": {"name": "keys"},
        "stringData": {"user": "jane", "word": "s3cret"}}))
    .unwrap();
    Api::namespaced(node.client.clone(), "default").create(&post, &secret).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_all_sorts() {
    Node::with(async |node| {
        make_objects(node).await;
        let post = PostParams::default();
        let service: k8s_openapi::api::core::v1::Service =
            gantry_json::from_value(json!({"metadata": {"name": "my-db"}, "spec": {"ports": [{"name": "sql", "port": 5432}]}}))
                .unwrap();
        let services = Api::namespaced(node.client.clone(), "default");
        let service: k8s_openapi::api::core::v1::Service = services.create(&post, &service).await.unwrap();
        let address = service.spec.unwrap().cluster_ip.unwrap();
        let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
        let resource = |name: &str, divisor: &str| json!({"resourceFieldRef": {"resource": name, "divisor": divisor}});
        let variables = json!([
            {"name": "PLAIN", "value": "text"},
            {"name": "COMPOSED", "value": "$(PLAIN)-$(MISSING)-$$(PLAIN)"},
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
            {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "color", "optional": true}}},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "word"}}},
            {"name": "NAME", "valueFrom": field("metadata.name")},
            {"name": "LABEL", "valueFrom": field("metadata.labels['app']")},
            {"name": "ON", "valueFrom": field("spec.nodeName")},
            {"name": "HOST", "valueFrom": field("status.hostIP")},
            {"name": "CPU", "valueFrom": resource("limits.cpu", "1m")},
            {"name": "MEMORY", "valueFrom": resource("requests.memory", "1Mi")},
        ]);
        let resources = json!({"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"memory": "32Mi"}});
        let from = json!([{"prefix": "C_", "configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}},
            {"configMapRef": {"name": "absent", "optional": true}}]);
        let main = json!({"env": variables, "envFrom": from, "resources": resources,
            "command": ["sh", "-c", "env; hostname; echo $0"], "args": ["$(PLAIN)"]});
        let more = json!({"metadata": {"labels": {"app": "demo"}}, "spec": {"containers": [main]}});
        let text = node.output(with(pod("variables", ""), more)).await;
        let lines: Vec<&str> = text.lines().collect();
        let expected = [
            "PLAIN=text", "COMPOSED=text-$(MISSING)-$(PLAIN)", "COLOR=blue", "WORD=s3cret", "NAME=variables",
            "LABEL=demo", &format!("ON={NODE}"), "HOST=127.0.0.1", "CPU=250", "MEMORY=32", "C_color=blue",
            "C_size=small", "user=jane", "HOSTNAME=variables", "KUBERNETES_SERVICE_PORT_HTTPS=443",
            &format!("MY_DB_SERVICE_HOST={address}"), "MY_DB_SERVICE_PORT_SQL=5432",
            &format!("MY_DB_PORT_5432_TCP_ADDR={address}"),
        ];
        for line in expected {
            assert!(lines.contains(&line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("NONE="), "{text}");
        assert_eq!(lines[lines.len() - 2..], ["variables", "text"], "{text}");

        // What is missing is told, and found when it comes.
        let missing = json!({"spec": {"containers": [{"env": [
            {"name": "LATE", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "k"}}}]}]}});
        node.create(with(pod("waits", "echo $LATE"), missing)).await;
        let waits = node
            .wait("waits", |pod| status(pod, "main").and_then(|s| s.state.clone()?.waiting?.reason).is_some_and(|r| r == "CreateContainerConfigError"))
            .await;
        let waiting = status(&waits, "main").unwrap().state.clone().unwrap().waiting.unwrap();
        assert_eq!(waiting.message.unwrap(), "configmap \"late\" not found");
        assert_eq!(phase(&waits), "Pending");
        let late: ConfigMap =
            gantry_json::from_value(json!({"metadata": {"name": "late"}, "data": {"k": "here"}})).unwrap();
        Api::namespaced(node.client.clone(), "default").create(&post, &late).await.unwrap();
        node.wait("waits", |pod| status(pod, "main").is_some_and(|s| s.container_id.is_some())).await;
    })
    .await;
}

fn volumes(host: &str) -> Value {
    json!([
        {"name": "empty", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
        {"name": "map", "configMap": {"name": "settings", "items": [{"key": "color", "path": "deep/color", "mode": 0o400}]}},
        {"name": "secret", "secret": {"secretName": "keys", "defaultMode": 0o440}},
        {"name": "down", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}}]}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "settings"}},
            {"secret": {"name": "keys", "items": [{"key": "user", "path": "user"}]}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}}]}},
        {"name": "host", "hostPath": {"path": host, "type": "DirectoryOrCreate"}},
        {"name": "optional", "secret": {"secretName": "absent", "optional": true}},
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_images_and_users() {
    Node::with(async |node| {
        let more = json!({"spec": {
            "securityContext": {"runAsUser": 1000},
            "volumes": [{"name": "image", "image": {"reference": IMAGE, "pullPolicy": "IfNotPresent"}},
                {"name": "empty", "emptyDir": {}},
                {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
            "containers": [{"env": [{"name": "WHERE", "value": "deep"}], "volumeMounts": [
                {"name": "image", "mountPath": "/image"}, {"name": "image", "mountPath": "/part", "subPath": "bin"},
                {"name": "empty", "mountPath": "/sub", "subPathExpr": "$(WHERE)/down"},
                {"name": "token", "mountPath": "/token"}]}]}});
        let script = "ls -d /image/bin /part/busybox; touch /image/x 2>/dev/null || echo read-only; \
            touch /sub/file && stat -c %a /sub; stat -L -c %u:%a /token/token";
        let log = node.output(with(pod("others", script), more)).await;
        assert_eq!(log, "/image/bin\n/part/busybox\nread-only\n777\n1000:600\n");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_all_sorts() {
    Node::with(async |node| {
        make_objects(node).await;
        let host = node.dir.path().join("host");
        let names = ["empty", "memory", "map", "secret", "down", "all", "host", "optional"];
        let mounts: Vec<Value> = names.iter().map(|n| json!({"name": n, "mountPath": format!("/v/{n}")})).chain([
            json!({"name": "empty", "mountPath": "/sub", "subPath": "a/b"}),
            json!({"name": "map", "mountPath": "/one", "subPath": "deep/color"}),
            json!({"name": "host", "mountPath": "/ro", "readOnly": true}),
        ]).collect();
        let script = "set -e; echo host > /v/host/file; echo sub > /sub/file; cat /v/empty/a/b/file /one; echo; \
            cat /v/map/deep/color /v/secret/word; echo; cat /v/down/labels /v/down/cpu; echo; cat /v/all/name /v/all/user; echo; \
            stat -L -c %a /v/map/deep/color /v/secret/word /v/all/token; grep /v/memory /proc/mounts; \
            cut -d. -f2 /v/all/token | tr _- /+ | base64 -d 2>/dev/null || true; echo; \
            touch /ro/x 2>/dev/null || echo read-only; ls -A /v/optional | wc -l; od -An -tx1 /v/all/raw; cat /etc/hosts; echo done; sleep 1000";
        let more = json!({"metadata": {"labels": {"app": "demo"}}, "spec": {
            "volumes": volumes(host.to_str().unwrap()),
            "securityContext": {"fsGroup": 2000},
            "containers": [{"volumeMounts": mounts, "resources": {"limits": {"cpu": "100m"}},
                "readinessProbe": {"exec": {"command": ["sh", "-c", "grep -q green /v/all/color"]}, "periodSeconds": 1}}]}});
        node.create(with(pod("volumes", script), more)).await;
        node.wait("volumes", |pod| status(pod, "main").is_some_and(|s| s.started == Some(true))).await;
        let log = loop {
            let log = node.log("volumes", "main").await;
            if log.ends_with("done\n") {
                break log;
            }
            assert!(status(&node.pods().get("volumes").await.unwrap(), "main").unwrap().restart_count == 0, "{log}");
        };
        for line in ["sub", "blue", "blues3cret", "app=\"demo\"", "volumesjane", "read-only", "0", " 00 01 02", "100"] {
            assert!(log.lines().any(|l| l == line) || log.contains(line), "{line:?} is missing in\n{log}");
        }
        for part in ["\"aud\":[\"vault\"]", "system:serviceaccount:default:default", "size=8192k", "440\n440\n640\n"] {
            assert!(log.contains(part), "{part:?} is missing in\n{log}");
        }
        assert_eq!(std::fs::read_to_string(host.join("file")).unwrap(), "host\n");

        // The readiness probe sees the change of the object.
        let maps: Api<ConfigMap> = Api::namespaced(node.client.clone(), "default");
        let change = Patch::Merge(json!({"data": {"color": "green"}}));
        maps.patch("settings", &PatchParams::default(), &change).await.unwrap();
        node.wait("volumes", crate::support::ready).await;
        let read = async |words: &[&str]| node.kubectl_prints(&[&["exec", "volumes", "--", "cat"], words].concat()).await;
        assert_eq!(read(&["/v/map/deep/color"]).await, "green");
        let secrets: Api<Secret> = Api::namespaced(node.client.clone(), "default");
        let change = Patch::Merge(json!({"stringData": {"word": "changed"}}));
        secrets.patch("keys", &PatchParams::default(), &change).await.unwrap();
        let change = Patch::Merge(json!({"metadata": {"labels": {"app": "changed"}}}));
        node.pods().patch("volumes", &PatchParams::default(), &change).await.unwrap();
        let command = ["exec", "volumes", "--", "sh", "-c",
            "until grep -q changed /v/secret/word && grep -q changed /v/down/labels; do sleep 0.1; done; cat /one"];
        // What is mounted by a path in a volume stays as it was.
        assert_eq!(node.kubectl_prints(&command).await, "blue");

        let uid = node.pods().get("volumes").await.unwrap().metadata.uid.unwrap();
        node.delete("volumes").await;
        assert!(!node.dir.path().join("kubelet/pods").join(uid).exists(), "the pod's directory is left");
        assert!(host.join("file").exists(), "the node's own files stay");

        // A volume that cannot be made is told.
        let more = json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "absent"}}],
            "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}});
        node.create(with(pod("stuck", "true"), more)).await;
        let message = node.event("stuck", "FailedMount").await;
        assert_eq!(message, "MountVolume.SetUp failed for volume \"v\" : configmap \"absent\" not found");
        let more = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../out"}]}]}});
        let escape = with(pod("escape", "true"), more);
        let escape = gantry_json::from_value(escape).unwrap();
        let refused = node.pods().create(&PostParams::default(), &escape).await;
        assert!(refused.is_err(), "a path out of the volume");
    })
    .await;
}
