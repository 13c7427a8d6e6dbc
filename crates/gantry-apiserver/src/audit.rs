//! Audit: who asked for what and what came of it, as the policy says, to a file and to a webhook.
//!
//! Flow: after authentication the policy chooses a level. The request's record then makes one event at
//! each stage that the policy does not leave out: when it was received, for streams when the answer
//! began, and when all of it was sent. Guarantee: an event for the file is with the kernel before the
//! request goes on; for the webhook it waits in a buffer, and is counted as lost where that is full.

mod file;
mod policy;
mod record;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::metrics::Metrics;

pub use file::LogFile;
pub use policy::{Level, Policy, Stage};
pub(crate) use record::{Annotations, PeerAddress, Record};
pub use webhook::Webhook;

use file::File;
use webhook::Sender;

/// What is audited, and where the events go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy: a document of kind Policy of `audit.k8s.io/v1`, in YAML or JSON.
    pub policy: String,
    /// The file that events are appended to, one a line.
    pub log: Option<LogFile>,
    /// Where batches of events are sent.
    pub webhook: Option<Webhook>,
}

impl Settings {
    /// Settings from files: a policy, and where the log goes.
    pub fn to_file(policy: String, path: PathBuf) -> Self {
        Self { policy, log: Some(LogFile::new(path)), webhook: None }
    }
}

/// The audit of a server.
pub(crate) struct Audit {
    policy: Policy,
    file: Option<Mutex<File>>,
    webhook: Option<Sender>,
    metrics: Arc<Metrics>,
}

impl Audit {
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let policy = Policy::read(&settings.policy).map_err(|cause| Error::config("audit policy", cause))?;
        let file =
            match &settings.log {
                Some(log) => Some(Mutex::new(File::open(log).map_err(|cause| {
                    Error::config("audit log", format!("{}: {cause}", log.path.display()))
                })?)),
                None => None,
            };
        let webhook = settings.webhook.as_ref().map(Sender::new).transpose()?;
        Ok(Self { policy, file, webhook, metrics })
    }

    /// Sends what waits for the webhook, until `stopping` and everything is sent.
    pub async fn deliver(&self, stopping: CancellationToken) {
        if let Some(webhook) = &self.webhook {
            webhook.run(&stopping, |lost| self.metrics.audit_lost(lost)).await;
        }
    }

    fn emit(&self, level: Level, event: &Value) {
        self.metrics.audited(level.word());
        if let Some(file) = &self.file {
            // The file is held for the writing alone.
            let mut line = serde_json::to_vec(event).unwrap_or_default();
            line.push(b'\n');
            if let Err(error) = file.lock().append(&line) {
                self.metrics.audit_lost(1);
                tracing::error!(%error, "an audit event could not be written");
            }
        }
        if let Some(webhook) = &self.webhook
            && !webhook.push(event)
        {
            self.metrics.audit_lost(1);
        }
    }
}
