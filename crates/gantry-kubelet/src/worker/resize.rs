//! Resizing in place: taking up what the pod asks for by now, and giving it to what runs.

use std::{borrow::Cow, fs, io, sync::Arc};

use gantry_cri::v1 as cri;
use gantry_json::json;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use super::Worker;
use crate::{
    observed::{Instance, State},
    plan::{Kill, KillReason},
    pod,
    resize::{self, Allocation, Refusal},
    resources,
};

/// File in the pod's directory with what it has been given, once that is not what it began with.
const FILE: &str = "allocation.json";

/// How far a pod's resize is.
#[derive(Default)]
pub(super) struct Sizes {
    /// What the containers have been given; `None` before the first sync.
    allocation: Option<Allocation>,
    /// What running instances have, by id.
    actual: std::collections::HashMap<String, ResourceRequirements>,
    /// Why what is asked for was not given.
    pub(super) refused: Option<Refusal>,
    /// A resize is being carried out; with what went wrong.
    pub(super) carried_out: Option<Option<String>>,
}

impl Sizes {
    /// An instance was started with these resources.
    pub(super) fn started(&mut self, id: String, resources: ResourceRequirements) {
        self.actual.insert(id, resources);
    }

    /// What the container has been given, and what its instance has.
    pub(super) fn of<'a>(
        &'a self,
        container: &'a Container,
        instance: Option<&str>,
    ) -> (Cow<'a, ResourceRequirements>, Option<&'a ResourceRequirements>) {
        let given = self.allocation.as_ref().and_then(|a| a.get(&container.name));
        let spec = || container.resources.as_ref().map_or_else(Default::default, Cow::Borrowed);
        (given.map_or_else(spec, Cow::Borrowed), instance.and_then(|id| self.actual.get(id)))
    }
}

impl Worker {
    /// The pod with the resources that it has been given.
    pub(super) fn given(&self) -> Arc<Pod> {
        match &self.sizes.allocation {
            Some(allocation) if *allocation != resize::wanted(&self.pod) => {
                Arc::new(resize::allocated(&self.pod, allocation))
            }
            _ => self.pod.clone(),
        }
    }

    /// Takes up what the pod asks for, if the node has it, and brings what runs to it. False when
    /// instances were stopped, so that the runtime has to be looked at again.
    pub(super) async fn resize(&mut self) -> bool {
        self.allocate();
        let given = self.given();
        let mut calm = true;
        let mut error = None;
        let mut pod_grown = false;
        let running: Vec<Instance> =
            self.observed.running().filter(|i| i.state == State::Running).cloned().collect();
        self.sizes.actual.retain(|id, _| running.iter().any(|i| i.id == *id));
        for instance in &running {
            let Some((_, container)) = pod::find_container(&given, &instance.name) else { continue };
            let resizable = self.sizes.allocation.as_ref().is_some_and(|a| a.contains_key(&instance.name));
            let (Some(group), true) = (&instance.resources, resizable) else { continue };
            let wanted = resources::container(&given, &container, self.agent.machine.memory);
            let sized = container.resources.clone().unwrap_or_default();
            let before = self.sizes.actual.get(&instance.id).cloned();
            if before.as_ref() == Some(&sized) {
                continue;
            }
            let fresh = self.observed.newest(&instance.name).is_some_and(|i| i.id == instance.id);
            if !fresh {
                continue;
            }
            let done = resize::applied(group, &wanted);
            // What was begun by an earlier agent shows in its group only.
            let again = match &before {
                Some(before) => resize::restarts(&container, before, &sized),
                None => resize::restarts_by_group(&container, group, &wanted),
            };
            if again {
                let key = format!("{}/{}", instance.name, super::hash(&container));
                let reason = KillReason::Resized;
                let kill = Kill { id: instance.id.clone(), name: instance.name.clone(), reason };
                self.kill_one(&kill).await;
                self.crashes.reset(&key);
                calm = false;
                continue;
            }
            if !done {
                let grows = wanted.memory_limit_in_bytes > group.memory_limit_in_bytes
                    || wanted.cpu_quota > group.cpu_quota
                    || wanted.cpu_shares > group.cpu_shares;
                if grows && !pod_grown {
                    pod_grown = true;
                    self.size_pod(&given).await;
                }
                if let Err(message) = self.size_instance(instance, group, wanted).await {
                    error = Some(message);
                    continue;
                }
            }
            self.sizes.actual.insert(instance.id.clone(), sized);
        }
        self.settle(&given, error).await;
        calm
    }

