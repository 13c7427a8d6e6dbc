//! A node of its own for each test: API server, kubelet and runtime with real containers, removed with
//! everything they made, also when the test fails.

use std::{
    ffi::OsString,
    future::Future,
    net::{IpAddr, Ipv4Addr},
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt};
use gantry_cri::ImageService;
use gantry_json::{Value, json};
use gantry_kubelet::{Config, Kubelet};
use gantry_runtime::{NoNetwork, Runtime, RuntimeConfig};
use gantry_testing::{Pair, TestServer, User};
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Event, Pod, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
    runtime::watcher,
};
use tokio::{io::AsyncReadExt, net::UnixListener, process::Command};
use tokio_util::sync::CancellationToken;

/// The node's name.
pub const NODE: &str = "node-1";
/// The demo image that all containers run from.
pub const IMAGE: &str = "gantry.local/busybox:1";

/// The node under test.
pub struct Node {
    /// Its API server.
    pub server: TestServer,
    /// An administrator's client.
    pub client: Client,
    /// Directory of the test.
    pub dir: tempfile::TempDir,
    /// Port of the node's API.
    pub port: u16,
    runtime: Runtime,
    runtime_config: RuntimeConfig,
    kubelet_config: Config,
    running: Option<(Kubelet, CancellationToken)>,
}

/// Waits at most half a minute.
pub async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(30), work).await;
    waited.unwrap_or_else(|_| panic!("{what}: took too long"))
}

/// A pod with one container that runs a shell script.
pub fn pod(name: &str, script: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "nodeName": NODE,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "containers": [container("main", script)],
        },
    })
}

/// A container that runs a shell script.
pub fn container(name: &str, script: &str) -> Value {
    json!({"name": name, "image": IMAGE, "command": ["sh", "-c", script]})
}

/// Adds to an object, at any depth.
pub fn with(mut object: Value, more: Value) -> Value {
    fn merge(into: &mut Value, more: Value) {
        match (into, more) {
            (Value::Object(into), Value::Object(more)) => {
                for (key, value) in more {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
            (Value::Array(into), Value::Array(more)) if more.len() <= into.len() => {
                into.iter_mut().zip(more).for_each(|(into, more)| merge(into, more));
            }
            (into, more) => *into = more,
        }
    }
    merge(&mut object, more);
    object
}

/// The status of a container, of whichever list.
pub fn status<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses]
        .into_iter()
        .flatten()
        .flatten()
        .find(|status| status.name == container)
}

/// The pod's phase.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod is ready.
pub fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The pod has ended.
pub fn ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

impl Node {
    /// Runs a test on a new node.
    pub async fn with(test: impl AsyncFnOnce(&mut Node)) {
        Self::configured(|_| {}, test).await;
    }

    /// Runs a test on a new node with settings of its own.
    pub async fn configured(configure: impl FnOnce(&mut Config), test: impl AsyncFnOnce(&mut Node)) {
        let dir = tempfile::Builder::new().prefix("gantry-node-").tempdir().unwrap();
        let name = dir.path().file_name().unwrap().to_string_lossy().into_owned();
        let cgroup_root = format!("/kubepods-{name}");
        let server = TestServer::start().await.unwrap();
        let client = server.client();
        prepare(&server, &client).await;
        let runtime_config = RuntimeConfig {
            root: dir.path().join("runtime"),
            run: dir.path().join("run"),
            cgroup_root: cgroup_root.clone(),
            network: Arc::new(NoNetwork),
            shim_command: helper("shim"),
            unpack_command: helper("unpack"),
        };
        let runtime = Runtime::open(runtime_config.clone()).await.unwrap();
        let archive = images().join("busybox.tar");
        let imported = runtime.image_import(&archive).await;
        imported.unwrap_or_else(|e| panic!("{e}: build it with `cargo run -p xtask -- images`"));
        let serving = server.authority.issue(&format!("system:node:{NODE}"), &["system:nodes"]).unwrap();
        let port = gantry_testing::free_port().unwrap();
        let mut kubelet_config = Config {
            root_dir: dir.path().join("kubelet"),
            pod_logs_dir: dir.path().join("logs"),
            address: Ipv4Addr::LOCALHOST.into(),
            port,
            serving_cert: serving.certificate.into(),
            serving_key: serving.key.into(),
            client_ca: server.authority.certificate().into(),
            cgroup_root,
            // Tests run on disks that builds have filled.
            eviction_hard: "memory.available<100Mi".parse().unwrap(),
            image_gc_percent: (100, 80),
            ..Config::new(NODE, IpAddr::V4(Ipv4Addr::LOCALHOST))
        };
        configure(&mut kubelet_config);
        let mut node =
            Node { server, client, dir, port, runtime, runtime_config, kubelet_config, running: None };
        node.start().await;
        let result = AssertUnwindSafe(test(&mut node)).catch_unwind().await;
        node.stop().await;
        node.runtime.remove_all_pods().await;
        node.runtime.remove_cgroups();
        unmount_below(node.dir.path());
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    }

