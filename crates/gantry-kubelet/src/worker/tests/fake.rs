//! The runtime and the API that the scenarios run against.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use gantry_cri::{Code, CriError, EventStream, ImageService, RuntimeService, v1::*};
use gantry_json::{Value, json};
use http_body_util::{BodyExt, Full};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::super::{Message, Worker};
use crate::{
    agent::{Agent, Handle},
    config::Config,
    events::Events,
    machine::Machine,
    objects::Cache,
};

/// Everything a scenario looks at.
pub struct World {
    state: Arc<State>,
    agent: Mutex<Arc<Agent>>,
    dir: tempfile::TempDir,
}

struct State {
    pod: watch::Sender<Value>,
    gone: watch::Sender<Option<Value>>,
    events: watch::Sender<Vec<(String, String)>>,
    runtime: Arc<FakeRuntime>,
}

#[derive(Default)]
struct FakeRuntime {
    calls: Mutex<Vec<String>>,
    sandboxes: Mutex<Vec<PodSandboxStatus>>,
    containers: Mutex<Vec<(String, ContainerStatus)>>,
    exit: Mutex<Option<i32>>,
    wake: Mutex<Option<mpsc::UnboundedSender<Message>>>,
    start: std::sync::OnceLock<tokio::time::Instant>,
}

impl FakeRuntime {
    fn call(&self, text: String) {
        self.calls.lock().push(text);
    }

    fn nanos(&self) -> i64 {
        1 + self.start.get_or_init(tokio::time::Instant::now).elapsed().as_nanos() as i64
    }
}

fn unused<T>() -> Result<T, CriError> {
    Err(CriError::new(Code::Unimplemented, "not part of the scenarios"))
}

