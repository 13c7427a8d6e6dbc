//! Stopping containers and pods, and cleaning up after them.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use gantry_cri::v1 as cri;
use k8s_openapi::api::core::v1::{Container, Pod};
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

/// One instance that is to be stopped, and when that was begun.
#[derive(Clone)]
struct Stop {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    instance: Instance,
    grace: i64,
    message: String,
    ip: String,
    begun: Instant,
}

impl Stop {
    /// Tells of it and runs the preStop hook.
    async fn announce(&self) {
        let Some((sort, container)) = pod::find_container(&self.pod, &self.instance.name) else { return };
        let about = (sort, container.name.as_str());
        self.agent.events.container(&self.pod, about, false, "Killing", self.message.clone());
        let hook = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref());
        let Some(hook) = hook.filter(|_| self.grace > 0 && self.instance.state == State::Running) else {
            return;
        };
        let limit = Some(Duration::from_secs(self.grace as u64));
        let (runtime, id) = (&self.agent.runtime, &self.instance.id);
        if let Err(error) = lifecycle::run(runtime, hook, &self.pod, &container, id, &self.ip, limit).await {
            tracing::warn!(container = container.name, error, "preStop hook failed");
            self.agent.events.container(&self.pod, about, true, "FailedPreStopHook", "PreStopHook failed");
        }
    }

    /// Stops it in the time that is left, but never at once.
    async fn finish(&self) {
        let left = (self.grace - self.begun.elapsed().as_secs() as i64).max(self.grace.min(2));
        let request = cri::StopContainerRequest { container_id: self.instance.id.clone(), timeout: left };
        if let Err(error) = self.agent.runtime.stop_container(request).await
            && !error.is_not_found()
        {
            tracing::warn!(container = self.instance.name, %error, "container not stopped");
        }
    }
}

impl Worker {
    /// Stops an instance; goes on when it is no longer waited for.
    pub(super) fn stop_instance(
        &self,
        instance: &Instance,
        grace: i64,
        message: String,
    ) -> tokio::task::JoinHandle<()> {
        let stop = Stop {
            agent: self.agent.clone(),
            pod: self.pod.clone(),
            instance: instance.clone(),
            grace,
            message,
            ip: self.facts().pod_ips.first().cloned().unwrap_or_default(),
            begun: Instant::now(),
        };
        tokio::spawn(async move {
            stop.announce().await;
            stop.finish().await;
        })
    }

    /// Stops one instance of the plan.
    pub(super) async fn kill_one(&mut self, kill: &Kill) {
        let Some(instance) = self.observed.instances.iter().find(|i| i.id == kill.id).cloned() else {
            return;
        };
        let name = &kill.name;
        let container = pod::find_container(&self.pod, name).map(|(_, c)| c);
        let own = |probe: fn(&Container) -> Option<i64>| container.as_ref().and_then(probe);
        let spec = pod::spec(&self.pod).termination_grace_period_seconds.unwrap_or(30);
        let again = match pod::restart_policy(&self.pod) {
            "Never" => "",
            _ => ", will be restarted",
        };
        let (message, grace) = match kill.reason {
            KillReason::Liveness => (
                format!("Container {name} failed liveness probe{again}"),
                own(|c| c.liveness_probe.as_ref()?.termination_grace_period_seconds).unwrap_or(spec),
            ),
            KillReason::Startup => (
                format!("Container {name} failed startup probe{again}"),
                own(|c| c.startup_probe.as_ref()?.termination_grace_period_seconds).unwrap_or(spec),
            ),
            KillReason::DefinitionChanged => {
                (format!("Container {name} definition changed, will be restarted"), spec)
            }
            KillReason::Resized => (format!("Container {name} resize requires restart"), spec),
            KillReason::Unknown => (format!("Stopping container {name}"), spec),
        };
        // A panic of the task has been logged by the runtime.
        let _ = self.stop_instance(&instance, grace, message).await;
    }

