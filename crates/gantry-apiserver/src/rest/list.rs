//! LIST: a page of a consistent snapshot, its objects' stored bytes one after another.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use gantry_api::protobuf;
use gantry_api::registry::Kind;
use gantry_api::status::ApiError;
use gantry_json::{Value, json};
use gantry_store::{Entry, Snapshot, Store};
use http::{Response, StatusCode};

use super::continuation::Continuation;
use super::filter::Filter;
use super::options::{ListOptions, Match};
use super::{Context, Encoded, shape};
use crate::body::Body;
use crate::negotiate::{Encoding, Output, Shape};
use crate::storage;
use crate::{ApiServer, respond};

/// How long a list waits for a revision that has not been reached yet.
const WAIT_FOR_REVISION: Duration = Duration::from_secs(3);
/// Objects are gathered into pieces of about this size.
const PIECE: usize = 64 << 10;
/// Of a page with more objects none are kept in protobuf, which would leave no place for others.
const MANY: usize = 1_000;

/// One page.
pub struct Page {
    /// The objects.
    pub entries: Vec<Arc<Entry>>,
    /// The revision of the snapshot.
    pub revision: u64,
    /// How to get the next page.
    pub resume: Option<String>,
    /// How many objects follow; unknown with selectors.
    pub remaining: Option<usize>,
}

/// Reads the page that `options` ask for.
pub async fn page(
    server: &ApiServer,
    kind: &Kind,
    namespace: &str,
    options: &ListOptions,
    filter: &Filter,
) -> Result<Page, ApiError> {
    let (store, converter) = (&server.store, &server.custom.converter);
    let resource = storage::prefix_of(kind);
    let prefix = if namespace.is_empty() { resource.clone() } else { format!("{resource}{namespace}/") };
    let (snapshot, start, as_of) = match &options.resume {
        Some(text) => resume(store, &prefix, text)?,
        None => (snapshot(store, options).await?, None, None),
    };
    let limit = if options.limit == 0 { usize::MAX } else { options.limit };
    let mut entries = Vec::new();
    let (mut more, mut remaining) = (false, None);
    if filter.looks_inside() {
        // What such a filter looks at is known only of an object as the kind shows it.
        let all = snapshot.range(&prefix, start.as_deref()).filter(|entry| filter.may_match(entry));
        entries = converter.entries(kind, all.cloned().collect()).await?;
        entries.retain(|entry| filter.matches(entry));
        more = entries.len() > limit;
        entries.truncate(limit);
    } else {
        let mut range = snapshot.range(&prefix, start.as_deref());
        for entry in range.by_ref() {
            if filter.matches(entry) {
                if entries.len() == limit {
                    more = true;
                    break;
                }
                entries.push(entry.clone());
            }
        }
        if more && filter.is_empty() {
            remaining = Some(range.count() + 1);
        }
        entries = converter.entries(kind, entries).await?;
    }
    let last = entries.last().map(|entry| entry.key[prefix.len()..].to_owned());
    let revision = as_of.unwrap_or(snapshot.revision());
    let resume = match (more, last) {
        (true, Some(last)) => Some(Continuation::new(revision as i64, &last).encode()),
        _ => None,
    };
    Ok(Page { entries, revision, resume, remaining })
}

/// The answer to a list that cannot go on at its revision: the error, and a token with which it
/// goes on at the newest one.
pub fn restart(options: &ListOptions, error: ApiError) -> Result<Response<Body>, ApiError> {
    let token = options.resume.as_deref().and_then(|text| Continuation::decode(text).ok());
    let Some(token) = token.filter(|_| error.code == 410) else { return Err(error) };
    let mut status = error.to_value();
    status["metadata"]["continue"] = Continuation::new(-1, &token.start).encode().into();
    Ok(respond::json(StatusCode::GONE, &status, Output::JSON))
}

type Resumed = (Snapshot, Option<String>, Option<u64>);

fn resume(store: &Store, prefix: &str, text: &str) -> Result<Resumed, ApiError> {
    let token = Continuation::decode(text)?;
    let start = Some(format!("{prefix}{}", token.start));
    if token.rv < 0 {
        return Ok((store.snapshot(), start, None));
    }
    match store.snapshot_at(token.rv.unsigned_abs()) {
        Ok(snapshot) => Ok((snapshot, start, None)),
        Err(_) => Err(ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start \
                 a new list without the continue parameter, or use the continue token in this response to \
                 retrieve the remainder of the results. Continuing with the provided token results in an \
                 inconsistent list - objects that were created, modified, or deleted between the time the first \
                 chunk was returned and now may show up in the list.",
        )),
    }
}

async fn snapshot(store: &Store, options: &ListOptions) -> Result<Snapshot, ApiError> {
    let wanted = options.resource_version.unwrap_or(0);
    if wanted > store.revision() {
        reach(store, wanted).await?;
    }
    // An exact read is asked for in words, or by a page limit with a revision.
    let exact = match options.matching {
        Some(Match::Exact) => true,
        Some(Match::NotOlderThan) => false,
        None => options.limit > 0 && wanted > 0,
    };
    if !exact {
        return Ok(store.snapshot());
    }
    store
        .snapshot_at(wanted)
        .map_err(|_| ApiError::expired("The resourceVersion for the provided list is too old."))
}