#[async_trait]
impl RuntimeService for FakeRuntime {
    async fn version(&self, _: VersionRequest) -> Result<VersionResponse, CriError> {
        Ok(VersionResponse::default())
    }
    async fn run_pod_sandbox(&self, r: RunPodSandboxRequest) -> Result<RunPodSandboxResponse, CriError> {
        let config = r.config.unwrap_or_default();
        let attempt = config.metadata.as_ref().map_or(0, |m| m.attempt);
        self.call(format!("run sandbox {attempt}"));
        let id = format!("s{attempt}");
        self.sandboxes.lock().push(PodSandboxStatus {
            id: id.clone(),
            metadata: config.metadata,
            network: Some(PodSandboxNetworkStatus { ip: "10.42.0.2".into(), additional_ips: vec![] }),
            created_at: self.nanos(),
            labels: config.labels,
            ..Default::default()
        });
        Ok(RunPodSandboxResponse { pod_sandbox_id: id })
    }
    async fn stop_pod_sandbox(&self, _: StopPodSandboxRequest) -> Result<StopPodSandboxResponse, CriError> {
        self.call("stop sandbox".into());
        for s in self.sandboxes.lock().iter_mut() {
            s.state = PodSandboxState::SandboxNotready as i32;
        }
        Ok(StopPodSandboxResponse {})
    }
    async fn remove_pod_sandbox(
        &self,
        _: RemovePodSandboxRequest,
    ) -> Result<RemovePodSandboxResponse, CriError> {
        self.call("remove sandbox".into());
        self.sandboxes.lock().clear();
        Ok(RemovePodSandboxResponse {})
    }
    async fn pod_sandbox_status(
        &self,
        r: PodSandboxStatusRequest,
    ) -> Result<PodSandboxStatusResponse, CriError> {
        let status = self.sandboxes.lock().iter().find(|s| s.id == r.pod_sandbox_id).cloned();
        Ok(PodSandboxStatusResponse { status, ..Default::default() })
    }
    async fn list_pod_sandbox(&self, _: ListPodSandboxRequest) -> Result<ListPodSandboxResponse, CriError> {
        let items = self
            .sandboxes
            .lock()
            .iter()
            .map(|s| PodSandbox { id: s.id.clone(), ..Default::default() })
            .collect();
        Ok(ListPodSandboxResponse { items })
    }
    async fn create_container(&self, r: CreateContainerRequest) -> Result<CreateContainerResponse, CriError> {
        let config = r.config.unwrap_or_default();
        let metadata = config.metadata.unwrap_or_default();
        self.call(format!("create {} {}", metadata.name, metadata.attempt));
        let id = format!("{}-{}", metadata.name, metadata.attempt);
        let status = ContainerStatus {
            id: id.clone(),
            metadata: Some(metadata),
            created_at: self.nanos(),
            labels: config.labels,
            annotations: config.annotations,
            resources: Some(ContainerResources { linux: config.linux.and_then(|l| l.resources) }),
            ..Default::default()
        };
        self.containers.lock().push((r.pod_sandbox_id, status));
        Ok(CreateContainerResponse { container_id: id })
    }
    async fn start_container(&self, r: StartContainerRequest) -> Result<StartContainerResponse, CriError> {
        let now = self.nanos();
        let exit = *self.exit.lock();
        for (_, c) in self.containers.lock().iter_mut().filter(|(_, c)| c.id == r.container_id) {
            self.call(format!("start {}", c.id.replace('-', " ")));
            c.started_at = now;
            c.state = ContainerState::ContainerRunning as i32;
            if let Some(code) = exit {
                c.state = ContainerState::ContainerExited as i32;
                c.exit_code = code;
                c.finished_at = now;
                let wake = self.wake.lock();
                wake.as_ref().unwrap().send(Message::Wake).unwrap();
            }
        }
        Ok(StartContainerResponse {})
    }
    async fn stop_container(&self, r: StopContainerRequest) -> Result<StopContainerResponse, CriError> {
        for (_, c) in self.containers.lock().iter_mut().filter(|(_, c)| c.id == r.container_id) {
            let name = c.metadata.as_ref().map_or("", |m| m.name.as_str());
            self.call(format!("stop {name} {}", r.timeout));
            c.state = ContainerState::ContainerExited as i32;
            c.exit_code = 143;
        }
        Ok(StopContainerResponse {})
    }
    async fn remove_container(&self, r: RemoveContainerRequest) -> Result<RemoveContainerResponse, CriError> {
        self.call("remove container".into());
        self.containers.lock().retain(|(_, c)| c.id != r.container_id);
        Ok(RemoveContainerResponse {})
    }
    async fn list_containers(&self, _: ListContainersRequest) -> Result<ListContainersResponse, CriError> {
        let list = self.containers.lock();
        let make = |(sandbox, c): &(String, ContainerStatus)| Container {
            id: c.id.clone(),
            pod_sandbox_id: sandbox.clone(),
            ..Default::default()
        };
        Ok(ListContainersResponse { containers: list.iter().map(make).collect() })
    }
    async fn container_status(&self, r: ContainerStatusRequest) -> Result<ContainerStatusResponse, CriError> {
        let status =
            self.containers.lock().iter().find(|(_, c)| c.id == r.container_id).map(|(_, c)| c.clone());
        Ok(ContainerStatusResponse { status, ..Default::default() })
    }
    async fn update_container_resources(
        &self,
        r: UpdateContainerResourcesRequest,
    ) -> Result<UpdateContainerResourcesResponse, CriError> {
        let linux = r.linux.unwrap_or_default();
        self.call(format!("resize {} to {}", r.container_id, linux.cpu_shares));
        for (_, c) in self.containers.lock().iter_mut().filter(|(_, c)| c.id == r.container_id) {
            c.resources = Some(ContainerResources { linux: Some(linux.clone()) });
        }
        Ok(UpdateContainerResourcesResponse {})
    }
    async fn update_pod_sandbox_resources(
        &self,
        _: UpdatePodSandboxResourcesRequest,
    ) -> Result<UpdatePodSandboxResourcesResponse, CriError> {
        self.call("resize pod".into());
        Ok(UpdatePodSandboxResourcesResponse {})
    }
    async fn reopen_container_log(
        &self,
        _: ReopenContainerLogRequest,
    ) -> Result<ReopenContainerLogResponse, CriError> {
        unused()
    }
    async fn exec_sync(&self, _: ExecSyncRequest) -> Result<ExecSyncResponse, CriError> {
        unused()
    }
    async fn exec(&self, _: ExecRequest) -> Result<ExecResponse, CriError> {
        unused()
    }
    async fn attach(&self, _: AttachRequest) -> Result<AttachResponse, CriError> {
        unused()
    }
    async fn port_forward(&self, _: PortForwardRequest) -> Result<PortForwardResponse, CriError> {
        unused()
    }
    async fn container_stats(&self, _: ContainerStatsRequest) -> Result<ContainerStatsResponse, CriError> {
        unused()
    }
    async fn list_container_stats(
        &self,
        _: ListContainerStatsRequest,
    ) -> Result<ListContainerStatsResponse, CriError> {
        unused()
    }
    async fn pod_sandbox_stats(
        &self,
        _: PodSandboxStatsRequest,
    ) -> Result<PodSandboxStatsResponse, CriError> {
        unused()
    }
    async fn list_pod_sandbox_stats(
        &self,
        _: ListPodSandboxStatsRequest,
    ) -> Result<ListPodSandboxStatsResponse, CriError> {
        unused()
    }
    async fn update_runtime_config(
        &self,
        _: UpdateRuntimeConfigRequest,
    ) -> Result<UpdateRuntimeConfigResponse, CriError> {
        unused()
    }
    async fn status(&self, _: StatusRequest) -> Result<StatusResponse, CriError> {
        unused()
    }
    async fn runtime_config(&self, _: RuntimeConfigRequest) -> Result<RuntimeConfigResponse, CriError> {
        unused()
    }
    async fn get_container_events(&self, _: GetEventsRequest) -> Result<EventStream, CriError> {
        unused()
    }
}

