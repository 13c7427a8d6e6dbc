//! Asking the runtime for a pod's sandboxes and containers.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use gantry_cri::v1 as cri;

use super::Worker;
use crate::{
    logs,
    observed::{Instance, Observed, Sandbox, State, label},
    pod,
};

const MESSAGE_LIMIT: u64 = 4096;
const LOG_MESSAGE_LIMIT: usize = 2048;
const LOG_MESSAGE_LINES: usize = 80;

impl Worker {
    /// Brings `observed` up to date; false when the runtime did not answer.
    pub(super) async fn observe(&mut self) -> bool {
        match self.ask().await {
            Ok(observed) => {
                self.observed = observed;
                true
            }
            Err(error) => {
                tracing::warn!(%error, "runtime does not answer");
                false
            }
        }
    }

    async fn ask(&mut self) -> Result<Observed, gantry_cri::CriError> {
        let runtime = self.agent.runtime.clone();
        let labels = BTreeMap::from([(label::POD_UID.to_string(), pod::uid(&self.pod).to_string())]);
        let filter = cri::PodSandboxFilter { label_selector: labels.clone(), ..Default::default() };
        let list = runtime.list_pod_sandbox(cri::ListPodSandboxRequest { filter: Some(filter) }).await?;
        let mut observed = Observed::default();
        for item in list.items {
            let request = cri::PodSandboxStatusRequest { pod_sandbox_id: item.id, verbose: false };
            match runtime.pod_sandbox_status(request).await {
                Ok(response) => observed.sandboxes.extend(response.status.as_ref().map(Sandbox::from)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let filter = cri::ContainerFilter { label_selector: labels, ..Default::default() };
        let list = runtime.list_containers(cri::ListContainersRequest { filter: Some(filter) }).await?;
        for item in list.containers {
            let request = cri::ContainerStatusRequest { container_id: item.id, verbose: false };
            match runtime.container_status(request).await {
                Ok(response) => {
                    let status = response.status.unwrap_or_default();
                    let mut instance = Instance::new(&status, &item.pod_sandbox_id);
                    if instance.state == State::Exited {
                        instance.message = self.termination_message(&instance);
                    }
                    observed.instances.push(instance);
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        observed.sort();
        self.messages.retain(|id, _| observed.instances.iter().any(|i| i.id == *id));
        Ok(observed)
    }

    /// The file a container's termination message is written to.
    pub(super) fn message_file(&self, container: &str, attempt: u32) -> PathBuf {
        let dir = self.agent.pod_dir(pod::uid(&self.pod)).join("containers").join(container);
        dir.join(attempt.to_string())
    }

    fn termination_message(&mut self, instance: &Instance) -> String {
        if let Some(message) = self.messages.get(&instance.id) {
            return message.clone();
        }
        // A message that cannot be read is as good as none.
        let file = self.message_file(&instance.name, instance.restart_count);
        let message = end_of_file(&file, MESSAGE_LIMIT).unwrap_or_default();
        let container = pod::find_container(&self.pod, &instance.name).map(|(_, c)| c);
        let from_logs =
            container.and_then(|c| c.termination_message_policy).as_deref() == Some("FallbackToLogsOnError");
        let mut text = String::from_utf8_lossy(&message).into_owned();
        if text.is_empty() && from_logs && instance.exit_code != 0 {
            let path = self.log_path(&instance.name, instance.restart_count);
            text = logs::tail_text(&path, LOG_MESSAGE_LINES, LOG_MESSAGE_LIMIT);
        }
        if !instance.message.is_empty() {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{}{separator}{text}", instance.message);
        }
        self.messages.insert(instance.id.clone(), text.clone());
        text
    }

    /// A container instance's log file.
    pub(super) fn log_path(&self, container: &str, attempt: u32) -> PathBuf {
        self.agent.log_dir(&self.pod).join(container).join(format!("{attempt}.log"))
    }
}

/// The last bytes of a file, which may be written to meanwhile.
fn end_of_file(path: &Path, bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    Ok(end)
}
