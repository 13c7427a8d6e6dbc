//! Pod sandboxes: namespaces, network, shim, files shared by the pod's containers.
//!
//! Flow: record on disk, shim with namespaces, network, ready. Stopping goes the other way, and every
//! step can be repeated, so a sandbox whose making or stopping was cut short can always be removed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gantry_cri::{PortMap, SandboxNetworkRequest, v1::*};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use parking_lot::Mutex;

use crate::{
    cgroup,
    error::{Result, RuntimeError},
    runtime::Inner,
    shim_client::{ShimClient, read_frame},
    spec::*,
    state::{Files, SandboxState, new_id, now},
};

/// A pod sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// Its id.
    pub id: String,
    /// What it was made from.
    pub config: PodSandboxConfig,
    /// What changes.
    pub state: Mutex<SandboxState>,
    /// Held while it is being stopped or removed.
    pub changing: tokio::sync::Mutex<()>,
    files: Files,
}

/// Where a sandbox's things are in the run directory.
pub struct Places {
    /// Spec, socket, files for its containers.
    pub dir: PathBuf,
    /// Network namespace.
    pub netns: PathBuf,
    ipcns: PathBuf,
    utsns: PathBuf,
    userns: PathBuf,
    shm: PathBuf,
}

impl Sandbox {
    /// Loads a sandbox from its directory.
    pub fn load(dir: &Path) -> Result<Self> {
        let files = Files(dir.to_owned());
        Ok(Self {
            id: dir.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            config: files.read_config()?,
            state: Mutex::new(files.read("state.json")?),
            changing: tokio::sync::Mutex::default(),
            files,
        })
    }

    /// Changes the state, on disk first.
    pub fn update(&self, change: impl FnOnce(&mut SandboxState)) -> Result<()> {
        let mut state = self.state.lock();
        let mut new = state.clone();
        change(&mut new);
        if new != *state {
            self.files.write("state.json", &new)?;
            *state = new;
        }
        Ok(())
    }

    /// How its namespaces are shared.
    pub fn namespaces(&self) -> NamespaceOption {
        let context = self.config.linux.as_ref().and_then(|l| l.security_context.as_ref());
        context.and_then(|c| c.namespace_options.clone()).unwrap_or_default()
    }

    /// Whether it has a network namespace of its own.
    pub fn has_network(&self) -> bool {
        self.namespaces().network != NamespaceMode::Node as i32
    }

    /// Its metadata.
    pub fn metadata(&self) -> PodSandboxMetadata {
        self.config.metadata.clone().unwrap_or_default()
    }

    /// The cgroup its containers' groups are made in.
    pub fn cgroup_parent(&self, default: &str) -> String {
        let parent = self.config.linux.as_ref().map(|l| l.cgroup_parent.as_str()).unwrap_or_default();
        let parent = if parent.is_empty() { default } else { parent };
        format!("/{}", parent.trim_matches('/'))
    }

    fn network_request(&self, places: &Places) -> SandboxNetworkRequest {
        let metadata = self.metadata();
        let port_maps = self.config.port_mappings.iter().filter(|p| p.host_port > 0).map(|p| PortMap {
            host_ip: p.host_ip.clone(),
            host_port: p.host_port as u16,
            container_port: p.container_port as u16,
            protocol: match p.protocol() {
                Protocol::Tcp => "TCP",
                Protocol::Udp => "UDP",
                Protocol::Sctp => "SCTP",
            }
            .into(),
        });
        SandboxNetworkRequest {
            sandbox_id: self.id.clone(),
            netns_path: places.netns.display().to_string(),
            pod_namespace: metadata.namespace,
            pod_name: metadata.name,
            pod_uid: metadata.uid,
            port_maps: port_maps.collect(),
        }
    }

