//! WATCH: the events of a resource after a revision, as one JSON document a line.
//!
//! Events that are ready at the same time go out as one piece; a busy watcher is woken at most
//! every [`COALESCE`]. An event carries the bytes that were stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, StreamExt};
use gantry_api::protobuf;
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_store::{Entry, Error, Event, Store, WatchEnd, Watcher};
use http::{Response, StatusCode};
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::filter::{Filter, Transition};
use super::list;
use super::options::ListOptions;
use crate::body::Body;
use crate::custom_resources::Converter;
use crate::negotiate::{Encoding, Output, Shape};
use crate::request::Query;
use crate::{ApiServer, respond, storage};

/// A busy watcher waits this long for more events before the next piece.
const COALESCE: Duration = Duration::from_millis(2);
/// How often a watcher that wants them gets bookmarks.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// A watch without a time-out ends after between one and two of these.
const SHORTEST: u64 = 1800;
/// Pieces stop growing at this size: it fills two TLS records, and larger buffers go back to the
/// system each time.
const PIECE: usize = 32 << 10;
/// More than what surrounds an object.
const FRAME: usize = 64;

/// What a watch is for.
pub struct Request {
    /// The kind watched.
    pub kind: Arc<Kind>,
    /// The namespace, or empty.
    pub namespace: String,
    /// The options of the query.
    pub options: ListOptions,
    /// The selectors.
    pub filter: Filter,
    /// How events are shown.
    pub output: Output,
    /// The query, for what a table includes.
    pub query: Query,
}

struct Running {
    store: Store,
    request: Request,
    filter: Arc<Filter>,
    watcher: Watcher,
    /// The first piece: objects that exist.
    initial: Option<Box<dyn Iterator<Item = Bytes> + Send>>,
    revision: u64,
    deadline: Instant,
    bookmark: Instant,
    last_piece: Instant,
    columns_sent: bool,
    shutdown: CancellationToken,
    /// Cancelled when the kind is another or none, where it is a custom one.
    ended: Option<CancellationToken>,
    converter: Arc<Converter>,
    /// Whether an error has been sent, which is the last event.
    failed: bool,
    sent: Counter,
}

/// Starts a watch. It ends at its time-out, when the server stops or when it fell behind.
pub async fn respond(
    server: &ApiServer,
    request: Request,
    ended: Option<CancellationToken>,
    sent: Counter,
) -> Result<Response<Body>, ApiError> {
    let (store, shutdown) = (&server.store, server.stopping.clone());
    let filter = Arc::new(request.filter.clone());
    let resource = storage::prefix_of(&request.kind);
    let prefix = match request.namespace.as_str() {
        "" => resource,
        namespace => format!("{resource}{namespace}/"),
    };
    let since = request.options.resource_version.unwrap_or(0);
    if since > store.revision() {
        list::reach(store, since).await?;
    }
    let with_initial = match request.options.send_initial {
        Some(asked) => asked,
        None => since == 0,
    };
    let bookmark_initial = request.options.send_initial == Some(true) && request.options.bookmarks;
    // A streaming list is as new as the newest write, even where an older revision would do.
    let snapshot = (with_initial || since == 0).then(|| store.snapshot());
    let start = snapshot.as_ref().map_or(since, |snapshot| snapshot.revision());
    let watcher = match store.watch(&prefix, start, filter.for_store()) {
        Ok(watcher) => watcher,
        Err(Error::Compacted { requested, oldest }) => return Ok(expired(requested, oldest, request.output)),
        Err(error) => return Err(ApiError::internal(error)),
    };
    let output = request.output;
    let now = Instant::now();
    let timeout = request.options.timeout_seconds.filter(|seconds| *seconds > 0);
    let timeout = timeout.unwrap_or_else(|| SHORTEST + rand::random_range(0..SHORTEST));
    let initial = match snapshot.filter(|_| with_initial) {
        Some(snapshot) => {
            let stored: Vec<_> =
                snapshot.range(&prefix, None).filter(|entry| filter.may_match(entry)).cloned().collect();
            let mut entries = server.custom.converter.entries(&request.kind, stored).await?;
            if filter.looks_inside() {
                entries.retain(|entry| filter.matches(entry));
            }
            Some(initial(&request, entries, snapshot.revision(), bookmark_initial))
        }
        None => None,
    };
    let running = Running {
        store: store.clone(),
        filter,
        watcher,
        columns_sent: initial.is_some(),
        initial,
        revision: start,
        deadline: now + Duration::from_secs(timeout),
        bookmark: now + BOOKMARKS,
        last_piece: now - COALESCE,
        shutdown,
        ended,
        converter: server.custom.converter.clone(),
        failed: false,
        sent,
        request,
    };
    let body = Body::stream(running.stream());
    Ok(streamed(body, output))
}