#[async_trait]
impl ImageService for FakeRuntime {
    async fn list_images(&self, _: ListImagesRequest) -> Result<ListImagesResponse, CriError> {
        unused()
    }
    async fn image_status(&self, _: ImageStatusRequest) -> Result<ImageStatusResponse, CriError> {
        let image = Image { id: "sha256:1".into(), ..Default::default() };
        Ok(ImageStatusResponse { image: Some(image), ..Default::default() })
    }
    async fn pull_image(&self, _: PullImageRequest) -> Result<PullImageResponse, CriError> {
        unused()
    }
    async fn remove_image(&self, _: RemoveImageRequest) -> Result<RemoveImageResponse, CriError> {
        unused()
    }
    async fn image_fs_info(&self, _: ImageFsInfoRequest) -> Result<ImageFsInfoResponse, CriError> {
        unused()
    }
}

impl State {
    fn answer(&self, method: &str, path: &str, body: Value) -> Value {
        if path.ends_with("/events") {
            let text = |key: &str| body[key].as_str().unwrap_or_default().to_string();
            self.events.send_modify(|e| e.push((text("reason"), text("message"))));
            return body;
        }
        if method == "DELETE" {
            self.gone.send_replace(Some(body));
            return json!({"kind": "Status", "apiVersion": "v1", "status": "Success"});
        }
        self.pod.send_modify(|pod| {
            let version: u64 =
                pod["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).unwrap_or(0);
            pod["metadata"]["resourceVersion"] = json!((version + 1).to_string());
            for (key, value) in body["status"].as_object().into_iter().flatten() {
                match value {
                    Value::Array(list) if key == "conditions" => {
                        let mut all = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
                        all.retain(|c| !list.iter().any(|n| n["type"] == c["type"]));
                        all.extend(list.iter().cloned());
                        pod["status"]["conditions"] = Value::Array(all);
                    }
                    Value::Array(list) => {
                        let plain = list.iter().filter(|v| v.get("$patch").is_none()).cloned().collect();
                        pod["status"][key] = Value::Array(plain);
                    }
                    value => pod["status"][key] = value.clone(),
                }
            }
        });
        self.pod.borrow().clone()
    }
}

impl World {
    /// A world whose API has this pod.
    pub fn new(pod: Pod) -> Self {
        let state = Arc::new(State {
            pod: watch::channel(gantry_json::to_value(pod).unwrap()).0,
            gone: watch::channel(None).0,
            events: watch::channel(Vec::new()).0,
            runtime: Arc::default(),
        });
        let dir = tempfile::tempdir().unwrap();
        let agent = Mutex::new(Self::make_agent(&state, &dir));
        Self { state, agent, dir }
    }

