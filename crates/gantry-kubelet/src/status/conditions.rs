//! The conditions that the node owns.

use k8s_openapi::{
    api::core::v1::{ContainerStatus, PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{Input, whole_seconds};
use crate::{pod, resize, worker::EVICTED};

struct Verdict {
    status: bool,
    reason: &'static str,
    message: String,
}

fn yes() -> Verdict {
    Verdict { status: true, reason: "", message: String::new() }
}

fn no(reason: &'static str, message: impl Into<String>) -> Verdict {
    Verdict { status: false, reason, message: message.into() }
}

fn names(list: &[String]) -> String {
    format!("[{}]", list.join(" "))
}

fn message(unknown: &[String], what: &str, other: &[String]) -> String {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: {}", names(unknown)));
    }
    if !other.is_empty() {
        parts.push(format!("containers with {what} status: {}", names(other)));
    }
    parts.join(", ")
}

fn initialized(
    input: &Input<'_>,
    phase: &str,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
) -> Verdict {
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in pod::init_containers(input.pod) {
        match init.iter().find(|s| s.name == container.name) {
            None => unknown.push(container.name.clone()),
            Some(status) if pod::is_sidecar(container) => {
                if status.started != Some(true) {
                    incomplete.push(container.name.clone());
                }
            }
            Some(status) if !status.ready => incomplete.push(container.name.clone()),
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Verdict { reason: "PodCompleted", ..yes() };
    }
    let begun = regular.iter().any(|s| {
        s.started == Some(true)
            || s.state.as_ref().is_some_and(|s| s.running.is_some() || s.terminated.is_some())
            || s.last_state.as_ref().is_some_and(|s| s.terminated.is_some())
    });
    if begun || unknown.is_empty() && incomplete.is_empty() {
        return yes();
    }
    no("ContainersNotInitialized", message(&unknown, "incomplete", &incomplete))
}

fn containers_ready(
    input: &Input<'_>,
    phase: &str,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
) -> Verdict {
    match phase {
        "Succeeded" => return no("PodCompleted", ""),
        "Failed" => return no("PodFailed", ""),
        _ => {}
    }
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let sidecars = pod::init_containers(input.pod).iter().filter(|c| pod::is_sidecar(c)).map(|c| (c, init));
    for (container, list) in sidecars.chain(pod::spec(input.pod).containers.iter().map(|c| (c, regular))) {
        match list.iter().find(|s| s.name == container.name) {
            None => unknown.push(container.name.clone()),
            Some(status) if !status.ready => unready.push(container.name.clone()),
            Some(_) => {}
        }
    }
    if unknown.is_empty() && unready.is_empty() {
        return yes();
    }
    no("ContainersNotReady", message(&unknown, "unready", &unready))
}

fn ready(input: &Input<'_>, old: &PodStatus, containers: &Verdict) -> Verdict {
    if !containers.status {
        return no(containers.reason, containers.message.clone());
    }
    let mut messages = Vec::new();
    for gate in pod::spec(input.pod).readiness_gates.iter().flatten() {
        match old.conditions.iter().flatten().find(|c| c.type_ == gate.condition_type) {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate {:?} does not exist.",
                gate.condition_type
            )),
            Some(c) if c.status != "True" => messages.push(format!(
                "the status of pod readiness gate {:?} is not \"True\", but {}",
                gate.condition_type, c.status
            )),
            Some(_) => {}
        }
    }
    if messages.is_empty() { yes() } else { no("ReadinessGatesNotReady", messages.join(", ")) }
}

/// Own conditions made anew, others kept; transition times move only with the status.
pub fn conditions(
    input: &Input<'_>,
    old: &PodStatus,
    phase: &str,
    init: &[ContainerStatus],
    regular: &[ContainerStatus],
) -> Vec<PodCondition> {
    let sandbox = input.observed.sandbox().is_some_and(|s| s.ready)
        && (pod::host_network(input.pod) || !input.observed.ips().is_empty());
    let containers = containers_ready(input, phase, init, regular);
    let own = [
        ("PodReadyToStartContainers", if sandbox { yes() } else { no("", "") }),
        ("Initialized", initialized(input, phase, init, regular)),
        ("Ready", ready(input, old, &containers)),
        ("ContainersReady", containers),
        ("PodScheduled", yes()),
    ];
    let text = |s: &str| (!s.is_empty()).then(|| s.to_string());
    let rejected = input.is_rejected();
    let mut result: Vec<PodCondition> = own
        .into_iter()
        .filter(|(type_, _)| !rejected || matches!(*type_, "Ready" | "ContainersReady"))
        .map(|(type_, verdict)| {
            let status = if verdict.status { "True" } else { "False" };
            let last = old.conditions.iter().flatten().find(|c| c.type_ == type_);
            let since = last.filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
            PodCondition {
                type_: type_.to_string(),
                status: status.to_string(),
                reason: text(verdict.reason),
                message: text(&verdict.message),
                last_transition_time: Some(since.unwrap_or(Time(whole_seconds(input.now)))),
                last_probe_time: None,
                observed_generation: input.pod.metadata.generation,
            }
        })
        .collect();
    if let Some((_, message)) = input.failed.filter(|(reason, _)| *reason == EVICTED) {
        let last = old.conditions.iter().flatten().find(|c| c.type_ == "DisruptionTarget");
        result.push(PodCondition {
            type_: "DisruptionTarget".into(),
            status: "True".into(),
            reason: Some("TerminationByKubelet".into()),
            message: Some(message.to_owned()),
            last_transition_time: Some(
                last.and_then(|c| c.last_transition_time.clone()).unwrap_or(Time(whole_seconds(input.now))),
            ),
            last_probe_time: None,
            observed_generation: input.pod.metadata.generation,
        });
    }
    let pending = input.refused.map(|(reason, message)| (resize::PENDING, reason, message));
    let resizing = input.resizing.map(|error| {
        let reason = if error.is_some() { "Error" } else { "" };
        (resize::IN_PROGRESS, reason, error.unwrap_or_default())
    });
    for (type_, reason, message) in pending.into_iter().chain(resizing) {
        let last = old.conditions.iter().flatten().find(|c| c.type_ == type_ && c.status == "True");
        result.push(PodCondition {
            type_: type_.into(),
            status: "True".into(),
            reason: text(reason),
            message: text(message),
            last_transition_time: Some(
                last.and_then(|c| c.last_transition_time.clone()).unwrap_or(Time(whole_seconds(input.now))),
            ),
            last_probe_time: None,
            observed_generation: input.pod.metadata.generation,
        });
    }
    let passing = [resize::PENDING, resize::IN_PROGRESS];
    let kept = old.conditions.iter().flatten().filter(|c| !passing.contains(&c.type_.as_str()));
    let others = kept.filter(|c| !result.iter().any(|r| r.type_ == c.type_));
    let others: Vec<PodCondition> = others.cloned().collect();
    result.extend(others);
    result
}
