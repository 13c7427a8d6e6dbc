//! What the runtime keeps on disk about sandboxes and containers.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use gantry_cri::v1::*;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Result, RuntimeError},
    spec::Identity,
};

/// Writes a file so that a crash leaves the old or the new one. Who writes it at the same time has another
/// partial file: the last one stays.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let partial = path.with_extension(format!("{}.partial", WRITES.fetch_add(1, Ordering::Relaxed)));
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&partial)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&partial, path)
    };
    write().map_err(RuntimeError::path("write", path))
}

/// Nanoseconds since the epoch.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_nanosecond() as i64
}

/// A new id, as long as those of other runtimes.
pub fn new_id() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

/// Life of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Not started.
    #[default]
    Created,
    /// Its first process runs.
    Running,
    /// Its first process has ended.
    Exited,
}

/// The part of a container's state that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Where it is in its life.
    pub phase: Phase,
    /// Nanoseconds since the epoch, as the two below.
    pub created_at: i64,
    /// Zero until started.
    pub started_at: i64,
    /// Zero until ended.
    pub finished_at: i64,
    /// Valid once ended.
    pub exit_code: i32,
    /// Why it ended.
    pub reason: String,
    /// More about it.
    pub message: String,
    /// First process.
    pub pid: i32,
    /// Whose rights it began with.
    #[serde(default)]
    pub user: Option<Identity>,
    /// Limits changed since it was created.
    pub resources: Option<Limits>,
}

/// Resource limits as they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    cpu_period: i64,
    cpu_quota: i64,
    cpu_shares: i64,
    memory: i64,
    oom_score_adj: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    unified: BTreeMap<String, String>,
    swap: i64,
}

impl From<&LinuxContainerResources> for Limits {
    fn from(r: &LinuxContainerResources) -> Self {
        Self {
            cpu_period: r.cpu_period,
            cpu_quota: r.cpu_quota,
            cpu_shares: r.cpu_shares,
            memory: r.memory_limit_in_bytes,
            oom_score_adj: r.oom_score_adj,
            cpuset_cpus: r.cpuset_cpus.clone(),
            cpuset_mems: r.cpuset_mems.clone(),
            unified: r.unified.clone(),
            swap: r.memory_swap_limit_in_bytes,
        }
    }
}

impl From<&Limits> for LinuxContainerResources {
    fn from(l: &Limits) -> Self {
        Self {
            cpu_period: l.cpu_period,
            cpu_quota: l.cpu_quota,
            cpu_shares: l.cpu_shares,
            memory_limit_in_bytes: l.memory,
            oom_score_adj: l.oom_score_adj,
            cpuset_cpus: l.cpuset_cpus.clone(),
            cpuset_mems: l.cpuset_mems.clone(),
            unified: l.unified.clone(),
            memory_swap_limit_in_bytes: l.swap,
            ..Default::default()
        }
    }
}

/// The part of a container's state that does not change, with its configuration beside it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// Container id.
    pub id: String,
    /// Sandbox it is in.
    pub sandbox_id: String,
    /// Id of its image.
    pub image_id: String,
    /// The image by digest, or by id if it has none.
    pub image_ref: String,
    /// Diff IDs of its image's layers, lowest first.
    pub layers: Vec<String>,
    /// Diff IDs of the layers of the images that are its volumes.
    #[serde(default)]
    pub volume_layers: Vec<String>,
    /// Path of its cgroup in each hierarchy.
    pub cgroup: String,
    /// The image's defaults.
    pub defaults: crate::image::ContainerDefaults,
}

/// The part of a sandbox's state that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxState {
    /// Its shim runs and it has a network.
    pub ready: bool,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// Addresses, the primary one first.
    pub ips: Vec<IpAddr>,
    /// Its network has not been given back yet.
    pub attached: bool,
}

/// Files of a sandbox or container under a root directory: `record.json`, `config.pb`, `state.json`.
#[derive(Clone, Debug)]
pub struct Files(pub PathBuf);

impl Files {
    /// Writes the configuration.
    pub fn write_config(&self, config: &impl prost::Message) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(RuntimeError::path("create", &self.0))?;
        write_atomic(&self.0.join("config.pb"), &config.encode_to_vec())
    }

    /// Reads the configuration.
    pub fn read_config<M: prost::Message + Default>(&self) -> Result<M> {
        let path = self.0.join("config.pb");
        let bytes = fs::read(&path).map_err(RuntimeError::path("read", &path))?;
        M::decode(bytes.as_slice()).map_err(|e| RuntimeError::path("read", &path)(std::io::Error::other(e)))
    }

    /// Writes a JSON file.
    pub fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.0.join(name);
        let bytes = gantry_json::to_vec(value).map_err(|e| RuntimeError::path("encode", &path)(e.into()))?;
        write_atomic(&path, &bytes)
    }

    /// Reads a JSON file.
    pub fn read<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let path = self.0.join(name);
        let bytes = fs::read(&path).map_err(RuntimeError::path("read", &path))?;
        gantry_json::from_slice(&bytes).map_err(|e| RuntimeError::path("read", &path)(e.into()))
    }
}
