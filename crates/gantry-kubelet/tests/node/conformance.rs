//! What pods may count on wherever they run: limits with overhead, memory as a volume, images that stay,
//! hooks, rules for restarts, variables from files.

use gantry_json::{Value, json};
use gantry_kubelet::Config;
use k8s_openapi::api::{core::v1::Pod, node::v1::RuntimeClass};
use kube::{Api, api::PostParams};

use crate::support::{NODE, Node, container, ended, phase, pod, ready, status, with};

const MEMORY: ((&str, &str), (&str, &str)) = (("", "memory.max"), ("memory", "memory.limit_in_bytes"));
const CPU: ((&str, &str), (&str, &str)) = (("", "cpu.max"), ("cpu", "cpu.cfs_quota_us"));

fn limit(node: &Node, pod: &Pod, of_container: bool, (unified, old): ((&str, &str), (&str, &str))) -> u64 {
    let text = node.cgroup_file(pod, of_container, unified, old);
    text.split(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_have_limits_of_their_own() {
    Node::with(async |node| {
        let class: RuntimeClass =
            gantry_json::from_value(json!({"metadata": {"name": "heavy"}, "handler": "gantry",
            "overhead": {"podFixed": {"cpu": "100m", "memory": "16Mi"}}}))
            .unwrap();
        Api::all(node.client.clone()).create(&PostParams::default(), &class).await.unwrap();
        let resources = json!({"limits": {"cpu": "500m", "memory": "64Mi"}});
        let more = json!({"spec": {"runtimeClassName": "heavy", "containers": [{"resources": resources}]}});
        let heavy = node.run(with(pod("heavy", "sleep 1000"), more)).await;
        assert_eq!(limit(node, &heavy, false, MEMORY), 80 << 20);
        assert_eq!(limit(node, &heavy, true, MEMORY), 64 << 20);
        assert_eq!(limit(node, &heavy, false, CPU), 60_000);
        assert_eq!(limit(node, &heavy, true, CPU), 50_000);

        // What the pod says itself counts for all of its containers.
        let volumes = json!([{"name": "whole", "emptyDir": {"medium": "Memory"}},
            {"name": "small", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
        let mounts =
            json!([{"name": "whole", "mountPath": "/whole"}, {"name": "small", "mountPath": "/small"}]);
        let script = "df -k /whole /small | awk 'NR > 1 {print $2}'; \
            dd if=/dev/zero of=/small/x bs=1k count=1025 2>/dev/null || stat -c %s /small/x; sleep 1000";
        let more = json!({"spec": {"resources": {"limits": {"memory": "32Mi"}}, "volumes": volumes,
            "containers": [{"volumeMounts": mounts}]}});
        let whole = node.run(with(pod("whole", script), more)).await;
        assert_eq!(limit(node, &whole, false, MEMORY), 32 << 20);
        let wanted = "32768\n1024\n1048576\n";
        assert_eq!(node.log_until("whole", "main", |log| log.lines().count() >= 3).await, wanted);

        // Without limits the node's memory is what there is, for volumes and for those who ask.
        let env = json!([{"name": "LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}]);
        let script = "df -k /whole | awk 'NR > 1 {print $2}'; echo $((LIMIT / 1024)); echo $CPU";
        let more =
            json!({"spec": {"volumes": volumes, "containers": [{"volumeMounts": mounts, "env": env}]}});
        let log = node.output(with(pod("free", script), more)).await;
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(node.client.clone());
        let there = nodes.get(NODE).await.unwrap().status.unwrap().allocatable.unwrap();
        let memory = there["memory"].0.trim_end_matches("Ki");
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[1..], [memory, &there["cpu"].0], "{log}");
        // In pages.
        let size: u64 = lines[0].parse().unwrap();
        assert!(memory.parse::<u64>().unwrap().abs_diff(size) < 8, "{log}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_too_much_of_the_disk_is_ended() {
    Node::with(async |node| {
        let more = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
            "containers": [{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}});
        let script = "dd if=/dev/zero of=/v/x bs=1M count=2 2>/dev/null; sleep 1000";
        node.create(with(pod("volume", script), more)).await;
        let more = json!({"spec": {"containers": [{"resources": {"limits": {"ephemeral-storage": "1Mi"}}}]}});
        let script = "dd if=/dev/zero of=/x bs=1M count=2 2>/dev/null; sleep 1000";
        node.create(with(pod("layer", script), more)).await;
        for (name, why) in [
            ("volume", "Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". "),
            ("layer", "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "),
        ] {
            let ended = node.wait(name, ended).await.status.unwrap();
            assert_eq!((ended.phase.as_deref(), ended.reason.as_deref()), (Some("Failed"), Some("Evicted")));
            assert_eq!(ended.message.as_deref(), Some(why));
            assert_eq!(node.event(name, "Evicted").await, why);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_short_says_so_and_ends_who_takes_most() {
    // No machine has that much left.
    for (threshold, resource, condition, script) in [
        ("nodefs.available<1Pi", "ephemeral-storage", "DiskPressure", "dd if=/dev/zero of=/x bs=1M count=4"),
        ("nodefs.inodesFree<1P", "inodes", "DiskPressure", "for n in $(seq 300); do echo > /x$n; done"),
        ("pid.available<5M", "pids", "PIDPressure", "for n in $(seq 20); do sleep 1000 & done"),
    ] {
        Node::with(async |node| {
            node.run(pod("small", "sleep 1000")).await;
            node.run(pod("large", &format!("{script}; echo taken; sleep 1000"))).await;
            node.log_until("large", "main", |log| log.contains("taken")).await;
            node.configure(|config: &mut Config| config.eviction_hard = threshold.parse().unwrap());
            node.restart().await;
            let ended = node.wait("large", ended).await.status.unwrap();
            assert_eq!((ended.phase.as_deref(), ended.reason.as_deref()), (Some("Failed"), Some("Evicted")));
            let why = ended.message.unwrap();
            let (_, threshold) = threshold.split_once('<').unwrap();
            let start =
                format!("The node was low on resource: {resource}. Threshold quantity: {threshold}, ");
            assert!(why.starts_with(&start), "{why}");
            let used =
                why.contains("Container main was using ") && why.contains(", request is 0, has larger");
            assert_eq!(used, resource == "ephemeral-storage", "{why}");
            assert_eq!(node.event("large", "Evicted").await, why);
            let told = node.event(NODE, "EvictionThresholdMet").await;
            assert_eq!(told, format!("Attempting to reclaim {resource}"));
            let shown = format!("--for=condition={condition}");
            node.kubectl_prints(&["wait", &shown, "--timeout=60s", &format!("node/{NODE}")]).await;
            node.create(pod("late", "sleep 1000")).await;
            let late = node.wait("late", |pod| phase(pod) == "Failed").await.status.unwrap();
            let why = format!("Pod was rejected: The node had condition: [{condition}]. ");
            assert_eq!((late.reason.as_deref(), late.message.as_deref()), (Some("Evicted"), Some(&*why)));
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_are_used_stay() {
    Node::with(async |node| {
        node.import("redis").await;
        node.import("nginx").await;
        let names = node.images().await;
        let name = |part: &str| names.iter().find(|name| name.contains(part)).unwrap().clone();
        let (redis, nginx, busybox) = (name("redis"), name("nginx"), name("busybox"));
        let more = json!({"spec": {"volumes": [{"name": "image", "image": {"reference": redis}}],
            "containers": [{"volumeMounts": [{"name": "image", "mountPath": "/image"}]}]}});
        node.run(with(pod("uses", "sleep 1000"), more)).await;
        let list = ["exec", "uses", "--", "ls", "-R", "/image"];
        let before = node.kubectl_prints(&list).await;
        // From now on all that nobody uses is to go.
        node.configure(|config: &mut Config| {
            config.image_gc_percent = (0, 0);
            config.image_gc_min_age = std::time::Duration::ZERO;
        });
        node.restart().await;
        let message = node.event(NODE, "FreeDiskSpaceFailed").await;
        assert!(message.starts_with("Failed to garbage collect required amount of images."), "{message}");
        let left = node.images().await;
        assert!(left.contains(&redis) && left.contains(&busybox) && !left.contains(&nginx), "{left:?}");
        assert_eq!(node.kubectl_prints(&list).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_run_and_told_of() {
    Node::with(async |node| {
        // The hooks of all run at once, before the first is stopped.
        let diary = node.dir.path().join("diary");
        std::fs::create_dir_all(&diary).unwrap();
        let say = |text: &str| format!("echo {text} >> /log/lines");
        let hook = |script: String| json!({"preStop": {"exec": {"command": ["sh", "-c", script]}}});
        let serving = |name: &str, before: &str| {
            let stopped = say(&format!("{name} stopped"));
            let script = format!("trap '{stopped}; exit 0' TERM; sleep 1000 & wait");
            let told = format!("{before} {}", say(&format!("{name} hook")));
            with(container(name, &script), json!({"lifecycle": hook(told),
                "volumeMounts": [{"name": "log", "mountPath": "/log"}]}))
        };
        let side = with(serving("side", ""), json!({"restartPolicy": "Always"}));
        let main = serving("main", "until grep -q side /log/lines; do usleep 10000; done;");
        node.run(json!({"metadata": {"name": "ends"}, "spec": {"nodeName": NODE, "terminationGracePeriodSeconds": 25,
            "automountServiceAccountToken": false, "volumes": [{"name": "log", "hostPath": {"path": diary}}],
            "initContainers": [side], "containers": [main]}}))
        .await;
        node.delete("ends").await;
        let lines = std::fs::read_to_string(diary.join("lines")).unwrap();
        assert_eq!(lines.lines().collect::<Vec<_>>(), ["side hook", "main hook", "main stopped", "side stopped"]);

        let fails = json!({"exec": {"command": ["sh", "-c", "echo out; echo why >&2; exit 3"]}});
        let more = json!({"spec": {"containers": [{"lifecycle": {"postStart": fails}}]}});
        let failing = node.create(with(pod("fails", "sleep 1000"), more)).await;
        let waiting = |pod: &Pod| status(pod, "main").and_then(|s| s.state.clone()?.waiting);
        let waits = node
            .wait("fails", |pod| waiting(pod).is_some_and(|w| w.reason.as_deref() == Some("PostStartHookError")))
            .await;
        let name = format!("fails_default({})", failing.metadata.uid.unwrap());
        let command = "sh -c echo out; echo why >&2; exit 3";
        let message = format!("Exec lifecycle hook ([{command}]) for Container \"main\" in Pod \"{name}\" failed - \
            error: command '{command}' exited with 3: why\n, message: \"out\\nwhy\\n\"");
        assert_eq!(waiting(&waits).unwrap().message.unwrap(), message);
        assert_eq!(node.event("fails", "FailedPostStartHook").await, "PostStartHook failed");
        assert_eq!(node.event("fails", "Killing").await, "FailedPostStartHook");

        // No connection was ever made for a hook.
        let more = json!({"spec": {"containers": [{"lifecycle": {"postStart": {"tcpSocket": {"port": node.port}}}}]}});
        node.create(with(pod("connects", "sleep 1000"), more)).await;
        node.event("connects", "FailedPostStartHook").await;
        // Whatever a server answers, it was told.
        let get = json!({"httpGet": {"scheme": "HTTPS", "host": "127.0.0.1", "port": node.port, "path": "/pods"}});
        let more = json!({"spec": {"hostNetwork": true, "containers": [{"lifecycle": {"postStart": get}}]}});
        node.run(with(pod("refused", "sleep 1000"), more)).await;
        assert!(!node.events("refused").await.iter().any(|(reason, _)| reason.contains("Hook")));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_have_rules_for_their_restart() {
    Node::with(async |node| {
        let rules = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
        let own = |policy: &str, code: u8, own: Value| {
            let more = json!({"spec": {"restartPolicy": policy, "containers": [own]}});
            with(pod(&format!("{}-{code}", policy.to_lowercase()), &format!("exit {code}")), more)
        };
        let never = json!({"restartPolicy": "Never"});
        for (pod, again) in [
            (own("Never", 42, with(never.clone(), json!({"restartPolicyRules": rules}))), true),
            (own("Never", 43, with(never.clone(), json!({"restartPolicyRules": rules}))), false),
            (own("Never", 1, json!({"restartPolicy": "Always"})), true),
            (own("Always", 2, never), false),
        ] {
            let name = node.create(pod).await.metadata.name.unwrap();
            let count = |pod: &Pod| status(pod, "main").map_or(0, |s| s.restart_count);
            if again {
                let pod = node.wait(&name, |pod| count(pod) > 0 && phase(pod) == "Running").await;
                assert!(!ended(&pod), "{name}");
            } else {
                let pod = node.wait(&name, ended).await;
                assert_eq!((phase(&pod), count(&pod)), ("Failed", 0), "{name}");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_come_from_files() {
    Node::with(async |node| {
        let key = |key: &str, optional: bool| {
            let reference = json!({"volumeName": "v", "path": "deep/env", "key": key, "optional": optional});
            json!({"name": key, "valueFrom": {"fileKeyRef": reference}})
        };
        let script = "mkdir /v/deep; printf \"# made here\\nA='one two'\\nB='3' # three\\n\" > /v/deep/env";
        let writes =
            with(container("writes", script), json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
        let more = |variables: Value| {
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}],
            "initContainers": [writes], "containers": [{"env": variables}]}})
        };
        let all = json!([key("A", false), key("B", false), key("C", true)]);
        let log =
            node.output(with(pod("reads", "echo \"$A,$B\"; env | grep -c '^C=' || true"), more(all))).await;
        assert_eq!(log, "one two,3\n0\n");
        node.create(with(pod("misses", "true"), more(json!([key("C", false)])))).await;
        let misses = node
            .wait("misses", |pod| {
                status(pod, "main").and_then(|s| s.state.clone()?.waiting?.message).is_some()
            })
            .await;
        let waiting = status(&misses, "main").unwrap().state.clone().unwrap().waiting.unwrap();
        assert_eq!(waiting.reason.unwrap(), "CreateContainerConfigError");
        assert_eq!(waiting.message.unwrap(), "environment variable key \"C\" not found in file");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_is_told_and_has_its_streams() {
    Node::with(async |node| {
        let context = json!({"runAsUser": 1000, "runAsGroup": 1001, "supplementalGroups": [3000]});
        let script = "echo out > /dev/stdout; echo err > /dev/stderr; sleep 1000";
        let more = json!({"spec": {"securityContext": context, "containers": [
            {"readinessProbe": {"exec": {"command": ["sh", "-c", "echo probed > /dev/stdout"]}, "periodSeconds": 1}}]}});
        let running = node.run(with(pod("user", script), more)).await;
        let user = status(&running, "main").unwrap().user.clone().unwrap().linux.unwrap();
        assert_eq!((user.uid, user.gid, user.supplemental_groups), (1000, 1001, Some(vec![1001, 3000])));
        let log = node.log_until("user", "main", |log| log.lines().count() >= 2).await;
        assert!(log.contains("out\n") && log.contains("err\n"), "{log}");
        // The node tells what its runtime can do.
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(node.client.clone());
        let told = nodes.get(NODE).await.unwrap().status.unwrap();
        assert_eq!(told.features.unwrap().supplemental_groups_policy, Some(true));
        let names: Vec<_> = told.runtime_handlers.unwrap().into_iter().map(|h| h.name.unwrap_or_default()).collect();
        assert_eq!(names, ["", "gantry"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_that_cannot_ask_decide_nothing() {
    Node::with(async |node| {
        let often = json!({"periodSeconds": 1, "failureThreshold": 1});
        let make = |name: &str, kind: &str, probe: Value| {
            let mut own = json!({});
            own[kind] = with(often.clone(), probe);
            with(pod(name, "sleep 1000"), json!({"spec": {"hostNetwork": true, "containers": [own]}}))
        };
        let nameless = make("nameless", "livenessProbe", json!({"httpGet": {"port": "http"}}));
        let closed = make("closed", "readinessProbe", json!({"tcpSocket": {"port": 1}}));
        node.create(nameless).await;
        node.create(closed).await;
        let why = "Liveness probe errored and resulted in unknown state: strconv.Atoi: parsing \"http\": invalid syntax";
        assert_eq!(node.event("nameless", "Unhealthy").await, why);
        let why = "Readiness probe failed: dial tcp 127.0.0.1:1: connect: connection refused";
        assert_eq!(node.event("closed", "Unhealthy").await, why);
        let nameless = node.wait("nameless", ready).await;
        assert_eq!(status(&nameless, "main").unwrap().restart_count, 0);
    })
    .await;
}

/// Older kernels cannot.
async fn able_to_map_users(node: &Node) -> bool {
    node.kubelet_is_registered().await;
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(node.client.clone());
    let handlers = nodes.get(NODE).await.unwrap().status.unwrap().runtime_handlers.unwrap();
    handlers[0].features.as_ref().unwrap().user_namespaces == Some(true)
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_have_users_of_their_own() {
    Node::with(async |node| {
        if !able_to_map_users(node).await {
            node.create(with(pod("first", "true"), json!({"spec": {"hostUsers": false}}))).await;
            let message = node.event("first", "FailedCreatePodSandBox").await;
            let why = "RuntimeClass handler \"\" does not support user namespaces";
            assert_eq!(message, format!("Failed to create pod sandbox: {why}"));
            return;
        }
        let host = node.dir.path().join("shared");
        std::fs::create_dir_all(&host).unwrap();
        std::fs::write(host.join("given"), "given\n").unwrap();
        let volumes = json!([{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}},
            {"name": "host", "hostPath": {"path": host}},
            {"name": "down", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]);
        let mounts: Vec<Value> = ["v", "m", "host", "down"]
            .iter()
            .map(|name| json!({"name": name, "mountPath": format!("/new/{name}")}))
            .collect();
        let script = "cat /new/down/name /new/host/given; echo out > /dev/stdout; id -u; \
            awk '{print $1, $3}' /proc/self/uid_map; \
            for f in /new/v/x /new/m/x /new/host/x /made /dev/made /dev/shm/made; do touch $f; stat -c %u:%g $f; done; \
            stat -c %u:%g / /bin/busybox /new /new/v /dev /etc/hosts /etc/resolv.conf | sort -u; \
            hostname; hostname renamed 2>/dev/null || echo may not; echo done; sleep 1000";
        let sysctls = json!([{"name": "kernel.shm_rmid_forced", "value": "1"},
            {"name": "net.ipv4.tcp_fin_timeout", "value": "33"}]);
        let make = |name: &str, context: Value| {
            let more = json!({"spec": {"hostUsers": false, "volumes": volumes, "securityContext": {"sysctls": sysctls}, "containers": [
                {"volumeMounts": mounts, "securityContext": context}]}});
            with(pod(name, script), more)
        };
        let told = async |name: &str| {
            let log = node.log_until(name, "main", |log| log.ends_with("done\n")).await;
            log.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let first = node.run(make("first", json!({}))).await;
        let lines = told("first").await;
        assert_eq!(lines[..5], ["firstgiven", "out", "0", "0 65536", "0:0"], "{lines:?}");
        assert_eq!(lines[5..], ["0:0", "0:0", "0:0", "0:0", "0:0", "0:0", "first", "may not", "done"], "{lines:?}");
        let second = node.run(make("second", json!({"runAsUser": 1000, "runAsGroup": 1001}))).await;

        // On the node they are others, and of each other as well.
        let on_node = |pod: &Pod| {
            let processes = node.cgroup_file(pod, true, ("", "cgroup.procs"), ("memory", "cgroup.procs"));
            let process = processes.lines().next().unwrap().to_owned();
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap().to_owned();
            line.split_whitespace().nth(1).unwrap().parse::<u32>().unwrap()
        };
        let (one, other) = (on_node(&first), on_node(&second));
        assert!(one >= 65536 && one % 65536 == 0 && other % 65536 == 1000 && other - 1000 != one, "{one} {other}");
        // What they write belongs to whom they are to themselves.
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(host.join("x")).unwrap().uid(), 0);

        // Commands run in them as they do.
        let own = node.kubectl_prints(&["exec", "first", "--", "sh", "-c", "id -u; touch /later; stat -c %u /later > /dev/stdout"]).await;
        assert_eq!(own, "0\n0\n");
        let parameters = ["/proc/sys/kernel/shm_rmid_forced", "/proc/sys/net/ipv4/tcp_fin_timeout"];
        let set = node.kubectl_prints(&[&["exec", "first", "--", "cat"][..], &parameters].concat()).await;
        assert_eq!(set, "1\n33\n");
        let own = node.kubectl_prints(&["exec", "second", "--", "id"]).await;
        assert!(own.starts_with("uid=1000 gid=1001"), "{own}");
        node.restart().await;
        node.wait_known(2).await;
        let own = node.kubectl_prints(&["exec", "first", "--", "stat", "-c", "%u", "/made"]).await;
        assert_eq!(own, "0\n");
        let user = status(&second, "main").unwrap().user.clone().unwrap().linux.unwrap();
        assert_eq!((user.uid, user.gid), (1000, 1001));
    })
    .await;
}
