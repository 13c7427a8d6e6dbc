//! What waiting pods are told: the PodScheduled condition and the nominated node; and the end of
//! those that make room for them.

use std::collections::HashMap;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use gantry_json::{Value, json};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use tokio::sync::mpsc::{self, Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinSet;

use super::events::Recorder;
use super::feed::Input;
use crate::pod::{PodInfo, Uid};
use crate::scheduler::Wait;

/// Reports that are written at once.
const CONCURRENCY: usize = 16;

/// What is to be told about a pod.
pub(super) struct Report {
    /// The condition's reason.
    pub(super) reason: &'static str,
    /// The pod, and why it waits.
    pub(super) wait: Wait,
}

/// Hands reports to the task that writes them; never blocks.
pub(super) struct Reporter(UnboundedSender<Report>);

struct Writer {
    client: Client,
    inputs: Sender<Input>,
    recorder: Recorder,
}

impl Reporter {
    /// Starts the writer; it ends with `tasks`.
    pub(super) fn start(
        client: Client,
        inputs: Sender<Input>,
        recorder: Recorder,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, reports) = mpsc::unbounded_channel();
        let writer = Writer { client, inputs, recorder };
        tasks.spawn(async move { writer.run(reports).await });
        Self(sender)
    }

    /// Writes `report` in the background, after what was said of the same pod before.
    pub(super) fn report(&self, report: Report) {
        // The writer is gone only when the scheduler ends.
        let _ = self.0.send(report);
    }
}

impl Writer {
    /// Writes reports, those of one pod in order; of several that wait only the last condition
    /// counts.
    async fn run(self, mut reports: UnboundedReceiver<Report>) {
        let mut writing: FuturesUnordered<BoxFuture<'_, Uid>> = FuturesUnordered::new();
        // Pods that are being written, with what is to be written next.
        let mut next: HashMap<Uid, Option<Report>> = HashMap::new();
        loop {
            tokio::select! {
                report = reports.recv(), if writing.len() < CONCURRENCY => {
                    let Some(report) = report else { return };
                    let uid = report.wait.pod.uid.clone();
                    match next.get_mut(&uid) {
                        Some(waiting) => *waiting = Some(report.after(waiting.take())),
                        None => {
                            next.insert(uid, None);
                            writing.push(Box::pin(self.write(report)));
                        }
                    }
                }
                Some(uid) = writing.next(), if !writing.is_empty() => {
                    match next.remove(&uid).flatten() {
                        None => {}
                        Some(report) => {
                            next.insert(uid, None);
                            writing.push(Box::pin(self.write(report)));
                        }
                    }
                }
            }
        }
    }

    async fn write(&self, report: Report) -> Uid {
        let Report { reason, wait } = report;
        let pod = &wait.pod;
        let mut status = json!({});
        if wait.condition {
            let condition = condition("PodScheduled", "False", reason, &wait.message, pod);
            status["conditions"] = json!([condition]);
        }
        if let Some(node) = &wait.nominated {
            status["nominatedNodeName"] = if node.is_empty() { Value::Null } else { json!(node) };
        }
        if let Err(error) = self.patch_status(pod, status).await {
            tracing::debug!(%error, pod = pod.key(), "writing why a pod waits");
        }
        for victim in &wait.victims {
            if let Err(error) = self.evict(victim, &wait).await {
                tracing::warn!(%error, victim = victim.key(), preemptor = pod.key(), "ending a pod for another");
                let stays = Input::VictimStays { victim: victim.uid.clone(), preemptor: pod.uid.clone() };
                // The scheduler is gone when nobody receives this.
                let _ = self.inputs.send(stays).await;
            }
        }
        pod.uid.clone()
    }

    async fn evict(&self, victim: &PodInfo, wait: &Wait) -> kube::Result<()> {
        let message = format!("{}: preempting to accommodate a higher priority pod", wait.pod.scheduler);
        let condition = condition("DisruptionTarget", "True", "PreemptionByScheduler", &message, victim);
        gone_is_fine(self.patch_status(victim, json!({"conditions": [condition]})).await)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &victim.namespace);
        let preconditions = Preconditions { uid: Some(victim.uid.to_string()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        gone_is_fine(pods.delete(&victim.name, &params).await.map(drop))?;
        let node = wait.nominated.as_deref().unwrap_or_default();
        let note = format!("Preempted by pod {} on node {node}", wait.pod.uid);
        self.recorder.record(victim, false, "Preempted", "Preempting", note.into());
        Ok(())
    }

    async fn patch_status(&self, pod: &PodInfo, status: Value) -> kube::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let patch = json!({"metadata": {"uid": &*pod.uid}, "status": status});
        pods.patch_status(&pod.name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
    }
}

impl Report {
    /// This report, with what an earlier one asked for that was not begun.
    fn after(mut self, earlier: Option<Report>) -> Self {
        if let Some(earlier) = earlier {
            self.wait.condition |= earlier.wait.condition;
            if self.wait.nominated.is_none() {
                self.wait.nominated = earlier.wait.nominated;
            }
            self.wait.victims.extend(earlier.wait.victims);
        }
        self
    }
}

fn gone_is_fine(outcome: kube::Result<()>) -> kube::Result<()> {
    match outcome {
        // Another pod of this name is none of ours either.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}

fn condition(kind: &str, status: &str, reason: &str, message: &str, pod: &PodInfo) -> Value {
    let mut condition = json!({"type": kind, "status": status, "reason": reason, "message": message,
        "lastProbeTime": null});
    // The time of a transition stays where there is none.
    if kind != "PodScheduled" || pod.unscheduled.is_none() {
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        condition["lastTransitionTime"] = json!(now.to_string());
    }
    if pod.generation > 0 {
        condition["observedGeneration"] = json!(pod.generation);
    }
    condition
}
