//! The CRI services over the runtime.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use gantry_cri::{
    Code, CriError, EventStream, ImageArchive, ImageService, ImportRequest, ImportResponse, RuntimeService,
    v1::*,
};

use crate::{
    container::{Container, phase_number},
    image::ImageRecord,
    runtime::Runtime,
    sandbox::{Sandbox, ready_state},
    streaming::{Session, exec_sync},
};

type Answer<T> = Result<T, CriError>;

/// The names of the one way in which containers run here: a RuntimeClass needs one to name.
const HANDLERS: [&str; 2] = ["", "gantry"];

fn matches(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

impl Runtime {
    fn sandboxes(&self, keep: impl Fn(&Sandbox) -> bool) -> Vec<Arc<Sandbox>> {
        self.inner.sandboxes.lock().values().filter(|s| keep(s)).cloned().collect()
    }

    fn containers(&self, keep: impl Fn(&Container) -> bool) -> Vec<Arc<Container>> {
        self.inner.containers.lock().values().filter(|c| keep(c)).cloned().collect()
    }

    fn running(&self, id: &str) -> Answer<Arc<Container>> {
        let container = self.inner.container(id)?;
        if container.state.lock().phase != crate::state::Phase::Running {
            return Err(CriError::precondition(format_args!("container {id} is not running")));
        }
        Ok(container)
    }
}

#[async_trait]
impl RuntimeService for Runtime {
    async fn version(&self, _: VersionRequest) -> Answer<VersionResponse> {
        Ok(VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "gantry".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self, _: StatusRequest) -> Answer<StatusResponse> {
        let condition = |kind: &str, problem: Option<String>| RuntimeCondition {
            r#type: kind.into(),
            status: problem.is_none(),
            reason: if problem.is_some() { format!("{kind}Not") } else { String::new() },
            message: problem.unwrap_or_default(),
        };
        Ok(StatusResponse {
            status: Some(RuntimeStatus {
                conditions: vec![
                    condition("RuntimeReady", None),
                    condition("NetworkReady", self.inner.config.network.not_ready()),
                ],
            }),
            runtime_handlers: HANDLERS
                .map(|name| RuntimeHandler {
                    name: name.into(),
                    features: Some(RuntimeHandlerFeatures {
                        recursive_read_only_mounts: true,
                        user_namespaces: crate::users::are_supported(),
                    }),
                })
                .into(),
            features: Some(RuntimeFeatures { supplemental_groups_policy: true }),
            ..Default::default()
        })
    }

    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest) -> Answer<RunPodSandboxResponse> {
        let config = request.config.ok_or_else(|| CriError::invalid("sandbox config is missing"))?;
        if !HANDLERS.contains(&request.runtime_handler.as_str()) {
            let handler = request.runtime_handler;
            return Err(CriError::invalid(format_args!("no runtime for {handler:?} is configured")));
        }
        Ok(RunPodSandboxResponse { pod_sandbox_id: self.inner.run_sandbox(config).await? })
    }

    async fn stop_pod_sandbox(&self, request: StopPodSandboxRequest) -> Answer<StopPodSandboxResponse> {
        self.inner.stop_sandbox(&request.pod_sandbox_id).await?;
        Ok(StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(&self, request: RemovePodSandboxRequest) -> Answer<RemovePodSandboxResponse> {
        self.inner.remove_sandbox(&request.pod_sandbox_id).await?;
        Ok(RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(&self, request: PodSandboxStatusRequest) -> Answer<PodSandboxStatusResponse> {
        let sandbox = self.inner.sandbox(&request.pod_sandbox_id)?;
        let containers = self.inner.containers_of(&sandbox.id);
        let mut info = BTreeMap::new();
        if request.verbose && sandbox.has_network() {
            info.insert("netns".to_owned(), self.inner.places(&sandbox.id).netns.display().to_string());
        }
        Ok(PodSandboxStatusResponse {
            status: Some(self.inner.sandbox_status(&sandbox)),
            info,
            containers_statuses: containers.iter().map(|c| self.inner.container_status(c)).collect(),
            timestamp: crate::state::now(),
        })
    }

    async fn list_pod_sandbox(&self, request: ListPodSandboxRequest) -> Answer<ListPodSandboxResponse> {
        let filter = request.filter.unwrap_or_default();
        let keep = |s: &Sandbox| {
            s.id.starts_with(&filter.id)
                && filter.state.as_ref().is_none_or(|f| f.state == ready_state(s.state.lock().ready))
                && matches(&filter.label_selector, &s.config.labels)
        };
        let item = |s: Arc<Sandbox>| {
            let state = s.state.lock().clone();
            PodSandbox {
                id: s.id.clone(),
                metadata: s.config.metadata.clone(),
                state: ready_state(state.ready),
                created_at: state.created_at,
                labels: s.config.labels.clone(),
                annotations: s.config.annotations.clone(),
                runtime_handler: String::new(),
            }
        };
        Ok(ListPodSandboxResponse { items: self.sandboxes(keep).into_iter().map(item).collect() })
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: UpdatePodSandboxResourcesRequest,
    ) -> Answer<UpdatePodSandboxResourcesResponse> {
        let sandbox = self.inner.sandbox(&request.pod_sandbox_id)?;
        if let Some(resources) = &request.resources {
            self.inner.resize_pod(&sandbox, resources)?;
        }
        Ok(UpdatePodSandboxResourcesResponse {})
    }

    async fn create_container(&self, request: CreateContainerRequest) -> Answer<CreateContainerResponse> {
        Ok(CreateContainerResponse { container_id: self.inner.create_container(request).await? })
    }

    async fn start_container(&self, request: StartContainerRequest) -> Answer<StartContainerResponse> {
        self.inner.start_container(&request.container_id).await?;
        Ok(StartContainerResponse {})
    }

    async fn stop_container(&self, request: StopContainerRequest) -> Answer<StopContainerResponse> {
        if let Ok(container) = self.inner.container(&request.container_id) {
            let timeout = Duration::from_secs(request.timeout.max(0) as u64);
            self.inner.stop_container(&container, timeout).await?;
        }
        Ok(StopContainerResponse {})
    }

    async fn remove_container(&self, request: RemoveContainerRequest) -> Answer<RemoveContainerResponse> {
        if let Ok(container) = self.inner.container(&request.container_id) {
            self.inner.remove_container(&container).await?;
        }
        Ok(RemoveContainerResponse {})
    }

    async fn list_containers(&self, request: ListContainersRequest) -> Answer<ListContainersResponse> {
        let filter = request.filter.unwrap_or_default();
        let keep = |c: &Container| {
            c.record.id.starts_with(&filter.id)
                && c.record.sandbox_id.starts_with(&filter.pod_sandbox_id)
                && filter.state.as_ref().is_none_or(|f| f.state == phase_number(c.state.lock().phase))
                && matches(&filter.label_selector, &c.config.labels)
        };
        let item = |c: Arc<crate::container::Container>| {
            let state = c.state.lock().clone();
            gantry_cri::v1::Container {
                id: c.record.id.clone(),
                pod_sandbox_id: c.record.sandbox_id.clone(),
                metadata: c.config.metadata.clone(),
                image: c.config.image.clone(),
                image_ref: c.record.image_ref.clone(),
                state: phase_number(state.phase),
                created_at: state.created_at,
                labels: c.config.labels.clone(),
                annotations: c.config.annotations.clone(),
                image_id: c.record.image_id.clone(),
            }
        };
        Ok(ListContainersResponse { containers: self.containers(keep).into_iter().map(item).collect() })
    }

    async fn container_status(&self, request: ContainerStatusRequest) -> Answer<ContainerStatusResponse> {
        let container = self.inner.container(&request.container_id)?;
        let mut info = BTreeMap::new();
        if request.verbose {
            info.insert("pid".to_owned(), container.state.lock().pid.to_string());
        }
        Ok(ContainerStatusResponse { status: Some(self.inner.container_status(&container)), info })
    }

    async fn update_container_resources(
        &self,
        request: UpdateContainerResourcesRequest,
    ) -> Answer<UpdateContainerResourcesResponse> {
        let container = self.inner.container(&request.container_id)?;
        self.inner.update_resources(&container, &request.linux.unwrap_or_default())?;
        Ok(UpdateContainerResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: ReopenContainerLogRequest,
    ) -> Answer<ReopenContainerLogResponse> {
        let container = self.running(&request.container_id)?;
        let shim = self.inner.shim(&container.record.sandbox_id);
        shim.call(crate::spec::Request::ReopenLog { id: container.record.id.clone() }, Vec::new()).await?;
        Ok(ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: ExecSyncRequest) -> Answer<ExecSyncResponse> {
        let container = self.running(&request.container_id)?;
        let shim = self.inner.shim(&container.record.sandbox_id);
        let timeout = (request.timeout > 0).then(|| Duration::from_secs(request.timeout as u64));
        exec_sync(&shim, &container.record.id, request.cmd, timeout).await
    }

    async fn exec(&self, request: ExecRequest) -> Answer<ExecResponse> {
        let container = self.running(&request.container_id)?;
        if request.tty && request.stderr {
            return Err(CriError::invalid("tty and stderr cannot both be true"));
        }
        let id = container.record.id.clone();
        let session = Session::Exec { id, sandbox: container.record.sandbox_id.clone(), request };
        Ok(ExecResponse { url: self.inner.streaming.prepare("exec", session) })
    }

    async fn attach(&self, request: AttachRequest) -> Answer<AttachResponse> {
        let container = self.running(&request.container_id)?;
        let id = container.record.id.clone();
        let session = Session::Attach { id, sandbox: container.record.sandbox_id.clone(), request };
        Ok(AttachResponse { url: self.inner.streaming.prepare("attach", session) })
    }

    async fn port_forward(&self, request: PortForwardRequest) -> Answer<PortForwardResponse> {
        let sandbox = self.inner.sandbox(&request.pod_sandbox_id)?;
        if !sandbox.state.lock().ready {
            return Err(CriError::precondition(format_args!("sandbox {} is not ready", sandbox.id)));
        }
        let netns = sandbox.has_network().then(|| self.inner.places(&sandbox.id).netns);
        let session = Session::PortForward { netns };
        Ok(PortForwardResponse { url: self.inner.streaming.prepare("portforward", session) })
    }

    async fn container_stats(&self, request: ContainerStatsRequest) -> Answer<ContainerStatsResponse> {
        let container = self.inner.container(&request.container_id)?;
        Ok(ContainerStatsResponse { stats: Some(self.inner.container_stats(&container)) })
    }

    async fn list_container_stats(
        &self,
        request: ListContainerStatsRequest,
    ) -> Answer<ListContainerStatsResponse> {
        let filter = request.filter.unwrap_or_default();
        let found = self.containers(|c| {
            c.record.id.starts_with(&filter.id)
                && c.record.sandbox_id.starts_with(&filter.pod_sandbox_id)
                && matches(&filter.label_selector, &c.config.labels)
                && c.state.lock().phase == crate::state::Phase::Running
        });
        Ok(ListContainerStatsResponse {
            stats: found.iter().map(|c| self.inner.container_stats(c)).collect(),
        })
    }

    async fn pod_sandbox_stats(&self, request: PodSandboxStatsRequest) -> Answer<PodSandboxStatsResponse> {
        let sandbox = self.inner.sandbox(&request.pod_sandbox_id)?;
        Ok(PodSandboxStatsResponse { stats: Some(self.inner.sandbox_stats(&sandbox)) })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: ListPodSandboxStatsRequest,
    ) -> Answer<ListPodSandboxStatsResponse> {
        let filter = request.filter.unwrap_or_default();
        let found = self.sandboxes(|s| {
            s.id.starts_with(&filter.id)
                && matches(&filter.label_selector, &s.config.labels)
                && s.state.lock().ready
        });
        Ok(ListPodSandboxStatsResponse { stats: found.iter().map(|s| self.inner.sandbox_stats(s)).collect() })
    }

    async fn update_runtime_config(
        &self,
        _: UpdateRuntimeConfigRequest,
    ) -> Answer<UpdateRuntimeConfigResponse> {
        Ok(UpdateRuntimeConfigResponse {})
    }

    async fn runtime_config(&self, _: RuntimeConfigRequest) -> Answer<RuntimeConfigResponse> {
        let linux = LinuxRuntimeConfiguration { cgroup_driver: CgroupDriver::Cgroupfs as i32 };
        Ok(RuntimeConfigResponse { linux: Some(linux) })
    }

    async fn get_container_events(&self, _: GetEventsRequest) -> Answer<EventStream> {
        let receiver = self.inner.events.subscribe();
        let stream = futures::stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((Ok(event), receiver)),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                    let message = format!("{missed} container events were missed");
                    Some((Err(CriError::new(Code::Unavailable, message)), receiver))
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => None,
            }
        });
        Ok(stream.boxed())
    }
}

fn image(record: ImageRecord) -> Image {
    let user = record.defaults.user.split(':').next().unwrap_or_default().to_owned();
    let uid = if user.is_empty() { Some(0) } else { user.parse().ok() };
    Image {
        spec: Some(ImageSpec { image: record.id.clone(), ..Default::default() }),
        id: record.id,
        repo_tags: record.tags.into_iter().collect(),
        repo_digests: record.digests.into_iter().collect(),
        size: record.size,
        uid: uid.map(|value| Int64Value { value }),
        username: if uid.is_some() { String::new() } else { user },
        pinned: false,
    }
}

fn named(spec: Option<ImageSpec>) -> Answer<String> {
    match spec.map(|s| s.image) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(CriError::invalid("image is missing")),
    }
}

#[async_trait]
impl ImageService for Runtime {
    async fn list_images(&self, request: ListImagesRequest) -> Answer<ListImagesResponse> {
        let wanted = request.filter.and_then(|f| f.image).map(|i| i.image).filter(|i| !i.is_empty());
        let records = match wanted {
            Some(name) => self.inner.images.find(&name).into_iter().collect(),
            None => self.inner.images.list(),
        };
        Ok(ListImagesResponse { images: records.into_iter().map(image).collect() })
    }

    async fn image_status(&self, request: ImageStatusRequest) -> Answer<ImageStatusResponse> {
        let found = self.inner.images.find(&named(request.image)?);
        Ok(ImageStatusResponse { image: found.map(image), info: BTreeMap::new() })
    }

    async fn pull_image(&self, request: PullImageRequest) -> Answer<PullImageResponse> {
        let name = named(request.image)?;
        let record = self.inner.images.pull(&name, request.auth.as_ref()).await?;
        Ok(PullImageResponse { image_ref: record.id })
    }

    async fn remove_image(&self, request: RemoveImageRequest) -> Answer<RemoveImageResponse> {
        let name = named(request.image)?;
        if self.inner.images.remove(&name)? {
            let inner = self.inner.clone();
            let removed = tokio::task::spawn_blocking(move || {
                inner.images.collect_garbage(&inner.layers_in_use());
            });
            removed.await.map_err(CriError::internal)?;
        }
        Ok(RemoveImageResponse {})
    }

    async fn image_fs_info(&self, _: ImageFsInfoRequest) -> Answer<ImageFsInfoResponse> {
        let usage = self.inner.image_usage();
        Ok(ImageFsInfoResponse { image_filesystems: vec![usage.clone()], container_filesystems: vec![usage] })
    }
}

#[async_trait]
impl ImageArchive for Runtime {
    async fn import(&self, request: ImportRequest) -> Answer<ImportResponse> {
        let records = self.image_import(std::path::Path::new(&request.path)).await?;
        let names = records.into_iter().flat_map(|record| match record.tags.is_empty() {
            true => vec![record.id],
            false => record.tags.into_iter().collect(),
        });
        Ok(ImportResponse { images: names.collect() })
    }
}
