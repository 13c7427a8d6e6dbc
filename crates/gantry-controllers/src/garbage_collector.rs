//! Deletes what belongs to something that is gone.
//!
//! Flow: every kind that can be deleted is watched, metadata only; a graph of owner references says
//! which objects a change concerns; each of them is looked at live with its owners, and deleted, kept
//! or freed of references that lead nowhere. Objects that are deleted in the foreground are let go
//! after their dependents, those that orphan theirs after the references are gone.
//!
//! Guarantees: nothing is deleted that has an owner, and no owner counts as absent unless the API says
//! so of its uid. Every write holds only for the state that it was decided on; running again changes
//! nothing.
//!
//! Assumptions: a dependent that no watch has shown yet is unknown to an owner that leaves; it is found
//! when it is shown.

mod collector;
mod graph;
mod kinds;
mod monitors;
#[cfg(test)]
mod simulation;
mod uid;
mod verdict;

use std::sync::Arc;

use gantry_client::run_workers;
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

use crate::Context;
use collector::Collector;
use graph::Work;
use kinds::Live;
use monitors::Monitors;

/// Objects looked at at the same time.
const WORKERS: usize = 20;

/// Runs until shutdown.
pub async fn run(context: Context) {
    let live = Live { client: context.client, recorder: context.recorder, kinds: Arc::default() };
    let collector = Arc::new(Collector::new(live));
    let gate = Arc::new(RwLock::new(()));
    let ready = CancellationToken::new();
    let monitors =
        Monitors { collector: collector.clone(), gate: gate.clone(), shutdown: context.shutdown.clone() };
    let work = async {
        tokio::select! {
            () = ready.cancelled() => {}
            () = context.shutdown.cancelled() => return,
        }
        let each = async |work: Work| {
            let _open = gate.read().await;
            collector.work(work).await.map(|()| None)
        };
        run_workers("garbage-collector", collector.queue.clone(), WORKERS, each, context.shutdown.clone())
            .await;
    };
    tokio::join!(monitors.run(|| ready.cancel()), work);
}
