//! The node's status.

use std::collections::{BTreeMap, HashMap};

use gantry_cri::v1 as cri;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeFeatures,
        NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus, NodeSystemInfo,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};

use crate::{
    agent::Agent,
    eviction::{self, Resource},
    machine::Machine,
    status::whole_seconds,
};

/// How long a pressure is shown after it has ended: pods that come back at once would bring it back.
const HOLD: SignedDuration = SignedDuration::from_mins(5);
/// Images shown at most.
const MAX_IMAGES: usize = 50;

/// Whether anything but heartbeat times changed.
pub fn differs(old: &NodeStatus, new: &NodeStatus) -> bool {
    let plain = |s: &NodeStatus| {
        let mut s = s.clone();
        for c in s.conditions.iter_mut().flatten() {
            c.last_heartbeat_time = None;
        }
        s.conditions = s.conditions.map(|mut l| {
            l.retain(|c| {
                ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"].contains(&c.type_.as_str())
            });
            l
        });
        let runtime = (s.features, s.runtime_handlers);
        (s.conditions, s.capacity, s.allocatable, s.addresses, s.images, s.node_info, runtime)
    };
    plain(old) != plain(new)
}

/// The status as of `now`.
pub async fn make(agent: &Agent, old: &NodeStatus, now: Timestamp) -> NodeStatus {
    let m = &agent.machine;
    let amounts = |memory: i64, storage: i64| -> BTreeMap<String, Quantity> {
        [
            ("cpu", m.cpus.to_string()),
            ("memory", format!("{}Ki", memory / 1024)),
            ("ephemeral-storage", storage.to_string()),
            ("pods", agent.config.max_pods.to_string()),
            ("hugepages-1Gi", "0".into()),
            ("hugepages-2Mi", "0".into()),
        ]
        .map(|(k, v)| (k.to_string(), Quantity(v)))
        .into()
    };
    let address = |type_: &str, address: &str| NodeAddress { type_: type_.into(), address: address.into() };
    let mut addresses: Vec<NodeAddress> = agent.host_ips.iter().map(|ip| address("InternalIP", ip)).collect();
    addresses.push(address("Hostname", &agent.config.node_name));
    let version = agent.runtime.version(cri::VersionRequest::default()).await.unwrap_or_default();
    let extended = extended(old);
    let with_extended = |mut own: BTreeMap<String, Quantity>| {
        own.extend(extended.clone());
        own
    };
    let allocatable = amounts(agent.allocatable_memory(), agent.allocatable_storage());
    let runtime = agent.runtime.status(cri::StatusRequest::default()).await.unwrap_or_default();
    NodeStatus {
        capacity: Some(with_extended(amounts(m.memory, m.storage))),
        allocatable: Some(with_extended(allocatable)),
        addresses: Some(addresses),
        conditions: Some(conditions(agent, old, now).await),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(agent.config.port) }),
        }),
        images: Some(images(agent).await),
        node_info: Some(NodeSystemInfo {
            architecture: Machine::architecture().into(),
            boot_id: m.boot_id.clone(),
            container_runtime_version: format!("{}://{}", version.runtime_name, version.runtime_version),
            kernel_version: m.kernel.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: agent.config.version.clone(),
            machine_id: m.machine_id.clone(),
            operating_system: "linux".into(),
            os_image: m.os_image.clone(),
            system_uuid: m.system_uuid.clone(),
            swap: None,
        }),
        features: runtime.features.as_ref().map(|features| NodeFeatures {
            supplemental_groups_policy: Some(features.supplemental_groups_policy),
        }),
        runtime_handlers: handlers(&runtime.runtime_handlers),
        ..NodeStatus::default()
    }
}

/// What the runtime can do, by the names that RuntimeClasses know its ways by.
fn handlers(handlers: &[cri::RuntimeHandler]) -> Option<Vec<NodeRuntimeHandler>> {
    let list = handlers.iter().map(|handler| NodeRuntimeHandler {
        name: Some(handler.name.clone()),
        features: handler.features.as_ref().map(|features| NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(features.recursive_read_only_mounts),
            user_namespaces: Some(features.user_namespaces),
        }),
    });
    Some(list.collect()).filter(|list: &Vec<_>| !list.is_empty())
}

/// Resources that others have told of in the node's capacity, such as `example.com/dongle`: the node
/// keeps them, and all of each can be used.
fn extended(old: &NodeStatus) -> BTreeMap<String, Quantity> {
    let capacity = old.capacity.iter().flatten();
    let theirs = capacity.filter(|(name, _)| name.contains('/') && !name.contains("kubernetes.io/"));
    theirs.map(|(name, amount)| (name.clone(), amount.clone())).collect()
}

async fn images(agent: &Agent) -> Vec<ContainerImage> {
    let list = agent.images.list_images(cri::ListImagesRequest::default()).await.unwrap_or_default();
    let mut images = list.images;
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    images
        .into_iter()
        .take(MAX_IMAGES)
        .map(|i| ContainerImage {
            names: Some(i.repo_digests.into_iter().chain(i.repo_tags).take(5).collect()),
            size_bytes: Some(i.size as i64),
        })
        .collect()
}

