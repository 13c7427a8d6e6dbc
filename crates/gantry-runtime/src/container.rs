//! Containers: from a CRI configuration and an image to what the shim starts, and their life after.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gantry_cri::v1::*;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    capability, cgroup,
    error::{Result, RuntimeError},
    image::{ImageStore, layer_name},
    runtime::Inner,
    sandbox::Sandbox,
    seccomp,
    spec::*,
    state::{ContainerRecord, ContainerState, Files, Limits, Phase, new_id, now},
};

mod status;

pub use status::phase_number;

/// How long to wait for a killed container to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// A container.
#[derive(Debug)]
pub struct Container {
    /// What does not change.
    pub record: ContainerRecord,
    /// What it was made from.
    pub config: ContainerConfig,
    /// What changes.
    pub state: Mutex<ContainerState>,
    /// Held while it is being started, stopped or removed.
    pub changing: tokio::sync::Mutex<()>,
    /// Held while its start or its end is recorded and told, so that a start is told before an end.
    telling: Mutex<()>,
    phase: watch::Sender<Phase>,
    files: Files,
}

impl Container {
    /// Loads a container from its directory.
    pub fn load(dir: &Path) -> Result<Self> {
        let files = Files(dir.to_owned());
        let state: ContainerState = files.read("state.json")?;
        Ok(Self {
            record: files.read("record.json")?,
            config: files.read_config()?,
            phase: watch::channel(state.phase).0,
            state: Mutex::new(state),
            changing: tokio::sync::Mutex::default(),
            telling: Mutex::default(),
            files,
        })
    }

    /// Changes the state, on disk first; wakes those who wait for a phase.
    pub fn update(&self, change: impl FnOnce(&mut ContainerState)) -> Result<()> {
        let mut state = self.state.lock();
        let mut new = state.clone();
        change(&mut new);
        if new != *state {
            self.files.write("state.json", &new)?;
            *state = new;
            self.phase.send_replace(state.phase);
        }
        Ok(())
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        // The sender lives as long as self.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Exited).await;
    }

    /// Its security settings.
    pub fn security(&self) -> LinuxContainerSecurityContext {
        self.config.linux.as_ref().and_then(|l| l.security_context.clone()).unwrap_or_default()
    }

    /// Its limits as they are now.
    pub fn resources(&self) -> Option<LinuxContainerResources> {
        let changed = self.state.lock().resources.as_ref().map(LinuxContainerResources::from);
        changed.or_else(|| self.config.linux.as_ref().and_then(|l| l.resources.clone()))
    }

    /// Directory of its file system.
    pub fn dir(&self) -> &Path {
        &self.files.0
    }

    fn log_path(&self, sandbox: &Sandbox) -> Option<PathBuf> {
        if self.config.log_path.is_empty() || sandbox.config.log_directory.is_empty() {
            return None;
        }
        Some(Path::new(&sandbox.config.log_directory).join(&self.config.log_path))
    }

    fn exit_file(&self, pod_dir: &Path) -> PathBuf {
        pod_dir.join(format!("{}.exit", self.record.id))
    }