    fn pod_spec(&self, places: &Places, shim_cgroups: Vec<PathBuf>) -> PodSpec {
        let namespaces = self.namespaces();
        let own = |mode: i32, path: &PathBuf| (mode != NamespaceMode::Node as i32).then(|| path.clone());
        PodSpec {
            id: self.id.clone(),
            hostname: self.config.hostname.clone(),
            netns: own(namespaces.network, &places.netns),
            ipcns: own(namespaces.ipc, &places.ipcns),
            // As others do: the host's name comes with the host's network.
            utsns: own(namespaces.network, &places.utsns),
            users: self.users(places),
            share_pid: namespaces.pid == NamespaceMode::Pod as i32,
            sysctls: self.config.linux.as_ref().map(|l| l.sysctls.clone()).unwrap_or_default(),
            shim_cgroups,
        }
    }

    /// Its own users, if it has some.
    pub fn users(&self, places: &Places) -> Option<PodUsers> {
        let options = self.namespaces().userns_options?;
        let ranges = |list: &[IDMapping]| -> Vec<IdRange> {
            let range =
                |m: &IDMapping| IdRange { inside: m.container_id, outside: m.host_id, length: m.length };
            list.iter().map(range).collect()
        };
        (options.mode == NamespaceMode::Pod as i32).then(|| PodUsers {
            path: places.userns.clone(),
            uids: ranges(&options.uids),
            gids: ranges(&options.gids),
        })
    }

    /// Namespace files its containers join.
    pub fn namespace_files(&self, places: &Places) -> Vec<PathBuf> {
        let spec = self.pod_spec(places, Vec::new());
        [spec.netns, spec.ipcns, spec.utsns].into_iter().flatten().collect()
    }

    /// Shared memory of its containers.
    pub fn shm(&self, places: &Places) -> PathBuf {
        if self.namespaces().ipc == NamespaceMode::Node as i32 {
            "/dev/shm".into()
        } else {
            places.shm.clone()
        }
    }

    fn write_files(&self, places: &Places) -> std::io::Result<()> {
        fs::create_dir_all(&places.dir)?;
        let resolv = match &self.config.dns_config {
            Some(dns) => resolv_conf(dns),
            None => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        };
        fs::write(places.dir.join("resolv.conf"), resolv)?;
        let hostname = if self.config.hostname.is_empty() {
            fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
        } else {
            self.config.hostname.clone()
        };
        fs::write(places.dir.join("hostname"), format!("{hostname}\n"))?;
        fs::create_dir_all(&places.shm)?;
        if self.namespaces().ipc != NamespaceMode::Node as i32 {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("shm"), &places.shm, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))?;
        }
        Ok(())
    }
}

/// The text of a resolver configuration.
pub fn resolv_conf(dns: &DNSConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    text
}

impl Inner {
    /// Places of sandbox `id`.
    pub fn places(&self, id: &str) -> Places {
        let run = &self.config.run;
        let dir = run.join("pods").join(id);
        Places {
            netns: run.join("netns").join(id),
            ipcns: run.join("ipcns").join(id),
            utsns: run.join("utsns").join(id),
            userns: run.join("userns").join(id),
            shm: dir.join("shm"),
            dir,
        }
    }

    /// The shim of sandbox `id`.
    pub fn shim(&self, id: &str) -> ShimClient {
        ShimClient::new(&self.places(id).dir)
    }

    /// Makes and starts a sandbox; a failure leaves nothing.
    pub async fn run_sandbox(self: &Arc<Self>, config: PodSandboxConfig) -> Result<String> {
        let id = new_id();
        let files = Files(self.config.root.join("pods").join(&id));
        files.write_config(&config)?;
        let state = SandboxState { created_at: now(), ..Default::default() };
        files.write("state.json", &state)?;
        let sandbox = Arc::new(Sandbox {
            id: id.clone(),
            config,
            state: Mutex::new(state),
            changing: tokio::sync::Mutex::default(),
            files,
        });
        self.sandboxes.lock().insert(id.clone(), sandbox.clone());
        match self.start_sandbox(&sandbox).await {
            Ok(()) => Ok(id),
            Err(error) => {
                if let Err(cleanup) = self.remove_sandbox(&id).await {
                    tracing::warn!(sandbox = id, error = %cleanup, "cannot remove a sandbox that failed to start");
                }
                Err(error)
            }
        }
    }