/// The objects that exist, as ADDED events, and the bookmark that ends them.
fn initial(
    request: &Request,
    entries: Vec<Arc<Entry>>,
    revision: u64,
    bookmark: bool,
) -> Box<dyn Iterator<Item = Bytes> + Send> {
    let (kind, output, query) = (request.kind.clone(), request.output, request.query.clone());
    let last = bookmark.then(|| Bytes::from(bookmark_line(&kind, output, revision, true)));
    let mut entries = entries.into_iter().peekable();
    let mut first = true;
    let pieces = std::iter::from_fn(move || {
        entries.peek()?;
        let mut piece = BytesMut::with_capacity(32 << 10);
        while piece.len() < PIECE
            && let Some(entry) = entries.next()
        {
            frame(&mut piece, "ADDED", &kind, &entry.value, output, &query, &mut first);
        }
        Some(piece.freeze())
    });
    Box::new(pieces.chain(last))
}

impl Running {
    fn stream(self) -> impl Stream<Item = Bytes> + Send {
        futures::stream::unfold(Some(self), |state| async move {
            let mut state = state?;
            let piece = state.next_piece().await?;
            Some((piece, Some(state)))
        })
    }

    async fn next_piece(&mut self) -> Option<Bytes> {
        if let Some(initial) = &mut self.initial {
            if let Some(piece) = initial.next() {
                return Some(piece);
            }
            self.initial = None;
        }
        if self.failed {
            return None;
        }
        let bookmark = if self.request.options.bookmarks { self.bookmark } else { self.deadline };
        let event = tokio::select! {
            biased;
            event = self.watcher.next() => event,
            () = tokio::time::sleep_until(bookmark.min(self.deadline)) => {
                if Instant::now() >= self.deadline {
                    return None;
                }
                return Some(self.send_bookmark().await);
            }
            () = self.shutdown.cancelled() => return None,
            () = ended(self.ended.as_ref()) => return None,
        };
        let Some(event) = event else {
            return match self.watcher.end() {
                // The client lists again, or resumes from its last revision.
                WatchEnd::TooSlow | WatchEnd::Closed => None,
            };
        };
        let earliest = self.last_piece + COALESCE;
        if Instant::now() < earliest {
            tokio::time::sleep_until(earliest).await;
        }
        let mut size = event.entry.value.len() + FRAME;
        let mut events = vec![event];
        while size < PIECE
            && let Some(event) = self.watcher.try_next()
        {
            size += event.entry.value.len() + FRAME;
            events.push(event);
        }
        let mut piece = BytesMut::with_capacity(size);
        self.write_all(&mut piece, events).await;
        self.last_piece = Instant::now();
        if piece.is_empty() { Box::pin(self.next_piece()).await } else { Some(piece.freeze()) }
    }

    /// Writes events; those that the kind cannot show end the watch.
    async fn write_all(&mut self, piece: &mut BytesMut, events: Vec<Arc<Event>>) {
        for event in events {
            match shown(&self.converter, &self.request.kind, &event).await {
                Ok(Some(shown)) => self.write(piece, &shown),
                Ok(None) => self.write(piece, &event),
                Err(error) => {
                    piece.put_slice(&line("ERROR", &error.to_value(), self.request.output));
                    self.failed = true;
                    return;
                }
            }
        }
    }

    fn write(&mut self, piece: &mut BytesMut, event: &Event) {
        self.revision = event.revision();
        let Some(transition) = self.filter.transition(event) else { return };
        self.sent.inc();
        let (kind, output) = (&self.request.kind, self.request.output);
        let mut first = !self.columns_sent;
        self.columns_sent = true;
        let name = match transition {
            Transition::Added => "ADDED",
            Transition::Modified => "MODIFIED",
            Transition::Deleted | Transition::Left => "DELETED",
        };
        // Who leaves a selection is shown as it last was in it, at the revision it left.
        if transition == Transition::Left
            && let Some(prev) = &event.prev
        {
            let mut value = prev.value.to_vec();
            storage::stamp(&mut value, event.revision());
            frame(piece, name, kind, &value, output, &self.request.query, &mut first);
        } else {
            frame(piece, name, kind, &event.entry.value, output, &self.request.query, &mut first);
        }
    }

