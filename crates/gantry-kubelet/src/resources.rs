//! Requests and limits as cgroup settings.

use gantry_cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use crate::{
    pod::{self, Qos},
    quantity,
};

const PERIOD: i64 = 100_000;
const MIN_QUOTA: i64 = 1_000;
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;

/// CPU shares of `milli` millicores.
pub fn shares(milli: i64) -> i64 {
    if milli == 0 { MIN_SHARES } else { (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES) }
}

/// CPU quota per period of `milli` millicores; 0 is no limit.
pub fn quota(milli: i64) -> i64 {
    if milli == 0 { 0 } else { (milli * PERIOD / 1000).max(MIN_QUOTA) }
}

/// `oom_score_adj` of a container by quality of service and its share of the node's memory.
pub fn oom_score_adj(qos: Qos, critical: bool, memory_request: i64, node_memory: i64) -> i64 {
    match qos {
        _ if critical => -997,
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => (1000 - 1000 * memory_request / node_memory.max(1)).clamp(3, 999),
    }
}

/// The container's cgroup settings.
pub fn container(pod: &Pod, container: &Container, node_memory: i64) -> LinuxContainerResources {
    let amount = |list: Option<&quantity::ResourceList>, name: &str| list.and_then(|l| l.get(name)).cloned();
    let (requests, limits) = (pod::requests(&container.resources), pod::limits(&container.resources));
    let cpu_limit = amount(limits, "cpu").map_or(0, |q| quantity::cpu_milli(&q));
    let cpu_request = amount(requests, "cpu").map_or(cpu_limit, |q| quantity::cpu_milli(&q));
    let memory_limit = amount(limits, "memory").map_or(0, |q| quantity::value(&q));
    let memory_request = amount(requests, "memory").map_or(memory_limit, |q| quantity::value(&q));
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: memory_limit,
        memory_swap_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod::qos(pod), pod::is_critical(pod), memory_request, node_memory),
        ..LinuxContainerResources::default()
    }
}

/// How much of `resource` the pod's containers may use together, with what running them takes: what the pod
/// says itself, else the sum of its containers where all of them have a limit. CPU in millicores, else whole
/// units.
pub fn limit(pod: &Pod, resource: &str) -> Option<i64> {
    let of = |r: &Option<ResourceRequirements>| {
        let limit = pod::limits(r)?.get(resource)?;
        let amount = if resource == "cpu" { quantity::cpu_milli(limit) } else { quantity::value(limit) };
        Some(amount).filter(|amount| *amount > 0)
    };
    let containers = || {
        let (mut sidecars, mut peak) = (0, 0);
        for container in pod::init_containers(pod) {
            let own = of(&container.resources)?;
            peak = peak.max(sidecars + own);
            sidecars += if pod::is_sidecar(container) { own } else { 0 };
        }
        let regular = pod::spec(pod).containers.iter().map(|c| of(&c.resources));
        Some(regular.sum::<Option<i64>>()?.saturating_add(sidecars).max(peak))
    };
    let limit = of(&pod::spec(pod).resources).or_else(containers)?;
    Some(limit.saturating_add(pod::overhead(pod, resource)))
}

/// The settings of the pod's own cgroup.
pub fn pod_level(pod: &Pod) -> LinuxContainerResources {
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_shares: shares(pod::total_request(pod, "cpu")),
        cpu_quota: quota(limit(pod, "cpu").unwrap_or(0)),
        memory_limit_in_bytes: limit(pod, "memory").unwrap_or(0),
        ..LinuxContainerResources::default()
    }
}

/// The parent cgroup of the pod's containers, below `root`.
pub fn cgroup_parent(root: &str, pod: &Pod) -> String {
    let uid = pod::uid(pod);
    match pod::qos(pod) {
        Qos::Guaranteed => format!("{root}/pod{uid}"),
        Qos::Burstable => format!("{root}/burstable/pod{uid}"),
        Qos::BestEffort => format!("{root}/besteffort/pod{uid}"),
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn conversions() {
        for (milli, expect) in [(0, 2), (1, 2), (100, 102), (1000, 1024)] {
            assert_eq!(shares(milli), expect);
        }
        for (milli, expect) in [(0, 0), (5, 1000), (500, 50_000)] {
            assert_eq!(quota(milli), expect);
        }
        let gib = 1 << 30;
        for (qos, request, expect) in [
            (Qos::BestEffort, 0, 1000),
            (Qos::Guaranteed, gib, -997),
            (Qos::Burstable, gib, 750),
            (Qos::Burstable, 0, 999),
        ] {
            assert_eq!(oom_score_adj(qos, false, request, 4 * gib), expect);
        }
    }
    #[test]
    fn limits_of_pods() {
        let limit = |memory: &str| json!({"limits": {"memory": memory}});
        for (spec, expect) in [
            (json!({"containers": [{"resources": limit("10")}, {"resources": limit("20")}]}), Some(30)),
            (json!({"containers": [{"resources": limit("10")}, {}]}), None),
            (json!({"containers": [{"resources": limit("10")}, {}], "resources": limit("50")}), Some(50)),
            (json!({"containers": [{"resources": limit("10")}], "overhead": {"memory": "5"}}), Some(15)),
            (
                json!({"containers": [{"resources": limit("10")}], "initContainers": [
                    {"restartPolicy": "Always", "resources": limit("7")}, {"resources": limit("8")}]}),
                Some(17),
            ),
            (json!({"containers": [{"resources": limit("10")}], "initContainers": [{}]}), None),
        ] {
            let mut spec = spec;
            for list in ["containers", "initContainers"] {
                for container in spec[list].as_array_mut().into_iter().flatten() {
                    container["name"] = "c".into();
                }
            }
            let pod: Pod = gantry_json::from_value(json!({"spec": spec})).unwrap();
            assert_eq!(super::limit(&pod, "memory"), expect, "{spec}");
        }
    }
}
