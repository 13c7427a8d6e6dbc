//! A pod's status from its spec and what the runtime and the probes show.

mod conditions;
mod containers;
mod phase;

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, HostIP, Pod, PodIP, PodStatus, ResourceRequirements},
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::{
    observed::Observed,
    pod::{self, Sort},
};

pub use containers::ContainerProbes;

/// Why a container waits, by container name: `CrashLoopBackOff` and the like with its message.
pub type Reasons = HashMap<String, (String, String)>;

/// What a container has been given, and what its instance with this id has.
pub type Sizes<'a> = dyn Fn(&Container, Option<&str>) -> (ResourceRequirements, ResourceRequirements) + 'a;

/// Inputs of [`generate`].
pub struct Input<'a> {
    /// The pod with its last known status.
    pub pod: &'a Pod,
    /// The runtime's view.
    pub observed: &'a Observed,
    /// Start failures.
    pub reasons: &'a Reasons,
    /// Probe results by instance id.
    pub probes: &'a dyn Fn(&str) -> ContainerProbes,
    /// The node's addresses.
    pub host_ips: &'a [String],
    /// What a container has been given, and what its instance with this id has.
    pub sizes: &'a Sizes<'a>,
    /// Why a resize waits or cannot be: reason and message.
    pub refused: Option<(&'a str, &'a str)>,
    /// A resize is being carried out; with what went wrong.
    pub resizing: Option<Option<&'a str>>,
    /// A final verdict of the node: phase `Failed` with this reason and message.
    pub failed: Option<(&'a str, &'a str)>,
    /// Everything in the pod has stopped for good.
    pub terminated: bool,
    /// Clock.
    pub now: Timestamp,
}

impl Input<'_> {
    /// The node has not taken the pod: nothing of it was ever begun.
    fn is_rejected(&self) -> bool {
        let begun = self.pod.status.as_ref().is_some_and(|s| s.start_time.is_some());
        let nothing = self.observed.sandboxes.is_empty() && self.observed.instances.is_empty();
        self.failed.is_some() && !begun && nothing
    }
}

/// Bytes that the termination messages of a pod's containers may have together, the same for each.
const MESSAGES_LIMIT: usize = 12 << 10;

/// The status the pod should show.
pub fn generate(input: &Input<'_>) -> PodStatus {
    let pod = input.pod;
    let old = pod.status.clone().unwrap_or_default();
    let spec = pod::spec(pod);
    let rejected = input.is_rejected();
    let statuses = |sort: Sort, list: &[Container]| {
        if rejected { Vec::new() } else { containers::statuses(input, sort, list) }
    };
    let mut init = statuses(Sort::Init, pod::init_containers(pod));
    let mut regular = statuses(Sort::Regular, &spec.containers);
    let share = MESSAGES_LIMIT / (init.len() + regular.len()).max(1);
    init.iter_mut().chain(&mut regular).for_each(|status| containers::cut_messages(status, share));
    let ephemeral = statuses(Sort::Ephemeral, &pod::ephemeral_containers(pod));
    // Who sees a final phase may take it that nothing of the pod runs any more.
    let failed = input.failed.filter(|_| input.terminated || input.observed.running().next().is_none());

    let old_phase = old.phase.as_deref();
    let phase = match (failed, old_phase) {
        (_, Some(last @ ("Failed" | "Succeeded"))) => last.to_string(),
        (Some(_), _) => "Failed".to_string(),
        (None, Some(last)) if input.failed.is_some() => last.to_string(),
        (None, _) => {
            let phase = phase::phase(pod, &init, &regular);
            if input.terminated && !matches!(phase, "Failed" | "Succeeded") {
                phase::terminated_phase(&regular).to_string()
            } else {
                phase.to_string()
            }
        }
    };
    let (reason, message) = match failed {
        Some((reason, message)) if old_phase != Some("Failed") => {
            (Some(reason.to_string()), Some(message.to_string()))
        }
        _ => (old.reason.clone(), old.message.clone()),
    };
    let host_network = pod::host_network(pod);
    let pod_ips: Vec<String> = if host_network && input.observed.sandbox().is_some() {
        input.host_ips.to_vec()
    } else if !input.observed.ips().is_empty() {
        input.observed.ips().to_vec()
    } else {
        old.pod_ips.iter().flatten().map(|i| i.ip.clone()).collect()
    };
    let list = |v: Vec<_>| (!v.is_empty()).then_some(v);
    let conditions = conditions::conditions(input, &old, &phase, &init, &regular);
    PodStatus {
        phase: Some(phase),
        conditions: Some(conditions),
        reason,
        message,
        host_ip: input.host_ips.first().cloned(),
        host_ips: Some(input.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: pod_ips.first().cloned(),
        pod_ips: (!pod_ips.is_empty()).then(|| pod_ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        qos_class: Some(old.qos_class.unwrap_or_else(|| pod::qos(pod).to_string())),
        start_time: if rejected {
            None
        } else {
            Some(old.start_time.unwrap_or(Time(whole_seconds(input.now))))
        },
        observed_generation: pod.metadata.generation,
        init_container_statuses: list(init),
        container_statuses: list(regular),
        ephemeral_container_statuses: list(ephemeral),
        nominated_node_name: old.nominated_node_name,
        resize: old.resize,
        resource_claim_statuses: old.resource_claim_statuses,
        ..PodStatus::default()
    }
}

/// Times in objects have whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
