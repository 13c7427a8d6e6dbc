//! The two services of the interface as traits.

use std::pin::Pin;

use async_trait::async_trait;
use futures::Stream;

use crate::{CriError, v1::*};

/// Container events, oldest first; the stream ends when the runtime goes away.
pub type EventStream = Pin<Box<dyn Stream<Item = Result<ContainerEventResponse, CriError>> + Send + 'static>>;

/// `RuntimeService` of CRI v1.
#[async_trait]
pub trait RuntimeService: Send + Sync {
    /// Name and versions of the runtime.
    async fn version(&self, request: VersionRequest) -> Result<VersionResponse, CriError>;

    /// Makes and starts a sandbox.
    async fn run_pod_sandbox(&self, request: RunPodSandboxRequest)
    -> Result<RunPodSandboxResponse, CriError>;

    /// Stops the sandbox and everything in it; idempotent.
    async fn stop_pod_sandbox(
        &self,
        request: StopPodSandboxRequest,
    ) -> Result<StopPodSandboxResponse, CriError>;

    /// Removes the sandbox and its containers; idempotent.
    async fn remove_pod_sandbox(
        &self,
        request: RemovePodSandboxRequest,
    ) -> Result<RemovePodSandboxResponse, CriError>;

    /// The sandbox's state and addresses.
    async fn pod_sandbox_status(
        &self,
        request: PodSandboxStatusRequest,
    ) -> Result<PodSandboxStatusResponse, CriError>;

    /// Sandboxes that match the filter.
    async fn list_pod_sandbox(
        &self,
        request: ListPodSandboxRequest,
    ) -> Result<ListPodSandboxResponse, CriError>;

    /// Makes a container in a sandbox.
    async fn create_container(
        &self,
        request: CreateContainerRequest,
    ) -> Result<CreateContainerResponse, CriError>;

    /// Starts a created container.
    async fn start_container(
        &self,
        request: StartContainerRequest,
    ) -> Result<StartContainerResponse, CriError>;

    /// Stops a container, by force after the timeout in seconds; idempotent.
    async fn stop_container(&self, request: StopContainerRequest) -> Result<StopContainerResponse, CriError>;

    /// Removes a container, by force when it runs; idempotent.
    async fn remove_container(
        &self,
        request: RemoveContainerRequest,
    ) -> Result<RemoveContainerResponse, CriError>;

    /// Changes the limits that a pod's containers have together.
    async fn update_pod_sandbox_resources(
        &self,
        request: UpdatePodSandboxResourcesRequest,
    ) -> Result<UpdatePodSandboxResourcesResponse, CriError>;

    /// Containers that match the filter.
    async fn list_containers(
        &self,
        request: ListContainersRequest,
    ) -> Result<ListContainersResponse, CriError>;

    /// The container's state.
    async fn container_status(
        &self,
        request: ContainerStatusRequest,
    ) -> Result<ContainerStatusResponse, CriError>;

    /// Changes a container's cgroup limits.
    async fn update_container_resources(
        &self,
        request: UpdateContainerResourcesRequest,
    ) -> Result<UpdateContainerResourcesResponse, CriError>;

    /// Opens the log file anew after a rotation.
    async fn reopen_container_log(
        &self,
        request: ReopenContainerLogRequest,
    ) -> Result<ReopenContainerLogResponse, CriError>;

    /// Runs a command in a container and returns its output.
    async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse, CriError>;

    /// Prepares an exec session; returns the URL to stream it on.
    async fn exec(&self, request: ExecRequest) -> Result<ExecResponse, CriError>;

    /// Prepares an attach session; returns the URL to stream it on.
    async fn attach(&self, request: AttachRequest) -> Result<AttachResponse, CriError>;

    /// Prepares port forwarding; returns the URL to stream it on.
    async fn port_forward(&self, request: PortForwardRequest) -> Result<PortForwardResponse, CriError>;

    /// A container's resource usage.
    async fn container_stats(
        &self,
        request: ContainerStatsRequest,
    ) -> Result<ContainerStatsResponse, CriError>;

    /// Resource usage of containers that match the filter.
    async fn list_container_stats(
        &self,
        request: ListContainerStatsRequest,
    ) -> Result<ListContainerStatsResponse, CriError>;

    /// A sandbox's resource usage.
    async fn pod_sandbox_stats(
        &self,
        request: PodSandboxStatsRequest,
    ) -> Result<PodSandboxStatsResponse, CriError>;

    /// Resource usage of sandboxes that match the filter.
    async fn list_pod_sandbox_stats(
        &self,
        request: ListPodSandboxStatsRequest,
    ) -> Result<ListPodSandboxStatsResponse, CriError>;

    /// Changes the runtime's configuration, the pod CIDR.
    async fn update_runtime_config(
        &self,
        request: UpdateRuntimeConfigRequest,
    ) -> Result<UpdateRuntimeConfigResponse, CriError>;

    /// Whether runtime and network are ready.
    async fn status(&self, request: StatusRequest) -> Result<StatusResponse, CriError>;

    /// The cgroup driver the runtime uses.
    async fn runtime_config(&self, request: RuntimeConfigRequest) -> Result<RuntimeConfigResponse, CriError>;

    /// Container and sandbox life-cycle events from now on.
    async fn get_container_events(&self, request: GetEventsRequest) -> Result<EventStream, CriError>;
}

/// `ImageService` of CRI v1.
#[async_trait]
pub trait ImageService: Send + Sync {
    /// Images that match the filter.
    async fn list_images(&self, request: ListImagesRequest) -> Result<ListImagesResponse, CriError>;

    /// One image; none when it is not present.
    async fn image_status(&self, request: ImageStatusRequest) -> Result<ImageStatusResponse, CriError>;

    /// Fetches an image; returns its id.
    async fn pull_image(&self, request: PullImageRequest) -> Result<PullImageResponse, CriError>;

    /// Removes an image; idempotent.
    async fn remove_image(&self, request: RemoveImageRequest) -> Result<RemoveImageResponse, CriError>;

    /// Usage of the image file system.
    async fn image_fs_info(&self, request: ImageFsInfoRequest) -> Result<ImageFsInfoResponse, CriError>;
}
