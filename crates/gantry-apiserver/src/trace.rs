//! Traces of requests, sent to an OpenTelemetry collector.
//!
//! Flow: once it is known who asks, a request gets a span (`begin`); the steps of carrying it out
//! (`step`) and the requests that it leads to (`Call`) get spans below it, since all of them run inside
//! of `within`. A span ends when nobody holds it any more, and goes to the exporter's queue. Guarantees:
//! without a configuration nothing is recorded and nothing is allocated, but what a client says of its
//! own trace is carried on; a collector is never waited for. Who may decide that a trace is kept: with a
//! configuration administrators and monitoring alone, others' traces are named as linked ones.

mod call;
mod configuration;
mod context;
mod endpoint;
mod exporter;
mod otlp;
mod request;

use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::future::Either;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::task::futures::TaskLocalFuture;
use tokio_util::sync::CancellationToken;

use crate::{Error, User};
use context::{BAGGAGE, Incoming, Share, SpanContext, TRACEPARENT, TRACESTATE};
use exporter::Exporter;
use otlp::any_value::Value;
use otlp::{AnyValue, Event, KeyValue, Link, Resource, SpanKind, Status, StatusCode as Outcome};

pub(crate) use call::Call;
pub use configuration::{Configuration, ConfigurationError};
pub(crate) use request::{arrived, name, verb};

/// The most events of a span.
const MOST_EVENTS: usize = 128;
/// The longest text in a fact, in bytes.
const LONGEST: usize = 4096;
/// Flags of a span: it is known whether its parent is elsewhere, and it is.
const KNOWS_PARENT: u32 = 0x100;
const PARENT_ELSEWHERE: u32 = 0x200;

tokio::task_local! {
    /// The span that is being worked on.
    static CURRENT: Option<Span>;
}

/// Something that is said of a span.
pub(crate) type Fact = KeyValue;

/// All that is said of a span.
pub(crate) type Facts = Vec<Fact>;

/// A fact in words.
pub(crate) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    let mut value = value.into();
    value.truncate(value.floor_char_boundary(LONGEST));
    fact(key, Value::StringValue(value))
}

/// A number.
pub(crate) fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    fact(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

fn fact(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

fn nanoseconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos().try_into().unwrap_or(u64::MAX))
}

/// Decides which traces are kept, and has them sent.
pub(crate) struct Tracer {
    share: Share,
    exporter: Arc<Exporter>,
}

impl Tracer {
    /// A tracer of the server that is called `instance`.
    pub fn new(configuration: &Configuration, instance: &str) -> Result<Self, Error> {
        let attributes = vec![text("service.name", "apiserver"), text("service.instance.id", instance)];
        let exporter = Exporter::new(configuration.endpoint(), Resource { attributes })?;
        Ok(Self { share: configuration.share(), exporter: Arc::new(exporter) })
    }

    /// Sends spans until `stopping`, and then those that wait.
    pub async fn run(&self, stopping: &CancellationToken) {
        self.exporter.run(stopping).await;
    }
}

/// A span, or what is carried on of somebody else's. It ends with its last holder.
#[derive(Clone)]
pub(crate) struct Span(Arc<Inner>);

struct Inner {
    context: Option<SpanContext>,
    state: Option<HeaderValue>,
    baggage: Option<HeaderValue>,
    audit_id: HeaderValue,
    recording: Option<Recording>,
}

/// A span that is kept.
struct Recording {
    exporter: Arc<Exporter>,
    span: Mutex<otlp::Span>,
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut span = std::mem::take(self.span.get_mut());
        span.end_time_unix_nano = nanoseconds(SystemTime::now());
        self.exporter.push(span);
    }
}

/// A request as its span begins.
pub(crate) struct Arrival<'a> {
    pub headers: &'a HeaderMap,
    pub user: &'a User,
    pub audit_id: &'a HeaderValue,
    /// When it was received.
    pub received: SystemTime,
}

/// The span of a request, described by `describe` where it is kept; `None`: neither this server nor the
/// client traces it.
pub(crate) fn begin(
    tracer: Option<&Tracer>,
    arrival: &Arrival<'_>,
    describe: impl FnOnce() -> (String, Facts),
) -> Option<Span> {
    let Incoming { parent, state, baggage } = Incoming::read(arrival.headers);
    let audit_id = arrival.audit_id.clone();
    let Some(tracer) = tracer else {
        let carried = parent.is_some() || baggage.is_some();
        let inner = || Inner { context: parent, state, baggage, audit_id, recording: None };
        return carried.then(|| Span(Arc::new(inner())));
    };
    let trusted = arrival.user.in_group("system:masters") || arrival.user.in_group("system:monitoring");
    let (parent, linked) = if trusted { (parent, None) } else { (None, parent) };
    let mut context = parent.map_or_else(SpanContext::root, SpanContext::child);
    if parent.is_none() {
        context.sampled = tracer.share.keeps(context.trace_id);
    }
    let state_text = |state: &Option<HeaderValue>| {
        state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default().to_owned()
    };
    let recording = context.sampled.then(|| {
        let (name, attributes) = describe();
        let link = linked.map(|context| Link {
            trace_id: context.trace_id.to_vec(),
            span_id: context.span_id.to_vec(),
            trace_state: state_text(&state),
            flags: u32::from(context.sampled) | KNOWS_PARENT | PARENT_ELSEWHERE,
        });
        let span = otlp::Span {
            trace_state: if parent.is_some() { state_text(&state) } else { String::new() },
            parent_span_id: parent.map(|parent| parent.span_id.to_vec()).unwrap_or_default(),
            flags: 1 | KNOWS_PARENT | if parent.is_some() { PARENT_ELSEWHERE } else { 0 },
            name,
            kind: SpanKind::Server.into(),
            start_time_unix_nano: nanoseconds(arrival.received),
            attributes,
            links: link.into_iter().collect(),
            ..identified(context)
        };
        Recording { exporter: tracer.exporter.clone(), span: Mutex::new(span) }
    });
    let state = state.filter(|_| parent.is_some());
    Some(Span(Arc::new(Inner { context: Some(context), state, baggage, audit_id, recording })))
}