async fn runtime_problem(agent: &Agent) -> Option<String> {
    match agent.runtime.status(cri::StatusRequest::default()).await {
        Err(error) => Some(format!("container runtime is down: {error}")),
        Ok(response) => {
            let conditions = response.status.unwrap_or_default().conditions;
            let bad: Vec<String> = conditions
                .iter()
                .filter(|c| !c.status)
                .map(|c| match c.r#type.as_str() {
                    "NetworkReady" => format!(
                        "container runtime network not ready: NetworkReady=false reason:{} message:{}",
                        c.reason, c.message
                    ),
                    _ => format!(
                        "container runtime not ready: {}=false reason:{} message:{}",
                        c.r#type, c.reason, c.message
                    ),
                })
                .collect();
            (!bad.is_empty()).then(|| bad.join(", "))
        }
    }
}

/// The pressures that are shown now, as conditions are called.
pub fn pressures(agent: &Agent) -> Vec<&'static str> {
    let (seen, now) = (agent.pressures.lock(), agent.now());
    let all = ["MemoryPressure", "DiskPressure", "PIDPressure"];
    all.into_iter().filter(|kind| lasts(&seen, kind, now)).collect()
}

/// Whether a pressure is still shown. `seen`: when each was seen last.
fn lasts(seen: &HashMap<&'static str, Timestamp>, kind: &str, now: Timestamp) -> bool {
    seen.get(kind).is_some_and(|last| now.duration_since(*last) < HOLD)
}

/// Whether a pressure is shown: while it lasts and for a while after. `seen`: when each was seen last.
fn shown(seen: &mut HashMap<&'static str, Timestamp>, kind: &'static str, on: bool, now: Timestamp) -> bool {
    if on {
        seen.insert(kind, now);
    }
    lasts(seen, kind, now)
}

async fn conditions(agent: &Agent, old: &NodeStatus, now: Timestamp) -> Vec<NodeCondition> {
    let parts = eviction::measure(&agent.config.root_dir);
    let short: Vec<Resource> =
        eviction::shortages(&parts, &agent.config.eviction_hard).map(|found| found.resource).collect();
    let memory = short.contains(&Resource::Memory);
    let disk = short.contains(&Resource::Storage) || short.contains(&Resource::Inodes);
    let pids = short.contains(&Resource::Processes);
    let pressure = |type_, on, what: &str, has: &str, no: &str| {
        let on = shown(&mut agent.pressures.lock(), type_, on, now);
        let reason = if on { format!("KubeletHas{what}") } else { format!("KubeletHas{no}") };
        let message = if on { format!("kubelet has {has}") } else { format!("kubelet has {}", split(no)) };
        (type_, on, reason, message)
    };
    let ready = match runtime_problem(agent).await {
        None => ("Ready", true, "KubeletReady".into(), "kubelet is posting ready status".into()),
        Some(problem) => ("Ready", false, "KubeletNotReady".to_string(), problem),
    };
    let all = [
        pressure(
            "MemoryPressure",
            memory,
            "InsufficientMemory",
            "insufficient memory available",
            "SufficientMemory",
        ),
        pressure("DiskPressure", disk, "DiskPressure", "disk pressure", "NoDiskPressure"),
        pressure("PIDPressure", pids, "InsufficientPID", "insufficient PID available", "SufficientPID"),
        ready,
    ];
    all.into_iter()
        .map(|(type_, on, reason, message)| {
            let status = if on { "True" } else { "False" };
            let last = old.conditions.iter().flatten().find(|c| c.type_ == type_ && c.status == status);
            NodeCondition {
                type_: type_.into(),
                status: status.into(),
                reason: Some(reason),
                message: Some(message),
                last_heartbeat_time: Some(Time(whole_seconds(now))),
                last_transition_time: Some(
                    last.and_then(|c| c.last_transition_time.clone()).unwrap_or(Time(whole_seconds(now))),
                ),
            }
        })
        .collect()
}

/// The message that goes with a reason.
fn split(reason: &str) -> &'static str {
    match reason {
        "SufficientMemory" => "sufficient memory available",
        "SufficientPID" => "sufficient PID available",
        _ => "no disk pressure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_resources_are_the_capacitys() {
        let quantity = |text: &str| Quantity(text.into());
        let old = NodeStatus {
            capacity: Some(
                [("cpu", "2"), ("example.com/dongle", "5")].map(|(k, v)| (k.into(), quantity(v))).into(),
            ),
            allocatable: Some([("example.com/gone", "1")].map(|(k, v)| (k.into(), quantity(v))).into()),
            ..NodeStatus::default()
        };
        assert_eq!(extended(&old), [("example.com/dongle".to_owned(), quantity("5"))].into());
    }

    #[test]
    fn pressure_is_shown_for_a_while() {
        let mut seen = HashMap::new();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let steps =
            [(0, false, false), (10, true, true), (20, false, true), (309, false, true), (310, false, false)];
        for (second, on, expect) in steps {
            assert_eq!(shown(&mut seen, "MemoryPressure", on, at(second)), expect, "{second}");
        }
    }
}
