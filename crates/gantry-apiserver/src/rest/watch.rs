//! WATCH: the events of a resource after a revision, as one JSON document a line.
//!
//! Events that are ready at the same time go out as one piece; a busy watcher is woken at most
//! every [`COALESCE`]. An event carries the bytes that were stored.

mod frames;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_store::{Entry, Error, Event, Store, Watcher};
use http::{Response, StatusCode};
use prometheus_client::metrics::counter::Counter;
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
use frames::{Frames, line};

/// After a piece a watcher waits this long before it looks for more: what happens meanwhile goes together, and
/// wakes nobody.
const COALESCE: Duration = Duration::from_micros(1_500);
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
    /// Whether the client reads no managed fields.
    pub unmanaged: bool,
}

struct Running {
    store: Store,
    request: Request,
    frames: Frames,
    filter: Arc<Filter>,
    watcher: Watcher,
    /// The first piece: objects that exist.
    initial: Option<Box<dyn Iterator<Item = Bytes> + Send>>,
    revision: u64,
    deadline: Instant,
    bookmark: Instant,
    last_piece: Instant,
    shutdown: CancellationToken,
    /// Cancelled when the kind is another or none, where it is a custom one.
    ended: Option<CancellationToken>,
    converter: Arc<Converter>,
    /// Whether nothing follows: an error has been sent, or an event has no such form.
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
    let frames = Frames {
        kind: request.kind.clone(),
        output,
        query: request.query.clone(),
        encoded: server.encoded.clone(),
        columns_sent: false,
        unmanaged: request.unmanaged,
    };
    let mut columns_sent = bookmark_initial && with_initial;
    let initial = match snapshot.filter(|_| with_initial) {
        Some(snapshot) => {
            let stored: Vec<_> =
                snapshot.range(&prefix, None).filter(|entry| filter.may_match(entry)).cloned().collect();
            let mut entries = server.custom.converter.entries(&request.kind, stored).await?;
            if filter.looks_inside() {
                entries.retain(|entry| filter.matches(entry));
            }
            columns_sent |= !entries.is_empty();
            Some(initial(frames.clone(), entries, snapshot.revision(), bookmark_initial))
        }
        None => None,
    };
    let frames = Frames { columns_sent, ..frames };
    // No event is a list: the first one is the end.
    let lists = output.shape == Shape::Metadata { list: true };
    let running = Running {
        store: store.clone(),
        filter,
        watcher,
        frames,
        initial: initial.filter(|_| !lists),
        revision: start,
        deadline: now + Duration::from_secs(timeout),
        bookmark: now + BOOKMARKS,
        last_piece: now - COALESCE,
        shutdown,
        ended,
        converter: server.custom.converter.clone(),
        failed: lists && columns_sent,
        sent,
        request,
    };
    let body = Body::stream(running.stream());
    Ok(streamed(body, output))
}

/// The objects that exist, as ADDED events, and the bookmark that ends them.
fn initial(
    mut frames: Frames,
    entries: Vec<Arc<Entry>>,
    revision: u64,
    bookmark: bool,
) -> Box<dyn Iterator<Item = Bytes> + Send> {
    let mut last = bookmark;
    let mut entries = entries.into_iter().peekable();
    Box::new(std::iter::from_fn(move || {
        if entries.peek().is_none() {
            return std::mem::take(&mut last).then(|| frames.bookmark(revision, true).into());
        }
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE
            && let Some(entry) = entries.next()
        {
            frames.one_of_many(&mut piece, "ADDED", &entry);
        }
        Some(Bytes::from(piece))
    }))
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
        while !self.failed {
            let earliest = self.last_piece + COALESCE;
            if Instant::now() < earliest {
                tokio::time::sleep_until(earliest).await;
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
            // After its end the client lists again, or resumes from its last revision.
            let event = event?;
            let mut size = event.entry.value.len() + FRAME;
            let mut events = vec![event];
            while size < PIECE
                && let Some(event) = self.watcher.try_next()
            {
                size += event.entry.value.len() + FRAME;
                events.push(event);
            }
            let mut piece = Vec::with_capacity(size);
            self.write_all(&mut piece, events).await;
            self.last_piece = Instant::now();
            // Of events that the client does not select nothing is left.
            if !piece.is_empty() {
                return Some(piece.into());
            }
        }
        None
    }

    /// Writes events; those that the kind cannot show end the watch.
    async fn write_all(&mut self, piece: &mut Vec<u8>, events: Vec<Arc<Event>>) {
        if self.request.output.shape == (Shape::Metadata { list: true }) {
            self.failed = true;
            return;
        }
        for event in events {
            match shown(&self.converter, &self.request.kind, &event).await {
                Ok(Some(shown)) => self.write(piece, &shown),
                Ok(None) => self.write(piece, &event),
                Err(error) => {
                    piece.extend(line("ERROR", &error.to_value(), self.request.output));
                    self.failed = true;
                    return;
                }
            }
        }
    }

    fn write(&mut self, piece: &mut Vec<u8>, event: &Event) {
        self.revision = event.revision();
        let Some(transition) = self.filter.transition(event) else { return };
        self.sent.inc();
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
            self.frames.made(piece, name, &value);
        } else {
            self.frames.stored(piece, name, &event.entry);
        }
    }

    async fn send_bookmark(&mut self) -> Bytes {
        self.bookmark = Instant::now() + BOOKMARKS;
        // What waits goes first.
        let mut piece = Vec::new();
        let reached = self.store.told_revision();
        let mut waiting = Vec::new();
        while let Some(event) = self.watcher.try_next() {
            waiting.push(event);
        }
        self.write_all(&mut piece, waiting).await;
        if self.failed {
            return piece.into();
        }
        self.revision = self.revision.max(reached);
        piece.extend(self.frames.bookmark(self.revision, false));
        piece.into()
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

/// A watch from a revision that is gone: one ERROR event.
fn expired(requested: u64, oldest: u64, output: Output) -> Response<Body> {
    let error = ApiError::expired(format!("too old resource version: {requested} ({oldest})"));
    streamed(line("ERROR", &error.to_value(), output), output)
}