    async fn start(&mut self) {
        let shutdown = CancellationToken::new();
        // As an external kubelet would: over the runtime's socket.
        let socket = self.dir.path().join("cri.sock");
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        tokio::spawn(gantry_cri::server::serve(Arc::new(self.runtime.clone()), listener, shutdown.clone()));
        let cri = Arc::new(gantry_cri::client::Client::connect(&socket).unwrap());
        let user = User::new(format!("system:node:{NODE}"), ["system:nodes"]);
        let client = self.server.client_as(user);
        let config = self.kubelet_config.clone();
        let kubelet = Kubelet::start(client, cri.clone(), cri, config, shutdown.clone()).await.unwrap();
        self.running = Some((kubelet, shutdown));
    }

    /// Waits until the node is known to the API.
    pub async fn kubelet_is_registered(&self) {
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(self.client.clone());
        let mut stream = watcher::watch_object(nodes, NODE).boxed();
        within("the node's registration", async {
            while !matches!(stream.next().await.expect("a watch goes on"), Ok(Some(_))) {}
        })
        .await;
    }

    /// Waits until the kubelet knows so many pods.
    pub async fn wait_known(&self, pods: usize) {
        let (kubelet, _) = self.running.as_ref().expect("the kubelet runs");
        within("the pods' take-over", async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            while kubelet.pod_count() < pods {
                tick.tick().await;
            }
        })
        .await;
    }

    async fn stop(&mut self) {
        if let Some((kubelet, shutdown)) = self.running.take() {
            shutdown.cancel();
            within("the kubelet's end", kubelet.join()).await;
        }
    }

    /// Ends kubelet and runtime and starts both anew.
    pub async fn restart(&mut self) {
        self.restart_after(async |_| {}).await;
    }

    /// As [`Node::restart`], with something done while neither runs.
    pub async fn restart_after(&mut self, meanwhile: impl AsyncFnOnce(&Node)) {
        self.stop().await;
        meanwhile(self).await;
        self.runtime = Runtime::open(self.runtime_config.clone()).await.unwrap();
        self.start().await;
    }

    /// Changes settings; they count from the next start on.
    pub fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.kubelet_config);
    }

    /// Imports a demo image.
    pub async fn import(&self, name: &str) {
        let imported = self.runtime.image_import(&images().join(format!("{name}.tar"))).await;
        imported.unwrap_or_else(|e| panic!("{e}: build it with `cargo run -p xtask -- images`"));
    }

    /// Names of the images on the node.
    pub async fn images(&self) -> Vec<String> {
        let list = self.runtime.list_images(Default::default()).await.unwrap().images;
        list.into_iter().flat_map(|image| image.repo_tags).collect()
    }

    /// A file of a group of the pod's containers: of the pod's own, or of its one container's.
    pub fn cgroup_file(
        &self,
        pod: &Pod,
        of_container: bool,
        unified: (&str, &str),
        old: (&str, &str),
    ) -> String {
        let is_unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let (controller, file) = if is_unified { unified } else { old };
        let class = match pod.status.as_ref().and_then(|s| s.qos_class.as_deref()) {
            Some("Burstable") => "burstable/",
            Some("BestEffort") => "besteffort/",
            _ => "",
        };
        let root = self.cgroup_root().trim_start_matches('/');
        let uid = pod.metadata.uid.as_deref().unwrap();
        let mut dir = Path::new("/sys/fs/cgroup").join(controller).join(format!("{root}/{class}pod{uid}"));
        if of_container {
            let below = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
            dir = below.into_iter().find(|path| path.is_dir()).expect("the container's group");
        }
        let path = dir.join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim().to_owned()
    }

    /// The cgroup above those of its pods.
    pub fn cgroup_root(&self) -> &str {
        &self.kubelet_config.cgroup_root
    }

    /// The API of pods.
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod.
    pub async fn create(&self, pod: Value) -> Pod {
        let pod: Pod = gantry_json::from_value(pod).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    /// Creates a pod and waits until it is ready.
    pub async fn run(&self, pod: Value) -> Pod {
        let name = self.create(pod).await.metadata.name.unwrap();
        self.wait(&name, ready).await
    }

    /// Creates a pod, waits for its end and returns its log.
    pub async fn output(&self, pod: Value) -> String {
        let pod = with(pod, json!({"spec": {"restartPolicy": "Never"}}));
        let name = self.create(pod).await.metadata.name.unwrap();
        let pod = self.wait(&name, ended).await;
        assert_eq!(phase(&pod), "Succeeded", "{:#?}", pod.status);
        self.log(&name, "main").await
    }

    /// Waits until a pod is as it should be.
    pub async fn wait(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let mut stream = watcher::watch_object(self.pods(), name).boxed();
        let mut last = None;
        let found = async {
            loop {
                let next = stream.next().await.expect("a watch goes on");
                if let Ok(Some(pod)) = next {
                    if wanted(&pod) {
                        return pod;
                    }
                    last = Some(pod);
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(30), found).await {
            Ok(pod) => pod,
            Err(_) => {
                let events = self.events(name).await;
                panic!(
                    "pod {name} is not as it should be: {:#?}\n{events:#?}",
                    last.and_then(|pod| pod.status)
                )
            }
        }
    }

    /// Deletes a pod and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
        self.gone(name).await;
    }

    /// Waits until a pod is gone.
    pub async fn gone(&self, name: &str) {
        let mut stream = watcher::watch_object(self.pods(), name).boxed();
        within("a pod's end", async {
            while !matches!(stream.next().await.expect("a watch goes on"), Ok(None)) {}
        })
        .await;
    }

    /// Reasons and messages of the events about a pod, as they were first written.
    pub async fn events(&self, name: &str) -> Vec<(String, String)> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let of = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let mut events = api.list(&of).await.unwrap().items;
        events.sort_by_key(|event| event.metadata.resource_version.clone());
        let text = |text: Option<String>| text.unwrap_or_default();
        events.into_iter().map(|event| (text(event.reason), text(event.message))).collect()
    }

    /// Waits for an event about a pod and returns its message.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let config =
            watcher::Config::default().fields(&format!("involvedObject.name={name},reason={reason}"));
        let mut stream = watcher::watcher(api, config).boxed();
        within(&format!("event {reason} of {name}"), async {
            loop {
                let next = stream.next().await.expect("a watch goes on");
                if let Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) = next {
                    return event.message.unwrap_or_default();
                }
            }
        })
        .await
    }

    /// A container's log, from the node's API.
    pub async fn log(&self, pod: &str, container: &str) -> String {
        self.read(&format!("/containerLogs/default/{pod}/{container}")).await
    }

    /// A container's log once it is long enough, read as it is written.
    pub async fn log_until(&self, pod: &str, container: &str, enough: impl Fn(&str) -> bool) -> String {
        let path = format!("/containerLogs/default/{pod}/{container}?follow=true");
        let mut child = self.curl_command(&self.as_user(&self.server.admin), &path).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut log = String::new();
        let mut part = [0; 4096];
        within("a log", async {
            while !enough(&log) {
                let length = output.read(&mut part).await.unwrap();
                assert!(length > 0, "the log ends: {log}");
                log.push_str(&String::from_utf8_lossy(&part[..length]));
            }
        })
        .await;
        log
    }

    /// Reads from the node's API as an administrator.
    pub async fn read(&self, path: &str) -> String {
        let (code, text) = self.curl(&self.as_user(&self.server.admin), path).await;
        assert_eq!(code, 200, "{path}: {text}");
        text
    }

    /// Options of curl that show a certificate.
    pub fn as_user(&self, pair: &Pair) -> Vec<String> {
        let hash =
            |text: &str| text.bytes().fold(0u64, |n, byte| n.wrapping_mul(31).wrapping_add(byte.into()));
        let file = self.dir.path().join(format!("client-{:x}.pem", hash(&pair.key)));
        std::fs::write(&file, pair.certificate.clone() + &pair.key).unwrap();
        vec!["--cert".into(), file.display().to_string()]
    }

    /// curl on a path of the node's API.
    pub fn curl_command(&self, options: &[String], path: &str) -> Command {
        let ca = self.dir.path().join("ca.pem");
        std::fs::write(&ca, self.server.authority.certificate()).unwrap();
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--no-buffer", "--cacert"])
            .arg(ca)
            .args(options)
            .arg(format!("https://127.0.0.1:{}{path}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Status code and body of a request to the node's API.
    pub async fn curl(&self, options: &[String], path: &str) -> (u16, String) {
        let mut command = self.curl_command(options, path);
        let output = within(path, command.args(["--write-out", "\n%{http_code}"]).output()).await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, code) = text.rsplit_once('\n').unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{path}: {errors}");
        (code.parse().unwrap(), body.to_owned())
    }

    /// kubectl as an administrator.
    pub fn kubectl(&self, words: &[&str]) -> Command {
        let file = self.dir.path().join("kubeconfig");
        let data = |text: &str| {
            use base64::{Engine, engine::general_purpose::STANDARD};
            STANDARD.encode(text)
        };
        let admin = &self.server.admin;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.server.url,
                "certificate-authority-data": data(&self.server.authority.certificate())}}],
            "users": [{"name": "test", "user": {"client-certificate-data": data(&admin.certificate),
                "client-key-data": data(&admin.key)}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/kubectl");
        let mut command = Command::new(tools);
        command
            .env("KUBECONFIG", file)
            .env("KUBECACHEDIR", self.dir.path().join("cache"))
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// What kubectl prints when it succeeds.
    pub async fn kubectl_prints(&self, words: &[&str]) -> String {
        let output = within(&words.join(" "), self.kubectl(words).output()).await;
        let output = output.unwrap_or_else(|e| panic!("kubectl: {e}: run hack/packages.sh"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {}: {errors}", words.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What controllers would make: the default account and the cluster's certificate.
async fn prepare(server: &TestServer, client: &Client) {
    let account: ServiceAccount = gantry_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    accounts.create(&PostParams::default(), &account).await.unwrap();
    let map: ConfigMap = gantry_json::from_value(
        json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": server.authority.certificate()}}),
    )
    .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    maps.create(&PostParams::default(), &map).await.unwrap();
}

fn images() -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images");
    std::env::var_os("GANTRY_IMAGES").map_or(default, PathBuf::from)
}

/// The example that runs the runtime's own processes stands beside this test's directory.
fn helper(verb: &str) -> Vec<OsString> {
    let this = std::env::current_exe().unwrap();
    let program = this.ancestors().nth(2).unwrap().join("examples/runtime-helper");
    assert!(program.exists(), "{}: build it with `cargo build --examples`", program.display());
    vec![program.into(), verb.into()]
}

/// Memory volumes of pods that were not deleted.
fn unmount_below(dir: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for path in mounts.lines().filter_map(|line| line.split(' ').nth(4)) {
        if Path::new(path).starts_with(dir) {
            let _ = nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}
