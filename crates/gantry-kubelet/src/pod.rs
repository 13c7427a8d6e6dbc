//! Reading a pod: the containers of each sort, identity, quality of service, terminal phases.

use std::fmt;

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec, ResourceRequirements};

use crate::quantity::{self, ResourceList};

/// Which list of the spec a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sort {
    /// `spec.initContainers`.
    Init,
    /// `spec.containers`.
    Regular,
    /// `spec.ephemeralContainers`.
    Ephemeral,
}

impl Sort {
    /// The `fieldPath` of events about the container.
    pub fn field_path(self, name: &str) -> String {
        let list = match self {
            Sort::Init => "spec.initContainers",
            Sort::Regular => "spec.containers",
            Sort::Ephemeral => "spec.ephemeralContainers",
        };
        format!("{list}{{{name}}}")
    }
}

/// A pod's quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Every container has equal requests and limits for CPU and memory.
    Guaranteed,
    /// Some request or limit is set.
    Burstable,
    /// Nothing is set.
    BestEffort,
}

impl fmt::Display for Qos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        })
    }
}

/// The pod's uid; empty when it has none.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`, as messages spell a pod.
pub fn format_pod(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The spec, or an empty one.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::OnceLock<PodSpec> = std::sync::OnceLock::new();
    pod.spec.as_ref().unwrap_or_else(|| EMPTY.get_or_init(PodSpec::default))
}

/// The init containers.
pub fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}

/// The ephemeral containers, as containers.
pub fn ephemeral_containers(pod: &Pod) -> Vec<Container> {
    spec(pod).ephemeral_containers.iter().flatten().map(as_container).collect()
}

/// The fields that an ephemeral container shares with a container.
pub fn as_container(c: &EphemeralContainer) -> Container {
    let c = c.clone();
    Container {
        args: c.args,
        command: c.command,
        env: c.env,
        env_from: c.env_from,
        image: c.image,
        image_pull_policy: c.image_pull_policy,
        name: c.name,
        resources: c.resources,
        security_context: c.security_context,
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path,
        termination_message_policy: c.termination_message_policy,
        tty: c.tty,
        volume_mounts: c.volume_mounts,
        working_dir: c.working_dir,
        ..Container::default()
    }
}

/// Every container with its sort: init, regular, ephemeral.
pub fn all_containers(pod: &Pod) -> Vec<(Sort, Container)> {
    init_containers(pod)
        .iter()
        .map(|c| (Sort::Init, c.clone()))
        .chain(spec(pod).containers.iter().map(|c| (Sort::Regular, c.clone())))
        .chain(ephemeral_containers(pod).into_iter().map(|c| (Sort::Ephemeral, c)))
        .collect()
}

/// The container of that name.
pub fn find_container(pod: &Pod, name: &str) -> Option<(Sort, Container)> {
    all_containers(pod).into_iter().find(|(_, c)| c.name == name)
}

/// The container whose processes the ephemeral container of that name is to see.
pub fn target_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let found = spec(pod).ephemeral_containers.iter().flatten().find(|c| c.name == name)?;
    found.target_container_name.as_deref().filter(|target| !target.is_empty())
}

/// What running the pod takes beside its containers. CPU in millicores, else whole units.
pub fn overhead(pod: &Pod, resource: &str) -> i64 {
    let amount = spec(pod).overhead.as_ref().and_then(|o| o.get(resource));
    amount.map_or(0, |q| if resource == "cpu" { quantity::cpu_milli(q) } else { quantity::value(q) })
}

/// An init container that keeps running beside the regular ones.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether the pod runs in the node's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network.unwrap_or(false)
}

/// The pod's restart policy, `Always` when unset.
pub fn restart_policy(pod: &Pod) -> &str {
    spec(pod).restart_policy.as_deref().unwrap_or("Always")
}

/// Whether the phase is final.
pub fn is_terminal_phase(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Failed" | "Succeeded"))
}

