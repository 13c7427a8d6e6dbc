//! How events get from requests to a backend: at once or in batches, how many at a time, and how large.

use std::time::Duration;

use bytes::Bytes;

use super::Level;
use super::event::Event;

/// When an event is handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Later, together with others.
    Batch,
    /// Before the request goes on.
    Blocking,
    /// Before the request goes on; a request whose first event cannot be handed on fails.
    BlockingStrict,
}

impl Mode {
    /// The modes by upstream's names.
    pub const NAMES: [&str; 3] = ["batch", "blocking", "blocking-strict"];

    /// The mode of a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "batch" => Some(Self::Batch),
            "blocking" => Some(Self::Blocking),
            "blocking-strict" => Some(Self::BlockingStrict),
            _ => None,
        }
    }
}

/// How many batches are handed on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throttling {
    /// Batches a second.
    pub qps: f64,
    /// Batches at once after a while without any.
    pub burst: u32,
}

/// What a batch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batching {
    /// How many events may wait.
    pub buffer: usize,
    /// How many events are a batch.
    pub size: usize,
    /// How long an event waits for others.
    pub wait: Duration,
    /// How many batches are handed on; `None`: as many as there are.
    pub throttling: Option<Throttling>,
}

/// How large events may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// The size of an event, in bytes, beyond which it loses its objects.
    pub event_bytes: usize,
    /// The size of a batch, in bytes, beyond which it is split.
    pub batch_bytes: usize,
}

impl Default for Truncation {
    fn default() -> Self {
        Self { event_bytes: 100 << 10, batch_bytes: 10 << 20 }
    }
}

/// How events get to a backend.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Delivery {
    /// When they are handed on.
    pub mode: Mode,
    /// What a batch is, in mode [`Mode::Batch`].
    pub batching: Batching,
    /// How large they may be; `None`: as large as they are.
    pub truncation: Option<Truncation>,
}

impl Delivery {
    /// Upstream's for a file.
    pub fn of_log() -> Self {
        let batching = Batching { buffer: 10_000, size: 1, wait: Duration::ZERO, throttling: None };
        Self { mode: Mode::Blocking, batching, truncation: None }
    }

    /// Upstream's for a webhook.
    pub fn of_webhook() -> Self {
        let throttling = Some(Throttling { qps: 10.0, burst: 15 });
        let batching = Batching { buffer: 10_000, size: 400, wait: Duration::from_secs(30), throttling };
        Self { mode: Mode::Batch, batching, truncation: None }
    }

    /// The event's text as it is handed on, without its objects where it is too large with them; `None`: it
    /// is too large even so.
    pub(super) fn fit(&self, event: &Event<'_>) -> Option<Vec<u8>> {
        let text = event.text();
        let Some(limits) = &self.truncation else { return Some(text) };
        if text.len() <= limits.event_bytes {
            return Some(text);
        }
        if event.level < Level::Request {
            return None;
        }
        let text = event.without_objects().text();
        (text.len() <= limits.event_bytes).then_some(text)
    }

    /// The parts of a batch that are each small enough.
    pub(super) fn split<'a>(&self, batch: &'a [Bytes]) -> Vec<&'a [Bytes]> {
        let most = self.truncation.map_or(usize::MAX, |limits| limits.batch_bytes);
        let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
        for (at, event) in batch.iter().enumerate() {
            if at > start && bytes + event.len() > most {
                parts.push(&batch[start..at]);
                (start, bytes) = (at, 0);
            }
            bytes += event.len();
        }
        parts.push(&batch[start..]);
        parts
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;
    use crate::audit::event::{Arrived, Notes};

    fn limited(event_bytes: usize, batch_bytes: usize) -> Delivery {
        Delivery { truncation: Some(Truncation { event_bytes, batch_bytes }), ..Delivery::of_log() }
    }

    #[test]
    fn large_events_lose_their_objects() {
        let check = |event_bytes, level, request: Option<Value>, expect: Option<Value>| {
            let arrived = Arrived::default();
            let notes = Notes::from([("a".into(), "b".into())]);
            let event = Event { request_object: request.as_ref(), ..Event::example(level, &arrived, &notes) };
            let fit = limited(event_bytes, 1 << 20).fit(&event);
            let fit = fit.map(|text| gantry_json::from_slice::<Value>(&text).unwrap());
            let seen = fit.map(|event| json!([event["requestObject"], event["annotations"]]));
            assert_eq!(seen, expect, "{event_bytes} {level:?}");
        };
        let long = || Some(json!("x".repeat(1000)));
        let whole = Some(json!([long(), {"a": "b"}]));
        let cut = Some(json!([null, {"a": "b", "audit.k8s.io/truncated": "true"}]));
        check(1000, Level::Request, long(), cut);
        check(2000, Level::Request, long(), whole);
        check(1000, Level::Metadata, long(), None);
        check(1000, Level::Metadata, None, Some(json!([null, {"a": "b"}])));
        check(20, Level::RequestResponse, long(), None);
    }

    #[test]
    fn large_batches_are_split() {
        let events: Vec<Bytes> =
            ["aaaa", "bbbb", "cccccccccc", "dd"].map(|text| Bytes::from_static(text.as_bytes())).into();
        let sizes =
            |bytes| limited(4, bytes).split(&events).iter().map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(sizes(8), [2, 1, 1]);
        assert_eq!(sizes(100), [4]);
        assert_eq!(sizes(1), [1, 1, 1, 1]);
        assert_eq!(Delivery::of_log().split(&events).len(), 1);
    }
}