    fn process(&self, hostname: &str, seccomp_dir: &Path, unified: bool) -> Result<ProcessSpec> {
        let (defaults, security) = (&self.record.defaults, self.security());
        let entrypoint =
            if self.config.command.is_empty() { &defaults.entrypoint } else { &self.config.command };
        // Arguments of the image belong to the command of the image.
        let args = if self.config.args.is_empty() && self.config.command.is_empty() {
            &defaults.cmd
        } else {
            &self.config.args
        };
        let args: Vec<String> = entrypoint.iter().chain(args).cloned().collect();
        if args.is_empty() {
            return Err(RuntimeError::Invalid("no command specified".into()));
        }
        let mut env = defaults.env.clone();
        if !hostname.is_empty() && !env.iter().any(|e| e.starts_with("HOSTNAME=")) {
            env.push(format!("HOSTNAME={hostname}"));
        }
        for variable in &self.config.envs {
            let prefix = format!("{}=", variable.key);
            env.retain(|e| !e.starts_with(&prefix));
            env.push(format!("{prefix}{}", variable.value));
        }
        if self.config.tty && !env.iter().any(|e| e.starts_with("TERM=")) {
            env.push("TERM=xterm".into());
        }
        let (mut capabilities, ambient) =
            capability::resolve(security.privileged, security.capabilities.as_ref())
                .map_err(RuntimeError::Invalid)?;
        if unified && !security.privileged {
            capabilities &= !capability::bit("MKNOD").unwrap_or(0);
        }
        let seccomp = match security.seccomp.as_ref().map(SecurityProfile::profile_type) {
            _ if security.privileged => None,
            None | Some(ProfileType::Unconfined) => None,
            Some(ProfileType::RuntimeDefault) => Some(seccomp::file(seccomp_dir, capabilities)?),
            Some(ProfileType::Localhost) => {
                let path = &security.seccomp.as_ref().map(|s| s.localhost_ref.clone()).unwrap_or_default();
                return Err(RuntimeError::Invalid(format!(
                    "seccomp profile {path:?}: local profiles cannot be loaded"
                )));
            }
        };
        let cwd = [&self.config.working_dir, &defaults.working_dir].into_iter().find(|c| !c.is_empty());
        Ok(ProcessSpec {
            args,
            env,
            cwd: cwd.cloned().unwrap_or_else(|| "/".to_owned()),
            user: UserSpec {
                uid: security.run_as_user.as_ref().map(|v| v.value as u32),
                name: if security.run_as_username.is_empty() {
                    defaults.user.clone()
                } else {
                    security.run_as_username.clone()
                },
                gid: security.run_as_group.as_ref().map(|v| v.value as u32),
                groups: security.supplemental_groups.iter().map(|g| *g as u32).collect(),
                strict_groups: security.supplemental_groups_policy() == SupplementalGroupsPolicy::Strict,
            },
            tty: self.config.tty,
            capabilities,
            ambient,
            no_new_privs: security.no_new_privs,
            seccomp,
            oom_score_adj: self.resources().map(|r| r.oom_score_adj as i32),
        })
    }

    fn mounts(&self, pod_dir: &Path, images: &ImageStore) -> Result<Vec<MountSpec>> {
        let mut mounts = Vec::new();
        for (path, file) in [("/etc/resolv.conf", "resolv.conf"), ("/etc/hostname", "hostname")] {
            if !self.config.mounts.iter().any(|m| m.container_path == path) {
                mounts.push(MountSpec {
                    destination: path.into(),
                    source: pod_dir.join(file),
                    ..Default::default()
                });
            }
        }
        for m in &self.config.mounts {
            if let Some(name) = m.image.as_ref().map(|i| &i.image).filter(|name| !name.is_empty()) {
                let image = images
                    .find(name)
                    .ok_or_else(|| RuntimeError::NotFound(format!("image {name:?} of a volume")))?;
                mounts.push(MountSpec {
                    destination: m.container_path.clone(),
                    read_only: true,
                    recursive_read_only: true,
                    layers: image.layers.iter().rev().map(|id| layer_name(id)).collect(),
                    image_path: m.image_sub_path.clone(),
                    ..Default::default()
                });
                continue;
            }
            // As other runtimes do for directories that are not there.
            let source = PathBuf::from(&m.host_path);
            if !source.exists() {
                fs::create_dir_all(&source).map_err(RuntimeError::path("create", &source))?;
            }
            mounts.push(MountSpec {
                destination: m.container_path.clone(),
                source: fs::canonicalize(&source).map_err(RuntimeError::path("resolve", &source))?,
                read_only: m.readonly,
                recursive_read_only: m.recursive_read_only,
                propagation: match m.propagation() {
                    MountPropagation::PropagationPrivate => Propagation::Private,
                    MountPropagation::PropagationHostToContainer => Propagation::HostToContainer,
                    MountPropagation::PropagationBidirectional => Propagation::Bidirectional,
                },
                ..Default::default()
            });
        }
        mounts.sort_by_key(|m| Path::new(&m.destination).components().count());
        Ok(mounts)
    }
}

