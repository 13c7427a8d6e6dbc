//! The runtime with real containers. Needs root and the busybox image that `xtask images` builds.

mod distribution;
mod pulling;
mod registry;
mod streaming;
mod support;

use std::time::Duration;

use futures::StreamExt;
use gantry_cri::{Code, ImageService, RuntimeService, v1::*};
use support::{Node, container, sandbox, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_logs_and_exits() {
    Node::with(async |node| {
        let pod = node.run(sandbox("logs")).await;
        let id = node.create(&pod, container("one", "echo out; echo err >&2; printf tail; exit 3")).await;
        node.start(&id).await;
        let status = node.exited(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
        assert!(status.started_at > 0 && status.finished_at >= status.started_at);
        let log = std::fs::read_to_string(&status.log_path).unwrap();
        let lines: Vec<&str> = log.lines().map(|l| l.split_once(' ').unwrap().1).collect();
        for line in ["stdout F out", "stderr F err", "stdout P tail"] {
            assert!(lines.contains(&line), "{line} is missing in {log}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_sees_the_container() {
    Node::with(async |node| {
        let pod = node.run(sandbox("exec")).await;
        let mut config = container("main", "exec sleep 1000");
        config.envs.push(KeyValue { key: "COLOUR".into(), value: "blue".into() });
        config.working_dir = "/made/up".into();
        let id = node.create(&pod, config).await;
        node.start(&id).await;
        let out =
            node.sh(&id, "echo $COLOUR; pwd; hostname; id -u; cat /proc/1/comm; ls /dev/pts /dev/shm").await;
        assert!(out.starts_with("blue\n/made/up\nexec\n0\nsleep\n"), "{out}");
        let response = node
            .runtime
            .exec_sync(ExecSyncRequest {
                container_id: id.clone(),
                cmd: vec!["sh".into(), "-c".into(), "echo bad >&2; exit 7".into()],
                timeout: 0,
            })
            .await
            .unwrap();
        assert_eq!((response.exit_code, response.stderr.as_slice()), (7, b"bad\n".as_slice()));
        let late =
            ExecSyncRequest { container_id: id.clone(), cmd: vec!["sleep".into(), "60".into()], timeout: 1 };
        assert_eq!(node.runtime.exec_sync(late).await.unwrap_err().code, Code::DeadlineExceeded);
        let missing = ExecSyncRequest { container_id: id.clone(), cmd: vec!["nope".into()], timeout: 1 };
        let error = node.runtime.exec_sync(missing).await.unwrap_err();
        assert!(error.message.contains("executable file not found in $PATH"), "{error}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn security_settings_hold() {
    Node::with(async |node| {
        let pod = node.run(sandbox("security")).await;
        let mut config = container("main", "exec sleep 1000");
        config.linux = Some(LinuxContainerConfig {
            security_context: Some(LinuxContainerSecurityContext {
                run_as_user: Some(Int64Value { value: 1000 }),
                run_as_group: Some(Int64Value { value: 2000 }),
                supplemental_groups: vec![3000],
                readonly_rootfs: true,
                no_new_privs: true,
                masked_paths: vec!["/proc/kcore".into(), "/proc/acpi".into()],
                readonly_paths: vec!["/proc/sys".into()],
                seccomp: Some(SecurityProfile::default()),
                capabilities: Some(Capability {
                    drop_capabilities: vec!["ALL".into()],
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        });
        let id = node.create(&pod, config).await;
        node.start(&id).await;
        let out =
            node.sh(&id, "id -u; id -g; id -G; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status").await;
        let text = out.replace('\t', " ");
        assert!(text.starts_with("1000\n2000\n2000 3000\n"), "{text}");
        for line in ["CapBnd: 0000000000000000", "NoNewPrivs: 1", "Seccomp: 2"] {
            assert!(text.contains(line), "{line} is missing in {text}");
        }
        let out = node.sh(&id, "touch /x 2>&1; unshare -U true 2>&1; mount -t tmpfs t /tmp 2>&1; true").await;
        assert!(out.contains("Read-only file system"), "{out}");
        assert!(out.contains("Operation not permitted") || out.contains("permission denied"), "{out}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_and_limits_apply() {
    Node::with(async |node| {
        let pod = node.run(sandbox("mounts")).await;
        let data = node.dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("file"), "hello").unwrap();
        let mut config = container("main", "exec sleep 1000");
        let mount = |path: &str, readonly| Mount {
            container_path: path.into(),
            host_path: data.display().to_string(),
            readonly,
            ..Default::default()
        };
        config.mounts = vec![mount("/data", false), mount("/fixed/deep", true)];
        config.linux = Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources {
                memory_limit_in_bytes: 32 << 20,
                cpu_shares: 512,
                cpu_quota: 50_000,
                cpu_period: 100_000,
                oom_score_adj: -999,
                ..Default::default()
            }),
            ..Default::default()
        });
        let id = node.create(&pod, config).await;
        node.start(&id).await;
        let out = node.sh(&id, "cat /fixed/deep/file; echo more >/data/new; touch /fixed/deep/x 2>&1").await;
        assert!(out.starts_with("hello") && out.contains("Read-only"), "{out}");
        assert_eq!(std::fs::read_to_string(data.join("new")).unwrap(), "more\n");
        let stats =
            node.runtime.container_stats(ContainerStatsRequest { container_id: id.clone() }).await.unwrap();
        assert!(stats.stats.unwrap().memory.unwrap().usage_bytes.unwrap().value > 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_memory_is_told() {
    Node::with(async |node| {
        let pod = node.run(sandbox("oom")).await;
        let mut config = container("main", "exec tail /dev/zero");
        config.linux = Some(LinuxContainerConfig {
            resources: Some(LinuxContainerResources {
                memory_limit_in_bytes: 16 << 20,
                ..Default::default()
            }),
            ..Default::default()
        });
        let id = node.create(&pod, config).await;
        node.start(&id).await;
        let status = node.exited(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_outlive_the_runtime() {
    Node::with(async |node| {
        let pod = node.run(sandbox("outlive")).await;
        let stays = node.create(&pod, container("stays", "exec sleep 1000")).await;
        let ends = node.create(&pod, container("ends", "read line; exit 5")).await;
        node.start(&stays).await;
        let mut events = node.runtime.get_container_events(GetEventsRequest {}).await.unwrap();
        node.start(&ends).await;
        let event = within(events.next()).await.unwrap().unwrap();
        assert_eq!(event.container_event_type(), ContainerEventType::ContainerStartedEvent);
        let event = within(events.next()).await.unwrap().unwrap();
        assert_eq!(event.container_event_type(), ContainerEventType::ContainerStoppedEvent);
        node.exited(&ends).await;
        drop(events);
        node.reopen().await;
        let status = node.status(&stays).await;
        assert_eq!(status.state(), ContainerState::ContainerRunning);
        assert_eq!(node.status(&ends).await.exit_code, 5);
        assert_eq!(node.sh(&stays, "echo still here").await, "still here\n");
        let stop = StopContainerRequest { container_id: stays.clone(), timeout: 0 };
        within(node.runtime.stop_container(stop)).await.unwrap();
        assert_eq!(node.status(&stays).await.exit_code, 137);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_can_be_shared() {
    Node::with(async |node| {
        let mut config = sandbox("shared");
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().namespace_options =
            Some(NamespaceOption { pid: NamespaceMode::Pod as i32, ..Default::default() });
        let pod = node.run(config).await;
        let one = node.create(&pod, container("one", "exec sleep 1001")).await;
        let two = node.create(&pod, container("two", "exec sleep 1002")).await;
        node.start(&one).await;
        node.start(&two).await;
        let out = node.sh(&one, "ps -o args").await;
        assert!(out.contains("sleep 1001") && out.contains("sleep 1002"), "{out}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why() {
    Node::with(async |node| {
        let pod = node.run(sandbox("fails")).await;
        let mut config = container("main", "");
        config.command = vec!["/no/such/program".into()];
        config.args.clear();
        let id = node.create(&pod, config).await;
        let error = node
            .runtime
            .start_container(StartContainerRequest { container_id: id.clone() })
            .await
            .unwrap_err();
        assert!(error.message.contains("no such file or directory"), "{error}");
        let status = node.status(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_rotate_and_images_go() {
    Node::with(async |node| {
        let pod = node.run(sandbox("rotate")).await;
        let id = node.create(&pod, container("main", "while true; do echo tick; sleep 0.05; done")).await;
        node.start(&id).await;
        let path = node.status(&id).await.log_path;
        let old = format!("{path}.1");
        std::fs::rename(&path, &old).unwrap();
        let reopen = ReopenContainerLogRequest { container_id: id.clone() };
        node.runtime.reopen_container_log(reopen).await.unwrap();
        within(async {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            while std::fs::metadata(&path).map_or(0, |m| m.len()) == 0 {
                tick.tick().await;
            }
        })
        .await;
        let images = node.runtime.list_images(ListImagesRequest::default()).await.unwrap().images;
        assert_eq!(images[0].repo_tags, ["gantry.local/busybox:1"]);
        node.runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: pod }).await.unwrap();
        let image = Some(ImageSpec { image: "gantry.local/busybox:1".into(), ..Default::default() });
        node.runtime.remove_image(RemoveImageRequest { image: image.clone() }).await.unwrap();
        let gone = node.runtime.image_status(ImageStatusRequest { image, verbose: false }).await.unwrap();
        assert!(gone.image.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_images_serve() {
    Node::with(async |node| {
        for name in ["redis", "guestbook", "nginx"] {
            node.runtime.image_import(&support::archive(name)).await.unwrap();
        }
        let pod = node.run(sandbox("demo")).await;
        let image = |name: &str, args: &[&str]| ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(ImageSpec { image: format!("gantry.local/{name}:1"), ..Default::default() }),
            args: args.iter().map(ToString::to_string).collect(),
            envs: vec![KeyValue { key: "REDIS".into(), value: "127.0.0.1:6379".into() }],
            log_path: format!("{name}/0.log"),
            ..Default::default()
        };
        let redis = node.create(&pod, image("redis", &["--save", "", "--bind", "127.0.0.1"])).await;
        let app = node.create(&pod, image("guestbook", &[])).await;
        let nginx = node.create(&pod, image("nginx", &[])).await;
        for id in [&redis, &app, &nginx] {
            node.start(id).await;
        }
        let wait = "until wget -q -O - 127.0.0.1:8080/healthz; do usleep 20000; done";
        assert_eq!(node.sh(&app, wait).await, "ok\n");
        let sign = "wget -q -O /dev/null --post-data 'name=Ada&message=hello+there' 127.0.0.1:8080/sign; \
                    wget -q -O - 127.0.0.1:8080/";
        let page = node.sh(&app, sign).await;
        assert!(page.contains("<b>Ada</b>: hello there"), "{page}");
        assert_eq!(node.sh(&redis, "redis-cli llen guestbook").await, "1\n");
        let out = node
            .sh(&nginx, "for i in $(seq 100); do wget -q -O - 127.0.0.1 && break; usleep 50000; done")
            .await;
        let log = std::fs::read_to_string(node.status(&nginx).await.log_path).unwrap();
        assert!(out.contains("nginx"), "{out}{log}");
        let stop = StopContainerRequest { container_id: app.clone(), timeout: 10 };
        within(node.runtime.stop_container(stop)).await.unwrap();
        assert_eq!(node.status(&app).await.exit_code, 0, "it ends by itself when asked to");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cleanup_leaves_nothing() {
    Node::with(async |node| {
        let pod = node.run(sandbox("cleanup")).await;
        let id = node.create(&pod, container("main", "exec sleep 4711")).await;
        node.start(&id).await;
        node.cleanup().await;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = node.dir.path().display().to_string();
        assert!(!mounts.contains(&dir));
        assert!(!node.dir.path().join("root").exists());
        let sleeps = std::fs::read_dir("/proc").unwrap().flatten().any(|process| {
            std::fs::read(process.path().join("cmdline")).is_ok_and(|line| line == b"sleep\x004711\x00")
        });
        assert!(!sleeps, "a container is left");
    })
    .await;
}
