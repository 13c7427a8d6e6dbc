//! Requests and limits as cgroup settings.

use gantry_cri::v1::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod};

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
    let critical = pod::spec(pod).priority.unwrap_or(0) >= 2_000_000_000;
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: memory_limit,
        memory_swap_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod::qos(pod), critical, memory_request, node_memory),
        ..LinuxContainerResources::default()
    }
}

/// The settings of the pod's own cgroup: sums, with limits only when every container has one.
pub fn pod_level(pod: &Pod) -> LinuxContainerResources {
    let sum = |name: &str| {
        let mut total = 0;
        for c in &pod::spec(pod).containers {
            let limit = pod::limits(&c.resources).and_then(|l| l.get(name))?;
            total += if name == "cpu" { quantity::cpu_milli(limit) } else { quantity::value(limit) };
        }
        let init = pod::init_containers(pod).iter().filter_map(|c| pod::limits(&c.resources)?.get(name));
        let peak =
            init.map(|q| if name == "cpu" { quantity::cpu_milli(q) } else { quantity::value(q) }).max();
        Some(total.max(peak.unwrap_or(0)))
    };
    let unlimited_init = |name: &str| {
        pod::init_containers(pod)
            .iter()
            .any(|c| pod::limits(&c.resources).and_then(|l| l.get(name)).is_none())
    };
    let limit = |name: &str| match sum(name).filter(|_| !unlimited_init(name)) {
        Some(limit) if limit > 0 => limit + pod::overhead(pod, name),
        _ => 0,
    };
    LinuxContainerResources {
        cpu_period: PERIOD,
        cpu_shares: shares(pod::total_request(pod, "cpu")),
        cpu_quota: quota(limit("cpu")),
        memory_limit_in_bytes: limit("memory"),
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
}