    async fn send_bookmark(&mut self) -> Bytes {
        self.bookmark = Instant::now() + BOOKMARKS;
        // Every event up to the store's revision has been offered; what waits goes first.
        let mut piece = BytesMut::new();
        let reached = self.store.revision();
        // Asks for the lock under which events up to `reached` are handed to watchers.
        let _ = self.store.compacted_revision();
        let mut waiting = Vec::new();
        while let Some(event) = self.watcher.try_next() {
            waiting.push(event);
        }
        self.write_all(&mut piece, waiting).await;
        if self.failed {
            return piece.freeze();
        }
        self.revision = self.revision.max(reached);
        piece.put_slice(&bookmark_line(&self.request.kind, self.request.output, self.revision, false));
        piece.freeze()
    }
}

/// An event as a custom kind shows it.
async fn shown(converter: &Converter, kind: &Kind, event: &Event) -> Result<Option<Event>, ApiError> {
    if kind.as_custom().is_none() {
        return Ok(None);
    }
    let entry = converter.entry(kind, event.entry.clone()).await?;
    let prev = match &event.prev {
        Some(prev) => Some(converter.entry(kind, prev.clone()).await?),
        None => None,
    };
    Ok(Some(Event { kind: event.kind, entry, prev }))
}

/// Returns when the kind is no longer what it was; never for a built-in one.
async fn ended(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// A stream of events in the encoding that the client accepts.
fn streamed(body: impl Into<Body>, output: Output) -> Response<Body> {
    match output.encoding {
        Encoding::Protobuf => respond::typed(StatusCode::OK, body, respond::PROTOBUF_STREAM),
        _ => respond::bytes(StatusCode::OK, body),
    }
}

/// An event whose object was made for it.
fn line(event: &str, object: &Value, output: Output) -> Vec<u8> {
    if output.encoding == Encoding::Protobuf {
        let mut line = Vec::new();
        if let Ok(document) = protobuf::value(object) {
            protobuf::event(&mut line, event, &document);
        }
        return line;
    }
    let mut line = json!({"type": event, "object": object}).to_string().into_bytes();
    line.push(b'\n');
    line
}

fn protobuf_frame(
    piece: &mut BytesMut,
    event: &str,
    kind: &Kind,
    object: &[u8],
    output: Output,
    query: &Query,
) {
    let document = if output.shape == Shape::Object && kind.stored.is_none() {
        protobuf::document(kind.schema, &kind.api_version(), &kind.kind, object)
    } else {
        let value = storage::decode(kind, object).unwrap_or_default();
        protobuf::value(&super::shape::object(kind, value, output.shape, query))
    };
    match document {
        Ok(document) => {
            let mut frame = Vec::with_capacity(document.len() + 32);
            protobuf::event(&mut frame, event, &document);
            piece.put_slice(&frame);
        }
        Err(error) => piece.put_slice(&line("ERROR", &ApiError::internal(error).to_value(), output)),
    }
}

fn frame(
    piece: &mut BytesMut,
    event: &str,
    kind: &Kind,
    object: &[u8],
    output: Output,
    query: &Query,
    first: &mut bool,
) {
    if output.encoding == Encoding::Protobuf {
        return protobuf_frame(piece, event, kind, object, output, query);
    }
    piece.put_slice(b"{\"type\":\"");
    piece.put_slice(event.as_bytes());
    piece.put_slice(b"\",\"object\":");
    if output.shape == Shape::Object && kind.stored.is_none() {
        piece.put_slice(object);
    } else if output.shape == Shape::Metadata
        && kind.stored.is_none()
        && let Some(metadata) = storage::metadata(object)
    {
        piece.put_slice(PARTIAL);
        piece.put_slice(metadata);
        piece.put_u8(b'}');
    } else if let Some(value) = storage::decode(kind, object) {
        let mut shaped = super::shape::object(kind, value, output.shape, query);
        if output.shape == Shape::Table && !*first {
            shaped["columnDefinitions"] = Value::Null;
        }
        piece.put_slice(shaped.to_string().as_bytes());
    } else {
        piece.put_slice(b"null");
    }
    *first = false;
    piece.put_slice(b"}\n");
}

const PARTIAL: &[u8] = b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":";

fn bookmark_line(kind: &Kind, output: Output, revision: u64, initial_end: bool) -> Vec<u8> {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = match output.shape {
        Shape::Object => json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata}),
        Shape::Metadata => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
        }
        Shape::Table => {
            let row = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            });
            json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": revision.to_string()}, "columnDefinitions": null,
                "rows": if initial_end { json!([{"cells": [], "object": row}]) } else { json!([]) },
            })
        }
    };
    line("BOOKMARK", &object, output)
}

/// A watch from a revision that is gone: one ERROR event.
fn expired(requested: u64, oldest: u64, output: Output) -> Response<Body> {
    let error = ApiError::expired(format!("too old resource version: {requested} ({oldest})"));
    streamed(line("ERROR", &error.to_value(), output), output)
}
