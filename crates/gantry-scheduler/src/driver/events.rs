//! Events about pods, written in the background. They are the first to be dropped when there is
//! more to do than can be done.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use gantry_json::json;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use tokio::sync::mpsc::{self, Receiver, Sender, error::TrySendError};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::SchedulerConfig;
use crate::pod::{PodInfo, Uid};

/// Events that may wait to be written.
const WAITING: usize = 4096;
/// Events that are written at once.
const CONCURRENCY: usize = 16;
/// An event that repeats is written again at most this often.
const REFRESH: Duration = Duration::from_secs(60);
/// One that has not happened for this long begins anew.
const SERIES_ENDS: Duration = Duration::from_secs(360);

/// Hands events to the task that writes them; never blocks.
#[derive(Clone)]
pub(super) struct Recorder(Sender<Record>);

struct Record {
    pod: ObjectReference,
    uid: Uid,
    warning: bool,
    reason: &'static str,
    action: &'static str,
    note: Arc<str>,
}

/// An event that may repeat.
struct Series {
    namespace: String,
    name: String,
    count: i32,
    seen: Instant,
    written: Option<Instant>,
}

struct Writer {
    client: Client,
    controller: String,
    instance: String,
    series: HashMap<(Uid, &'static str, Arc<str>), Series>,
    sweep: Instant,
}

impl Recorder {
    /// Starts the writer; it ends with `tasks`.
    pub(super) fn start(client: Client, config: &SchedulerConfig, tasks: &mut JoinSet<()>) -> Self {
        let (sender, records) = mpsc::channel(WAITING);
        let writer = Writer {
            client,
            controller: config.scheduler_name.clone(),
            instance: config.instance.clone(),
            series: HashMap::new(),
            sweep: Instant::now(),
        };
        tasks.spawn(writer.run(records));
        Self(sender)
    }

    /// Records an event about `pod`.
    pub(super) fn record(
        &self,
        pod: &PodInfo,
        warning: bool,
        reason: &'static str,
        action: &'static str,
        note: Arc<str>,
    ) {
        let reference = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(pod.name.to_string()),
            namespace: Some(pod.namespace.clone()),
            uid: Some(pod.uid.to_string()),
            ..ObjectReference::default()
        };
        let record = Record { pod: reference, uid: pod.uid.clone(), warning, reason, action, note };
        if let Err(TrySendError::Full(record)) = self.0.try_send(record) {
            tracing::debug!(pod = record.pod.name, reason, "an event is dropped");
        }
    }
}

impl Writer {
    async fn run(mut self, mut records: Receiver<Record>) {
        let mut writing: FuturesUnordered<BoxFuture<'static, kube::Result<()>>> = FuturesUnordered::new();
        loop {
            tokio::select! {
                record = records.recv(), if writing.len() < CONCURRENCY => {
                    let Some(record) = record else { return };
                    writing.extend(self.write(record));
                }
                Some(written) = writing.next(), if !writing.is_empty() => {
                    if let Err(error) = written {
                        tracing::debug!(%error, "an event is not written");
                    }
                }
            }
        }
    }

    /// The request that writes `record`, unless it repeats one that was just written.
    fn write(&mut self, record: Record) -> Option<BoxFuture<'static, kube::Result<()>>> {
        let now = Instant::now();
        if record.warning {
            self.sweep(now);
            let key = (record.uid.clone(), record.reason, record.note.clone());
            if let Some(series) = self.series.get_mut(&key) {
                series.count += 1;
                series.seen = now;
                if series.written.is_some_and(|written| now < written + REFRESH) {
                    return None;
                }
                series.written = Some(now);
                return Some(repeat(self.client.clone(), series));
            }
            let event = self.event(record);
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let name = event.metadata.name.clone().unwrap_or_default();
            self.series.insert(key, Series { namespace, name, count: 1, seen: now, written: None });
            return Some(create(self.client.clone(), event));
        }
        Some(create(self.client.clone(), self.event(record)))
    }

    fn sweep(&mut self, now: Instant) {
        if now >= self.sweep {
            self.series.retain(|_, series| now < series.seen + SERIES_ENDS);
            self.sweep = now + REFRESH;
        }
    }

    fn event(&self, record: Record) -> Event {
        let now = Timestamp::now();
        let name = record.pod.name.as_deref().unwrap_or_default();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: record.pod.namespace.clone(),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            type_: Some(if record.warning { "Warning" } else { "Normal" }.into()),
            reason: Some(record.reason.into()),
            action: Some(record.action.into()),
            message: Some(shortened(&record.note)),
            involved_object: record.pod,
            reporting_component: Some(self.controller.clone()),
            reporting_instance: Some(self.instance.clone()),
            source: Some(EventSource::default()),
            ..Event::default()
        }
    }
}

/// Notes may have 1024 bytes.
fn shortened(note: &str) -> String {
    const LONGEST: usize = 1024;
    if note.len() <= LONGEST {
        return note.to_owned();
    }
    let end = (0..=LONGEST - 4).rev().find(|end| note.is_char_boundary(*end)).unwrap_or_default();
    format!("{} ...", &note[..end])
}

fn create(client: Client, event: Event) -> BoxFuture<'static, kube::Result<()>> {
    Box::pin(async move {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let events: Api<Event> = Api::namespaced(client, &namespace);
        events.create(&PostParams::default(), &event).await.map(drop)
    })
}

fn repeat(client: Client, series: &Series) -> BoxFuture<'static, kube::Result<()>> {
    let (namespace, name) = (series.namespace.clone(), series.name.clone());
    let count =
        EventSeries { count: Some(series.count), last_observed_time: Some(MicroTime(Timestamp::now())) };
    Box::pin(async move {
        let events: Api<Event> = Api::namespaced(client, &namespace);
        let patch = Patch::Merge(json!({"series": count}));
        events.patch(&name, &PatchParams::default(), &patch).await.map(drop)
    })
}
