//! A pod's worker: keeps the pod as its spec says from the first sight of it to its removal.
//!
//! Flow: every message makes the worker observe the runtime, plan, carry the plan out and report the
//! status. Guarantees: one worker per pod uid, so calls about a pod never race; every step may be
//! repeated after a crash. Assumptions: the runtime's calls are idempotent as CRI demands.

mod create;
mod observe;
mod report;
mod resize;
mod start;
mod stop;
mod supply;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, Secret};
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::{
    agent::Agent,
    backoff::{self, Backoffs},
    objects::{AbortOnDrop, Entry},
    observed::Observed,
    plan::{self, plan},
    pod,
    probe::{Prober, Report},
    status::Reasons,
};

/// What a worker is told.
#[derive(Clone, Debug)]
pub enum Message {
    /// The API's latest object.
    Update(Arc<Pod>),
    /// The API has no such object any more.
    Removed,
    /// Something changed in the runtime, in an object the pod uses, or a timer ended.
    Wake,
    /// A probe's verdict changed.
    Probe(Report),
    /// The node is short of something and ends the pod at once; the text says of what.
    Evict(String),
}

/// The pod will not run any more: reason and message of phase `Failed`.
type Verdict = (String, String);

/// Reason of a pod's end when the node ran short.
pub const EVICTED: &str = "Evicted";

/// State of one pod's worker.
pub struct Worker {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    tx: mpsc::UnboundedSender<Message>,
    removed: bool,
    failed: Option<Verdict>,
    observed: Observed,
    reasons: Reasons,
    crashes: Backoffs,
    pulls: Backoffs,
    pull_errors: HashMap<String, String>,
    setup: Backoffs,
    prober: Prober,
    /// Termination messages by instance id.
    messages: HashMap<String, String>,
    config_maps: BTreeMap<String, (Arc<Entry<ConfigMap>>, AbortOnDrop)>,
    secrets: BTreeMap<String, (Arc<Entry<Secret>>, AbortOnDrop)>,
    tokens: BTreeMap<(String, i64), (String, Timestamp)>,
    sizes: resize::Sizes,
    wake_at: Option<Timestamp>,
}

/// Why a sync ended early.
pub(crate) enum Halt {
    /// Tried again after a delay; the reason has been reported.
    Later,
}

/// Hash of a container's definition without what may change in place.
pub fn hash(container: &Container) -> String {
    let identity = (&container.name, &container.image);
    let text = gantry_json::to_vec(&identity).unwrap_or_default();
    let digest = ring::digest::digest(&ring::digest::SHA256, &text);
    digest.as_ref()[..8].iter().map(|b| format!("{b:02x}")).collect()
}

impl Worker {
    /// Starts a worker and returns its mailbox.
    pub fn spawn(
        agent: Arc<Agent>,
        pod: Arc<Pod>,
        failed: Option<Verdict>,
    ) -> mpsc::UnboundedSender<Message> {
        let (tx, rx) = mpsc::unbounded_channel();
        let span = tracing::info_span!("pod", namespace = pod::namespace(&pod), name = pod::name(&pod));
        let worker = Self {
            agent,
            pod,
            tx: tx.clone(),
            removed: false,
            failed,
            observed: Observed::default(),
            reasons: Reasons::new(),
            crashes: Backoffs::default(),
            pulls: Backoffs::default(),
            pull_errors: HashMap::new(),
            setup: Backoffs::default(),
            prober: Prober::default(),
            messages: HashMap::new(),
            config_maps: BTreeMap::new(),
            secrets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            sizes: resize::Sizes::default(),
            wake_at: None,
        };
        tokio::spawn(worker.run(rx).instrument(span));
        tx
    }