    async fn start_sandbox(self: &Arc<Self>, sandbox: &Arc<Sandbox>) -> Result<()> {
        let places = self.places(&sandbox.id);
        sandbox.write_files(&places).map_err(RuntimeError::io(format_args!("sandbox {}", sandbox.id)))?;
        self.limit_pod(sandbox)?;
        let shim_cgroups = self.hierarchies.create(&self.config.shim_cgroup())?.into_values().collect();
        let spec = sandbox.pod_spec(&places, shim_cgroups);
        Files(places.dir.clone()).write(POD_FILE, &spec)?;
        let shim = self.shim(&sandbox.id);
        shim.spawn(&self.config.shim_command).await?;
        let (_, exits) = shim.watch().await?;
        if sandbox.has_network() {
            sandbox.update(|state| state.attached = true)?;
            let ips = self.config.network.attach(&sandbox.network_request(&places)).await?;
            sandbox.update(|state| state.ips = ips.0)?;
        }
        sandbox.update(|state| state.ready = true)?;
        self.follow(sandbox.clone(), exits);
        Ok(())
    }

    /// Changes the limits that the pod's containers have together.
    pub fn resize_pod(&self, sandbox: &Sandbox, resources: &LinuxContainerResources) -> Result<()> {
        let parent = sandbox.cgroup_parent(&self.config.cgroup_root);
        Ok(cgroup::apply(&self.hierarchies.dirs(&parent), resources)?)
    }

