//! Stopping containers and pods, and cleaning up after them.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use gantry_cri::v1 as cri;
use tokio::{sync::mpsc, time::Instant};

use super::{EVICTED, Message, Worker};
use crate::{
    agent::Agent,
    lifecycle,
    observed::{Instance, State},
    plan::{Kill, KillReason},
    pod, volumes,
};

/// Seconds that an evicted pod has to end: the node cannot wait.
const EVICTION_GRACE: i64 = 1;

/// Runs the preStop hook and stops the instance within `grace` seconds.
async fn stop(
    agent: Arc<Agent>,
    pod: Arc<k8s_openapi::api::core::v1::Pod>,
    instance: Instance,
    grace: i64,
    message: String,
    ip: String,
) {
    let found = pod::find_container(&pod, &instance.name);
    let Some((sort, container)) = found else {
        let request = cri::StopContainerRequest { container_id: instance.id, timeout: grace };
        // Seen again at the next observation.
        let _ = agent.runtime.stop_container(request).await;
        return;
    };
    agent.events.container(&pod, (sort, &container.name), false, "Killing", message);
    let begun = Instant::now();
    let hook = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
    if let Some(hook) = hook.filter(|_| grace > 0 && instance.state == State::Running) {
        let limit = Duration::from_secs(grace as u64);
        if let Err(error) =
            lifecycle::run(&agent.runtime, hook, &container, &instance.id, &ip, Some(limit)).await
        {
            tracing::warn!(container = container.name, error, "preStop hook failed");
            agent.events.container(
                &pod,
                (sort, &container.name),
                true,
                "FailedPreStopHook",
                "PreStopHook failed",
            );
        }
    }
    let left = (grace - begun.elapsed().as_secs() as i64).max(grace.min(2));
    let request = cri::StopContainerRequest { container_id: instance.id, timeout: left };
    if let Err(error) = agent.runtime.stop_container(request).await
        && !error.is_not_found()
    {
        tracing::warn!(container = container.name, %error, "container not stopped");
    }
}

impl Worker {
    fn stop_task(&self, instance: &Instance, grace: i64, message: String) -> tokio::task::JoinHandle<()> {
        let ip = self.facts().pod_ips.first().cloned().unwrap_or_default();
        tokio::spawn(stop(self.agent.clone(), self.pod.clone(), instance.clone(), grace, message, ip))
    }

    /// Stops one instance of the plan.
    pub(super) async fn kill_one(&mut self, kill: &Kill) {
        let Some(instance) = self.observed.instances.iter().find(|i| i.id == kill.id).cloned() else {
            return;
        };
        let name = &kill.name;
        let container = pod::find_container(&self.pod, name).map(|(_, c)| c);
        let own = |probe: fn(&k8s_openapi::api::core::v1::Container) -> Option<i64>| {
            container.as_ref().and_then(probe)
        };
        let spec = pod::spec(&self.pod).termination_grace_period_seconds.unwrap_or(30);
        let (message, grace) = match kill.reason {
            KillReason::Liveness => (
                format!("Container {name} failed liveness probe, will be restarted"),
                own(|c| c.liveness_probe.as_ref()?.termination_grace_period_seconds).unwrap_or(spec),
            ),
            KillReason::Startup => (
                format!("Container {name} failed startup probe, will be restarted"),
                own(|c| c.startup_probe.as_ref()?.termination_grace_period_seconds).unwrap_or(spec),
            ),
            KillReason::DefinitionChanged => {
                (format!("Container {name} definition changed, will be restarted"), spec)
            }
            KillReason::Unknown => (format!("Stopping container {name}"), spec),
        };
        // A panic of the task has been logged by the runtime.
        let _ = self.stop_task(&instance, grace, message).await;
    }