    async fn run(mut self, mut rx: mpsc::UnboundedReceiver<Message>) {
        loop {
            self.wake_at = None;
            if self.ending() {
                if self.end(&mut rx).await {
                    return;
                }
            } else {
                let mut queue = Vec::new();
                let interrupted = {
                    let sync = self.sync();
                    tokio::pin!(sync);
                    loop {
                        tokio::select! {
                            () = &mut sync => break false,
                            message = rx.recv() => {
                                let Some(message) = message else { return };
                                let urgent = match &message {
                                    Message::Removed | Message::Evict(_) => true,
                                    Message::Update(pod) => pod::is_deleted(pod),
                                    _ => false,
                                };
                                queue.push(message);
                                if urgent {
                                    break true;
                                }
                            }
                        }
                    }
                };
                let waiting = !queue.is_empty();
                for message in queue {
                    self.take(message);
                }
                if interrupted || waiting {
                    continue;
                }
            }
            let (wake, agent) = (self.wake_at, self.agent.clone());
            let timer = async {
                match wake {
                    Some(at) => {
                        let left = Duration::try_from(at.duration_since(agent.now())).unwrap_or_default();
                        tokio::time::sleep(left).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                message = rx.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
            }
            while let Ok(message) = rx.try_recv() {
                self.take(message);
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Update(pod) => {
                let version = |p: &Pod| {
                    p.metadata
                        .resource_version
                        .as_deref()
                        .and_then(|v| v.parse::<u64>().ok())
                        .unwrap_or(u64::MAX)
                };
                if version(&pod) >= version(&self.pod) {
                    self.pod = pod;
                    self.publish();
                }
            }
            Message::Removed => self.removed = true,
            Message::Wake => {}
            Message::Probe(report) => {
                self.prober.apply(&report);
            }
            Message::Evict(message) => self.failed = Some((EVICTED.into(), message)),
        }
    }

    /// Makes the latest pod visible to the server.
    fn publish(&self) {
        if let Some(handle) = self.agent.pods.write().get_mut(pod::uid(&self.pod)) {
            handle.pod = self.pod.clone();
        }
    }

    fn ending(&self) -> bool {
        self.removed
            || self.failed.is_some()
            || pod::is_deleted(&self.pod)
            || pod::is_terminal_phase(&self.pod)
    }

    /// Asks for a sync no later than `after` from now.
    fn wake_after(&mut self, after: Duration) {
        let at = backoff::after(self.agent.now(), after);
        self.wake_at = Some(self.wake_at.map_or(at, |w| w.min(at)));
    }

    /// `activeDeadlineSeconds` has passed, or the time left.
    fn deadline(&self, now: Timestamp) -> Option<Result<Duration, ()>> {
        let seconds = pod::spec(&self.pod).active_deadline_seconds?;
        let start = self.pod.status.as_ref()?.start_time.as_ref()?.0;
        let end = backoff::after(start, Duration::from_secs(seconds.max(0) as u64));
        Some(match Duration::try_from(end.duration_since(now)) {
            Ok(left) if !left.is_zero() => Ok(left),
            _ => Err(()),
        })
    }

    async fn sync(&mut self) {
        match self.deadline(self.agent.now()) {
            Some(Ok(left)) => self.wake_after(left),
            Some(Err(())) => {
                let message = "Pod was active on the node longer than the specified deadline";
                self.agent.events.pod(&self.pod, false, "DeadlineExceeded", message);
                self.failed = Some(("DeadlineExceeded".into(), message.into()));
                self.wake_after(Duration::ZERO);
                return;
            }
            None => {}
        }
        if !self.observe().await {
            self.wake_after(Duration::from_secs(1));
            return;
        }
        if !self.resize().await && !self.observe().await {
            self.wake_after(Duration::from_secs(1));
            return;
        }
        self.refresh_probes();
        let plan = {
            let prober = &self.prober;
            plan(&plan::Input {
                pod: &self.pod,
                observed: &self.observed,
                probes: &|i| prober.view(i),
                hash: &hash,
            })
        };
        self.report(false).await;
        let busy = plan != plan::Plan::default();
        if busy {
            tracing::debug!(?plan, "sync");
        }
        let refresh = self.supply(!busy).await;
        if busy {
            // A halt has set the time of the next try already.
            let _ = self.carry_out(plan, refresh).await;
            self.observe().await;
            self.refresh_probes();
            self.report(false).await;
        }
    }

    fn refresh_probes(&mut self) {
        self.prober.sync(&self.agent, &self.pod, &self.observed, &self.tx);
    }

    async fn carry_out(&mut self, plan: plan::Plan, supplied: Result<(), String>) -> Result<(), Halt> {
        if plan.kill_pod {
            self.kill_pod().await;
        }
        for kill in &plan.kill {
            self.kill_one(kill).await;
        }
        if plan.create_sandbox.is_none() && plan.start.is_empty() {
            return Ok(());
        }
        if let Err(message) = supplied {
            self.agent.events.pod(&self.pod, true, "FailedMount", message);
            self.setup_failed("volumes");
            return Err(Halt::Later);
        }
        self.setup.reset("volumes");
        if let Some(attempt) = plan.create_sandbox {
            self.create_sandbox(attempt).await?;
            self.report(false).await;
        }
        let mut result = Ok(());
        for (sort, name) in &plan.start {
            if self.start_container(*sort, name).await.is_err() {
                result = Err(Halt::Later);
            } else {
                self.reasons.remove(name);
            }
        }
        result
    }

    /// Waits before a failed set-up is tried again: longer each time, up to two minutes.
    fn setup_failed(&mut self, key: &str) {
        let now = self.agent.now();
        self.setup.next(key, now);
        let delay = self.setup.remaining_since_update(key, now).map_or(backoff::INITIAL, |(left, _)| left);
        self.wake_after((delay / 10).min(Duration::from_secs(120)));
    }
}

#[cfg(test)]
mod tests;
