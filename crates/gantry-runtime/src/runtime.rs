//! The runtime as a whole: its configuration, what it holds in memory, taking over what is on disk, and
//! removing everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use gantry_cri::{NetworkError, PodIps, SandboxNetwork, SandboxNetworkRequest, v1::*};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::{
    cgroup::{self, Hierarchies},
    container::Container,
    error::{Result, RuntimeError},
    image::{ImageRecord, ImageStore},
    sandbox::Sandbox,
    streaming::StreamingServer,
};

/// How to run the runtime.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// What is kept: images, container file systems, records.
    pub root: PathBuf,
    /// What dies with the machine: sockets, namespaces.
    pub run: PathBuf,
    /// Parent of containers' cgroups when the pod names none.
    pub cgroup_root: String,
    /// The pod network.
    pub network: Arc<dyn SandboxNetwork>,
    /// Program and first arguments of a shim; the directory is added.
    pub shim_command: Vec<OsString>,
    /// Program and first arguments of the unpacking child; the directory is added.
    pub unpack_command: Vec<OsString>,
}

impl RuntimeConfig {
    /// The usual places, with shim and unpacking re-executed from this very program.
    pub fn new(network: Arc<dyn SandboxNetwork>) -> Self {
        let this = |verb: &str| vec![OsString::from("/proc/self/exe"), OsString::from(verb)];
        Self {
            root: "/var/lib/gantry/runtime".into(),
            run: "/run/gantry".into(),
            cgroup_root: "/kubepods".into(),
            network,
            shim_command: this("shim"),
            unpack_command: this("unpack"),
        }
    }

    /// Cgroup of the shims: beside that of the pods, so that pods' limits do not count them.
    pub(crate) fn shim_cgroup(&self) -> String {
        format!("/{}-shims", self.cgroup_root.trim_matches('/'))
    }
}

/// A network that leaves sandboxes with their loopback interface only.
#[derive(Debug, Default)]
pub struct NoNetwork;

#[async_trait]
impl SandboxNetwork for NoNetwork {
    async fn attach(&self, _: &SandboxNetworkRequest) -> std::result::Result<PodIps, NetworkError> {
        Ok(PodIps::default())
    }

    async fn detach(&self, _: &SandboxNetworkRequest) -> std::result::Result<(), NetworkError> {
        Ok(())
    }
}

/// The embedded runtime. It implements both services of CRI; clones share it.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

/// What all parts of the runtime share.
pub(crate) struct Inner {
    pub config: RuntimeConfig,
    pub images: Arc<ImageStore>,
    pub hierarchies: Hierarchies,
    pub sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    pub containers: Mutex<BTreeMap<String, Arc<Container>>>,
    pub events: broadcast::Sender<ContainerEventResponse>,
    pub streaming: StreamingServer,
    pub cpu_samples: Mutex<BTreeMap<String, (i64, u64)>>,
}

impl Runtime {
    /// Opens the runtime and takes over the pods that run already. Call it within a tokio runtime.
    pub async fn open(config: RuntimeConfig) -> Result<Self> {
        for dir in [config.root.join("pods"), config.root.join("containers"), config.run.join("pods")] {
            fs::create_dir_all(&dir).map_err(RuntimeError::path("create", &dir))?;
        }
        let images = ImageStore::open(config.root.join("images"), config.unpack_command.clone())?;
        let streaming = StreamingServer::bind().await.map_err(RuntimeError::io("streaming server"))?;
        let inner = Arc::new(Inner {
            images: Arc::new(images),
            hierarchies: Hierarchies::detect(),
            sandboxes: Mutex::default(),
            containers: Mutex::default(),
            events: broadcast::channel(1024).0,
            streaming,
            cpu_samples: Mutex::default(),
            config,
        });
        inner.streaming.serve(Arc::downgrade(&inner));
        inner.recover().await;
        Ok(Self { inner })
    }

    /// Adds the images in an archive (docker or OCI layout, plain or compressed).
    pub async fn image_import(&self, archive: &Path) -> Result<Vec<ImageRecord>> {
        let (images, archive) = (self.inner.images.clone(), archive.to_owned());
        tokio::task::spawn_blocking(move || images.import(&archive))
            .await
            .map_err(|e| RuntimeError::Invalid(e.to_string()))?
    }

    /// All images.
    pub fn images(&self) -> Vec<ImageRecord> {
        self.inner.images.list()
    }

    /// Stops and removes every pod, and everything the runtime has made but its images.
    pub async fn remove_all_pods(&self) {
        let ids: Vec<String> = self.inner.sandboxes.lock().keys().cloned().collect();
        for id in ids {
            if let Err(error) = self.inner.remove_sandbox(&id).await {
                tracing::warn!(sandbox = id, %error, "cannot remove sandbox");
            }
        }
    }

    /// Directories of the cgroups for processes that outlive the agent, such as shims.
    pub fn lasting_cgroups(&self) -> Result<Vec<PathBuf>> {
        let dirs = self.inner.hierarchies.create(&self.inner.config.shim_cgroup())?;
        Ok(dirs.into_values().collect())
    }

