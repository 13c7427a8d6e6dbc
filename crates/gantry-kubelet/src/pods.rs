//! From the API's watch and the runtime's events to the workers.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use gantry_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    admit::{self, Rejection},
    agent::{Agent, Handle, Services},
    node::pressures,
    observed::label,
    pod, volumes,
    worker::{Message, Worker},
};

/// Watches this node's pods and keeps a worker for each.
pub async fn run(agent: Arc<Agent>, shutdown: CancellationToken) {
    let mut node = agent.node.clone();
    tokio::select! {
        () = shutdown.cancelled() => return,
        _ = node.wait_for(|n| n.is_some()) => {}
    }
    let api: Api<Pod> = Api::all(agent.client.clone());
    let selector = format!("spec.nodeName={}", agent.config.node_name);
    let mut stream = watcher(api, watcher::Config::default().fields(&selector)).default_backoff().boxed();
    let mut listed: HashSet<String> = HashSet::new();
    let mut batch: Vec<Pod> = Vec::new();
    let mut cleaned = false;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => return,
            event = stream.next() => event,
        };
        match event {
            Some(Ok(watcher::Event::Init)) => {
                listed.clear();
                batch.clear();
            }
            Some(Ok(watcher::Event::InitApply(pod))) => {
                listed.insert(pod::uid(&pod).to_string());
                batch.push(pod);
            }
            Some(Ok(watcher::Event::InitDone)) => {
                batch.sort_by_key(|p| p.creation_timestamp());
                let gone: Vec<String> =
                    agent.pods.read().keys().filter(|u| !listed.contains(*u)).cloned().collect();
                // First, so that they are in nobody's way.
                gone.iter().for_each(|uid| removed(&agent, uid));
                for pod in batch.drain(..) {
                    apply(&agent, pod).await;
                }
                // Set before where the watch began anew.
                let _ = agent.listed.set(());
                if !cleaned {
                    cleaned = true;
                    orphans(&agent, &listed).await;
                }
            }
            Some(Ok(watcher::Event::Apply(pod))) => apply(&agent, pod).await,
            Some(Ok(watcher::Event::Delete(pod))) => removed(&agent, pod::uid(&pod)),
            Some(Err(error)) => tracing::debug!(%error, "watch of pods failed"),
            None => return,
        }
    }
}

fn removed(agent: &Agent, uid: &str) {
    if let Some(handle) = agent.pods.write().get_mut(uid) {
        handle.counts = false;
        // A worker that has ended has removed its handle or is about to.
        let _ = handle.tx.send(Message::Removed);
    }
}

async fn apply(agent: &Arc<Agent>, pod: Pod) {
    let uid = pod::uid(&pod).to_string();
    let pod = Arc::new(pod);
    if let Some(handle) = agent.pods.read().get(&uid)
        && handle.tx.send(Message::Update(pod.clone())).is_ok()
    {
        return;
    }
    let fresh = pod.status.as_ref().is_none_or(|s| s.start_time.is_none()) && !pod::is_terminal_phase(&pod);
    let verdict = if fresh && !pod::is_deleted(&pod) { check(agent, &pod) } else { None };
    if let Some(Rejection { reason, message }) = &verdict {
        agent.events.pod(&pod, true, reason, message);
    }
    let mut pods = agent.pods.write();
    let counts = verdict.is_none();
    // The status says what it was that happened, the event need not.
    let failed = verdict
        .map(|Rejection { reason, message }| (reason.to_owned(), format!("Pod was rejected: {message}")));
    let tx = Worker::spawn(agent.clone(), pod.clone(), failed);
    pods.insert(uid, Handle { tx, pod, counts });
}

fn check(agent: &Agent, pod: &Pod) -> Option<Rejection> {
    let node = agent.node.borrow().clone()?;
    let others = agent.counted_pods();
    let others: Vec<&Pod> = others.iter().map(|p| p.as_ref()).collect();
    admit::admit(pod, &node, &others, &pressures(agent)).err()
}

/// Removes sandboxes and directories of pods that the API does not know.
async fn orphans(agent: &Agent, known: &HashSet<String>) {
    let list =
        agent.runtime.list_pod_sandbox(cri::ListPodSandboxRequest::default()).await.unwrap_or_default();
    for sandbox in list.items {
        let Some(uid) = sandbox.labels.get(label::POD_UID).filter(|u| !known.contains(*u)) else { continue };
        tracing::info!(uid, "removing a pod that is gone");
        let stop = cri::StopPodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
        let remove = cri::RemovePodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
        if let Err(error) = agent.runtime.stop_pod_sandbox(stop).await {
            tracing::warn!(%error, "orphan not stopped");
        }
        if let Err(error) = agent.runtime.remove_pod_sandbox(remove).await {
            tracing::warn!(%error, "orphan not removed");
        }
    }
    for entry in std::fs::read_dir(agent.config.root_dir.join("pods")).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&uid)
            && let Err(error) = volumes::tear_down(&entry.path())
        {
            tracing::warn!(%error, uid, "directory of an orphan not removed");
        }
    }
}

/// Wakes workers when the runtime says that something of theirs changed.
pub async fn runtime_events(agent: Arc<Agent>, shutdown: CancellationToken) {
    loop {
        match agent.runtime.get_container_events(cri::GetEventsRequest {}).await {
            Ok(mut stream) => {
                wake_all(&agent);
                loop {
                    let next = tokio::select! {
                        () = shutdown.cancelled() => return,
                        next = stream.next() => next,
                    };
                    let Some(Ok(event)) = next else { break };
                    wake(&agent, &event);
                }
            }
            Err(error) => tracing::warn!(%error, "no events from the runtime"),
        }
        // The stream ends when the runtime restarts; give it time.
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

fn wake_all(agent: &Agent) {
    for handle in agent.pods.read().values() {
        // As above.
        let _ = handle.tx.send(Message::Wake);
    }
}

fn wake(agent: &Agent, event: &cri::ContainerEventResponse) {
    let sandbox = event.pod_sandbox_status.as_ref().and_then(|s| s.metadata.as_ref()).map(|m| m.uid.clone());
    let label = event.containers_statuses.iter().find_map(|c| c.labels.get(label::POD_UID).cloned());
    match sandbox.filter(|u| !u.is_empty()).or(label) {
        Some(uid) => {
            if let Some(handle) = agent.pods.read().get(&uid) {
                // As above.
                let _ = handle.tx.send(Message::Wake);
            }
        }
        None => wake_all(agent),
    }
}

/// Follows all Services for the variables they give to containers.
pub async fn services(client: Client, tx: watch::Sender<Option<Arc<Services>>>) {
    let api: Api<Service> = Api::all(client);
    let mut stream = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut current: Services = BTreeMap::new();
    let mut fresh: HashMap<(String, String), Arc<Service>> = HashMap::new();
    let key = |s: &Service| (s.namespace().unwrap_or_default(), s.name_any());
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Init) => {
                fresh.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(s)) => {
                fresh.insert(key(&s), Arc::new(s));
                continue;
            }
            Ok(watcher::Event::InitDone) => current = fresh.drain().collect(),
            Ok(watcher::Event::Apply(s)) => {
                current.insert(key(&s), Arc::new(s));
            }
            Ok(watcher::Event::Delete(s)) => {
                current.remove(&key(&s));
            }
            Err(error) => {
                tracing::debug!(%error, "watch of services failed");
                continue;
            }
        }
        tx.send_replace(Some(Arc::new(current.clone())));
    }
}
