//! What is told of a container, in CRI's form.

use std::sync::Arc;

use gantry_cri::v1::*;

use super::Container;
use crate::{
    runtime::Inner,
    spec::*,
    state::{Phase, now},
};

impl Inner {
    /// A container's state in CRI's form.
    pub fn container_status(&self, container: &Container) -> ContainerStatus {
        let state = container.state.lock().clone();
        let sandbox = self.sandbox(&container.record.sandbox_id).ok();
        let log_path = sandbox.and_then(|s| container.log_path(&s));
        ContainerStatus {
            id: container.record.id.clone(),
            metadata: container.config.metadata.clone(),
            state: phase_number(state.phase),
            created_at: state.created_at,
            started_at: state.started_at,
            finished_at: state.finished_at,
            exit_code: state.exit_code,
            image: container.config.image.clone(),
            image_ref: container.record.image_ref.clone(),
            reason: state.reason,
            message: state.message,
            labels: container.config.labels.clone(),
            annotations: container.config.annotations.clone(),
            mounts: container.config.mounts.clone(),
            log_path: log_path.map(|p| p.display().to_string()).unwrap_or_default(),
            resources: container.resources().map(|linux| ContainerResources { linux: Some(linux) }),
            image_id: container.record.image_id.clone(),
            user: state.user.as_ref().map(user),
        }
    }

    /// Sends an event to whoever listens.
    pub(super) fn tell(&self, container: &Arc<Container>, kind: ContainerEventType) {
        if self.events.receiver_count() == 0 {
            return;
        }
        let sandbox = self.sandbox(&container.record.sandbox_id).ok();
        let statuses = self.containers_of(&container.record.sandbox_id);
        let _ = self.events.send(ContainerEventResponse {
            container_id: container.record.id.clone(),
            container_event_type: kind as i32,
            created_at: now(),
            pod_sandbox_status: sandbox.map(|s| self.sandbox_status(&s)),
            containers_statuses: statuses.iter().map(|c| self.container_status(c)).collect(),
        });
    }
}

fn user(identity: &Identity) -> ContainerUser {
    let groups = identity.groups.iter().map(|group| i64::from(*group)).collect();
    let linux = LinuxContainerUser {
        uid: identity.uid.into(),
        gid: identity.gid.into(),
        supplemental_groups: groups,
    };
    ContainerUser { linux: Some(linux) }
}

/// CRI's number for a phase.
pub fn phase_number(phase: Phase) -> i32 {
    match phase {
        Phase::Created => gantry_cri::v1::ContainerState::ContainerCreated as i32,
        Phase::Running => gantry_cri::v1::ContainerState::ContainerRunning as i32,
        Phase::Exited => gantry_cri::v1::ContainerState::ContainerExited as i32,
    }
}