    fn make_agent(state: &Arc<State>, dir: &tempfile::TempDir) -> Arc<Agent> {
        let api = state.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let data = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                let body = gantry_json::from_slice(&data).unwrap_or_default();
                let answer = api.answer(parts.method.as_str(), parts.uri.path(), body);
                Ok::<_, std::io::Error>(http::Response::new(Full::new(bytes::Bytes::from(
                    answer.to_string(),
                ))))
            }
        });
        let client = kube::Client::new(service, "default");
        let mut config = Config::new("node", [192, 168, 0, 1].into());
        config.root_dir = dir.path().join("kubelet");
        config.pod_logs_dir = dir.path().join("logs");
        let start = tokio::time::Instant::now();
        Arc::new(Agent {
            events: Events::start(client.clone(), "node".into()),
            config_maps: Cache::new(client.clone()),
            secrets: Cache::new(client.clone()),
            services: watch::channel(Some(Arc::default())).1,
            node: watch::channel(None).1,
            machine: Machine::default(),
            host_ips: vec!["192.168.0.1".into()],
            node_dns: DNSConfig::default(),
            clock: Arc::new(move || crate::backoff::after(jiff::Timestamp::UNIX_EPOCH, start.elapsed())),
            pressures: Default::default(),
            known_images: Default::default(),
            users: Default::default(),
            listed: Default::default(),
            pods: HashMap::new().into(),
            runtime: state.runtime.clone(),
            images: state.runtime.clone(),
            client,
            config,
        })
    }

    /// The agent.
    pub fn agent(&self) -> Arc<Agent> {
        self.agent.lock().clone()
    }

    /// A new agent over the same runtime and API.
    pub fn restart(&self) {
        *self.agent.lock() = Self::make_agent(&self.state, &self.dir);
    }

    /// Starts the pod's worker.
    pub fn spawn(&self) -> mpsc::UnboundedSender<Message> {
        let agent = self.agent();
        let pod: Arc<Pod> = Arc::new(gantry_json::from_value(self.state.pod.borrow().clone()).unwrap());
        let tx = Worker::spawn(agent.clone(), pod.clone(), None);
        *self.state.runtime.wake.lock() = Some(tx.clone());
        agent.pods.write().insert("u1".into(), Handle { tx: tx.clone(), pod, counts: true });
        tx
    }

    /// Containers end at once with this code.
    pub fn exit_with(&self, code: i32) {
        *self.state.runtime.exit.lock() = Some(code);
    }

    /// Waits until the API's pod is so.
    pub async fn wait(&self, mut so: impl FnMut(&Pod) -> bool) -> Pod {
        let mut rx = self.state.pod.subscribe();
        let parse = |v: &Value| gantry_json::from_value::<Pod>(v.clone()).unwrap();
        let known = rx.wait_for(|v| v.get("status").is_some() && so(&parse(v)));
        let limit = std::time::Duration::from_secs(3600);
        let value =
            tokio::time::timeout(limit, known).await.expect("the pod never became so").unwrap().clone();
        parse(&value)
    }

    /// Waits for an event.
    pub async fn wait_event(&self, reason: &str) {
        let mut rx = self.state.events.subscribe();
        rx.wait_for(|e| e.iter().any(|(r, _)| r == reason)).await.unwrap();
    }

    /// Events so far.
    pub fn events(&self) -> Vec<(String, String)> {
        self.state.events.borrow().clone()
    }

    /// Runtime calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.state.runtime.calls.lock().clone()
    }

    /// Replaces the API's pod.
    pub fn put(&self, pod: &Pod) {
        self.state.pod.send_replace(gantry_json::to_value(pod).unwrap());
    }

    /// Waits until the pod has been deleted and its worker is gone.
    pub async fn deleted(&self) {
        self.state.gone.subscribe().wait_for(|g| g.is_some()).await.unwrap();
        self.settle().await;
    }

    /// Options of the deletion.
    pub fn delete_options(&self) -> Value {
        self.state.gone.borrow().clone().unwrap_or_default()
    }

    /// Lets everything that can run, run: with paused time, time moves only when all wait.
    pub async fn settle(&self) {
        tokio::time::advance(std::time::Duration::ZERO).await;
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), std::future::pending::<()>()).await;
    }
}
