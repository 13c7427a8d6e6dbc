//! Eviction: when the node runs short of memory, disk, inodes or process numbers, one pod after another is ended until it does not.
//!
//! Flow: each look at the machine yields the shortage, if there is one. Short of disk or inodes, unused images go
//! first. Then the pod goes that uses the most beyond what it asked for, the least important first.
//! Guarantees: one pod at a time, and the next only after the last one has stopped. Critical pods stay.
//! Pods that take more of the disk than they said are ended whether the node is short of it or not.

mod storage;
mod thresholds;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gantry_cri::v1 as cri;
use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use tokio_util::sync::CancellationToken;

pub use thresholds::Thresholds;

use crate::{
    agent::Agent,
    image_gc, machine,
    observed::label,
    pod::{self, is_terminal_phase},
    quantity,
    worker::Message,
};

/// How often the machine is looked at: its counters send no events.
const PERIOD: Duration = Duration::from_secs(10);

/// The resource that the node runs short of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Disk.
    Storage,
    /// Files that the disk can still have.
    Inodes,
    /// Processes and threads that the machine can still have.
    Processes,
}

impl Resource {
    /// As the API spells it.
    fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::Storage => "ephemeral-storage",
            Resource::Inodes => "inodes",
            Resource::Processes => "pids",
        }
    }
}

/// Too little is left of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What.
    pub resource: Resource,
    /// How much of it must be left, in bytes.
    pub threshold: i64,
    /// How much is.
    pub available: i64,
}

/// What the machine has of something: all of it, and what is left.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Of what.
    pub resource: Resource,
    /// All of it.
    pub all: i64,
    /// What is left.
    pub left: i64,
}

/// What the machine has of everything that a node keeps free, memory first; `root` is where pods live. What
/// cannot be measured is missing.
pub fn measure(root: &Path) -> Vec<Part> {
    let part = |resource, all: u64, left: u64| {
        let number = |n| i64::try_from(n).unwrap_or(i64::MAX);
        Part { resource, all: number(all), left: number(left) }
    };
    let (all, left) = (machine::meminfo("MemTotal"), machine::meminfo("MemAvailable"));
    let mut parts = vec![Part { resource: Resource::Memory, all, left }];
    if let Some((size, free, inodes, free_inodes)) = machine::file_system(root) {
        parts.push(part(Resource::Storage, size, free));
        // Some file systems have as many as fit.
        if inodes > 0 {
            parts.push(part(Resource::Inodes, inodes, free_inodes));
        }
    }
    if let Some((most, tasks)) = machine::processes() {
        parts.push(part(Resource::Processes, most, most.saturating_sub(tasks)));
    }
    parts
}

/// What is short of what there is.
pub fn shortages(parts: &[Part], thresholds: &Thresholds) -> impl Iterator<Item = Shortage> {
    let shortage = |part: &Part| Shortage {
        resource: part.resource,
        threshold: thresholds.kept(part.resource, part.all),
        available: part.left,
    };
    parts.iter().map(shortage).filter(|shortage| shortage.available < shortage.threshold)
}

/// What the node runs short of, memory first.
fn shortage(agent: &Agent) -> Option<Shortage> {
    shortages(&measure(&agent.config.root_dir), &agent.config.eviction_hard).next()
}

/// What a pod uses of a resource, and what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The pod's uid.
    pub uid: String,
    /// The pod's priority.
    pub priority: i32,
    /// Use and request of each container.
    pub containers: BTreeMap<String, (i64, i64)>,
    /// What it uses beside that: volumes and logs, or processes of all containers.
    pub beside: i64,
}

impl Usage {
    fn excess(&self) -> i64 {
        let excess: i64 = self.containers.values().map(|(used, asked)| used - asked).sum();
        excess + self.beside
    }
}

/// The pod to end: one above its requests before one below, then the less important, then the one that
/// is further above.
pub fn choose(pods: &[Usage]) -> Option<&Usage> {
    let rank = |usage: &&Usage| (usage.excess() <= 0, usage.priority, std::cmp::Reverse(usage.excess()));
    pods.iter().filter(|usage| usage.priority < pod::CRITICAL).min_by_key(rank)
}

/// An amount of a resource in the largest unit that divides it: binary ones of bytes, decimal ones of what is
/// counted.
fn shown(resource: Resource, amount: i64) -> String {
    let (base, units): (i64, _) = match resource {
        Resource::Memory | Resource::Storage => (1024, ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]),
        Resource::Inodes | Resource::Processes => (1000, ["k", "M", "G", "T", "P", "E"]),
    };
    let sizes = units.into_iter().zip(1..).map(|(unit, power)| (unit, base.pow(power)));
    let largest = sizes.filter(|(_, size)| amount != 0 && amount % size == 0).last();
    largest.map_or_else(|| amount.to_string(), |(unit, size)| format!("{}{unit}", amount / size))
}