    /// Makes the cgroup above those of the containers, with the pod's own limits.
    fn limit_pod(&self, sandbox: &Sandbox) -> Result<()> {
        let parent = sandbox.cgroup_parent(&self.config.cgroup_root);
        if let Some(resources) = sandbox.config.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
            cgroup::apply(&self.hierarchies.create(&parent)?, resources)?;
        }
        Ok(())
    }

    /// Connects to the shim of a sandbox from before this process, and catches up.
    pub async fn take_over(self: &Arc<Self>, sandbox: &Arc<Sandbox>) {
        if !sandbox.state.lock().ready {
            return;
        }
        match self.shim(&sandbox.id).watch().await {
            Ok((running, exits)) => {
                for container in self.containers_of(&sandbox.id) {
                    match running.iter().find(|(id, _)| *id == container.record.id) {
                        Some((_, pid)) => self.container_runs(&container, *pid),
                        None => self.container_gone(&container),
                    }
                }
                self.follow(sandbox.clone(), exits);
            }
            Err(error) => {
                tracing::warn!(sandbox = sandbox.id, %error, "shim is gone");
                self.shim_lost(sandbox).await;
            }
        }
    }

    /// Listens to the exits a shim reports until the shim ends.
    fn follow(self: &Arc<Self>, sandbox: Arc<Sandbox>, mut exits: tokio::net::UnixStream) {
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Ok(response) = read_frame(&mut exits).await {
                let Some(inner) = weak.upgrade() else { return };
                if let Response::ContainerExited { id, exit } = response
                    && let Ok(container) = inner.container(&id)
                {
                    inner.container_exited(&container, &exit);
                }
            }
            if let Some(inner) = weak.upgrade() {
                let _changing = sandbox.changing.lock().await;
                if sandbox.state.lock().ready {
                    tracing::warn!(sandbox = sandbox.id, "shim ended unexpectedly");
                    inner.shim_lost(&sandbox).await;
                }
            }
        });
    }

    /// Without its shim a pod cannot go on: what is left of it is killed.
    async fn shim_lost(&self, sandbox: &Arc<Sandbox>) {
        for container in self.containers_of(&sandbox.id) {
            cgroup::kill_all(&self.hierarchies.dirs(&container.record.cgroup));
            self.container_gone(&container);
        }
        if let Err(error) = sandbox.update(|state| state.ready = false) {
            tracing::warn!(%error, "cannot record the end of a sandbox");
        }
    }

    /// Stops a sandbox; nothing happens if it is stopped or unknown.
    pub async fn stop_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(_) => return Ok(()),
        };
        for container in self.containers_of(&sandbox.id) {
            self.stop_container(&container, Duration::ZERO).await?;
        }
        let _changing = sandbox.changing.lock().await;
        sandbox.update(|state| state.ready = false)?;
        let places = self.places(&sandbox.id);
        if sandbox.state.lock().attached {
            self.config.network.detach(&sandbox.network_request(&places)).await?;
            sandbox.update(|state| state.attached = false)?;
        }
        if places.dir.join(SOCKET).exists() {
            // No answer means that it is gone already.
            let _ = self.shim(&sandbox.id).call(Request::Shutdown, Vec::new()).await;
        }
        for namespace in [&places.netns, &places.ipcns, &places.utsns, &places.userns] {
            let _ = umount2(namespace, MntFlags::MNT_DETACH);
            let _ = fs::remove_file(namespace);
        }
        let _ = umount2(&places.shm, MntFlags::MNT_DETACH);
        Ok(())
    }

    /// Stops and removes a sandbox with its containers; nothing happens if it is unknown.
    pub async fn remove_sandbox(self: &Arc<Self>, id: &str) -> Result<()> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(_) => return Ok(()),
        };
        self.stop_sandbox(&sandbox.id).await?;
        for container in self.containers_of(&sandbox.id) {
            self.remove_container(&container).await?;
        }
        let places = self.places(&sandbox.id);
        let kept = self.config.root.join("pods").join(&sandbox.id);
        for dir in [&kept, &places.dir] {
            match fs::remove_dir_all(dir) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(RuntimeError::path("remove", dir)(error));
                }
                _ => {}
            }
        }
        self.sandboxes.lock().remove(&sandbox.id);
        let parent = sandbox.cgroup_parent(&self.config.cgroup_root);
        let root = format!("/{}", self.config.cgroup_root.trim_matches('/'));
        let shared = self
            .sandboxes
            .lock()
            .values()
            .any(|other| other.cgroup_parent(&self.config.cgroup_root) == parent);
        if parent != root && !shared {
            self.hierarchies.remove(&parent);
        }
        Ok(())
    }

    /// State and addresses of a sandbox in CRI's form.
    pub fn sandbox_status(&self, sandbox: &Sandbox) -> PodSandboxStatus {
        let state = sandbox.state.lock().clone();
        let mut ips = state.ips.iter().map(ToString::to_string);
        PodSandboxStatus {
            id: sandbox.id.clone(),
            metadata: sandbox.config.metadata.clone(),
            state: ready_state(state.ready),
            created_at: state.created_at,
            network: Some(PodSandboxNetworkStatus {
                ip: ips.next().unwrap_or_default(),
                additional_ips: ips.map(|ip| PodIP { ip }).collect(),
            }),
            linux: Some(LinuxPodSandboxStatus {
                namespaces: Some(Namespace { options: Some(sandbox.namespaces()) }),
            }),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: String::new(),
        }
    }
}

/// CRI's number for a sandbox that is ready or not.
pub fn ready_state(ready: bool) -> i32 {
    if ready { PodSandboxState::SandboxReady as i32 } else { PodSandboxState::SandboxNotready as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolver_configuration() {
        let dns = DNSConfig {
            servers: vec!["10.43.0.10".into()],
            searches: vec!["a.svc.cluster.local".into(), "cluster.local".into()],
            options: vec!["ndots:5".into()],
        };
        let text = "search a.svc.cluster.local cluster.local\nnameserver 10.43.0.10\noptions ndots:5\n";
        assert_eq!(resolv_conf(&dns), text);
        assert_eq!(resolv_conf(&DNSConfig::default()), "");
    }
}
