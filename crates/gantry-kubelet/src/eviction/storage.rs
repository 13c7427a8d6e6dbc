//! What pods may take of the node's disk: a pod that takes more than it said is ended at once.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use gantry_cri::v1 as cri;
use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{Resource, Tree};
use crate::{
    agent::Agent,
    observed::label,
    pod::{self, is_deleted, is_terminal_phase},
    quantity, volumes,
    worker::Message,
};

/// The resource that limits are set for.
const RESOURCE: &str = "ephemeral-storage";

/// Bytes that a pod takes of the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Used {
    /// By each emptyDir.
    volumes: BTreeMap<String, i64>,
    /// By each container: what it wrote, and its logs.
    containers: BTreeMap<String, i64>,
}

fn own_limit(container: &Container) -> Option<&Quantity> {
    pod::limits(&container.resources)?.get(RESOURCE)
}

/// The emptyDirs on disk that have a limit.
fn limited_volumes(pod: &Pod) -> impl Iterator<Item = (&str, &Quantity)> {
    pod::spec(pod).volumes.iter().flatten().filter_map(|volume| {
        let source = volume.empty_dir.as_ref().filter(|s| s.medium.as_deref() != Some("Memory"))?;
        let limit = source.size_limit.as_ref().filter(|limit| quantity::value(limit) > 0)?;
        Some((volume.name.as_str(), limit))
    })
}

/// Whether any of a pod's containers has a limit.
fn has_limits(pod: &Pod) -> bool {
    pod::init_containers(pod).iter().chain(&pod::spec(pod).containers).any(|c| own_limit(c).is_some())
}

/// Why the pod has to end; `None` when it keeps within its limits.
fn excess(pod: &Pod, used: &Used) -> Option<String> {
    for (name, limit) in limited_volumes(pod) {
        if used.volumes.get(name).is_some_and(|used| *used > quantity::value(limit)) {
            return Some(format!("Usage of EmptyDir volume {name:?} exceeds the limit {:?}. ", limit.0));
        }
    }
    let limit = |container: &Container| own_limit(container).map_or(0, quantity::value);
    let regular: i64 = pod::spec(pod).containers.iter().map(limit).sum();
    let (mut sidecars, mut peak) = (0, 0);
    for container in pod::init_containers(pod) {
        peak = peak.max(sidecars + limit(container));
        sidecars += if pod::is_sidecar(container) { limit(container) } else { 0 };
    }
    let together = peak.max(regular + sidecars);
    let total: i64 = used.volumes.values().chain(used.containers.values()).sum();
    if together > 0 && total > together {
        let limit = super::shown(Resource::Storage, together);
        return Some(format!(
            "Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "
        ));
    }
    let containers = pod::init_containers(pod).iter().chain(&pod::spec(pod).containers);
    containers.filter_map(|container| Some((&container.name, own_limit(container)?))).find_map(
        |(name, limit)| {
            let over = used.containers.get(name).is_some_and(|used| *used > quantity::value(limit));
            over.then(|| {
                format!("Container {name} exceeded its local ephemeral storage limit {:?}. ", limit.0)
            })
        },
    )
}

/// Looks at all files of a pod; `layers` is what its containers wrote beside its volumes.
fn measure(pod: &Pod, dir: &Path, logs: &Path, layers: &BTreeMap<String, i64>) -> Used {
    let empty = pod::spec(pod).volumes.iter().flatten();
    let empty = empty.filter(|v| v.empty_dir.as_ref().is_some_and(|s| s.medium.as_deref() != Some("Memory")));
    let volumes = empty.filter_map(|v| Some((v.name.clone(), Tree::of(&volumes::path(dir, v)?).bytes)));
    let containers = pod::all_containers(pod).into_iter().map(|(_, container)| {
        let layer = layers.get(&container.name).copied().unwrap_or(0);
        let size = layer.saturating_add(Tree::of(&logs.join(&container.name)).bytes);
        (container.name, size)
    });
    Used { volumes: volumes.collect(), containers: containers.collect() }
}

/// Ends the pods that take too much of the disk.
pub async fn enforce(agent: &Agent) -> Result<(), gantry_cri::CriError> {
    let runs = |pod: &Arc<Pod>| !is_terminal_phase(pod) && !is_deleted(pod);
    let bounded = |pod: &Arc<Pod>| has_limits(pod) || limited_volumes(pod).next().is_some();
    let pods: Vec<Arc<Pod>> = agent.all_pods().into_iter().filter(runs).filter(bounded).collect();
    if pods.is_empty() {
        return Ok(());
    }
    let mut written: BTreeMap<(String, String), i64> = BTreeMap::new();
    if pods.iter().any(|pod| has_limits(pod)) {
        let request = cri::ListContainerStatsRequest::default();
        for stats in agent.runtime.list_container_stats(request).await?.stats {
            let labels = stats.attributes.map(|attributes| attributes.labels).unwrap_or_default();
            let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
            let bytes =
                stats.writable_layer.and_then(|layer| layer.used_bytes).map_or(0, |bytes| bytes.value);
            let key = (text(label::POD_UID), text(label::CONTAINER_NAME));
            written.insert(key, i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
    for pod in pods {
        let uid = pod::uid(&pod);
        let layers = written.iter().filter(|((of, _), _)| of == uid);
        let layers = layers.map(|((_, name), bytes)| (name.clone(), *bytes)).collect();
        let (dir, logs, measured) = (agent.pod_dir(uid), agent.log_dir(&pod), pod.clone());
        let measure = move || measure(&measured, &dir, &logs, &layers);
        let Ok(used) = tokio::task::spawn_blocking(measure).await else { continue };
        let Some(text) = excess(&pod, &used) else { continue };
        let pods = agent.pods.read();
        let Some(handle) = pods.get(uid) else { continue };
        tracing::warn!(uid, message = text, "evicting a pod");
        agent.events.pod(&pod, true, "Evicted", text.clone());
        // A worker that has ended has no pod to evict.
        let _ = handle.tx.send(Message::Evict(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn who_takes_too_much() {
        let limit = |amount: &str| json!({"limits": {RESOURCE: amount}});
        let pod: Pod = gantry_json::from_value(json!({"spec": {
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Ki"}}, {"name": "w", "emptyDir": {}},
                {"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1"}}],
            "containers": [{"name": "a", "resources": limit("1Ki")}, {"name": "b", "resources": limit("2Ki")}]}}))
        .unwrap();
        let map =
            |list: &[(&str, i64)]| list.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        for (volumes, containers, expect) in [
            (&[("v", 1024), ("w", 1024)][..], &[("a", 1024)][..], None),
            (&[("v", 1025)], &[], Some("Usage of EmptyDir volume \"v\" exceeds the limit \"1Ki\". ")),
            (
                &[("w", 3073)],
                &[],
                Some("Pod ephemeral local storage usage exceeds the total limit of containers 3Ki. "),
            ),
            (&[], &[("a", 1025)], Some("Container a exceeded its local ephemeral storage limit \"1Ki\". ")),
            (&[], &[("b", 1025)], None),
        ] {
            let used = Used { volumes: map(volumes), containers: map(containers) };
            assert_eq!(excess(&pod, &used).as_deref(), expect, "{used:?}");
        }
        let free: Pod = gantry_json::from_value(json!({"spec": {"containers": [{"name": "a"}]}})).unwrap();
        let used = Used { containers: map(&[("a", i64::MAX)]), ..Default::default() };
        assert_eq!(excess(&free, &used), None);
    }
}