/// The message of a pod's status and of the event about its end.
pub fn message(shortage: &Shortage, usage: &Usage) -> String {
    let resource = shortage.resource.name();
    let shown = |amount: i64| shown(shortage.resource, amount);
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        shown(shortage.threshold),
        shown(shortage.available)
    );
    // Nobody asks for files or processes.
    if matches!(shortage.resource, Resource::Memory | Resource::Storage) {
        for (name, (used, asked)) in usage.containers.iter().filter(|(_, (used, asked))| used > asked) {
            text += &format!(
                "Container {name} was using {}, request is {}, has larger consumption of {resource}. ",
                shown(*used),
                shown(*asked)
            );
        }
    }
    text
}

/// Watches over the machine until shutdown.
pub async fn run(agent: Arc<Agent>, shutdown: CancellationToken) {
    // Whom to end is not known before.
    tokio::select! {
        () = shutdown.cancelled() => return,
        _ = agent.listed.wait() => {}
    }
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ending: Option<String> = None;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        if let Err(error) = storage::enforce(&agent).await {
            tracing::debug!(%error, "limits of disk space wait for the runtime");
        }
        let Some(shortage) = shortage(&agent) else { continue };
        let gone =
            |uid: &String| agent.pods.read().get(uid).is_none_or(|handle| is_terminal_phase(&handle.pod));
        if ending.take_if(|uid| gone(uid)).is_none() && ending.is_some() {
            continue;
        }
        match reclaim(&agent, shortage).await {
            Ok(evicted) => ending = evicted,
            Err(error) => tracing::debug!(%error, "eviction waits for the runtime"),
        }
    }
}

/// Removes what nobody uses; if the shortage lasts, ends a pod and returns its uid.
async fn reclaim(agent: &Agent, mut short: Shortage) -> Result<Option<String>, gantry_cri::CriError> {
    let node = &agent.config.node_name;
    let text = format!("Attempting to reclaim {}", short.resource.name());
    agent.events.node(node, true, "EvictionThresholdMet", text);
    let wanted = match short.resource {
        Resource::Storage => Some((short.threshold - short.available).unsigned_abs()),
        // How many files an image has is not known: all that nobody uses go.
        Resource::Inodes => Some(u64::MAX),
        Resource::Memory | Resource::Processes => None,
    };
    if let Some(wanted) = wanted {
        image_gc::free(agent, wanted).await?;
        match shortage(agent) {
            Some(lasting) => short = lasting,
            None => return Ok(None),
        }
    }
    let usages = usages(agent, short.resource).await?;
    let Some(chosen) = choose(&usages) else { return Ok(None) };
    let text = message(&short, chosen);
    let pods = agent.pods.read();
    let Some(handle) = pods.get(&chosen.uid) else { return Ok(None) };
    tracing::warn!(uid = chosen.uid, message = text, "evicting a pod");
    agent.events.pod(&handle.pod, true, "Evicted", text.clone());
    // A worker that has ended has no pod to evict.
    let _ = handle.tx.send(Message::Evict(text));
    Ok(Some(chosen.uid.clone()))
}

/// What pods use of a resource.
async fn usages(agent: &Agent, resource: Resource) -> Result<Vec<Usage>, gantry_cri::CriError> {
    let (containers, pods) = match resource {
        Resource::Processes => (BTreeMap::new(), processes(agent).await?),
        _ => (of_containers(agent, resource).await?, BTreeMap::new()),
    };
    let usage = |pod: &Arc<Pod>| {
        let uid = pod::uid(pod).to_owned();
        let asked = |container: &Container| {
            let asked = pod::requests(&container.resources).and_then(|list| list.get(resource.name()));
            asked.map_or(0, |quantity: &Quantity| quantity::value(quantity))
        };
        let of_container = |container: &Container| {
            let used = containers.get(&(uid.clone(), container.name.clone())).copied().unwrap_or(0);
            (container.name.clone(), (used, asked(container)))
        };
        let files = || Tree::of(&agent.pod_dir(&uid)) + Tree::of(&agent.log_dir(pod));
        let beside = match resource {
            Resource::Memory => 0,
            Resource::Storage => files().bytes,
            Resource::Inodes => files().inodes,
            Resource::Processes => pods.get(&uid).copied().unwrap_or(0),
        };
        Usage {
            priority: pod::spec(pod).priority.unwrap_or(0),
            containers: pod::all_containers(pod).iter().map(|(_, each)| of_container(each)).collect(),
            beside,
            uid,
        }
    };
    Ok(agent.all_pods().iter().filter(|pod| !is_terminal_phase(pod)).map(usage).collect())
}

