//! One task per probed instance and kind of probe.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::{sync::mpsc, sync::watch, time::Instant};

use super::{
    Kind, Threshold, grpc,
    handler::{self, Failure},
};
use crate::{
    agent::Agent,
    objects::AbortOnDrop,
    observed::{Instance, Observed, State},
    plan::ProbeView,
    pod::{self, Sort},
    status::ContainerProbes,
    worker::Message,
};

/// How often a probe that could not ask tries at once.
const TRIES: usize = 3;

/// A probe's verdict that changed.
#[derive(Clone, Debug)]
pub struct Report {
    /// Instance.
    pub id: String,
    /// Kind of probe.
    pub kind: Kind,
    /// Verdict.
    pub success: bool,
}

struct Probed {
    startup: Option<Option<bool>>,
    readiness: Option<bool>,
    liveness_failed: bool,
    started: watch::Sender<bool>,
    tasks: Vec<(Kind, AbortOnDrop)>,
}

/// The probes of one pod.
#[derive(Default)]
pub struct Prober {
    instances: HashMap<String, Probed>,
}

/// What a task needs for one attempt.
#[derive(Clone)]
struct Target {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    sort: Sort,
    container: Container,
    id: String,
    ip: String,
    since: jiff::Timestamp,
}

impl Prober {
    /// Starts probes of new instances and ends those of instances that are gone.
    pub fn sync(
        &mut self,
        agent: &Arc<Agent>,
        pod: &Arc<Pod>,
        observed: &Observed,
        tx: &mpsc::UnboundedSender<Message>,
    ) {
        self.instances
            .retain(|id, _| observed.instances.iter().any(|i| i.id == *id && i.state == State::Running));
        for (sort, container) in pod::all_containers(pod) {
            if sort == Sort::Ephemeral || sort == Sort::Init && !pod::is_sidecar(&container) {
                continue;
            }
            let Some(instance) = observed.newest(&container.name).filter(|i| i.state == State::Running)
            else {
                continue;
            };
            if self.instances.contains_key(&instance.id) {
                continue;
            }
            let ip = if pod::host_network(pod) { agent.host_ips.first() } else { observed.ips().first() };
            let target = Target {
                agent: agent.clone(),
                pod: pod.clone(),
                sort,
                id: instance.id.clone(),
                ip: ip.cloned().unwrap_or_default(),
                since: instance.started_at,
                container: container.clone(),
            };
            self.instances.insert(instance.id.clone(), Probed::start(target, instance, tx));
        }
    }

    /// Takes a verdict in; false when its instance is gone.
    pub fn apply(&mut self, report: &Report) -> bool {
        let Some(probed) = self.instances.get_mut(&report.id) else { return false };
        match report.kind {
            Kind::Startup => {
                probed.startup = Some(Some(report.success));
                probed.started.send_replace(report.success);
            }
            Kind::Readiness => probed.readiness = Some(report.success),
            Kind::Liveness => probed.liveness_failed = !report.success,
        }
        true
    }

    /// For the plan.
    pub fn view(&self, instance: &Instance) -> ProbeView {
        self.instances.get(&instance.id).map_or(ProbeView::default(), |p| ProbeView {
            started: p.startup.is_none_or(|s| s == Some(true)),
            liveness_failed: p.liveness_failed,
            startup_failed: p.startup == Some(Some(false)),
        })
    }

    /// For the status.
    pub fn status(&self, id: &str) -> ContainerProbes {
        self.instances.get(id).map_or(ContainerProbes::default(), |p| ContainerProbes {
            started: p.startup.is_none_or(|s| s == Some(true)),
            ready: p.readiness.unwrap_or(true),
        })
    }

    /// Ends all probes; what they have found stays.
    pub fn stop(&mut self) {
        for probed in self.instances.values_mut() {
            probed.tasks.clear();
        }
    }

    /// Ends the probes that a pod which ends does not need: who waits for it to be ready goes on.
    pub fn only_readiness(&mut self) {
        for probed in self.instances.values_mut() {
            probed.tasks.retain(|(kind, _)| *kind == Kind::Readiness);
        }
    }
}