impl Inner {
    /// Makes a container in a sandbox.
    pub async fn create_container(&self, request: CreateContainerRequest) -> Result<String> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        if !sandbox.state.lock().ready {
            return Err(RuntimeError::Precondition(format!("sandbox {} is not ready", sandbox.id)));
        }
        let config =
            request.config.ok_or_else(|| RuntimeError::Invalid("container config is missing".into()))?;
        let name = config.image.as_ref().map(|i| i.image.clone()).unwrap_or_default();
        let image =
            self.images.find(&name).ok_or_else(|| RuntimeError::NotFound(format!("image {name:?}")))?;
        let names = config.mounts.iter().filter_map(|m| m.image.as_ref()).map(|i| &i.image);
        let volumes = names.filter_map(|name| self.images.find(name));
        let id = new_id();
        let record = ContainerRecord {
            id: id.clone(),
            sandbox_id: sandbox.id.clone(),
            image_ref: image.digests.first().cloned().unwrap_or_else(|| image.id.clone()),
            image_id: image.id,
            layers: image.layers,
            volume_layers: volumes.flat_map(|image| image.layers).collect(),
            cgroup: format!("{}/{id}", sandbox.cgroup_parent(&self.config.cgroup_root)),
            defaults: image.defaults,
        };
        let dir = self.config.root.join("containers").join(&id);
        let files = Files(dir.clone());
        let state = ContainerState { created_at: now(), ..Default::default() };
        let write = || -> Result<()> {
            for name in ["upper", "work", "rootfs"] {
                let dir = dir.join(name);
                fs::create_dir_all(&dir).map_err(RuntimeError::path("create", &dir))?;
            }
            files.write_config(&config)?;
            files.write("record.json", &record)?;
            files.write("state.json", &state)
        };
        if let Err(error) = write() {
            let _ = fs::remove_dir_all(&dir);
            return Err(error);
        }
        let container = Arc::new(Container {
            record,
            config,
            phase: watch::channel(state.phase).0,
            state: Mutex::new(state),
            changing: tokio::sync::Mutex::default(),
            telling: Mutex::default(),
            files,
        });
        self.containers.lock().insert(id.clone(), container.clone());
        self.tell(&container, ContainerEventType::ContainerCreatedEvent);
        Ok(id)
    }

    fn container_spec(
        &self,
        container: &Container,
        sandbox: &Sandbox,
    ) -> Result<(ContainerSpec, Vec<cgroup::Device>)> {
        let places = self.places(&sandbox.id);
        let security = container.security();
        let process = container.process(
            &sandbox.config.hostname,
            &self.config.run.join("seccomp"),
            self.hierarchies.is_unified(),
        )?;
        let options = security.namespace_options.clone().unwrap_or_else(|| sandbox.namespaces());
        let pid_mode = match options.pid() {
            NamespaceMode::Pod if sandbox.namespaces().pid == NamespaceMode::Pod as i32 => PidMode::Pod,
            NamespaceMode::Pod | NamespaceMode::Container => PidMode::Container,
            NamespaceMode::Node => PidMode::Node,
            NamespaceMode::Target => {
                let target = self.container(&options.target_id)?;
                let state = target.state.lock();
                if state.phase != Phase::Running {
                    return Err(RuntimeError::Precondition(format!(
                        "container {} does not run",
                        target.record.id
                    )));
                }
                PidMode::Target(state.pid)
            }
        };
        let mut devices = Vec::new();
        let mut allowed = Vec::new();
        for device in &container.config.devices {
            let meta = fs::metadata(&device.host_path)
                .map_err(RuntimeError::path("device", Path::new(&device.host_path)))?;
            let kind = if meta.file_type().is_block_device() { 'b' } else { 'c' };
            allowed.push((kind, libc::major(meta.rdev()).into(), libc::minor(meta.rdev()).into()));
            devices.push(DeviceSpec {
                destination: device.container_path.clone(),
                source: PathBuf::from(&device.host_path),
            });
        }
        let spec = ContainerSpec {
            id: container.record.id.clone(),
            layers: self.images.layers_dir(),
            lower: container.record.layers.iter().rev().map(|id| layer_name(id)).collect(),
            dir: container.dir().to_owned(),
            process,
            mounts: container.mounts(&places.dir, &self.images)?,
            devices,
            masked_paths: security.masked_paths.clone(),
            readonly_paths: security.readonly_paths.clone(),
            readonly_root: security.readonly_rootfs,
            privileged: security.privileged,
            cgroups: self.hierarchies.create(&container.record.cgroup)?,
            shm: Some(sandbox.shm(&places)),
            pid_mode,
            namespaces: sandbox.namespace_files(&places),
            users: sandbox.users(&places),
            stdin: container.config.stdin,
            stdin_once: container.config.stdin_once,
            log_path: container.log_path(sandbox),
            exit_file: container.exit_file(&places.dir),
        };
        Ok((spec, allowed))
    }

    /// Starts a created container.
    pub async fn start_container(self: &Arc<Self>, id: &str) -> Result<()> {
        let container = self.container(id)?;
        let _changing = container.changing.lock().await;
        let sandbox = self.sandbox(&container.record.sandbox_id)?;
        if container.state.lock().phase != Phase::Created {
            return Err(RuntimeError::Precondition(format!(
                "container {} is not in created state",
                container.record.id
            )));
        }
        let result = self.launch(&container, &sandbox).await;
        match result {
            Ok((pid, user)) => {
                if user.is_some() {
                    container.update(|state| state.user = user)?;
                }
                self.container_runs(&container, pid);
                Ok(())
            }
            Err(error) => {
                self.hierarchies.remove(&container.record.cgroup);
                let now = now();
                container.update(|state| {
                    state.phase = Phase::Exited;
                    (state.started_at, state.finished_at) = (0, now);
                    state.exit_code = 128;
                    state.reason = "StartError".into();
                    state.message = error.to_string();
                })?;
                Err(error)
            }
        }
    }

    async fn launch(&self, container: &Container, sandbox: &Sandbox) -> Result<(i32, Option<Identity>)> {
        let (spec, devices) = self.container_spec(container, sandbox)?;
        if let Some(resources) = container.resources() {
            cgroup::apply(&spec.cgroups, &resources)?;
        }
        if !spec.privileged {
            cgroup::restrict_devices(&spec.cgroups, &devices)?;
        }
        match self.shim(&sandbox.id).call(Request::Start(Box::new(spec)), Vec::new()).await? {
            Response::Started { pid, user } => Ok((pid, user)),
            other => Err(RuntimeError::Shim(format!("unexpected answer {other:?}"))),
        }
    }

    /// Records that a container runs, unless its end is known already.
    pub fn container_runs(&self, container: &Arc<Container>, pid: i32) {
        let now = now();
        let _telling = container.telling.lock();
        let before = container.state.lock().phase;
        let updated = container.update(|state| {
            if state.phase == Phase::Created {
                state.phase = Phase::Running;
            }
            if state.started_at == 0 {
                state.started_at = now;
            }
            state.pid = pid;
        });
        if let Err(error) = updated {
            tracing::warn!(container = container.record.id, %error, "cannot record a start");
        }
        if before == Phase::Created {
            self.tell(container, ContainerEventType::ContainerStartedEvent);
        }
    }

    /// Records how a container ended.
    ///
    /// A very short life may be over before its start is recorded: then both are told.
    pub fn container_exited(&self, container: &Arc<Container>, exit: &Exit) {
        let _telling = container.telling.lock();
        let before = container.state.lock().phase;
        let updated = container.update(|state| {
            if state.phase == Phase::Exited {
                return;
            }
            state.phase = Phase::Exited;
            // The start is recorded when the shim's answer is read, the end when it happens.
            if state.started_at == 0 || state.started_at > exit.finished_at {
                state.started_at = exit.finished_at;
            }
            state.finished_at = exit.finished_at;
            state.exit_code = if exit.oom_killed && exit.code == 0 { 137 } else { exit.code };
            state.reason = match (exit.oom_killed, exit.code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                _ => "Error",
            }
            .into();
        });
        if let Err(error) = updated {
            tracing::warn!(container = container.record.id, %error, "cannot record an exit");
        }
        self.hierarchies.remove(&container.record.cgroup);
        if before == Phase::Created {
            self.tell(container, ContainerEventType::ContainerStartedEvent);
        }
        if before != Phase::Exited {
            self.tell(container, ContainerEventType::ContainerStoppedEvent);
        }
    }

    /// A container that its shim does not know as running: ended, or never started.
    pub fn container_gone(&self, container: &Arc<Container>) {
        let file = container.exit_file(&self.places(&container.record.sandbox_id).dir);
        let exit = fs::read(&file).ok().and_then(|bytes| gantry_json::from_slice::<Exit>(&bytes).ok());
        let phase = container.state.lock().phase;
        match (exit, phase) {
            (_, Phase::Exited) | (None, Phase::Created) => {}
            (Some(exit), _) => self.container_exited(container, &exit),
            (None, Phase::Running) => {
                let exit = Exit { code: 255, finished_at: now(), oom_killed: false };
                self.container_exited(container, &exit);
                let _ = container.update(|state| state.reason = "Unknown".into());
            }
        }
    }

    /// Stops a container: its stop signal, and SIGKILL to all of it after `timeout`.
    pub async fn stop_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
        timeout: Duration,
    ) -> Result<()> {
        let phase = container.state.lock().phase;
        if phase != Phase::Running {
            return Ok(());
        }
        let shim = self.shim(&container.record.sandbox_id);
        let id = container.record.id.clone();
        if !timeout.is_zero() {
            let signal = stop_signal(&container.record.defaults.stop_signal);
            let request = Request::Kill { id: id.clone(), signal, all: false };
            if let Err(error) = shim.call(request, Vec::new()).await {
                tracing::debug!(container = id, %error, "stop signal was not delivered");
            }
            if tokio::time::timeout(timeout, container.ended()).await.is_ok() {
                return Ok(());
            }
        }
        let request = Request::Kill { id: id.clone(), signal: libc::SIGKILL, all: true };
        if shim.call(request, Vec::new()).await.is_err() {
            cgroup::kill_all(&self.hierarchies.dirs(&container.record.cgroup));
            self.container_gone(container);
        }
        tokio::time::timeout(KILL_PATIENCE, container.ended())
            .await
            .map_err(|_| RuntimeError::Shim(format!("container {id} does not end when killed")))
    }

    /// Removes a container, killed first if it runs.
    pub async fn remove_container(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        self.stop_container(container, Duration::ZERO).await?;
        let _changing = container.changing.lock().await;
        self.forget_container(container);
        let dir = container.dir();
        match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(RuntimeError::path("remove", dir)(error));
            }
            _ => {}
        }
        self.tell(container, ContainerEventType::ContainerDeletedEvent);
        Ok(())
    }

    /// Drops what there is of a container.
    pub fn forget_container(&self, container: &Container) {
        self.hierarchies.remove(&container.record.cgroup);
        let _ = fs::remove_file(container.exit_file(&self.places(&container.record.sandbox_id).dir));
        let _ = fs::remove_dir_all(container.dir());
        self.containers.lock().remove(&container.record.id);
        self.cpu_samples.lock().remove(&container.record.id);
    }

    /// Changes a container's limits.
    pub fn update_resources(&self, container: &Container, resources: &LinuxContainerResources) -> Result<()> {
        let mut merged = container.resources().unwrap_or_default();
        let keep = |new: i64, old: i64| if new != 0 { new } else { old };
        merged.cpu_period = keep(resources.cpu_period, merged.cpu_period);
        merged.cpu_quota = keep(resources.cpu_quota, merged.cpu_quota);
        merged.cpu_shares = keep(resources.cpu_shares, merged.cpu_shares);
        merged.memory_limit_in_bytes = keep(resources.memory_limit_in_bytes, merged.memory_limit_in_bytes);
        merged.memory_swap_limit_in_bytes =
            keep(resources.memory_swap_limit_in_bytes, merged.memory_swap_limit_in_bytes);
        if !resources.cpuset_cpus.is_empty() {
            merged.cpuset_cpus.clone_from(&resources.cpuset_cpus);
        }
        if !resources.cpuset_mems.is_empty() {
            merged.cpuset_mems.clone_from(&resources.cpuset_mems);
        }
        if container.state.lock().phase == Phase::Running {
            cgroup::apply(&self.hierarchies.dirs(&container.record.cgroup), resources)?;
        }
        container.update(|state| state.resources = Some(Limits::from(&merged)))
    }
}

/// The number of an image's stop signal: `SIGQUIT`, `QUIT` or `3`; SIGTERM if it names none.
fn stop_signal(text: &str) -> i32 {
    if let Ok(number) = text.parse() {
        return number;
    }
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    name.parse::<nix::sys::signal::Signal>().map_or(libc::SIGTERM, |signal| signal as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals() {
        assert_eq!(stop_signal(""), libc::SIGTERM);
        assert_eq!(stop_signal("SIGQUIT"), libc::SIGQUIT);
        assert_eq!(stop_signal("INT"), libc::SIGINT);
        assert_eq!(stop_signal("9"), 9);
    }
}
