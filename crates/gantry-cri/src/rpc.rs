//! The calls of the interface, once, for client and server: a macro that hands each method, its wire
//! name and its messages to another macro.

macro_rules! with_calls {
    ($runtime:ident, $image:ident) => {
        $runtime! {
            version "Version" VersionRequest VersionResponse;
            run_pod_sandbox "RunPodSandbox" RunPodSandboxRequest RunPodSandboxResponse;
            stop_pod_sandbox "StopPodSandbox" StopPodSandboxRequest StopPodSandboxResponse;
            remove_pod_sandbox "RemovePodSandbox" RemovePodSandboxRequest RemovePodSandboxResponse;
            pod_sandbox_status "PodSandboxStatus" PodSandboxStatusRequest PodSandboxStatusResponse;
            list_pod_sandbox "ListPodSandbox" ListPodSandboxRequest ListPodSandboxResponse;
            update_pod_sandbox_resources "UpdatePodSandboxResources" UpdatePodSandboxResourcesRequest UpdatePodSandboxResourcesResponse;
            create_container "CreateContainer" CreateContainerRequest CreateContainerResponse;
            start_container "StartContainer" StartContainerRequest StartContainerResponse;
            stop_container "StopContainer" StopContainerRequest StopContainerResponse;
            remove_container "RemoveContainer" RemoveContainerRequest RemoveContainerResponse;
            list_containers "ListContainers" ListContainersRequest ListContainersResponse;
            container_status "ContainerStatus" ContainerStatusRequest ContainerStatusResponse;
            update_container_resources "UpdateContainerResources" UpdateContainerResourcesRequest UpdateContainerResourcesResponse;
            reopen_container_log "ReopenContainerLog" ReopenContainerLogRequest ReopenContainerLogResponse;
            exec_sync "ExecSync" ExecSyncRequest ExecSyncResponse;
            exec "Exec" ExecRequest ExecResponse;
            attach "Attach" AttachRequest AttachResponse;
            port_forward "PortForward" PortForwardRequest PortForwardResponse;
            container_stats "ContainerStats" ContainerStatsRequest ContainerStatsResponse;
            list_container_stats "ListContainerStats" ListContainerStatsRequest ListContainerStatsResponse;
            pod_sandbox_stats "PodSandboxStats" PodSandboxStatsRequest PodSandboxStatsResponse;
            list_pod_sandbox_stats "ListPodSandboxStats" ListPodSandboxStatsRequest ListPodSandboxStatsResponse;
            update_runtime_config "UpdateRuntimeConfig" UpdateRuntimeConfigRequest UpdateRuntimeConfigResponse;
            status "Status" StatusRequest StatusResponse;
            runtime_config "RuntimeConfig" RuntimeConfigRequest RuntimeConfigResponse;
        }
        $image! {
            list_images "ListImages" ListImagesRequest ListImagesResponse;
            image_status "ImageStatus" ImageStatusRequest ImageStatusResponse;
            pull_image "PullImage" PullImageRequest PullImageResponse;
            remove_image "RemoveImage" RemoveImageRequest RemoveImageResponse;
            image_fs_info "ImageFsInfo" ImageFsInfoRequest ImageFsInfoResponse;
        }
    };
}
pub(crate) use with_calls;