fn identified(context: SpanContext) -> otlp::Span {
    otlp::Span {
        trace_id: context.trace_id.to_vec(),
        span_id: context.span_id.to_vec(),
        ..otlp::Span::default()
    }
}

impl Span {
    /// A span below this one; where this one is not kept, the same.
    fn child(&self, name: impl Into<String>, kind: SpanKind, attributes: Facts) -> Self {
        let (Some(recording), Some(parent)) = (&self.0.recording, self.0.context) else {
            return self.clone();
        };
        let context = parent.child();
        let state = self.0.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default();
        let span = otlp::Span {
            trace_state: state.to_owned(),
            parent_span_id: parent.span_id.to_vec(),
            flags: 1 | KNOWS_PARENT,
            name: name.into(),
            kind: kind.into(),
            start_time_unix_nano: nanoseconds(SystemTime::now()),
            attributes,
            ..identified(context)
        };
        Self(Arc::new(Inner {
            context: Some(context),
            state: self.0.state.clone(),
            baggage: self.0.baggage.clone(),
            audit_id: self.0.audit_id.clone(),
            recording: Some(Recording { exporter: recording.exporter.clone(), span: Mutex::new(span) }),
        }))
    }

    /// Notes a step that began at `started` and has just ended.
    pub fn ended(&self, name: &str, started: SystemTime) {
        let child = self.child(name, SpanKind::Internal, Facts::new());
        if !Arc::ptr_eq(&child.0, &self.0) {
            child.change(|span| span.start_time_unix_nano = nanoseconds(started));
        }
    }

    /// Notes the answer to the request.
    pub fn answered(&self, code: StatusCode, length: Option<u64>) {
        self.change(|span| {
            span.attributes.extend(
                length.filter(|length| *length > 0).map(|length| number("http.response.body.size", length)),
            );
            span.attributes.push(number("http.response.status_code", code.as_u16()));
            if code.is_server_error() {
                span.status = Some(Status { message: String::new(), code: Outcome::Error.into() });
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut otlp::Span)) {
        if let Some(recording) = &self.0.recording {
            change(&mut recording.span.lock());
        }
    }

    /// Tells another server in `headers` which span a request belongs to.
    fn inject(&self, headers: &mut HeaderMap) {
        if let Some(traceparent) = self.0.context.and_then(SpanContext::header) {
            headers.insert(TRACEPARENT, traceparent);
            match &self.0.state {
                Some(state) => drop(headers.insert(TRACESTATE, state.clone())),
                None => drop(headers.remove(TRACESTATE)),
            }
        }
        if let Some(baggage) = &self.0.baggage {
            headers.insert(BAGGAGE, baggage.clone());
        }
    }
}

fn current() -> Option<Span> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// Work that knows the span it belongs to, or that there is none.
pub(crate) type Within<F> = Either<F, TaskLocalFuture<Option<Span>, F>>;

/// Runs `work`, whose steps belong to `span`.
pub(crate) fn within<F: Future>(span: Option<Span>, work: F) -> Within<F> {
    // Most requests are not traced, and pay nothing.
    match span.is_none() && current().is_none() {
        true => Either::Left(work),
        false => Either::Right(CURRENT.scope(span, work)),
    }
}

/// Runs `work` as a step with a span of its own, where the request is traced and the step has a name.
pub(crate) fn step<F: Future>(
    name: impl Into<Option<&'static str>>,
    attributes: Facts,
    work: F,
) -> Within<F> {
    let span = current().map(|span| match name.into() {
        Some(name) => span.child(name, SpanKind::Internal, attributes),
        None => span,
    });
    within(span, work)
}

/// What is said of a step; not asked for where the request's trace is not kept. It is told the request's
/// audit identifier.
pub(crate) fn facts(of: impl FnOnce(&HeaderValue) -> Facts) -> Facts {
    let kept = |span: &Span| span.0.recording.is_some();
    let known =
        CURRENT.try_with(|span| span.as_ref().filter(|span| kept(span)).map(|span| of(&span.0.audit_id)));
    known.ok().flatten().unwrap_or_default()
}

/// Notes something that happens during the step that is being carried out.
pub(crate) fn event(name: &'static str) {
    let note = |span: &mut otlp::Span| match span.events.len() < MOST_EVENTS {
        true => span.events.push(Event {
            time_unix_nano: nanoseconds(SystemTime::now()),
            name: name.to_owned(),
            attributes: Facts::new(),
        }),
        false => span.dropped_events_count += 1,
    };
    // Without a span there is nothing to note it with.
    let _ = CURRENT.try_with(|span| span.as_ref().map(|span| span.change(note)));
}

#[cfg(test)]
mod tests;