    /// Stops everything: regular containers together, then sidecars last to first, then sandboxes.
    pub(super) async fn kill_pod(&mut self, grace: Option<i64>) {
        let grace = grace.unwrap_or_else(|| pod::grace_period(&self.pod));
        let begun = Instant::now();
        let sidecar = |name: &str| {
            pod::init_containers(&self.pod).iter().position(|c| c.name == name && pod::is_sidecar(c))
        };
        let (sidecars, regular): (Vec<Instance>, Vec<Instance>) =
            self.observed.running().cloned().partition(|i| sidecar(&i.name).is_some());
        let text = |i: &Instance| format!("Stopping container {}", i.name);
        join_all(regular.iter().map(|i| self.stop_task(i, grace, text(i)))).await;
        let mut sidecars = sidecars;
        sidecars.sort_by_key(|i| std::cmp::Reverse(sidecar(&i.name)));
        for instance in &sidecars {
            let left = (grace - begun.elapsed().as_secs() as i64).max(grace.min(2));
            let _ = self.stop_task(instance, left, text(instance)).await;
        }
        for sandbox in self.observed.sandboxes.iter().filter(|s| s.ready) {
            let request = cri::StopPodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
            if let Err(error) = self.agent.runtime.stop_pod_sandbox(request).await {
                tracing::warn!(sandbox = sandbox.id, %error, "sandbox not stopped");
                self.agent.events.pod(
                    &self.pod,
                    true,
                    "FailedKillPod",
                    format!("error killing pod: {error}"),
                );
            }
        }
    }

    /// Ends the pod: stops it, reports its final status and, when it is deleted, removes every trace.
    /// True when the worker is done.
    pub(super) async fn end(&mut self, rx: &mut mpsc::UnboundedReceiver<Message>) -> bool {
        if !self.observe().await {
            self.wake_after(Duration::from_secs(1));
            return false;
        }
        self.reasons.clear();
        if self.observed.running().next().is_some() || self.observed.sandboxes.iter().any(|s| s.ready) {
            self.refresh_probes();
            self.report(false).await;
            self.stop_interruptible(rx).await;
            self.prober.stop();
            if !self.observe().await {
                self.wake_after(Duration::from_secs(1));
                return false;
            }
        }
        if self.observed.running().next().is_some() {
            self.wake_after(Duration::from_secs(1));
            return false;
        }
        if !self.report(true).await {
            return false;
        }
        if !(self.removed || pod::is_deleted(&self.pod)) {
            return false;
        }
        if !self.clean_up().await || !self.removed && !self.delete_object().await {
            self.wake_after(Duration::from_secs(1));
            return false;
        }
        self.agent.pods.write().remove(pod::uid(&self.pod));
        true
    }

    /// Stops the pod; a shorter grace period that arrives meanwhile takes effect at once.
    async fn stop_interruptible(&mut self, rx: &mut mpsc::UnboundedReceiver<Message>) {
        let evicted = self.failed.as_ref().is_some_and(|(reason, _)| reason == EVICTED);
        let mut grace = pod::grace_period(&self.pod).min(if evicted { EVICTION_GRACE } else { i64::MAX });
        loop {
            let mut update = None;
            {
                let kill = self.kill_pod(Some(grace));
                tokio::pin!(kill);
                loop {
                    tokio::select! {
                        () = &mut kill => break,
                        message = rx.recv() => match message {
                            Some(Message::Update(pod)) if pod::grace_period(&pod) < grace => {
                                update = Some(Message::Update(pod));
                                break;
                            }
                            Some(Message::Removed) => {
                                update = Some(Message::Removed);
                                break;
                            }
                            Some(_) => {}
                            None => break,
                        },
                    }
                }
            }
            match update {
                Some(Message::Removed) => {
                    self.removed = true;
                    grace = grace.min(2);
                }
                Some(message) => {
                    self.take(message);
                    grace = pod::grace_period(&self.pod).min(grace);
                }
                None => return,
            }
        }
    }

    /// Removes containers, sandboxes, volumes and logs; true when nothing is left.
    async fn clean_up(&mut self) -> bool {
        let runtime = &self.agent.runtime;
        for instance in &self.observed.instances {
            let request = cri::RemoveContainerRequest { container_id: instance.id.clone() };
            if let Err(error) = runtime.remove_container(request).await
                && !error.is_not_found()
            {
                tracing::warn!(%error, "container not removed");
                return false;
            }
        }
        for sandbox in &self.observed.sandboxes {
            let request = cri::RemovePodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
            if let Err(error) = runtime.remove_pod_sandbox(request).await
                && !error.is_not_found()
            {
                tracing::warn!(%error, "sandbox not removed");
                return false;
            }
        }
        let (dir, logs) = (self.agent.pod_dir(pod::uid(&self.pod)), self.agent.log_dir(&self.pod));
        let work = move || {
            volumes::tear_down(&dir)?;
            match std::fs::remove_dir_all(&logs) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            }
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "volumes not removed");
                false
            }
            Err(_) => false,
        }
    }
}
