//! The one writer: takes everything that waits, decides it in order against its map, makes it
//! durable in one engine commit, then publishes to readers and watchers and wakes the callers.
//! Nobody sees a write before it is durable.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch as signal};

use crate::engine::{Batch, Engine, Record};
use crate::snapshot::Map;
use crate::store::{History, Options, Shared};
use crate::window::Window;
use crate::{Entry, Error, Event, EventKind, Result, Snapshot};

/// Writes that share one commit, at most: bounds the delay of the first of them.
const MAX_BATCH: usize = 512;
/// Expiries closer together than this share one wake-up.
const EXPIRY_GRAIN: Duration = Duration::from_millis(100);

/// A change somebody asks for.
pub(crate) enum Operation {
    Create { key: Arc<str>, value: Vec<u8>, ttl: Option<Duration> },
    Update { key: Arc<str>, expected: u64, value: Vec<u8>, ttl: Option<Duration> },
    Delete { key: Arc<str>, expected: Option<u64>, last_value: Option<Vec<u8>> },
}

/// Where the outcome of a write goes.
type Reply = oneshot::Sender<Result<Arc<Entry>>>;

impl Operation {
    fn key(&self) -> &Arc<str> {
        match self {
            Self::Create { key, .. } | Self::Update { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

pub(crate) enum Command {
    /// `along` is written with the operation, before it: all of them or none. Their keys differ.
    Write {
        operation: Operation,
        along: Vec<Operation>,
        reply: Reply,
    },
    Compact {
        revision: u64,
        reply: oneshot::Sender<Result<()>>,
    },
}

/// The state that only the writer's thread touches.
pub(crate) struct Writer<E> {
    engine: E,
    options: Options,
    shared: Arc<Shared>,
    map: Map,
    revision: u64,
    /// `(superseded at, record)`: records to forget once history is compacted that far.
    superseded: VecDeque<(u64, u64)>,
    /// `(expires at, key, modification revision)`, soonest first.
    expiries: BinaryHeap<Reverse<(u64, Arc<str>, u64)>>,
    compacted: u64,
    failed: Option<Error>,
}

/// What one batch has decided and not yet published.
#[derive(Default)]
struct Pending {
    batch: Batch,
    events: Vec<Arc<Event>>,
    replies: Vec<(Reply, Result<Arc<Entry>>)>,
    compactions: Vec<oneshot::Sender<Result<()>>>,
}

/// Reads what `engine` holds.
pub(crate) fn load<E: Engine>(mut engine: E, options: Options) -> Result<(Writer<E>, Arc<Shared>)> {
    let mut map = Map::new();
    let mut window = Window::new(options.history_events, options.history_bytes);
    let mut superseded = VecDeque::new();
    let mut expiries = BinaryHeap::new();
    let mut revision = 0;
    let compacted = engine.load(&mut |record| {
        revision = record.revision;
        let deleted = record.deleted;
        let entry = Arc::new(entry(record, &options));
        let prev =
            if deleted { map.remove(&entry.key) } else { map.insert(entry.key.clone(), entry.clone()) };
        note_superseded(&mut superseded, &entry, prev.as_deref(), deleted);
        if !deleted && entry.expires_ms != 0 {
            expiries.push(Reverse((entry.expires_ms, entry.key.clone(), entry.mod_revision)));
        }
        let kind = match (deleted, &prev) {
            (true, _) => EventKind::Delete,
            (false, Some(_)) => EventKind::Update,
            (false, None) => EventKind::Create,
        };
        window.push(Arc::new(Event { kind, entry, prev }));
        window.trim();
    })?;
    window.compact(compacted);
    revision = revision.max(compacted);
    let shared = Arc::new(Shared {
        current: ArcSwap::from_pointee(Snapshot { map: map.clone(), revision }),
        history: Mutex::new(History { window, subscriptions: BTreeMap::new() }),
        revision: signal::Sender::new(revision),
    });
    let writer = Writer {
        engine,
        options,
        shared: shared.clone(),
        map,
        revision,
        superseded,
        expiries,
        compacted,
        failed: None,
    };
    Ok((writer, shared))
}

impl<E: Engine> Writer<E> {
    /// Serves `commands` until every sender is gone.
    pub(crate) fn run(mut self, commands: Receiver<Command>) {
        loop {
            let first = match self.until_expiry() {
                Some(wait) => match commands.recv_timeout(wait) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                },
                None => match commands.recv() {
                    Ok(command) => Some(command),
                    Err(_) => return,
                },
            };
            if let (Some(Command::Write { .. }), Some(pace)) = (&first, &self.options.pace) {
                pace.gather();
            }
            let mut pending = Pending::default();
            let waiting = std::iter::from_fn(|| commands.try_recv().ok());
            for command in first.into_iter().chain(waiting).take(MAX_BATCH) {
                self.decide(command, &mut pending);
            }
            self.expire(&mut pending);
            self.finish(pending);
        }
    }

    fn until_expiry(&self) -> Option<Duration> {
        let Reverse((at, ..)) = self.expiries.peek()?;
        Some(Duration::from_millis(at.saturating_sub(now_ms())).max(EXPIRY_GRAIN))
    }

    fn decide(&mut self, command: Command, pending: &mut Pending) {
        match command {
            Command::Write { reply, .. } if self.failed.is_some() => {
                let _ = reply.send(Err(self.failed.clone().unwrap_or(Error::Closed)));
            }
            Command::Write { operation, along, reply } => {
                let result = self.apply_all(operation, along, pending);
                pending.replies.push((reply, result));
            }
            Command::Compact { revision, reply } if revision > self.revision => {
                let _ = reply.send(Err(Error::Future { requested: revision, current: self.revision }));
            }
            Command::Compact { revision, reply } => {
                self.shared.history.lock().window.compact(revision);
                pending.compactions.push(reply);
            }
        }
    }

    fn apply_all(
        &mut self,
        operation: Operation,
        along: Vec<Operation>,
        pending: &mut Pending,
    ) -> Result<Arc<Entry>> {
        if !along.is_empty() {
            std::iter::once(&operation).chain(&along).try_for_each(|each| self.check(each))?;
        }
        for each in along {
            self.apply(each, pending)?;
        }
        self.apply(operation, pending)
    }

    /// Whether the operation can be carried out as things are.
    fn check(&self, operation: &Operation) -> Result<()> {
        let key = operation.key();
        match operation {
            Operation::Create { .. } => match self.map.get(key) {
                Some(existing) => Err(Error::Exists { key: key.clone(), existing: existing.clone() }),
                None => Ok(()),
            },
            Operation::Update { expected, .. } => self.expect(key, Some(*expected)).map(drop),
            Operation::Delete { expected, .. } => self.expect(key, *expected).map(drop),
        }
    }

    fn apply(&mut self, operation: Operation, pending: &mut Pending) -> Result<Arc<Entry>> {
        match operation {
            Operation::Create { key, value, ttl } => {
                if let Some(existing) = self.map.get(&key) {
                    return Err(Error::Exists { key, existing: existing.clone() });
                }
                let create_revision = self.revision + 1;
                Ok(self.put(key, value, create_revision, expiry(ttl), pending))
            }
            Operation::Update { key, expected, value, ttl } => {
                let current = self.expect(&key, Some(expected))?;
                let expires = ttl.map_or(current.expires_ms, |ttl| expiry(Some(ttl)));
                Ok(self.put(key, value, current.create_revision, expires, pending))
            }
            Operation::Delete { key, expected, last_value } => {
                let current = self.expect(&key, expected)?;
                Ok(self.remove(current, last_value, pending))
            }
        }
    }

    fn expect(&self, key: &Arc<str>, expected: Option<u64>) -> Result<Arc<Entry>> {
        let current = self.map.get(key).ok_or_else(|| Error::NotFound { key: key.clone() })?;
        match expected {
            Some(expected) if expected != current.mod_revision => {
                Err(Error::Conflict { key: key.clone(), expected, current: current.clone() })
            }
            _ => Ok(current.clone()),
        }
    }

    fn put(
        &mut self,
        key: Arc<str>,
        value: Vec<u8>,
        create_revision: u64,
        expires_ms: u64,
        pending: &mut Pending,
    ) -> Arc<Entry> {
        let record = self.record(key, value, create_revision, expires_ms, false);
        let entry = Arc::new(entry(record.clone(), &self.options));
        let prev = self.map.insert(entry.key.clone(), entry.clone());
        if expires_ms != 0 {
            self.expiries.push(Reverse((expires_ms, entry.key.clone(), entry.mod_revision)));
        }
        let kind = if prev.is_some() { EventKind::Update } else { EventKind::Create };
        self.note(record, kind, entry, prev, pending)
    }

    fn remove(&mut self, current: Arc<Entry>, last: Option<Vec<u8>>, pending: &mut Pending) -> Arc<Entry> {
        let value = last.unwrap_or_else(|| current.value.to_vec());
        let record =
            self.record(current.key.clone(), value, current.create_revision, current.expires_ms, true);
        let entry = Arc::new(entry(record.clone(), &self.options));
        let prev = self.map.remove(&current.key);
        self.note(record, EventKind::Delete, entry, prev, pending)
    }

    /// A record at the next revision, its value stamped with it.
    fn record(
        &mut self,
        key: Arc<str>,
        mut value: Vec<u8>,
        create_revision: u64,
        expires_ms: u64,
        deleted: bool,
    ) -> Record {
        self.revision += 1;
        (self.options.stamp)(&mut value, self.revision);
        value.shrink_to_fit();
        Record { revision: self.revision, key, create_revision, expires_ms, deleted, value: value.into() }
    }

    fn note(
        &mut self,
        record: Record,
        kind: EventKind,
        entry: Arc<Entry>,
        prev: Option<Arc<Entry>>,
        pending: &mut Pending,
    ) -> Arc<Entry> {
        note_superseded(&mut self.superseded, &entry, prev.as_deref(), record.deleted);
        pending.batch.records.push(record);
        pending.events.push(Arc::new(Event { kind, entry: entry.clone(), prev }));
        entry
    }

    fn expire(&mut self, pending: &mut Pending) {
        let now = now_ms();
        while let Some(Reverse((at, key, revision))) = self.expiries.peek() {
            if *at > now || self.failed.is_some() {
                return;
            }
            let current = self.map.get(key).filter(|entry| entry.mod_revision == *revision).cloned();
            self.expiries.pop();
            if let Some(current) = current {
                self.remove(current, None, pending);
            }
        }
    }

    /// Makes the batch durable and publishes it.
    fn finish(&mut self, mut pending: Pending) {
        self.plan_forgetting(&mut pending.batch);
        let batch = &pending.batch;
        if !(batch.records.is_empty() && batch.forget.is_empty() && batch.compacted.is_none())
            && let Err(error) = self.engine.commit(batch)
        {
            self.refuse(error, pending);
            return;
        }
        if !pending.events.is_empty() {
            let mut history = self.shared.history.lock();
            for event in &pending.events {
                history.window.push(event.clone());
            }
            history.window.trim();
            self.shared.current.store(Arc::new(Snapshot { map: self.map.clone(), revision: self.revision }));
            history.subscriptions.retain(|_, group| {
                group.retain(|subscription| subscription.offer(&pending.events));
                !group.is_empty()
            });
            drop(history);
            self.shared.revision.send_replace(self.revision);
        }
        for (reply, result) in pending.replies {
            let _ = reply.send(result);
        }
        for reply in pending.compactions {
            let _ = reply.send(Ok(()));
        }
    }

    /// Adds the records that compaction has made unreachable to `batch`.
    fn plan_forgetting(&mut self, batch: &mut Batch) {
        let compacted = self.shared.history.lock().window.compacted;
        if compacted > self.compacted {
            self.compacted = compacted;
            batch.compacted = Some(compacted);
        }
        while let Some((at, record)) = self.superseded.front().copied() {
            if at > self.compacted {
                break;
            }
            self.superseded.pop_front();
            batch.forget.push(record);
        }
    }

    /// The engine failed: nothing of the batch is acknowledged, and no later write is taken,
    /// because what is on disk is no longer known.
    fn refuse(&mut self, error: Error, pending: Pending) {
        let published = self.shared.current.load();
        self.map = published.map.clone();
        self.revision = published.revision;
        for (reply, _) in pending.replies {
            let _ = reply.send(Err(error.clone()));
        }
        for reply in pending.compactions {
            let _ = reply.send(Err(error.clone()));
        }
        tracing::error!(%error, "the store takes no more writes; free or repair the disk and restart");
        self.failed = Some(error);
    }
}

/// A put makes its predecessor's record forgettable, a deletion its own as well.
fn note_superseded(
    superseded: &mut VecDeque<(u64, u64)>,
    entry: &Entry,
    prev: Option<&Entry>,
    deleted: bool,
) {
    if let Some(prev) = prev {
        superseded.push_back((entry.mod_revision, prev.mod_revision));
    }
    if deleted {
        superseded.push_back((entry.mod_revision, entry.mod_revision));
    }
}

fn entry(record: Record, options: &Options) -> Entry {
    Entry {
        key: record.key,
        value: record.value,
        create_revision: record.create_revision,
        mod_revision: record.revision,
        expires_ms: record.expires_ms,
        make_header: options.header,
        header: OnceLock::new(),
    }
}

fn expiry(ttl: Option<Duration>) -> u64 {
    ttl.map_or(0, |ttl| now_ms() + ttl.as_millis() as u64)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
