//! Resizing in place: what a pod's containers have been given of the node, what they ask for by now,
//! and whether the node has it.
//!
//! What a pod asks for may change while it runs. The node gives it when it has it; until then the pod
//! keeps what it was given, which is what counts against the node.

use std::{borrow::Cow, collections::BTreeMap};

use gantry_cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Node, Pod, ResourceRequirements};

use crate::{
    admit::{self, Rejection},
    pod::{self, is_sidecar},
    quantity,
};

/// Type of the condition of a pod whose resize has to wait or cannot be.
pub const PENDING: &str = "PodResizePending";
/// Type of the condition of a pod whose resize is being carried out.
pub const IN_PROGRESS: &str = "PodResizeInProgress";

/// What containers that can be resized have been given, by name.
pub type Allocation = BTreeMap<String, ResourceRequirements>;

/// Why a resize is not carried out: reason and message of the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `Deferred` when it may fit later, `Infeasible` when it never will.
    pub reason: &'static str,
    /// What is missing.
    pub message: String,
}

/// What the spec asks for.
pub fn wanted(pod: &Pod) -> Allocation {
    let sidecars = pod::init_containers(pod).iter().filter(|c| is_sidecar(c));
    let all = sidecars.chain(&pod::spec(pod).containers);
    all.map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect()
}

/// The pod with what it has been given in the place of what it asks for.
pub fn allocated(pod: &Pod, allocation: &Allocation) -> Pod {
    let mut pod = pod.clone();
    let spec = pod.spec.get_or_insert_default();
    let init = spec.init_containers.iter_mut().flatten().filter(|c| is_sidecar(c));
    for container in init.chain(&mut spec.containers) {
        if let Some(given) = allocation.get(&container.name) {
            container.resources = Some(given.clone());
        }
    }
    pod
}

/// The pod as it counts against the node: what its status says that it was given, where it asks for
/// something else in vain.
pub fn counted(pod: &Pod) -> Cow<'_, Pod> {
    let status = pod.status.as_ref();
    if !status.is_some_and(|s| s.conditions.iter().flatten().any(|c| c.type_ == PENDING)) {
        return Cow::Borrowed(pod);
    }
    let statuses = status.into_iter().flat_map(|s| {
        s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten())
    });
    let given = statuses.filter_map(|s| {
        let requests = Some(s.allocated_resources.clone()?);
        Some((s.name.clone(), ResourceRequirements { requests, ..Default::default() }))
    });
    Cow::Owned(allocated(pod, &given.collect()))
}

/// Whether the node can give the pod what it asks for, beside the others.
pub fn judge(pod: &Pod, node: &Node, others: &[&Pod]) -> Result<(), Refusal> {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    for resource in ["cpu", "memory"] {
        let Some(capacity) = allocatable.and_then(|a| a.get(resource)) else { continue };
        let capacity =
            if resource == "cpu" { quantity::cpu_milli(capacity) } else { quantity::value(capacity) };
        let requested = pod::total_request(pod, resource);
        if requested > capacity {
            let message = format!(
                "Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}"
            );
            return Err(Refusal { reason: "Infeasible", message });
        }
    }
    let deferred = |why: Rejection| Refusal { reason: "Deferred", message: why.message };
    admit::fits(pod, node, others).map_err(deferred)
}

/// Resources that differ, of which a container asks to be started anew.
pub fn restarts(container: &Container, from: &ResourceRequirements, to: &ResourceRequirements) -> bool {
    let differs = |name: &str| {
        let amount = |list: &Option<quantity::ResourceList>| {
            list.as_ref().and_then(|l| l.get(name)).and_then(|q| quantity::milli(&q.0))
        };
        amount(&from.requests) != amount(&to.requests) || amount(&from.limits) != amount(&to.limits)
    };
    let mut policies = container.resize_policy.iter().flatten();
    policies.any(|p| p.restart_policy == "RestartContainer" && differs(&p.resource_name))
}

/// As [`restarts`], by the limits that its group has and is to have.
pub fn restarts_by_group(
    container: &Container,
    group: &LinuxContainerResources,
    wanted: &LinuxContainerResources,
) -> bool {
    let cpu = (group.cpu_shares, group.cpu_quota.max(0)) != (wanted.cpu_shares, wanted.cpu_quota);
    let memory = group.memory_limit_in_bytes.max(0) != wanted.memory_limit_in_bytes;
    container.resize_policy.iter().flatten().any(|p| {
        let differs = (p.resource_name == "cpu" && cpu) || (p.resource_name == "memory" && memory);
        p.restart_policy == "RestartContainer" && differs
    })
}

/// Whether a container's group has these limits.
pub fn applied(group: &LinuxContainerResources, wanted: &LinuxContainerResources) -> bool {
    (group.cpu_shares, group.cpu_quota.max(0), group.memory_limit_in_bytes.max(0))
        == (wanted.cpu_shares, wanted.cpu_quota, wanted.memory_limit_in_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::{Value, json};

    fn pod(cpu: &str, status: Value) -> Pod {
        gantry_json::from_value(json!({"spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": cpu}}}]}, "status": status}))
        .unwrap()
    }

    #[test]
    fn what_the_node_can_give() {
        let node: Node =
            gantry_json::from_value(json!({"status": {"allocatable": {"cpu": "2", "pods": "9"}}})).unwrap();
        let other = pod("1500m", json!({}));
        for (cpu, expect) in [
            ("500m", None),
            (
                "501m",
                Some((
                    "Deferred",
                    "Node didn't have enough resource: cpu, requested: 501, used: 1500, capacity: 2000",
                )),
            ),
            (
                "3",
                Some((
                    "Infeasible",
                    "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000",
                )),
            ),
        ] {
            let verdict = judge(&pod(cpu, json!({})), &node, &[&other]).err();
            let expect = expect.map(|(reason, message)| Refusal { reason, message: message.into() });
            assert_eq!(verdict, expect, "{cpu}");
        }
    }

    #[test]
    fn what_counts_is_what_was_given() {
        let status = |conditions: Value| {
            json!({"conditions": conditions, "containerStatuses": [{"name": "c", "image": "", "imageID": "",
                "ready": true, "restartCount": 0, "allocatedResources": {"cpu": "1"}}]})
        };
        let pending = status(json!([{"type": PENDING, "status": "True"}]));
        assert_eq!(pod::total_request(&counted(&pod("9", pending)), "cpu"), 1000);
        assert_eq!(pod::total_request(&counted(&pod("9", status(json!([])))), "cpu"), 9000);
    }

    #[test]
    fn restarts_by_policy() {
        let container: Container = gantry_json::from_value(json!({"name": "c", "resizePolicy": [
            {"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "memory", "restartPolicy": "RestartContainer"}]}))
        .unwrap();
        let of = |cpu: &str, memory: &str| -> ResourceRequirements {
            gantry_json::from_value(json!({"requests": {"cpu": cpu, "memory": memory}})).unwrap()
        };
        assert!(!restarts(&container, &of("1", "1Gi"), &of("2", "1024Mi")));
        assert!(restarts(&container, &of("1", "1Gi"), &of("1", "2Gi")));
    }
}