    /// Stops everything.
    pub(super) async fn kill_pod(&mut self) {
        self.killing(pod::grace_period(&self.pod)).await;
    }

    /// Stops everything: the preStop hooks of all together, then regular containers together, then sidecars
    /// last to first, then sandboxes.
    fn killing(&self, grace: i64) -> impl Future<Output = ()> + use<> {
        let (agent, pod, observed) = (self.agent.clone(), self.pod.clone(), self.observed.clone());
        let ip = self.facts().pod_ips.first().cloned().unwrap_or_default();
        async move {
            let begun = Instant::now();
            let sidecar = |name: &str| {
                pod::init_containers(&pod).iter().position(|c| c.name == name && pod::is_sidecar(c))
            };
            let stops = observed.running().map(|instance| Stop {
                agent: agent.clone(),
                pod: pod.clone(),
                instance: instance.clone(),
                grace,
                message: format!("Stopping container {}", instance.name),
                ip: ip.clone(),
                begun,
            });
            let (mut sidecars, regular): (Vec<Stop>, Vec<Stop>) =
                stops.partition(|stop| sidecar(&stop.instance.name).is_some());
            sidecars.sort_by_key(|stop| std::cmp::Reverse(sidecar(&stop.instance.name)));
            // Tasks, so that what was begun ends, also when this is not waited for. Panics of theirs have
            // been logged by the runtime.
            let announced: Vec<_> = sidecars
                .into_iter()
                .map(|stop| {
                    let task = stop.clone();
                    (stop, tokio::spawn(async move { task.announce().await }))
                })
                .collect();
            let stopping = regular.into_iter().map(|stop| {
                tokio::spawn(async move {
                    stop.announce().await;
                    stop.finish().await;
                })
            });
            join_all(stopping).await;
            for (stop, hook) in announced {
                let _ = hook.await;
                let _ = tokio::spawn(async move { stop.finish().await }).await;
            }
            for sandbox in observed.sandboxes.iter().filter(|s| s.ready) {
                let request = cri::StopPodSandboxRequest { pod_sandbox_id: sandbox.id.clone() };
                if let Err(error) = agent.runtime.stop_pod_sandbox(request).await {
                    tracing::warn!(sandbox = sandbox.id, %error, "sandbox not stopped");
                    agent.events.pod(&pod, true, "FailedKillPod", format!("error killing pod: {error}"));
                }
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
            self.agent.wake_deferred("");
            return false;
        }
        if !self.clean_up().await || !self.removed && !self.delete_object().await {
            self.wake_after(Duration::from_secs(1));
            return false;
        }
        self.agent.pods.write().remove(pod::uid(&self.pod));
        self.agent.wake_deferred("");
        true
    }

    /// Stops the pod; a shorter grace period that arrives meanwhile takes effect at once, and what
    /// readiness probes find is reported.
    async fn stop_interruptible(&mut self, rx: &mut mpsc::UnboundedReceiver<Message>) {
        let evicted = self.failed.as_ref().is_some_and(|(reason, _)| reason == EVICTED);
        let mut grace = pod::grace_period(&self.pod).min(if evicted { EVICTION_GRACE } else { i64::MAX });
        self.prober.only_readiness();
        loop {
            let kill = self.killing(grace);
            tokio::pin!(kill);
            loop {
                let message = tokio::select! {
                    () = &mut kill => return,
                    message = rx.recv() => message,
                };
                match message {
                    Some(Message::Removed) => {
                        self.removed = true;
                        grace = grace.min(2);
                        break;
                    }
                    Some(message @ Message::Update(_)) => {
                        self.take(message);
                        if pod::is_deleted(&self.pod) && pod::grace_period(&self.pod) < grace {
                            grace = pod::grace_period(&self.pod);
                            break;
                        }
                    }
                    Some(message @ Message::Probe(_)) => {
                        self.take(message);
                        self.report(false).await;
                    }
                    Some(Message::Wake | Message::Evict(_)) => {}
                    None => return,
                }
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
