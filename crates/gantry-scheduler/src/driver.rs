//! The scheduler's connections: watches feed the core one event after the other, bindings run
//! beside the next decision, and what is decided is written.
//!
//! One task owns the core, so that decisions see every event that came before them and nothing
//! else; everything slow happens in tasks of its own.

use std::sync::Arc;

use gantry_client::LeaderElector;
use kube::Client;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::SchedulerConfig;
use crate::scheduler::{Binding, Outcome, Scheduler, Wait};

mod bind;
mod events;
mod feed;
mod report;

use bind::{Bound, bind};
use events::Recorder;
use feed::Input;
use report::Reporter;

/// Decisions between two looks at what else is to do.
const DECISIONS: usize = 8;

/// Schedules pods until `shutdown`, while this process holds the leader lease.
pub async fn run(client: Client, config: SchedulerConfig, shutdown: CancellationToken) {
    match config.leader_identity.clone() {
        None => schedule(client, &config, shutdown).await,
        Some(identity) => {
            let elector = LeaderElector::new(client.clone(), "kube-system", "kube-scheduler", &identity);
            elector.run(shutdown, |lost| schedule(client.clone(), &config, lost)).await;
        }
    }
}

/// What is under way.
struct Driver {
    client: Client,
    scheduler: Scheduler,
    bindings: JoinSet<(Binding, Bound)>,
    reporter: Reporter,
    recorder: Recorder,
}

async fn schedule(client: Client, config: &SchedulerConfig, shutdown: CancellationToken) {
    let (sender, mut inputs) = mpsc::channel(1024);
    let mut tasks = JoinSet::new();
    feed::start(&client, &sender, &mut tasks);
    let recorder = Recorder::start(client.clone(), config, &mut tasks);
    let reporter = Reporter::start(client.clone(), sender.clone(), recorder.clone(), &mut tasks);
    let mut driver = Driver {
        client,
        scheduler: Scheduler::new(&config.scheduler_name),
        bindings: JoinSet::new(),
        reporter,
        recorder,
    };
    let mut missing = feed::Missing::default();
    while !shutdown.is_cancelled() {
        let mut taken = 0;
        while taken < 1024
            && let Ok(input) = inputs.try_recv()
        {
            missing.note(&input);
            driver.take(input);
            taken += 1;
        }
        while let Some(bound) = driver.bindings.try_join_next() {
            driver.bound(bound);
        }
        let mut decided = 0;
        if missing.nothing() {
            while decided < DECISIONS && driver.bindings.len() < config.bindings && driver.decide() {
                decided += 1;
            }
        }
        if decided == DECISIONS || taken > 0 {
            tokio::task::yield_now().await;
            continue;
        }
        let wake = driver.scheduler.wake(Instant::now());
        let waking = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            input = inputs.recv() => {
                if let Some(input) = input {
                    missing.note(&input);
                    driver.take(input);
                }
            }
            Some(bound) = driver.bindings.join_next() => driver.bound(bound),
            () = waking => {}
        }
    }
    // What was promised to a pod is still told to the API server.
    while let Some(bound) = driver.bindings.join_next().await {
        driver.bound(bound);
    }
}

impl Driver {
    fn take(&mut self, input: Input) {
        let (scheduler, now) = (&mut self.scheduler, Instant::now());
        match input {
            Input::Pods(pods) => scheduler.pods_listed(pods, now),
            Input::Pod(pod) => scheduler.pod_changed(*pod, now),
            Input::PodGone(uid) => scheduler.pod_gone(&uid, now),
            Input::Nodes(nodes) => scheduler.nodes_listed(&nodes, now),
            Input::Node(node) => scheduler.node_changed(&node, now),
            Input::NodeGone(name) => scheduler.node_gone(&name, now),
            Input::Namespaces(all) => scheduler.namespaces_listed(all, now),
            Input::Budgets(all) => scheduler.budgets_listed(all),
            Input::Budget(namespace, name, budget) => scheduler.budget_changed(&namespace, &name, budget),
            Input::Namespace(name, labels) => scheduler.namespace_changed(&name, labels, now),
            Input::VictimStays { victim, preemptor } => scheduler.victim_stays(&victim, &preemptor, now),
        }
    }

    /// Decides about one pod; says whether there was one.
    fn decide(&mut self) -> bool {
        match self.scheduler.next(Instant::now()) {
            None => return false,
            Some(Outcome::Bind(binding)) => {
                self.bindings.spawn(bind(self.client.clone(), binding));
            }
            Some(Outcome::Wait(wait)) => {
                self.recorder.record(&wait.pod, true, "FailedScheduling", "Scheduling", wait.message.clone());
                if wait.condition || wait.nominated.is_some() {
                    self.reporter.report(report::Report { reason: "Unschedulable", wait });
                }
            }
        }
        true
    }

    fn bound(&mut self, outcome: Result<(Binding, Bound), tokio::task::JoinError>) {
        // A binding neither panics nor is aborted.
        let Ok((Binding { pod, node }, bound)) = outcome else { return };
        match bound {
            Bound::Yes => {
                let note = format!("Successfully assigned {} to {node}", pod.key());
                self.recorder.record(&pod, false, "Scheduled", "Binding", note.into());
            }
            Bound::No(why) => {
                if !self.scheduler.not_bound(&pod.uid, Instant::now()) {
                    return;
                }
                tracing::debug!(pod = pod.key(), node, why, "binding rejected");
                let message: Arc<str> = format!("binding rejected: {why}").into();
                self.recorder.record(&pod, true, "FailedScheduling", "Scheduling", message.clone());
                let wait = Wait { pod, message, condition: true, nominated: None, victims: Vec::new() };
                self.reporter.report(report::Report { reason: "SchedulerError", wait });
            }
        }
    }
}
