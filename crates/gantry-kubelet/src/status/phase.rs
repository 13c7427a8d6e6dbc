//! The pod's phase.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::{
    plan::restarts_after,
    pod::{self, Sort},
};

/// The phase from the container statuses and the restart policy.
pub fn phase(pod: &Pod, init: &[ContainerStatus], regular: &[ContainerStatus]) -> &'static str {
    let mut pending_init = 0;
    let (mut failed_init, mut failed_for_good) = (0, false);
    for container in pod::init_containers(pod) {
        let status = init.iter().find(|s| s.name == container.name);
        let state = status.and_then(|s| s.state.as_ref());
        if pod::is_sidecar(container) {
            let waiting = state.is_none_or(|s| s.waiting.is_some());
            let never_ran =
                status.is_none_or(|s| s.last_state.as_ref().is_none_or(|l| l.terminated.is_none()));
            let starting =
                state.is_some_and(|s| s.running.is_some()) && status.is_some_and(|s| s.started != Some(true));
            if waiting && never_ran || starting {
                pending_init += 1;
            }
            continue;
        }
        match state {
            Some(s) if s.terminated.is_some() => {
                if let Some(code) = s.terminated.as_ref().map(|t| t.exit_code).filter(|code| *code != 0) {
                    failed_init += 1;
                    failed_for_good |= !restarts_after(pod, container, Sort::Init, code);
                }
            }
            _ => pending_init += 1,
        }
    }
    let (mut unknown, mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0, 0);
    let mut returns = false;
    for container in &pod::spec(pod).containers {
        let Some(status) = regular.iter().find(|s| s.name == container.name) else {
            unknown += 1;
            continue;
        };
        let state = status.state.clone().unwrap_or_default();
        if state.running.is_some() {
            running += 1;
        } else if let Some(terminated) = &state.terminated {
            stopped += 1;
            succeeded += i32::from(terminated.exit_code == 0);
            returns |= restarts_after(pod, container, Sort::Regular, terminated.exit_code);
        } else if let Some(last) = status.last_state.as_ref().and_then(|l| l.terminated.as_ref()) {
            stopped += 1;
            returns |= restarts_after(pod, container, Sort::Regular, last.exit_code);
        } else {
            waiting += 1;
        }
    }
    if failed_for_good {
        return "Failed";
    }
    if pending_init > 0 && running == 0 && stopped == 0 || failed_init > 0 || waiting > 0 {
        return "Pending";
    }
    if running > 0 && unknown == 0 {
        return "Running";
    }
    if running == 0 && stopped > 0 && unknown == 0 {
        return match returns {
            true => "Running",
            false if stopped == succeeded => "Succeeded",
            false => "Failed",
        };
    }
    "Pending"
}

/// The phase of a pod that was stopped: by the exit codes, whatever the policy.
pub fn terminated_phase(regular: &[ContainerStatus]) -> &'static str {
    let succeeded = |s: &ContainerStatus| {
        s.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0)
    };
    if !regular.is_empty() && regular.iter().all(succeeded) { "Succeeded" } else { "Failed" }
}
