//! Container states.

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, ContainerUser, LinuxContainerUser, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{Input, whole_seconds};
use crate::{
    observed::{Instance, State},
    plan::should_restart,
    pod::{self, Sort},
};

/// What probes say of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerProbes {
    /// Startup is over.
    pub started: bool,
    /// Readiness succeeds, or is not probed.
    pub ready: bool,
}

/// The id as the API writes it.
pub fn container_id(id: &str) -> String {
    format!("gantry://{id}")
}

fn time(t: jiff::Timestamp) -> Option<Time> {
    (t != jiff::Timestamp::UNIX_EPOCH).then(|| Time(whole_seconds(t)))
}

fn state(instance: &Instance) -> ContainerState {
    match instance.state {
        State::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(instance.started_at) }),
            ..Default::default()
        },
        State::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                container_id: Some(container_id(&instance.id)),
                exit_code: instance.exit_code,
                started_at: time(instance.started_at),
                finished_at: time(instance.finished_at),
                message: Some(instance.message.clone()).filter(|m| !m.is_empty()),
                reason: Some(if !instance.reason.is_empty() {
                    instance.reason.clone()
                } else if instance.exit_code == 0 {
                    "Completed".into()
                } else {
                    "Error".into()
                }),
                signal: None,
            }),
            ..Default::default()
        },
        State::Created | State::Unknown => waiting("ContainerCreating", ""),
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_string()),
            message: Some(message.to_string()).filter(|m| !m.is_empty()),
        }),
        ..Default::default()
    }
}

/// Statuses of one list of containers, in name order for regular ones as clients expect.
pub fn statuses(input: &Input<'_>, sort: Sort, containers: &[Container]) -> Vec<ContainerStatus> {
    let mut list: Vec<ContainerStatus> = containers.iter().map(|c| status(input, sort, c)).collect();
    if sort != Sort::Init {
        list.sort_by(|a, b| a.name.cmp(&b.name));
    }
    list
}

/// Keeps the beginning of the termination messages.
pub fn cut_messages(status: &mut ContainerStatus, bytes: usize) {
    let ends = [&mut status.state, &mut status.last_state].into_iter().flatten();
    for message in ends.filter_map(|state| state.terminated.as_mut()?.message.as_mut()) {
        message.truncate(message.floor_char_boundary(bytes));
    }
}

fn status(input: &Input<'_>, sort: Sort, container: &Container) -> ContainerStatus {
    let old_status = input.pod.status.as_ref();
    let old = match sort {
        Sort::Init => old_status.and_then(|s| s.init_container_statuses.as_ref()),
        Sort::Regular => old_status.and_then(|s| s.container_statuses.as_ref()),
        Sort::Ephemeral => old_status.and_then(|s| s.ephemeral_container_statuses.as_ref()),
    }
    .and_then(|l| l.iter().find(|s| s.name == container.name));
    let mut instances = input.observed.of(&container.name);
    let newest = instances.next();
    let (given, has) = (input.sizes)(container, newest.map(|i| i.id.as_str()));
    let mut result = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        resources: container.resources.is_some().then_some(has),
        allocated_resources: given.requests,
        volume_mounts: mounts(container),
        ..ContainerStatus::default()
    };
    match newest {
        Some(instance) => {
            result.restart_count = instance.restart_count as i32;
            result.container_id = Some(container_id(&instance.id));
            if !instance.image.is_empty() {
                result.image = instance.image.clone();
            }
            result.image_id = instance.image_ref.clone();
            result.state = Some(state(instance));
            result.user = instance.user.as_ref().map(|(uid, gid, groups)| ContainerUser {
                linux: Some(LinuxContainerUser {
                    uid: *uid,
                    gid: *gid,
                    supplemental_groups: Some(groups.clone()).filter(|g| !g.is_empty()),
                }),
            });
            result.last_state = match instances.find(|i| i.state == State::Exited) {
                Some(previous) => Some(state(previous)),
                None => {
                    old.filter(|o| o.restart_count == result.restart_count).and_then(|o| o.last_state.clone())
                }
            };
        }
        None => {
            let reason = if pod::init_containers(input.pod).is_empty() {
                "ContainerCreating"
            } else {
                "PodInitializing"
            };
            match old.filter(|o| o.container_id.is_some()) {
                Some(old) => lost(old, &mut result, input.terminated, reason),
                None => result.state = Some(waiting(reason, "")),
            }
        }
    }
    if let Some((reason, message)) = input.reasons.get(&container.name)
        && should_restart(input.pod, container, sort, newest)
    {
        if let Some(state) = result.state.take().filter(|s| s.terminated.is_some()) {
            result.last_state = Some(state);
        }
        result.state = Some(waiting(reason, message));
    }
    if result.last_state.is_none() {
        result.last_state = Some(ContainerState::default());
    }
    let running = result.state.as_ref().is_some_and(|s| s.running.is_some());
    let probes = newest.map(|i| (input.probes)(&i.id)).unwrap_or_default();
    let plain_init = sort == Sort::Init && !pod::is_sidecar(container);
    result.started = Some(running && (probes.started || plain_init));
    result.ready = if plain_init {
        result.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0)
    } else {
        sort != Sort::Ephemeral && running && probes.started && probes.ready
    };
    if sort == Sort::Ephemeral {
        result.started = None;
    }
    result
}

/// The container ran once but the runtime does not know it any more.
fn lost(old: &ContainerStatus, result: &mut ContainerStatus, terminated: bool, waiting_reason: &str) {
    result.restart_count = old.restart_count;
    result.image_id = old.image_id.clone();
    result.container_id = old.container_id.clone();
    let ended = old.state.as_ref().and_then(|s| s.terminated.clone());
    let gone = ContainerState {
        terminated: Some(ended.clone().unwrap_or_else(|| ContainerStateTerminated {
            container_id: old.container_id.clone(),
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            ..Default::default()
        })),
        ..Default::default()
    };
    if terminated || ended.is_some() {
        result.state = Some(gone);
        result.last_state = old.last_state.clone();
    } else if old.state.as_ref().is_some_and(|s| s.running.is_some()) {
        result.restart_count += 1;
        result.state = Some(waiting(waiting_reason, ""));
        result.last_state = Some(gone);
    } else {
        result.state = Some(waiting(waiting_reason, ""));
        result.last_state = old.last_state.clone();
    }
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    container.volume_mounts.as_ref().map(|mounts| {
        mounts
            .iter()
            .map(|m| VolumeMountStatus {
                name: m.name.clone(),
                mount_path: m.mount_path.clone(),
                read_only: m.read_only,
                // The runtime can do it wherever it is wished for.
                recursive_read_only: m.read_only.filter(|r| *r).map(|_| {
                    let wished = m.recursive_read_only.as_deref();
                    let on = matches!(wished, Some("Enabled" | "IfPossible"));
                    if on { "Enabled" } else { "Disabled" }.to_string()
                }),
            })
            .collect()
    })
}
