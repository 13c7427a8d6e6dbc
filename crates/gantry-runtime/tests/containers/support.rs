//! A runtime of its own for each test, removed with everything it made, also when the test fails.

use std::{
    ffi::OsString,
    future::Future,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use gantry_cri::{RuntimeService, v1::*};
use gantry_runtime::{NoNetwork, Runtime, RuntimeConfig};

/// A runtime under test.
pub struct Node {
    /// The runtime.
    pub runtime: Runtime,
    /// Directory of the test.
    pub dir: tempfile::TempDir,
    config: RuntimeConfig,
}

/// Waits at most half a minute.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), work).await.expect("took too long")
}

/// The archive of a demo image.
pub fn archive(name: &str) -> PathBuf {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/images");
    std::env::var_os("GANTRY_IMAGES").map_or(default, PathBuf::from).join(format!("{name}.tar"))
}

/// A sandbox's configuration.
pub fn sandbox(name: &str) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: name.into(),
            uid: format!("uid-{name}"),
            namespace: "default".into(),
            attempt: 0,
        }),
        hostname: name.into(),
        linux: Some(LinuxPodSandboxConfig {
            security_context: Some(LinuxSandboxSecurityContext {
                namespace_options: Some(NamespaceOption {
                    pid: NamespaceMode::Container as i32,
                    ..Default::default()
                }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A container that runs a shell script.
pub fn container(name: &str, script: &str) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
        image: Some(ImageSpec { image: "gantry.local/busybox:1".into(), ..Default::default() }),
        command: vec!["sh".into(), "-c".into()],
        args: vec![script.into()],
        log_path: format!("{name}/0.log"),
        ..Default::default()
    }
}

impl Node {
    /// Runs a test on a new runtime.
    pub async fn with(test: impl AsyncFnOnce(&mut Node)) {
        let dir = tempfile::Builder::new().prefix("gantry-test-").tempdir().unwrap();
        let helper =
            |verb: &str| vec![OsString::from(env!("CARGO_BIN_EXE_gantry-runtime-helper")), verb.into()];
        let name = dir.path().file_name().unwrap().to_string_lossy().into_owned();
        let config = RuntimeConfig {
            root: dir.path().join("root"),
            run: dir.path().join("run"),
            cgroup_root: format!("/kubepods-{name}"),
            network: Arc::new(NoNetwork),
            shim_command: helper("shim"),
            unpack_command: helper("unpack"),
        };
        let runtime = Runtime::open(config.clone()).await.unwrap();
        let archive = archive("busybox");
        let imported = runtime.image_import(&archive).await;
        imported.unwrap_or_else(|e| panic!("{e}: build it with `cargo run -p xtask -- images`"));
        let mut node = Node { runtime, dir, config };
        let result = AssertUnwindSafe(test(&mut node)).catch_unwind().await;
        node.runtime.remove_all_pods().await;
        let run = node.config.run.display().to_string();
        let left = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let left: Vec<&str> = left.lines().filter(|line| line.contains(&run)).collect();
        node.runtime.remove_cgroups();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        assert!(left.is_empty(), "mounts are left: {left:?}");
    }

    /// Removes everything as a reset does.
    pub async fn cleanup(&self) {
        Runtime::cleanup(&self.config).await.unwrap();
    }

    /// Opens the runtime anew, as after a restart of the agent.
    pub async fn reopen(&mut self) {
        self.runtime = Runtime::open(self.config.clone()).await.unwrap();
    }

    /// Runs a sandbox with its logs in the test's directory.
    pub async fn run(&self, mut config: PodSandboxConfig) -> String {
        config.log_directory = self.dir.path().join("logs").display().to_string();
        let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
        within(self.runtime.run_pod_sandbox(request)).await.unwrap().pod_sandbox_id
    }

    /// Makes a container.
    pub async fn create(&self, pod: &str, config: ContainerConfig) -> String {
        let request =
            CreateContainerRequest { pod_sandbox_id: pod.into(), config: Some(config), sandbox_config: None };
        self.runtime.create_container(request).await.unwrap().container_id
    }

    /// Starts a container.
    pub async fn start(&self, id: &str) {
        let request = StartContainerRequest { container_id: id.into() };
        within(self.runtime.start_container(request)).await.unwrap();
    }

    /// A container's status.
    pub async fn status(&self, id: &str) -> ContainerStatus {
        let request = ContainerStatusRequest { container_id: id.into(), verbose: false };
        self.runtime.container_status(request).await.unwrap().status.unwrap()
    }

    /// Waits for a container's end.
    pub async fn exited(&self, id: &str) -> ContainerStatus {
        within(async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            loop {
                tick.tick().await;
                let status = self.status(id).await;
                if status.state() == ContainerState::ContainerExited {
                    return status;
                }
            }
        })
        .await
    }

    /// Output of a shell command in a container.
    pub async fn sh(&self, id: &str, script: &str) -> String {
        let request = ExecSyncRequest {
            container_id: id.into(),
            cmd: vec!["sh".into(), "-c".into(), script.into()],
            timeout: 20,
        };
        let response = within(self.runtime.exec_sync(request)).await.unwrap();
        String::from_utf8_lossy(&[response.stdout, response.stderr].concat()).into_owned()
    }
}