/// Waits for `revision`; an error that names it when it does not come.
pub async fn reach(store: &Store, revision: u64) -> Result<(), ApiError> {
    if tokio::time::timeout(WAIT_FOR_REVISION, store.wait_for(revision)).await.is_ok() {
        return Ok(());
    }
    let current = store.revision();
    let mut error =
        ApiError::timeout(format!("Timeout: Too large resource version: {revision}, current: {current}"))
            .with_causes(vec![
                json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}),
            ]);
    error.details.get_or_insert_default().retry_after_seconds = 1;
    Err(error)
}

/// The answer that shows `page`.
pub(super) fn respond(context: &Context<'_>, page: Page) -> Result<Response<Body>, ApiError> {
    let (kind, output) = (&**context.kind, context.output);
    shape::check(kind, true, output, context.query)?;
    Ok(match output.shape {
        Shape::Object | Shape::Metadata { .. }
            if output.encoding == Encoding::Protobuf && kind.stored.is_none() =>
        {
            match encoded(&context.server.encoded, kind, &page, output) {
                Ok(body) => respond::typed(StatusCode::OK, body, respond::PROTOBUF),
                Err(error) => respond::error(&ApiError::internal(error), Output::JSON),
            }
        }
        Shape::Object if output.encoding == Encoding::Json && !output.pretty && kind.stored.is_none() => {
            respond::bytes(StatusCode::OK, concatenated(kind, page))
        }
        Shape::Object => {
            let items: Vec<Value> = page.entries.iter().filter_map(|entry| value(kind, entry)).collect();
            let list = json!({
                "kind": kind.list_kind, "apiVersion": kind.api_version(), "metadata": list_meta(&page), "items": items,
            });
            respond::json(StatusCode::OK, &list, output)
        }
        Shape::Table | Shape::Metadata { .. } => {
            let items: Vec<Value> = page.entries.iter().filter_map(|entry| value(kind, entry)).collect();
            let shaped = shape::list(kind, items, list_meta(&page), output, context.query);
            respond::json(StatusCode::OK, &shaped, output)
        }
    })
}

/// An entry's object, as `kind` shows it.
pub fn value(kind: &Kind, entry: &Entry) -> Option<Value> {
    storage::decode(kind, &entry.value)
}

fn list_meta(page: &Page) -> Value {
    let mut meta = json!({"resourceVersion": page.revision.to_string()});
    if let Some(resume) = &page.resume {
        meta["continue"] = json!(resume);
    }
    if let Some(remaining) = page.remaining {
        meta["remainingItemCount"] = json!(remaining);
    }
    meta
}

/// The whole list in protobuf, which tells its length first.
fn encoded(encoded: &Encoded, kind: &Kind, page: &Page, output: Output) -> Result<Body, protobuf::Error> {
    let (api_version, list_kind) = match output.shape {
        Shape::Object => (&*kind.api_version(), &*kind.list_kind),
        _ => (output.meta, "PartialObjectMetadataList"),
    };
    let list = protobuf::List::of(api_version, list_kind)?;
    let many = page.entries.len() > MANY;
    let mut pieces = VecDeque::new();
    let mut piece = Vec::with_capacity(PIECE);
    let mut length = 0;
    for entry in &page.entries {
        let message = match output.shape {
            Shape::Metadata { .. } => {
                let found = storage::Metadata::find(&entry.value);
                protobuf::partial(found.map_or(b"null", |found| found.whole(&entry.value)))?.into()
            }
            _ if many => encoded.message_of_many(kind, entry)?,
            _ => encoded.message(kind, entry)?,
        };
        list.item(&mut piece, &message);
        if piece.len() >= PIECE {
            length += piece.len();
            pieces.push_back(Bytes::from(std::mem::replace(&mut piece, Vec::with_capacity(PIECE))));
        }
    }
    length += piece.len();
    pieces.push_back(piece.into());
    pieces.push_front(list.head(&list_meta(page), length)?.into());
    Ok(Body::Buffers(pieces))
}

/// The whole list as one document whose pieces are gathered as they are sent.
fn concatenated(kind: &Kind, page: Page) -> Body {
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        kind.list_kind,
        kind.api_version(),
        list_meta(&page)
    );
    let objects = page.entries.iter().map(|entry| entry.value.len()).sum::<usize>();
    let total = head.len() + objects + page.entries.len().saturating_sub(1) + TAIL.len();
    let pieces = Pieces { head, entries: page.entries.into_iter().peekable(), first: true, done: false };
    Body::Pieces(Box::new(pieces), total as u64)
}

const TAIL: &[u8] = b"]}\n";

struct Pieces {
    head: String,
    entries: Peekable<std::vec::IntoIter<Arc<Entry>>>,
    first: bool,
    done: bool,
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.done {
            return None;
        }
        let mut piece = BytesMut::with_capacity(PIECE);
        piece.put_slice(std::mem::take(&mut self.head).as_bytes());
        while let Some(entry) = self.entries.peek() {
            if !piece.is_empty() && piece.len() + entry.value.len() + 1 + TAIL.len() > PIECE {
                return Some(piece.freeze());
            }
            if !std::mem::take(&mut self.first) {
                piece.put_u8(b',');
            }
            piece.put_slice(&entry.value);
            self.entries.next();
        }
        piece.put_slice(TAIL);
        self.done = true;
        Some(piece.freeze())
    }
}