    /// Decides on what the pod asks for.
    fn allocate(&mut self) {
        let wanted = resize::wanted(&self.pod);
        let path = self.agent.pod_dir(pod::uid(&self.pod)).join(FILE);
        let kept = || gantry_json::from_slice(&fs::read(&path).ok()?).ok();
        let allocation = self.sizes.allocation.take().or_else(kept).unwrap_or_else(|| wanted.clone());
        if allocation == wanted {
            self.sizes.allocation = Some(allocation);
            self.sizes.refused = None;
            return;
        }
        let verdict = match self.agent.node.borrow().clone() {
            Some(node) => {
                let others = self.agent.counted_pods();
                let uid = pod::uid(&self.pod);
                let others: Vec<&Pod> =
                    others.iter().map(AsRef::as_ref).filter(|p| pod::uid(p) != uid).collect();
                resize::judge(&self.pod, &node, &others)
            }
            None => Ok(()),
        };
        let generation = self.pod.metadata.generation.unwrap_or_default();
        match verdict {
            Ok(()) => {
                save(&path, &wanted);
                self.sizes.allocation = Some(wanted);
                self.sizes.refused = None;
                self.sizes.carried_out = Some(None);
                let text = format!("Pod resize started: {}", self.told(generation, None));
                self.agent.events.pod(&self.pod, false, "ResizeStarted", text);
                self.agent.wake_deferred(pod::uid(&self.pod));
            }
            Err(refusal) => {
                save(&path, &allocation);
                self.sizes.allocation = Some(allocation);
                if self.sizes.refused.as_ref() != Some(&refusal) {
                    let (reason, verb) = match refusal.reason {
                        "Infeasible" => ("ResizeInfeasible", "Infeasible"),
                        _ => ("ResizeDeferred", "Deferred"),
                    };
                    let text =
                        format!("Pod resize {verb}: {}", self.told(generation, Some(&refusal.message)));
                    self.agent.events.pod(&self.pod, true, reason, text);
                    self.sizes.refused = Some(refusal);
                }
            }
        }
    }

    /// What events about a resize tell: the containers' resources and the generation that asks for them.
    fn told(&self, generation: i64, error: Option<&str>) -> String {
        let containers: Vec<_> = pod::spec(&self.pod)
            .containers
            .iter()
            .map(|c| json!({"name": c.name, "resources": c.resources.clone().unwrap_or_default()}))
            .collect();
        let mut told = json!({"containers": containers, "generation": generation});
        if let Some(error) = error {
            told["error"] = error.into();
        }
        told.to_string()
    }

    /// The group above the containers' has to hold them before they grow and after they shrink.
    async fn size_pod(&mut self, given: &Pod) {
        let Some(sandbox) = self.observed.sandbox().filter(|s| s.ready) else { return };
        let request = cri::UpdatePodSandboxResourcesRequest {
            pod_sandbox_id: sandbox.id.clone(),
            overhead: None,
            resources: Some(resources::pod_level(given)),
        };
        if let Err(error) = self.agent.runtime.update_pod_sandbox_resources(request).await {
            tracing::warn!(%error, "the pod's own limits are not changed");
        }
    }

    async fn size_instance(
        &self,
        instance: &Instance,
        group: &cri::LinuxContainerResources,
        wanted: cri::LinuxContainerResources,
    ) -> Result<(), String> {
        let limit = wanted.memory_limit_in_bytes;
        if limit > 0 && (group.memory_limit_in_bytes == 0 || limit < group.memory_limit_in_bytes) {
            let request = cri::ContainerStatsRequest { container_id: instance.id.clone() };
            let stats = self.agent.runtime.container_stats(request).await.ok().and_then(|r| r.stats);
            let used = stats.and_then(|s| s.memory?.usage_bytes).map_or(0, |u| u.value);
            if used > limit.unsigned_abs() {
                return Err(format!(
                    "attempting to set container {:?} memory limit ({limit}) below current usage ({used})",
                    instance.name
                ));
            }
        }
        let request = cri::UpdateContainerResourcesRequest {
            container_id: instance.id.clone(),
            linux: Some(wanted),
            ..Default::default()
        };
        self.agent.runtime.update_container_resources(request).await.map(drop).map_err(|e| e.message)
    }

    /// Notes how far the resize is.
    async fn settle(&mut self, given: &Pod, error: Option<String>) {
        let Some(before) = self.sizes.carried_out.clone() else { return };
        let generation = self.pod.metadata.generation.unwrap_or_default();
        if let Some(message) = error {
            if before.as_ref() != Some(&message) {
                let text = format!("Pod resize error: {}", self.told(generation, Some(&message)));
                self.agent.events.pod(&self.pod, true, "ResizeError", text);
            }
            self.sizes.carried_out = Some(Some(message));
            // What a container uses goes down by itself, and nobody tells.
            self.wake_after(std::time::Duration::from_secs(10));
            return;
        }
        let current = |name: &str| self.observed.newest(name).filter(|i| i.state == State::Running);
        let allocation = self.sizes.allocation.as_ref();
        let waits = allocation.into_iter().flatten().any(|(name, sized)| {
            current(name).is_some_and(|i| {
                i.resources.is_some() && self.sizes.actual.get(&i.id).is_some_and(|a| a != sized)
            })
        });
        if waits {
            return;
        }
        self.size_pod(given).await;
        self.sizes.carried_out = None;
        let text = format!("Pod resize completed: {}", self.told(generation, None));
        self.agent.events.pod(&self.pod, false, "ResizeCompleted", text);
    }
}

/// Without the file the next agent takes what the pod asks for by then.
fn save(path: &std::path::Path, allocation: &Allocation) {
    let write = || -> io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let fresh = path.with_extension("new");
        fs::write(&fresh, gantry_json::to_vec(allocation)?)?;
        fs::rename(&fresh, path)
    };
    if let Err(error) = write() {
        tracing::warn!(%error, path = %path.display(), "what the pod was given is not kept");
    }
}
