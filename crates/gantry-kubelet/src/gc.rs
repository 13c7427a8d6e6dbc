//! Log rotation and removal of dead container instances.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gantry_cri::v1 as cri;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::{agent::Agent, logs, observed::label};

/// How often logs are measured: writing to them sends no event that is cheap enough.
const PERIOD: Duration = Duration::from_secs(10);
/// Ended instances kept per container: one for `logs --previous`, one that is shown.
const KEEP: usize = 2;

/// Looks after logs and dead instances until shutdown.
pub async fn run(agent: Arc<Agent>, shutdown: CancellationToken) {
    every(PERIOD, &shutdown, "garbage collection", || pass(&agent)).await;
}

/// Calls `pass` now and every `period` until shutdown; `what` it does, for the log.
pub async fn every<Pass: Future<Output = Result<(), gantry_cri::CriError>>>(
    period: Duration,
    shutdown: &CancellationToken,
    what: &'static str,
    pass: impl Fn() -> Pass,
) {
    let mut timer = tokio::time::interval(period);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = timer.tick() => {}
        }
        if let Err(error) = pass().await {
            tracing::debug!(%error, "{what} waits for the runtime");
        }
    }
}

async fn pass(agent: &Agent) -> Result<(), gantry_cri::CriError> {
    let list = agent.runtime.list_containers(cri::ListContainersRequest::default()).await?;
    let mut dead: HashMap<(String, String), Vec<(i64, String)>> = HashMap::new();
    for container in list.containers {
        let text = |key: &str| container.labels.get(key).cloned().unwrap_or_default();
        let (uid, name) = (text(label::POD_UID), text(label::CONTAINER_NAME));
        let attempt = container.metadata.as_ref().map_or(0, |m| m.attempt);
        match container.state() {
            cri::ContainerState::ContainerRunning => {
                let (namespace, pod) = (text(label::POD_NAMESPACE), text(label::POD_NAME));
                let dir = agent.config.pod_logs_dir.join(format!("{namespace}_{pod}_{uid}"));
                let path = dir.join(&name).join(format!("{attempt}.log"));
                let (bytes, files) = (agent.config.log_max_bytes, agent.config.log_max_files);
                match logs::rotate(&path, bytes, files, Timestamp::now()) {
                    Ok(true) => {
                        let request = cri::ReopenContainerLogRequest { container_id: container.id };
                        agent.runtime.reopen_container_log(request).await?;
                    }
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, path = %path.display(), "log not rotated"),
                }
            }
            cri::ContainerState::ContainerExited => {
                dead.entry((uid, name)).or_default().push((container.created_at, container.id));
            }
            _ => {}
        }
    }
    for instances in dead.values_mut() {
        instances.sort();
        let surplus = instances.len().saturating_sub(KEEP);
        for (_, id) in instances.drain(..surplus) {
            agent.runtime.remove_container(cri::RemoveContainerRequest { container_id: id }).await?;
        }
    }
    Ok(())
}
