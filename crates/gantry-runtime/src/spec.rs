//! What the agent tells a pod's shim: the pod, its containers, and the requests on the shim's socket.
//! All of it is plain data, written as JSON.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

/// File in a pod's run directory that holds its [`PodSpec`].
pub const POD_FILE: &str = "pod.json";
/// Socket in a pod's run directory on which its shim listens.
pub const SOCKET: &str = "shim.sock";

/// A pod sandbox as its shim sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PodSpec {
    /// Sandbox id.
    pub id: String,
    /// Host name inside; empty keeps the host's.
    pub hostname: String,
    /// Where to bind the network namespace; none when the pod is on the host's network.
    pub netns: Option<PathBuf>,
    /// Where to bind the IPC namespace; none for the host's.
    pub ipcns: Option<PathBuf>,
    /// Where to bind the UTS namespace; none for the host's.
    pub utsns: Option<PathBuf>,
    /// The user namespace that the others belong to; none for the host's.
    #[serde(default)]
    pub users: Option<PodUsers>,
    /// Whether the containers share one PID namespace.
    pub share_pid: bool,
    /// Kernel parameters to set in the namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Directories of the cgroups that the shim moves itself to.
    pub shim_cgroups: Vec<PathBuf>,
}

/// A pod's own users and groups: who is root in it is somebody without rights on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodUsers {
    /// Where it is bound.
    pub path: PathBuf,
    /// Its users.
    pub uids: Vec<IdRange>,
    /// Its groups.
    pub gids: Vec<IdRange>,
}

impl PodUsers {
    /// The host's numbers of a user and a group; what is not mapped is nobody.
    pub fn on_host(&self, uid: u32, gid: u32) -> (u32, u32) {
        (on_host(&self.uids, uid), on_host(&self.gids, gid))
    }
}

fn on_host(ranges: &[IdRange], id: u32) -> u32 {
    let range = ranges.iter().find(|range| id.checked_sub(range.inside).is_some_and(|at| at < range.length));
    range.map_or(65534, |range| range.outside.saturating_add(id - range.inside))
}

/// Consecutive numbers of users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one as the pod sees it.
    pub inside: u32,
    /// The same on the host.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// Which processes a container sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PidMode {
    /// Its own.
    #[default]
    Container,
    /// Those of the pod.
    Pod,
    /// Those of the node.
    Node,
    /// Those of the process with this pid, another container's first.
    Target(i32),
}

/// Whether mounts made later on one side appear on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// On neither.
    #[default]
    Private,
    /// The host's appear in the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// A file or directory of the host in the container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MountSpec {
    /// Path in the container.
    pub destination: String,
    /// Path on the host.
    pub source: PathBuf,
    /// Not writable.
    pub read_only: bool,
    /// Nor is any mount below it.
    pub recursive_read_only: bool,
    /// Mount propagation.
    pub propagation: Propagation,
    /// Unpacked layers of an image, topmost first, that are mounted in the place of `source`.
    #[serde(default)]
    pub layers: Vec<String>,
    /// Path in the image that is mounted; empty means all of it.
    #[serde(default)]
    pub image_path: String,
}

/// A device node of the host in the container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Path in the container.
    pub destination: String,
    /// Path on the host.
    pub source: PathBuf,
}

/// Whose rights a process has. Names are looked up in the container's own files.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UserSpec {
    /// Numeric user, which wins over the name.
    pub uid: Option<u32>,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty means root.
    pub name: String,
    /// Numeric group, which wins over all others.
    pub gid: Option<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Take no supplementary groups from the container's group file.
    pub strict_groups: bool,
}

/// Whose rights a process has, by numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// One process to start in a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Working directory, made if missing.
    pub cwd: String,
    /// User and groups.
    pub user: UserSpec,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Capabilities, bit by number.
    pub capabilities: u64,
    /// Capabilities that survive exec for users other than root.
    pub ambient: u64,
    /// Whether exec can never add rights.
    pub no_new_privs: bool,
    /// File with the seccomp filter's instructions.
    pub seccomp: Option<PathBuf>,
    /// Wish for the kernel's choice of victim when memory runs out.
    pub oom_score_adj: Option<i32>,
}

