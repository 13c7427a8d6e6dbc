//! Security contexts and resources, as the processes in the containers see them.

use gantry_json::json;

use crate::support::{Node, pod, status, with};

#[tokio::test(flavor = "multi_thread")]
async fn security_contexts_hold() {
    Node::with(async |node| {
        let show = "id -u; id -g; id -G; grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; \
                    touch /file 2>/dev/null && echo writable || echo read-only; \
                    ls -d /dev/kmsg 2>/dev/null; unshare -m true 2>/dev/null && echo may unshare || echo may not; \
                    ls -ldn /v | awk '{print $1, $4}'";
        let make = |name: &str, pod_context: gantry_json::Value, context: gantry_json::Value| {
            let more = json!({"spec": {"securityContext": pod_context, "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"securityContext": context, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}});
            with(pod(name, show), more)
        };
        let lines = async |pod| -> Vec<String> { node.output(pod).await.lines().map(str::to_owned).collect() };
        let plain = lines(make("plain", json!({}), json!({}))).await;
        assert_eq!(plain[..3], ["0", "0", "0"], "{plain:?}");
        assert!(plain.contains(&"NoNewPrivs:\t0".into()) && plain.contains(&"Seccomp:\t2".into()), "{plain:?}");
        assert!(plain.contains(&"writable".into()) && plain.contains(&"may not".into()), "{plain:?}");
        let default = plain.iter().find(|line| line.starts_with("CapEff")).unwrap().clone();

        let user = json!({"runAsUser": 1000, "runAsGroup": 1001, "fsGroup": 2000, "supplementalGroups": [3000], "runAsNonRoot": true});
        let strict = json!({"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let confined = lines(make("confined", user, strict)).await;
        assert_eq!(confined[..3], ["1000", "1001", "1001 2000 3000"], "{confined:?}");
        assert!(confined.contains(&"CapEff:\t0000000000000000".into()), "{confined:?}");
        assert!(confined.contains(&"NoNewPrivs:\t1".into()) && confined.contains(&"read-only".into()), "{confined:?}");
        assert!(confined.last().unwrap().ends_with(" 2000") && confined.last().unwrap().starts_with("drwxrwsrwx"), "{confined:?}");

        let capable = lines(make("capable", json!({}), json!({"capabilities": {"add": ["SYS_ADMIN"], "drop": ["CHOWN"]}}))).await;
        let bits = |line: &str| u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap();
        let shown = bits(capable.iter().find(|line| line.starts_with("CapEff")).unwrap());
        assert_eq!(shown, bits(&default) & !1 | 1 << 21, "{capable:?}");
        let privileged = lines(make("privileged", json!({}), json!({"privileged": true}))).await;
        assert!(privileged.contains(&"Seccomp:\t0".into()) && privileged.contains(&"/dev/kmsg".into()), "{privileged:?}");
        assert!(privileged.contains(&"may unshare".into()), "{privileged:?}");
        let unconfined = lines(make("unconfined", json!({"seccompProfile": {"type": "Unconfined"}}), json!({}))).await;
        assert!(unconfined.contains(&"Seccomp:\t0".into()), "{unconfined:?}");

        node.create(make("root", json!({"runAsNonRoot": true}), json!({}))).await;
        let root = node
            .wait("root", |pod| {
                status(pod, "main").and_then(|s| s.state.clone()?.waiting?.reason).is_some_and(|r| r == "CreateContainerConfigError")
            })
            .await;
        let message = status(&root, "main").unwrap().state.clone().unwrap().waiting.unwrap().message.unwrap();
        assert!(message.starts_with("container has runAsNonRoot and image will run as root (pod: \"root_default("), "{message}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_become_cgroup_settings() {
    Node::with(async |node| {
        let resources = json!({"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}});
        let more = json!({"spec": {"containers": [{"resources": resources}]}});
        let pod = node.run(with(pod("limited", "sleep 1000"), more)).await;
        assert_eq!(pod.status.as_ref().unwrap().qos_class.as_deref(), Some("Burstable"));
        let uid = pod.metadata.uid.unwrap();
        let root = node.cgroup_root().trim_start_matches('/').to_owned();
        let unified = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let below = |controller: &str| {
            let top = if unified { "/sys/fs/cgroup".into() } else { format!("/sys/fs/cgroup/{controller}") };
            std::path::PathBuf::from(format!("{top}/{root}/burstable/pod{uid}"))
        };
        let read = |dir: &std::path::Path, file: &str| {
            let path = dir.join(file);
            std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
        };
        let container = |controller: &str| {
            let mut dirs = std::fs::read_dir(below(controller)).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir());
            dirs.next().expect("the container's cgroup")
        };
        if unified {
            for dir in [below(""), container("")] {
                assert_eq!(read(&dir, "memory.max"), (64u64 << 20).to_string());
                assert_eq!(read(&dir, "cpu.max"), "50000 100000");
            }
        } else {
            for dir in [below("memory"), container("memory")] {
                assert_eq!(read(&dir, "memory.limit_in_bytes"), (64u64 << 20).to_string());
            }
            for dir in [below("cpu"), container("cpu")] {
                assert_eq!(read(&dir, "cpu.cfs_quota_us"), "50000");
                assert_eq!(read(&dir, "cpu.shares"), "256");
            }
        }
        let adjusted: i64 = node.kubectl_prints(&["exec", "limited", "--", "cat", "/proc/1/oom_score_adj"]).await.trim().parse().unwrap();
        assert!((900..1000).contains(&adjusted), "{adjusted}");
        // They change while the container runs.
        let more = json!({"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "500m"}});
        let change = json!({"spec": {"containers": [{"name": "main", "resources": more}]}}).to_string();
        node.kubectl_prints(&["patch", "pod", "limited", "--subresource", "resize", "-p", &change]).await;
        let resized = node.wait("limited", |pod| {
            let limits = status(pod, "main").and_then(|s| s.resources.as_ref()?.limits.clone());
            limits.is_some_and(|limits| limits["memory"].0 == "128Mi")
        }).await;
        assert_eq!(status(&resized, "main").unwrap().restart_count, 0);
        assert_eq!(node.event("limited", "ResizeStarted").await.split(':').next(), Some("Pod resize started"));
        node.event("limited", "ResizeCompleted").await;
        let (memory, cpu) = if unified { ("memory.max", "cpu.max") } else { ("memory.limit_in_bytes", "cpu.cfs_quota_us") };
        for dir in [below("memory"), container("memory")] {
            assert_eq!(read(&dir, memory), (128u64 << 20).to_string());
        }
        for dir in [below("cpu"), container("cpu")] {
            assert!(read(&dir, cpu).starts_with("100000"));
        }
        node.delete("limited").await;
        assert!(!below("memory").exists(), "the pod's cgroup is left");
    })
    .await;
}
