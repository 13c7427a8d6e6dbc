//! Audit: who asked for what and what came of it, as the policy says, to a file and to a webhook.
//!
//! Flow: after authentication the policy chooses a level. The request's record then makes one event at
//! each stage that the policy does not leave out: when it was received, for streams when the answer
//! began, and when all of it was sent; of a request that is refused because nobody knows who asks, only
//! when the answer began. Each event goes to every backend. Guarantee: a backend that blocks, as the file
//! does where nothing else is said, has the event before the request goes on; for others it waits in a
//! buffer, and is counted as lost where that is full. Nobody waits for a request's last event: a file gets
//! those of several requests in one go, as soon as the worker that made them has a moment.

mod backend;
mod backups;
mod delivery;
mod event;
mod file;
mod legacy;
mod lines;
mod policy;
mod record;
mod sys;
mod throttle;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::metrics::Metrics;

pub use delivery::{Batching, Delivery, Mode, Throttling, Truncation};
pub use file::LogFile;
pub use policy::{Level, Policy, Stage};
pub(crate) use record::{Annotations, PeerAddress, Record};
pub use webhook::Webhook;

use backend::Backend;
use event::Event;

/// What is audited, and where the events go.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The policy: a document of kind Policy of `audit.k8s.io/v1`, in YAML or JSON.
    pub policy: String,
    /// The file that events are appended to, one a line.
    pub log: Option<Log>,
    /// Where events are sent.
    pub webhook: Option<Webhook>,
}

/// A file of events, and how they get there.
#[derive(Debug, Clone)]
pub struct Log {
    /// The file.
    pub file: LogFile,
    /// How events are written.
    pub format: Format,
    /// How events get there.
    pub delivery: Delivery,
}

/// How events are written to a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// As JSON.
    #[default]
    Json,
    /// In words, without their objects.
    Legacy,
}

impl Format {
    /// The formats' names.
    pub const NAMES: [&str; 2] = ["legacy", "json"];

    /// The format of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "legacy" => Some(Self::Legacy),
            _ => None,
        }
    }
}

impl Settings {
    /// Settings from files: a policy, and where the log goes.
    pub fn to_file(policy: String, path: PathBuf) -> Self {
        let log = Log { file: LogFile::new(path), format: Format::Json, delivery: Delivery::of_log() };
        Self { policy, log: Some(log), webhook: None }
    }
}

/// The audit of a server.
pub(crate) struct Audit {
    policy: Policy,
    backends: Vec<Backend>,
    metrics: Arc<Metrics>,
}

impl Audit {
    pub fn new(settings: &Settings, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let policy = Policy::read(&settings.policy).map_err(|cause| Error::config("audit policy", cause))?;
        let unknown = policy.unknown();
        if !unknown.is_empty() {
            tracing::warn!(fields = unknown.join(", "), "the audit policy has fields that nobody knows");
        }
        let mut backends = Vec::new();
        if let Some(log) = &settings.log {
            backends.push(Backend::log(log)?);
        }
        if let Some(webhook) = &settings.webhook {
            backends.push(Backend::webhook(webhook)?);
        }
        Ok(Self { policy, backends, metrics })
    }

    /// Hands on what waits in buffers, until `stopping` and nothing waits.
    pub async fn deliver(&self, stopping: CancellationToken) {
        let lost = |plugin, count| self.metrics.audit_lost(plugin, count);
        let running = self.backends.iter().map(|backend| backend.run(&stopping, &lost));
        futures::future::join_all(running).await;
    }

    /// Gives an event to every backend; whether those that insist on it have it. Waits only for a webhook
    /// that blocks.
    async fn emit(&self, event: &Event<'_>) -> bool {
        self.metrics.audited(event.level.word());
        let lost = |plugin, count| self.metrics.audit_lost(plugin, count);
        let mut kept = true;
        for backend in &self.backends {
            kept &= backend.take(event, &lost).await;
        }
        kept
    }
}