/// A container as its shim sees it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Container id.
    pub id: String,
    /// Directory of the unpacked layers; the lower directories are named relative to it.
    pub layers: PathBuf,
    /// Lower directories, topmost first.
    pub lower: Vec<String>,
    /// Directory with `upper`, `work` and `rootfs`.
    pub dir: PathBuf,
    /// The first process.
    pub process: ProcessSpec,
    /// Mounts, outer before inner.
    pub mounts: Vec<MountSpec>,
    /// Device nodes.
    pub devices: Vec<DeviceSpec>,
    /// Paths hidden from the container.
    pub masked_paths: Vec<String>,
    /// Paths it cannot write.
    pub readonly_paths: Vec<String>,
    /// The root file system is read-only.
    pub readonly_root: bool,
    /// All devices, writable `/sys`, nothing masked.
    pub privileged: bool,
    /// Cgroup directories, by controller name (`""` for the unified hierarchy).
    pub cgroups: BTreeMap<String, PathBuf>,
    /// Directory of shared memory, bound to `/dev/shm`.
    pub shm: Option<PathBuf>,
    /// PID namespace.
    pub pid_mode: PidMode,
    /// Namespace files to join: network, IPC, UTS.
    pub namespaces: Vec<PathBuf>,
    /// The pod's own users; none for the host's.
    #[serde(default)]
    pub users: Option<PodUsers>,
    /// Keeps the standard input open for attaching clients.
    pub stdin: bool,
    /// The standard input ends with the first client that used it.
    pub stdin_once: bool,
    /// Log file; none when the output is not kept.
    pub log_path: Option<PathBuf>,
    /// Where the exit is recorded.
    pub exit_file: PathBuf,
}

/// How a container ended, as recorded in its exit file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code, or 128 plus the signal.
    pub code: i32,
    /// Nanoseconds since the epoch.
    pub finished_at: i64,
    /// Whether the kernel killed something in it for memory.
    pub oom_killed: bool,
}

/// A request to a shim. One request per connection.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Start a container. Answer: `Started`.
    Start(Box<ContainerSpec>),
    /// Send a signal to a container's first process, or to every process in its cgroup.
    Kill {
        /// Container id.
        id: String,
        /// Signal number.
        signal: i32,
        /// Every process.
        all: bool,
    },
    /// Run another process in a container. Carries the descriptors for stdin, stdout and stderr unless
    /// it has a terminal. Answers: `Started` (with the terminal's descriptor if there is one), then `Exited`.
    Exec {
        /// Container id.
        id: String,
        /// Program and arguments.
        args: Vec<String>,
        /// Whether it gets a terminal.
        tty: bool,
    },
    /// Signal a process started by `Exec`.
    KillExec {
        /// Its pid.
        pid: i32,
        /// Signal number.
        signal: i32,
    },
    /// Connect descriptors to a container's stdin, stdout and stderr, in this order, those that are named.
    Attach {
        /// Container id.
        id: String,
        /// First descriptor is a stdin.
        stdin: bool,
        /// Next is a stdout.
        stdout: bool,
        /// Next is a stderr.
        stderr: bool,
    },
    /// Size of a container's terminal.
    Resize {
        /// Container id.
        id: String,
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
    /// Open a container's log file anew.
    ReopenLog {
        /// Container id.
        id: String,
    },
    /// Containers that run. Answer: `Running`, then `ContainerExited` for each exit from now on.
    Watch,
    /// End the shim. Everything in the pod is killed.
    Shutdown,
}

/// An answer of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Response {
    /// Done.
    Done,
    /// The process runs.
    Started {
        /// Its pid on the host.
        pid: i32,
        /// Whose rights it began with.
        #[serde(default)]
        user: Option<Identity>,
    },
    /// The process started by `Exec` has ended.
    Exited {
        /// Exit code, or 128 plus the signal.
        code: i32,
    },
    /// Ids and pids of the containers that run.
    Running(Vec<(String, i32)>),
    /// A container has ended; its exit file is written.
    ContainerExited {
        /// Container id.
        id: String,
        /// How.
        exit: Exit,
    },
    /// It failed.
    Failed {
        /// Why.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_on_the_host() {
        let uids = vec![IdRange { inside: 0, outside: 65536, length: 65536 }];
        let users = PodUsers { gids: uids.clone(), uids, ..Default::default() };
        assert_eq!(users.on_host(0, 7), (65536, 65543));
        assert_eq!(users.on_host(65535, 65536), (131071, 65534));
    }
}