/// What containers use of a resource, by their pods' uids and their names.
async fn of_containers(
    agent: &Agent,
    resource: Resource,
) -> Result<BTreeMap<(String, String), i64>, gantry_cri::CriError> {
    let stats = agent.runtime.list_container_stats(cri::ListContainerStatsRequest::default()).await?.stats;
    let used = |stats: cri::ContainerStats| {
        let labels = stats.attributes.map(|attributes| attributes.labels).unwrap_or_default();
        let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let amount = match resource {
            Resource::Memory => stats.memory.and_then(|memory| memory.working_set_bytes),
            Resource::Storage => stats.writable_layer.and_then(|layer| layer.used_bytes),
            Resource::Inodes => stats.writable_layer.and_then(|layer| layer.inodes_used),
            Resource::Processes => None,
        };
        ((text(label::POD_UID), text(label::CONTAINER_NAME)), number(amount))
    };
    Ok(stats.into_iter().map(used).collect())
}

/// Processes and threads of pods, by their uids.
async fn processes(agent: &Agent) -> Result<BTreeMap<String, i64>, gantry_cri::CriError> {
    let stats = agent.runtime.list_pod_sandbox_stats(cri::ListPodSandboxStatsRequest::default()).await?.stats;
    let count = |stats: cri::PodSandboxStats| {
        let uid = stats.attributes?.labels.remove(label::POD_UID)?;
        Some((uid, number(stats.linux?.process?.process_count)))
    };
    Ok(stats.into_iter().filter_map(count).collect())
}

/// A number of the runtime's; 0 where it has none.
fn number(value: Option<cri::UInt64Value>) -> i64 {
    value.map_or(0, |value| i64::try_from(value.value).unwrap_or(i64::MAX))
}

/// What the files below a directory take of its own file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tree {
    bytes: i64,
    inodes: i64,
}

impl Tree {
    fn of(dir: &Path) -> Self {
        use std::os::unix::fs::MetadataExt;
        let mut tree = Self::default();
        let Ok(device) = std::fs::metadata(dir).map(|meta| meta.dev()) else { return tree };
        let mut dirs: Vec<PathBuf> = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            tree.inodes += 1;
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.dev() != device => {}
                    Ok(meta) if meta.is_dir() => dirs.push(entry.path()),
                    Ok(meta) => {
                        tree.inodes += 1;
                        tree.bytes = tree.bytes.saturating_add_unsigned(meta.blocks() * 512);
                    }
                    Err(_) => {}
                }
            }
        }
        tree
    }
}

impl std::ops::Add for Tree {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), inodes: self.inodes + other.inodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short() {
        let part = |resource, left| Part { resource, all: 1000, left };
        let thresholds = "memory.available<500,nodefs.available<10%,nodefs.inodesFree<5%".parse().unwrap();
        let short = |memory, disk, inodes| {
            let parts = [(Resource::Memory, memory), (Resource::Storage, disk), (Resource::Inodes, inodes)];
            let parts = parts.map(|(resource, left)| part(resource, left));
            let found = shortages(&parts, &thresholds).map(|s| (s.resource, s.threshold, s.available));
            found.collect::<Vec<_>>()
        };
        assert_eq!(short(500, 100, 50), []);
        let both = [(Resource::Memory, 500, 499), (Resource::Storage, 100, 50)];
        assert_eq!(short(499, 50, 50), both, "memory first");
        assert_eq!(short(500, 99, 49), [(Resource::Storage, 100, 99), (Resource::Inodes, 50, 49)]);
    }

    fn usage(uid: &str, priority: i32, used: i64, asked: i64) -> Usage {
        let containers = [("main".to_owned(), (used, asked))].into();
        Usage { uid: uid.into(), priority, containers, beside: 0 }
    }

    #[test]
    fn who_goes_first() {
        let below = usage("below", -5, 10, 20);
        let above = usage("above", 0, 30, 20);
        let further = usage("further", 0, 90, 20);
        let important = usage("important", 10, 1000, 0);
        let critical = usage("critical", pod::CRITICAL, 5000, 0);
        let mut pods = vec![below, above, further, important, critical];
        for expect in ["further", "above", "important", "below"] {
            let chosen = choose(&pods).unwrap().uid.clone();
            assert_eq!(chosen, expect);
            pods.retain(|pod| pod.uid != chosen);
        }
        assert_eq!(choose(&pods), None, "critical pods stay");
    }

    #[test]
    fn the_message_names_who_used_more() {
        let shortage = Shortage { resource: Resource::Memory, threshold: 100 << 20, available: 74472 << 10 };
        let mut usage = usage("u", 0, 300 << 20, 1 << 20);
        usage.containers.insert("modest".into(), (5, 5));
        let text = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 74472Ki. \
                    Container main was using 300Mi, request is 1Mi, has larger consumption of memory. ";
        assert_eq!(message(&shortage, &usage), text);
        let files = Shortage { resource: Resource::Inodes, threshold: 5_000, available: 4_999 };
        let text = "The node was low on resource: inodes. Threshold quantity: 5k, available: 4999. ";
        assert_eq!(message(&files, &usage), text);
    }
}
