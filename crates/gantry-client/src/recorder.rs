//! Events about objects, written in the background and counted when they repeat.

use std::collections::HashMap;

use jiff::{Timestamp, Unit};
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use tokio::sync::mpsc;

/// Most events remembered for counting.
const REMEMBERED: usize = 4096;

/// Longest message, in bytes; the API refuses longer ones.
const MESSAGE_LIMIT: usize = 1024;

/// Events of one component about one object: this many at once, then one every five minutes.
const BURST: f64 = 25.0;

/// Hands events to the task that writes them; never blocks and never fails.
#[derive(Clone)]
pub struct Recorder {
    // On the heap: a channel keeps room for a few dozen, and there is one for each component.
    records: mpsc::UnboundedSender<Box<Record>>,
}

struct Record {
    about: ObjectReference,
    warning: bool,
    reason: &'static str,
    message: String,
}

/// The reference of an event to `object`.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let meta = object.meta();
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

impl Recorder {
    /// Writes as `component` through `client`; the task ends when the last handle is dropped.
    pub fn new(client: Client, component: &'static str) -> Self {
        Self::on_host(client, component, None)
    }

    /// Like [`Recorder::new`], for a component of the node `host`.
    pub fn on_host(client: Client, component: &'static str, host: Option<String>) -> Self {
        let (records, received) = mpsc::unbounded_channel();
        let writer = Writer { client, component, host, written: HashMap::new(), tokens: HashMap::new() };
        tokio::spawn(writer.run(received));
        Self { records }
    }

    /// Records that `reason` happened to `about`.
    pub fn event(
        &self,
        about: ObjectReference,
        warning: bool,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        // The writer is gone only when the process ends.
        let _ = self.records.send(Box::new(Record { about, warning, reason, message: message.into() }));
    }
}

struct Writer {
    client: Client,
    component: &'static str,
    host: Option<String>,
    /// Name and count of what was written, by what makes two events the same.
    written: HashMap<(String, String, &'static str, String), (String, i32)>,
    /// Events that may still be written about an object, and when that was counted.
    tokens: HashMap<String, (f64, Timestamp)>,
}

impl Writer {
    async fn run(mut self, mut records: mpsc::UnboundedReceiver<Box<Record>>) {
        while let Some(record) = records.recv().await {
            if self.admits(&record.about, Timestamp::now())
                && let Err(error) = Box::pin(self.write(*record)).await
            {
                tracing::debug!(%error, component = self.component, "event not written");
            }
        }
    }

    /// Whether another event about this object may be written at `now`.
    fn admits(&mut self, about: &ObjectReference, now: Timestamp) -> bool {
        if self.tokens.len() > REMEMBERED {
            self.tokens.clear();
        }
        let key = about.uid.clone().or_else(|| about.name.clone()).unwrap_or_default();
        let (tokens, at) = self.tokens.entry(key).or_insert((BURST, now));
        *tokens = (*tokens + (now.as_second() - at.as_second()) as f64 / 300.0).min(BURST);
        *at = now;
        let admitted = *tokens >= 1.0;
        if admitted {
            *tokens -= 1.0;
        }
        admitted
    }

    async fn write(&mut self, record: Record) -> kube::Result<()> {
        let now = Timestamp::now();
        let time = Time(now.round(Unit::Second).unwrap_or(now));
        let namespace = record.about.namespace.clone().unwrap_or_else(|| "default".into());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let key = (
            record.about.uid.clone().unwrap_or_default(),
            record.about.field_path.clone().unwrap_or_default(),
            record.reason,
            record.message.clone(),
        );
        if let Some((name, count)) = self.written.get_mut(&key) {
            *count += 1;
            let patch = gantry_json::json!({"count": *count, "lastTimestamp": time});
            match api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => return Ok(()),
                // It has expired: written anew below.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let mut message = record.message;
        if message.len() > MESSAGE_LIMIT {
            message.truncate(message.floor_char_boundary(MESSAGE_LIMIT));
        }
        let name = format!("{}.{:x}", record.about.name.as_deref().unwrap_or_default(), now.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..Default::default()
            },
            involved_object: record.about,
            reason: Some(record.reason.into()),
            message: Some(message),
            type_: Some(if record.warning { "Warning" } else { "Normal" }.into()),
            count: Some(1),
            first_timestamp: Some(time.clone()),
            last_timestamp: Some(time),
            source: Some(EventSource { component: Some(self.component.into()), host: self.host.clone() }),
            reporting_component: Some(self.component.into()),
            reporting_instance: self.host.clone(),
            ..Default::default()
        };
        api.create(&PostParams::default(), &event).await?;
        if self.written.len() > REMEMBERED {
            self.written.clear();
        }
        self.written.insert(key, (name, 1));
        Ok(())
    }
}