/// Whether the API has asked for deletion.
pub fn is_deleted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Requests and limits of a container.
pub fn requests(r: &Option<ResourceRequirements>) -> Option<&ResourceList> {
    r.as_ref().and_then(|r| r.requests.as_ref())
}

/// The limits of a container.
pub fn limits(r: &Option<ResourceRequirements>) -> Option<&ResourceList> {
    r.as_ref().and_then(|r| r.limits.as_ref())
}

/// Priority from which pods are critical to the cluster.
pub const CRITICAL: i32 = 2_000_000_000;

/// Whether the cluster cannot do without the pod.
pub fn is_critical(pod: &Pod) -> bool {
    spec(pod).priority.unwrap_or(0) >= CRITICAL
}

/// The pod's quality of service from the requests and limits of its containers.
pub fn qos(pod: &Pod) -> Qos {
    let pod_level = spec(pod).resources.clone();
    let sets: Vec<Option<ResourceRequirements>> = if pod_level.is_some() {
        vec![pod_level]
    } else {
        init_containers(pod).iter().chain(&spec(pod).containers).map(|c| c.resources.clone()).collect()
    };
    let amount = |list: Option<&ResourceList>, name: &str| {
        list.and_then(|l| l.get(name)).and_then(|q| quantity::milli(&q.0)).filter(|v| *v > 0)
    };
    let mut any = false;
    let mut all = true;
    for set in &sets {
        for name in ["cpu", "memory"] {
            let (request, limit) = (amount(requests(set), name), amount(limits(set), name));
            any |= request.is_some() || limit.is_some();
            all &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, all) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// The grace period in seconds for stopping the pod: the deletion's, else the spec's.
pub fn grace_period(pod: &Pod) -> i64 {
    pod.metadata
        .deletion_grace_period_seconds
        .or(spec(pod).termination_grace_period_seconds)
        .unwrap_or(30)
        .max(0)
}

/// What the pod needs of `resource`: the sum of its containers and sidecars, or the largest step of
/// its initialisation, plus overhead. CPU in millicores, else whole units.
pub fn total_request(pod: &Pod, resource: &str) -> i64 {
    let of = |r: &Option<ResourceRequirements>| {
        let q = requests(r).and_then(|l| l.get(resource)).or_else(|| limits(r).and_then(|l| l.get(resource)));
        q.map_or(0, |q| if resource == "cpu" { quantity::cpu_milli(q) } else { quantity::value(q) })
    };
    let overhead = overhead(pod, resource);
    if spec(pod)
        .resources
        .as_ref()
        .is_some_and(|r| requests(&Some(r.clone())).is_some_and(|l| l.contains_key(resource)))
    {
        return of(&spec(pod).resources) + overhead;
    }
    let mut sidecars = 0;
    let mut peak = 0;
    for c in init_containers(pod) {
        if is_sidecar(c) {
            sidecars += of(&c.resources);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars + of(&c.resources));
        }
    }
    let sum: i64 = spec(pod).containers.iter().map(|c| of(&c.resources)).sum();
    peak.max(sum + sidecars) + overhead
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::json;

    fn pod(containers: gantry_json::Value) -> Pod {
        gantry_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"containers": containers}}))
            .unwrap()
    }

    #[test]
    fn quality_of_service() {
        for (containers, expect) in [
            (json!([{"name": "a"}]), Qos::BestEffort),
            (json!([{"name": "a", "resources": {"requests": {"cpu": "1"}}}]), Qos::Burstable),
            (json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]), Qos::Guaranteed),
            (
                json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}, {"name": "b"}]),
                Qos::Burstable,
            ),
        ] {
            assert_eq!(qos(&pod(containers.clone())), expect, "{containers}");
        }
    }

    #[test]
    fn total_counts_sidecars_and_init_peaks() {
        let pod: Pod = gantry_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "1"}}}],
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "500m"}}}]}}))
        .unwrap();
        assert_eq!(total_request(&pod, "cpu"), 1100);
    }
}
