//! What the runtime says of a pod, reduced to what decisions need.

use std::collections::BTreeMap;

use gantry_cri::v1 as cri;
use jiff::Timestamp;

/// Labels and annotations a pod's sandboxes and containers carry.
pub mod label {
    /// Pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// Pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// Pod's uid.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// Container's name.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// Hash of the container's definition.
    pub const HASH: &str = "io.kubernetes.container.hash";
    /// Restarts before this instance.
    pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
    /// Path of the termination message in the container.
    pub const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
    /// Policy of the termination message.
    pub const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
    /// Grace period in seconds, for orphans.
    pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
}

/// Life-cycle state of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

/// A sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// Which sandbox of the pod this is, from 0.
    pub attempt: u32,
    /// Whether containers can run in it.
    pub ready: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its addresses, the primary one first.
    pub ips: Vec<String>,
}

/// An instance of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The runtime's id.
    pub id: String,
    /// The container's name in the pod.
    pub name: String,
    /// The sandbox it belongs to; empty when not known.
    pub sandbox_id: String,
    /// State.
    pub state: State,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Exit status.
    pub exit_code: i32,
    /// Restarts before this instance.
    pub restart_count: u32,
    /// Hash of the definition it was made from.
    pub hash: String,
    /// Image name as asked for.
    pub image: String,
    /// Reference of the image that runs.
    pub image_ref: String,
    /// Reason of the end: `Completed`, `Error`, `OOMKilled`.
    pub reason: String,
    /// Termination message.
    pub message: String,
    /// The log file on the node.
    pub log_path: String,
    /// User and groups the first process has.
    pub user: Option<(i64, i64, Vec<i64>)>,
    /// Limits it has now.
    pub resources: Option<cri::LinuxContainerResources>,
}

/// All of a pod's sandboxes and container instances, newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Sandboxes, newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Container instances, newest first.
    pub instances: Vec<Instance>,
}

fn time(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default()
}

impl Observed {
    /// The sandbox that containers run in now.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// Instances of a container, newest first.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Instance> {
        self.instances.iter().filter(move |i| i.name == name)
    }

    /// The newest instance of a container.
    pub fn newest(&self, name: &str) -> Option<&Instance> {
        self.instances.iter().find(|i| i.name == name)
    }

    /// The newest instance of a container in the current sandbox.
    pub fn current(&self, name: &str) -> Option<&Instance> {
        let sandbox = self.sandbox()?;
        self.newest(name).filter(|i| i.sandbox_id.is_empty() || i.sandbox_id == sandbox.id)
    }

    /// Instances that run or whose state is not known.
    pub fn running(&self) -> impl Iterator<Item = &Instance> {
        self.instances.iter().filter(|i| matches!(i.state, State::Running | State::Unknown))
    }

    /// Addresses of the ready sandbox.
    pub fn ips(&self) -> &[String] {
        self.sandbox().filter(|s| s.ready).map_or(&[], |s| &s.ips)
    }

    /// Sorts newest first.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created_at)));
        self.instances.sort_by_key(|i| std::cmp::Reverse((i.created_at, i.restart_count)));
    }
}

impl From<&cri::PodSandboxStatus> for Sandbox {
    fn from(status: &cri::PodSandboxStatus) -> Self {
        let network = status.network.clone().unwrap_or_default();
        let first = (!network.ip.is_empty()).then_some(network.ip);
        Self {
            id: status.id.clone(),
            attempt: status.metadata.as_ref().map_or(0, |m| m.attempt),
            ready: status.state == cri::PodSandboxState::SandboxReady as i32,
            created_at: time(status.created_at),
            ips: first.into_iter().chain(network.additional_ips.into_iter().map(|i| i.ip)).collect(),
        }
    }
}

impl Instance {
    /// From the runtime's status; `sandbox_id` comes from the list.
    pub fn new(status: &cri::ContainerStatus, sandbox_id: &str) -> Self {
        let text = |map: &BTreeMap<String, String>, key: &str| map.get(key).cloned().unwrap_or_default();
        let metadata = status.metadata.clone().unwrap_or_default();
        let restart_count =
            text(&status.annotations, label::RESTART_COUNT).parse().unwrap_or(metadata.attempt);
        let user = status.user.as_ref().and_then(|u| u.linux.as_ref());
        Self {
            id: status.id.clone(),
            name: status.labels.get(label::CONTAINER_NAME).cloned().unwrap_or(metadata.name),
            sandbox_id: sandbox_id.to_string(),
            state: match status.state() {
                cri::ContainerState::ContainerCreated => State::Created,
                cri::ContainerState::ContainerRunning => State::Running,
                cri::ContainerState::ContainerExited => State::Exited,
                cri::ContainerState::ContainerUnknown => State::Unknown,
            },
            created_at: time(status.created_at),
            started_at: time(status.started_at),
            finished_at: time(status.finished_at),
            exit_code: status.exit_code,
            restart_count,
            hash: text(&status.annotations, label::HASH),
            image: status.image.as_ref().map_or(String::new(), |i| {
                if i.user_specified_image.is_empty() {
                    i.image.clone()
                } else {
                    i.user_specified_image.clone()
                }
            }),
            image_ref: status.image_ref.clone(),
            reason: status.reason.clone(),
            message: status.message.clone(),
            log_path: status.log_path.clone(),
            user: user.map(|u| (u.uid, u.gid, u.supplemental_groups.clone())),
            resources: status.resources.as_ref().and_then(|r| r.linux.clone()),
        }
    }
}
