//! Pods from their start to their end.

use gantry_json::{Value, json};
use kube::api::{DeleteParams, PostParams};

use crate::support::{NODE, Node, container, ended, phase, pod, ready, status, with};

fn terminated(pod: &k8s_openapi::api::core::v1::Pod, container: &str) -> Option<(i32, String, String)> {
    let state = status(pod, container)?.state.clone()?.terminated?;
    Some((state.exit_code, state.reason.unwrap_or_default(), state.message.unwrap_or_default()))
}

/// The lines that a pod's containers wrote to a file of the node, which is mounted at `/log`.
struct Diary(std::path::PathBuf);

impl Diary {
    fn new(node: &Node) -> Self {
        let path = node.dir.path().join("diary");
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn volume(&self) -> Value {
        json!({"name": "log", "hostPath": {"path": self.0}})
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("lines")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn diarist(name: &str, script: &str) -> Value {
    let script = format!("say() {{ echo \"$@\" >> /log/lines; }}; {script}");
    with(container(name, &script), json!({"volumeMounts": [{"name": "log", "mountPath": "/log"}]}))
}

fn say(text: &str) -> Value {
    json!({"exec": {"command": ["sh", "-c", format!("echo {text} >> /log/lines")]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_start_and_stop_in_order() {
    Node::with(async |node| {
        let diary = Diary::new(node);
        let serve = |name: &str| format!("trap 'say {name} stopped; exit 0' TERM; say {name} runs; sleep 1000 & wait");
        let sidecar = |name: &str| with(diarist(name, &serve(name)), json!({"restartPolicy": "Always",
            "startupProbe": {"exec": {"command": ["grep", "-q", format!("{name} runs"), "/log/lines"]}, "periodSeconds": 1}}));
        let main = with(diarist("main", &serve("main")), json!({"lifecycle": {"postStart": say("main hook"), "preStop": say("main pre-stop")}}));
        let init = [diarist("first", "say first"), sidecar("one"), sidecar("two"), diarist("second", "say second")];
        let spec = json!({"nodeName": NODE, "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 10,
            "volumes": [diary.volume()], "initContainers": init, "containers": [main]});
        let ordered = node.run(json!({"metadata": {"name": "ordered"}, "spec": spec})).await;
        assert_eq!(terminated(&ordered, "second").unwrap().0, 0);
        assert!(status(&ordered, "one").unwrap().ready && status(&ordered, "two").unwrap().started == Some(true));
        let lines = diary.lines();
        assert_eq!(lines[..4], ["first", "one runs", "two runs", "second"], "{lines:?}");
        assert!(lines[4..].contains(&"main hook".to_owned()) && lines[4..].contains(&"main runs".to_owned()));
        node.delete("ordered").await;
        assert_eq!(diary.lines()[6..], ["main pre-stop", "main stopped", "two stopped", "one stopped"]);

        // Whoever does not listen is killed when its time is over.
        let begun = std::time::Instant::now();
        node.run(pod("deaf", "trap '' TERM; while true; do sleep 1; done")).await;
        node.delete("deaf").await;
        assert!(begun.elapsed().as_secs() < 10);

        // An init container that fails for good fails the pod.
        let failing = json!({"spec": {"restartPolicy": "Never", "initContainers": [container("broken", "exit 3")]}});
        node.create(with(pod("never", "true"), failing)).await;
        let failed = node.wait("never", ended).await;
        assert_eq!(phase(&failed), "Failed");
        assert_eq!(terminated(&failed, "broken").unwrap().0, 3);
        assert!(status(&failed, "main").unwrap().container_id.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told() {
    Node::with(async |node| {
        let never = json!({"spec": {"restartPolicy": "Never"}});
        let fallback = json!({"spec": {"restartPolicy": "Never",
            "containers": [{"terminationMessagePolicy": "FallbackToLogsOnError"}]}});
        let memory = json!({"spec": {"restartPolicy": "Never",
            "containers": [{"resources": {"limits": {"memory": "16Mi"}}}]}});
        let deadline = json!({"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 1}});
        for pod in [
            with(pod("message", "echo told > /dev/termination-log; exit 4"), never.clone()),
            with(pod("logged", "echo from the log; exit 5"), fallback),
            with(pod("hungry", "x=x; while true; do x=$x$x; done"), memory),
            with(pod("killed", "kill -9 $$"), never.clone()),
            with(pod("late", "sleep 1000"), deadline),
            with(pod("absent", "true"), json!({"spec": {"restartPolicy": "Never", "containers": [{"command": ["/nothing"]}]}})),
            with(pod("unpulled", "true"), json!({"spec": {"containers": [{"image": "gantry.local/none:1", "imagePullPolicy": "Never"}]}})),
            with(pod("misnamed", "true"), json!({"spec": {"containers": [{"image": "Upper"}]}})),
            with(pod("unreachable", "true"), json!({"spec": {"containers": [{"image": "127.0.0.1:1/none:1"}]}})),
            with(pod("crashing", "exit 1"), json!({})),
        ] {
            node.create(pod).await;
        }
        let told = async |name: &str| terminated(&node.wait(name, ended).await, "main").unwrap();
        assert_eq!(told("message").await, (4, "Error".into(), "told\n".into()));
        assert_eq!(told("logged").await, (5, "Error".into(), "from the log\n".into()));
        let (code, reason, _) = told("hungry").await;
        assert_eq!((code, reason.as_str()), (137, "OOMKilled"));
        let late = node.wait("late", ended).await.status.unwrap();
        assert_eq!((late.phase.unwrap().as_str(), late.reason.unwrap().as_str()), ("Failed", "DeadlineExceeded"));
        let waits = async |name: &str, reason: &str| {
            let pod = node
                .wait(name, |pod| {
                    let state = status(pod, "main").and_then(|s| s.state.clone()?.waiting);
                    state.is_some_and(|w| w.reason.as_deref() == Some(reason))
                })
                .await;
            status(&pod, "main").unwrap().state.clone().unwrap().waiting.unwrap().message.unwrap_or_default()
        };
        let message = waits("unpulled", "ErrImageNeverPull").await;
        assert_eq!(message, "Container image \"gantry.local/none:1\" is not present with pull policy of Never");
        waits("misnamed", "InvalidImageName").await;
        let message = waits("unreachable", "ImagePullBackOff").await;
        assert!(message.starts_with("Back-off pulling image \"127.0.0.1:1/none:1\": ErrImagePull: "), "{message}");
        let message = waits("crashing", "CrashLoopBackOff").await;
        assert!(message.starts_with("back-off 10s restarting failed container=main pod=crashing_default("), "{message}");
        let events = node.events("crashing").await;
        assert!(events.iter().any(|(reason, _)| reason == "BackOff"), "{events:?}");
        let absent = node.wait("absent", |pod| status(pod, "main").is_some_and(|s| {
            s.state.as_ref().is_some_and(|s| s.terminated.is_some() || s.waiting.as_ref().and_then(|w| w.reason.as_deref()) == Some("RunContainerError"))
        })).await;
        let text = gantry_json::to_string(status(&absent, "main").unwrap()).unwrap();
        assert!(text.contains("/nothing") && text.contains("no such file or directory"), "{text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_pods_outlive_kubelet_and_runtime() {
    Node::with(async |node| {
        node.run(pod("stays", "trap 'exit 3' USR1; while true; do sleep 0.1; done")).await;
        node.run(with(
            pod("ends", "trap 'exit 4' USR1; while true; do sleep 0.1; done"),
            json!({"spec": {"restartPolicy": "Never"}}),
        ))
        .await;
        node.run(pod("goes", "sleep 1000")).await;
        let before = node.pods().list(&Default::default()).await.unwrap().items;
        node.restart_after(async |node| {
            let now = DeleteParams { grace_period_seconds: Some(1), ..Default::default() };
            node.pods().delete("goes", &now).await.unwrap();
            let new: k8s_openapi::api::core::v1::Pod =
                gantry_json::from_value(pod("comes", "sleep 1000")).unwrap();
            node.pods().create(&PostParams::default(), &new).await.unwrap();
        })
        .await;
        node.gone("goes").await;
        node.wait("comes", ready).await;
        for pod in before {
            let name = pod.metadata.name.as_deref().unwrap();
            if name != "goes" {
                let now = node.pods().get(name).await.unwrap();
                assert_eq!(status(&now, "main"), status(&pod, "main"), "{name}");
                assert!(ready(&now));
            }
        }
        // Both are watched as before.
        node.kubectl_prints(&["exec", "ends", "--", "kill", "-USR1", "1"]).await;
        node.kubectl_prints(&["exec", "stays", "--", "kill", "-USR1", "1"]).await;
        assert_eq!(phase(&node.wait("ends", ended).await), "Failed");
        let restarted = node
            .wait("stays", |pod| status(pod, "main").is_some_and(|s| s.restart_count == 1 && s.ready))
            .await;
        let last = status(&restarted, "main").unwrap().last_state.clone().unwrap().terminated.unwrap();
        assert_eq!(last.exit_code, 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_rotated() {
    let small =
        |config: &mut gantry_kubelet::Config| (config.log_max_bytes, config.log_max_files) = (1000, 3);
    Node::configured(small, async |node| {
        let script = "i=0; while true; do i=$((i+1)); echo line $i; usleep 2000; done";
        let pod = node.run(pod("talker", script)).await;
        let logs = node.dir.path().join(format!("logs/default_talker_{}/main", pod.metadata.uid.unwrap()));
        let names = || -> Vec<String> {
            let entries = std::fs::read_dir(&logs).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        };
        // Logs are measured when the kubelet starts, and every ten seconds.
        node.kubectl_prints(&["exec", "talker", "--", "sleep", "0.5"]).await;
        node.restart().await;
        node.wait_known(1).await;
        let rotated = node.kubectl_prints(&["exec", "talker", "--", "sleep", "0.5"]).await;
        assert_eq!(rotated, "");
        let mut names = names();
        names.sort();
        assert!(names.len() == 2 && names[0] == "0.log" && names[1].starts_with("0.log."), "{names:?}");
        let number = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
        let old = std::fs::read_to_string(logs.join(&names[1])).unwrap();
        let new = std::fs::read_to_string(logs.join("0.log")).unwrap();
        assert_eq!(
            number(old.lines().last().unwrap()) + 1,
            number(new.lines().next().unwrap()),
            "a line is lost"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_of_the_node_is_one_pods() {
    Node::with(async |node| {
        let port = json!({"spec": {"containers": [{"ports": [{"containerPort": 8080, "hostPort": 8080}]}]}});
        let serving = |name: &str| with(pod(name, "sleep 1000 & wait"), port.clone());
        node.run(serving("first")).await;
        node.create(serving("second")).await;
        let refused = node.wait("second", ended).await.status.unwrap();
        let why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        assert_eq!(
            (refused.phase.as_deref(), refused.reason.as_deref()),
            (Some("Failed"), Some("NodePorts"))
        );
        assert_eq!(refused.message.unwrap(), format!("Pod was rejected: {why}"));
        assert_eq!(node.event("second", "NodePorts").await, why);
        // Neither who was refused nor who is gone has the port.
        node.delete("first").await;
        node.run(serving("third")).await;
    })
    .await;
}