    /// Removes the cgroups of containers and shims, those that are empty.
    pub fn remove_cgroups(&self) {
        self.inner.hierarchies.remove(&self.inner.config.cgroup_root);
        self.inner.hierarchies.remove(&self.inner.config.shim_cgroup());
    }

    /// Removes every pod, cgroup, mount and file of the runtime, also those that no record is left of.
    /// Works without a [`Runtime::open`] that succeeded.
    pub async fn cleanup(config: &RuntimeConfig) -> Result<()> {
        if let Ok(runtime) = Self::open(config.clone()).await {
            runtime.remove_all_pods().await;
        }
        let hierarchies = Hierarchies::detect();
        kill_tree(&hierarchies, &config.cgroup_root).await;
        kill_tree(&hierarchies, &config.shim_cgroup()).await;
        hierarchies.remove(&config.cgroup_root);
        hierarchies.remove(&config.shim_cgroup());
        unmount_below(&config.run);
        unmount_below(&config.root);
        for dir in ["pods", "netns", "ipcns", "utsns", "seccomp"].map(|name| config.run.join(name)) {
            remove_dir(&dir)?;
        }
        remove_dir(&config.root)
    }
}

fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(RuntimeError::path("remove", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Kills every process in the groups below `path` and waits until they are gone.
async fn kill_tree(hierarchies: &Hierarchies, path: &str) {
    fn pids(dir: &Path, found: &mut BTreeSet<i32>) {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        found.extend(text.lines().filter_map(|l| l.parse::<i32>().ok()).filter(|pid| *pid > 0));
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                pids(&entry.path(), found);
            }
        }
    }
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..500 {
        let mut found = BTreeSet::new();
        hierarchies.dirs(path).values().for_each(|dir| pids(dir, &mut found));
        if found.is_empty() {
            return;
        }
        for pid in found {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        tick.tick().await;
    }
}

/// Unmounts everything mounted below a directory, inner mounts first.
fn unmount_below(dir: &Path) {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut points: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    points.retain(|point| Path::new(point).starts_with(dir) && Path::new(point) != dir);
    for point in points.into_iter().rev() {
        let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
    }
}

impl Inner {
    /// The sandbox with this id, or the only one whose id starts so.
    pub fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        find(&self.sandboxes.lock(), id).ok_or_else(|| RuntimeError::NotFound(format!("sandbox {id:?}")))
    }

    /// The container with this id, or the only one whose id starts so.
    pub fn container(&self, id: &str) -> Result<Arc<Container>> {
        find(&self.containers.lock(), id).ok_or_else(|| RuntimeError::NotFound(format!("container {id:?}")))
    }

    /// Containers of a sandbox.
    pub fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        self.containers.lock().values().filter(|c| c.record.sandbox_id == sandbox).cloned().collect()
    }

    /// Takes over what is on disk.
    async fn recover(self: &Arc<Self>) {
        for dir in subdirectories(&self.config.root.join("containers")) {
            match Container::load(&dir) {
                Ok(container) => {
                    drop(self.containers.lock().insert(container.record.id.clone(), Arc::new(container)))
                }
                Err(error) => {
                    tracing::warn!(%error, "dropping an incomplete container");
                    let _ = fs::remove_dir_all(&dir);
                }
            }
        }
        for dir in subdirectories(&self.config.root.join("pods")) {
            match Sandbox::load(&dir) {
                Ok(sandbox) => {
                    let sandbox = Arc::new(sandbox);
                    self.sandboxes.lock().insert(sandbox.id.clone(), sandbox.clone());
                    self.take_over(&sandbox).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "dropping an incomplete sandbox");
                    let _ = fs::remove_dir_all(&dir);
                }
            }
        }
        let orphans: Vec<Arc<Container>> = {
            let sandboxes = self.sandboxes.lock();
            let containers = self.containers.lock();
            containers.values().filter(|c| !sandboxes.contains_key(&c.record.sandbox_id)).cloned().collect()
        };
        for container in orphans {
            cgroup::kill_all(&self.hierarchies.dirs(&container.record.cgroup));
            self.forget_container(&container);
        }
    }

    /// Layers that containers stand on.
    pub fn layers_in_use(&self) -> BTreeSet<String> {
        let containers = self.containers.lock();
        let records = containers.values().map(|container| &container.record);
        records.flat_map(|record| record.layers.iter().chain(&record.volume_layers)).cloned().collect()
    }
}

fn find<T: Clone>(map: &BTreeMap<String, T>, id: &str) -> Option<T> {
    if let Some(found) = map.get(id) {
        return Some(found.clone());
    }
    if id.is_empty() {
        return None;
    }
    let mut matching = map.range(id.to_owned()..).take_while(|(key, _)| key.starts_with(id));
    match (matching.next(), matching.next()) {
        (Some((_, found)), None) => Some(found.clone()),
        _ => None,
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}