impl Probed {
    fn start(target: Target, instance: &Instance, tx: &mpsc::UnboundedSender<Message>) -> Self {
        let container = &target.container;
        let startup = container.startup_probe.clone();
        let (started, started_rx) = watch::channel(startup.is_none());
        let mut tasks = Vec::new();
        let mut spawn = |kind: Kind, probe: Option<&Probe>| {
            if let Some(probe) = probe {
                let task = run(target.clone(), kind, probe.clone(), started_rx.clone(), tx.clone());
                tasks.push((kind, AbortOnDrop(tokio::spawn(task))));
            }
        };
        spawn(Kind::Startup, startup.as_ref());
        spawn(Kind::Readiness, container.readiness_probe.as_ref());
        spawn(Kind::Liveness, container.liveness_probe.as_ref());
        let was_ready = was_ready(&target.pod, instance);
        Self {
            startup: startup.as_ref().map(|_| None),
            readiness: container.readiness_probe.as_ref().map(|_| was_ready),
            liveness_failed: false,
            started,
            tasks,
        }
    }
}

/// An instance taken over after a restart of the agent stays ready until its probe says otherwise.
fn was_ready(pod: &Pod, instance: &Instance) -> bool {
    let id = format!("gantry://{}", instance.id);
    let statuses = pod.status.iter().flat_map(|s| {
        s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten())
    });
    statuses.into_iter().any(|s| s.ready && s.container_id.as_ref() == Some(&id))
}

async fn run(
    target: Target,
    kind: Kind,
    probe: Probe,
    mut started: watch::Receiver<bool>,
    tx: mpsc::UnboundedSender<Message>,
) {
    let seconds = |v: Option<i32>, d: i32| Duration::from_secs(v.unwrap_or(d).max(0) as u64);
    if kind != Kind::Startup && started.wait_for(|s| *s).await.is_err() {
        return;
    }
    let age = jiff::Timestamp::now().duration_since(target.since);
    let delay =
        seconds(probe.initial_delay_seconds, 0).saturating_sub(Duration::try_from(age).unwrap_or_default());
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let mut threshold = Threshold::new(&probe);
    // The probe's own period is the reason of this timer.
    let mut timer = tokio::time::interval_at(Instant::now() + delay, period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        timer.tick().await;
        let mut result = attempt(&target, &probe).await;
        for _ in 1..TRIES {
            if !matches!(result, Err(Failure::NotAsked(_))) {
                break;
            }
            result = attempt(&target, &probe).await;
        }
        let (reason, output) = match &result {
            Ok(None) => ("", String::new()),
            Ok(Some(warning)) => ("ProbeWarning", format!("{} probe warning: {warning}", kind.name())),
            Err(Failure::No(output)) => ("Unhealthy", format!("{} probe failed: {output}", kind.name())),
            Err(Failure::NotAsked(error)) => {
                let text = format!("{} probe errored and resulted in unknown state: {error}", kind.name());
                ("Unhealthy", text)
            }
        };
        if !reason.is_empty() {
            let about = (target.sort, target.container.name.as_str());
            target.agent.events.container(&target.pod, about, true, reason, output);
        }
        if matches!(result, Err(Failure::NotAsked(_))) {
            continue;
        }
        if let Some(success) = threshold.observe(result.is_ok()) {
            let report = Report { id: target.id.clone(), kind, success };
            if tx.send(Message::Probe(report)).is_err() {
                return;
            }
            if kind == Kind::Startup || kind == Kind::Liveness && !success {
                return;
            }
        }
    }
}

/// One attempt; a success may come with a warning.
async fn attempt(target: &Target, probe: &Probe) -> Result<Option<String>, Failure> {
    let timeout = Duration::from_secs(probe.timeout_seconds.unwrap_or(1).max(1) as u64);
    let container = &target.container;
    if let Some(exec) = &probe.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        handler::exec(&target.agent.runtime, &target.id, command, timeout).await?;
    } else if let Some(action) = &probe.http_get {
        return handler::http_get(action, container, &target.ip, timeout, "kube-probe/1.35").await;
    } else if let Some(action) = &probe.tcp_socket {
        let host = action.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&target.ip);
        handler::tcp(host, handler::port(&action.port, container)?, timeout).await?;
    } else if let Some(action) = &probe.grpc {
        let service = action.service.as_deref().unwrap_or_default();
        let answer = grpc::check(&target.ip, action.port as u16, service, timeout).await;
        answer.map_err(Failure::No)?;
    }
    Ok(None)
}
