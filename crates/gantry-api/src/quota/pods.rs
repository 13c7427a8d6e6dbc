//! Pods: their number while they are alive, and what their containers ask for.

use std::collections::{BTreeMap, BTreeSet};

use gantry_json::Value;
use jiff::{SignedDuration, Timestamp};

use super::one;
use crate::pod_resources::{self, ResourceList, is_sidecar};
use crate::rules::common::{list, text};

/// What quotas can limit of pods.
const NAMES: [&str; 10] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// Of these, every container must say what it asks for where a quota limits them.
const DEMANDED: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// Whether the resource is the platform's own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub(super) fn is_counted(name: &str) -> bool {
    NAMES.contains(&name)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || (!is_native(name) && name.starts_with("requests."))
}

/// Adds what a pod uses. A pod that has ended, or that should have, uses nothing but its place in the store.
pub(super) fn usage(pod: &Value, now: Timestamp, usage: &mut ResourceList) {
    if matches!(text(&pod["status"], "phase"), "Succeeded" | "Failed")
        || uncounted_after(pod).is_some_and(|end| now > end)
    {
        return;
    }
    let spec = with_status(pod);
    let overhead = pod_resources::read(&spec["overhead"]);
    let mut requests = pod_resources::requests(&spec);
    pod_resources::add(&mut requests, &overhead);
    let mut limits = pod_resources::limits(&spec);
    for (name, amount) in overhead {
        if let Some(limit) = limits.get_mut(&name).filter(|limit| !limit.is_zero()) {
            *limit = *limit + amount;
        }
    }
    usage.extend(named(&requests, &limits));
}

/// When a pod that is being deleted ceases to count, gone or not.
pub fn uncounted_after(pod: &Value) -> Option<Timestamp> {
    let at: Timestamp = text(&pod["metadata"], "deletionTimestamp").parse().ok()?;
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64()?;
    at.checked_add(SignedDuration::from_secs(grace)).ok()
}

/// The spec, where each container asks for the most of what it wants, has been promised and has: while a
/// pod is being resized it uses all of that.
fn with_status(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    let conditions = list(&pod["status"], "conditions").iter();
    let mut pending = conditions.filter(|each| each["type"] == "PodResizePending");
    let infeasible = pending.any(|each| each["reason"] == "Infeasible");
    for (field, statuses) in
        [("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")]
    {
        let statuses = list(&pod["status"], statuses);
        let containers = spec.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter(|each| field == "containers" || is_sidecar(each)) {
            let Some(status) = statuses.iter().find(|each| each["name"] == container["name"]) else {
                continue;
            };
            let known = |field: &str| pod_resources::read(&status["resources"][field]);
            let promised = pod_resources::read(&status["allocatedResources"]);
            for (kind, others) in
                [("requests", vec![known("requests"), promised]), ("limits", vec![known("limits")])]
            {
                if others.iter().all(BTreeMap::is_empty) {
                    continue;
                }
                let mut most = match infeasible {
                    true => ResourceList::new(),
                    false => pod_resources::read(&container["resources"][kind]),
                };
                others.iter().for_each(|other| pod_resources::raise(&mut most, other));
                let most = most.into_iter().map(|(name, amount)| (name, amount.to_string().into()));
                container["resources"][kind] = Value::Object(most.collect());
            }
        }
    }
    spec
}

/// Requests and limits under the names that quotas have for them.
fn named(requests: &ResourceList, limits: &ResourceList) -> ResourceList {
    let mut usage = ResourceList::from([("pods".to_owned(), one())]);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(request) = requests.get(name) {
            usage.insert(name.to_owned(), *request);
            usage.insert(format!("requests.{name}"), *request);
        }
        if let Some(limit) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *limit);
        }
    }
    for (name, request) in requests {
        let pages = name.starts_with("hugepages-");
        if pages {
            usage.insert(name.clone(), *request);
        }
        if pages || (!is_native(name) && !name.starts_with("requests.")) {
            usage.insert(format!("requests.{name}"), *request);
        }
    }
    usage
}

/// What the pod's containers do not say, though a quota that limits `required` wants to know.
pub fn missing<'a>(required: impl IntoIterator<Item = &'a str>, pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let said = |resources: &Value| {
        named(&pod_resources::read(&resources["requests"]), &pod_resources::read(&resources["limits"]))
    };
    let whole = said(&spec["resources"]);
    let mut wanted: Vec<&str> = required.into_iter().filter(|name| DEMANDED.contains(name)).collect();
    wanted.retain(|name| !whole.contains_key(*name));
    let mut silent: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in list(spec, "containers").iter().chain(list(spec, "initContainers")) {
        let own = said(&container["resources"]);
        for name in wanted.iter().filter(|name| !own.contains_key(**name)) {
            silent.entry(name).or_default().insert(text(container, "name"));
        }
    }
    let join = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(",");
    let texts: Vec<String> = silent.iter().map(|(name, who)| format!("{name} for: {}", join(who))).collect();
    (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
}
