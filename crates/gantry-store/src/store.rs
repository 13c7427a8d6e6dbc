//! The store's front: reads from memory, writes through the one writer.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch as signal};

use crate::engine::{Engine, FjallEngine, SizeFn};
use crate::watch::{self, EventFilter, Subscription, Watcher};
use crate::window::Window;
use crate::writer::{self, Command, Operation};
use crate::{Entry, Error, HeaderFn, Pace, Result, Snapshot, StampFn};

/// How a store treats values and history.
#[derive(Clone)]
pub struct Options {
    /// Makes an entry's header.
    pub header: HeaderFn,
    /// Writes the revision into a value at commit.
    pub stamp: StampFn,
    /// Events of history kept for watches, at most.
    pub history_events: usize,
    /// Bytes of superseded values kept for watches, at most.
    pub history_bytes: usize,
    /// What those do who ask for writes. Without it, no write waits for others.
    pub pace: Option<Arc<Pace>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            header: |_, _| Arc::new(()),
            stamp: |_, _| {},
            history_events: 50_000,
            history_bytes: 32 << 20,
            pace: None,
        }
    }
}

/// What the writer publishes and the readers share.
pub(crate) struct Shared {
    pub(crate) current: ArcSwap<Snapshot>,
    pub(crate) history: Mutex<History>,
    pub(crate) revision: signal::Sender<u64>,
}

/// Past events and who waits for the next ones. One lock for both, so that a watch starts
/// exactly where the history it was given ends.
pub(crate) struct History {
    pub(crate) window: Window,
    pub(crate) subscriptions: BTreeMap<Arc<str>, Vec<Subscription>>,
}

/// A handle on a store; clones share it. The store closes when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    size: SizeFn,
}

struct Writer {
    commands: Mutex<Option<mpsc::Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.commands.lock().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

/// A value that is to be replaced together with another write, if it still is at a modification revision.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// Its key, which no other part of the write has.
    pub key: Arc<str>,
    /// The modification revision that it must have.
    pub expected: u64,
    /// The new value.
    pub value: Vec<u8>,
}

/// A change that is made together with another write. No two parts of a write have the same key.
#[derive(Debug, Clone)]
pub enum Part {
    /// A value under a key that must be free.
    Create {
        /// The key.
        key: Arc<str>,
        /// The value.
        value: Vec<u8>,
    },
    /// Another value for a key.
    Replace(Replacement),
    /// A key that goes, if it still is at a modification revision.
    Delete {
        /// The key.
        key: Arc<str>,
        /// The modification revision that it must have.
        expected: u64,
    },
}

impl From<Replacement> for Part {
    fn from(replacement: Replacement) -> Self {
        Self::Replace(replacement)
    }
}

impl From<Part> for Operation {
    fn from(part: Part) -> Self {
        match part {
            Part::Create { key, value } => Self::Create { key, value, ttl: None },
            Part::Replace(Replacement { key, expected, value }) => {
                Self::Update { key, expected, value, ttl: None }
            }
            Part::Delete { key, expected } => {
                Self::Delete { key, expected: Some(expected), last_value: None }
            }
        }
    }
}

impl Store {
    /// Opens or creates the embedded store in the directory `path`.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        Self::with_engine(FjallEngine::open(path)?, options)
    }

    /// A store on `engine`: loads what it holds and starts the writer.
    pub fn with_engine(engine: impl Engine, options: Options) -> Result<Self> {
        let size = engine.size();
        let (writer, shared) = writer::load(engine, options)?;
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(receiver))
            .map_err(|cause| Error::engine("start the writer", cause))?;
        let writer = Writer { commands: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) };
        Ok(Self { shared, writer: Arc::new(writer), size })
    }

    /// Writes `value` under the new `key`, to end by itself after `ttl` where that is given.
    /// Durable when it returns. [`Error::Exists`] where the key is taken.
    pub async fn create(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<Arc<Entry>> {
        self.write(Operation::Create { key: key.into(), value, ttl }).await
    }

    /// Replaces the value under `key` if it still is at `expected` modification revision,
    /// keeping its expiry. [`Error::Conflict`] or [`Error::NotFound`] otherwise.
    pub async fn update(&self, key: &str, expected: u64, value: Vec<u8>) -> Result<Arc<Entry>> {
        self.write(Operation::Update { key: key.into(), expected, value, ttl: None }).await
    }

    /// As [`Store::update`], and sets the key's expiry anew.
    pub async fn update_with_ttl(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
        ttl: Duration,
    ) -> Result<Arc<Entry>> {
        self.write(Operation::Update { key: key.into(), expected, value, ttl: Some(ttl) }).await
    }

    /// Deletes `key`, only at the modification revision `expected` where that is given. The
    /// entry returned is the last one, `last_value` in place of its value where given, stamped
    /// with the deletion's revision (which is its `mod_revision`).
    pub async fn delete(
        &self,
        key: &str,
        expected: Option<u64>,
        last_value: Option<Vec<u8>>,
    ) -> Result<Arc<Entry>> {
        self.write(Operation::Delete { key: key.into(), expected, last_value }).await
    }

    /// Forgets the history up to and with `revision`: reads and watches from before it fail
    /// with [`Error::Compacted`].
    pub async fn compact(&self, revision: u64) -> Result<()> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Compact { revision, reply })?;
        done.await.map_err(|_| Error::Closed)?
    }

    /// All keys now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::clone(&self.shared.current.load())
    }

    /// All keys as of `revision`, while the history reaches back to it.
    pub fn snapshot_at(&self, revision: u64) -> Result<Snapshot> {
        let history = self.shared.history.lock();
        let now = self.shared.current.load();
        match revision.cmp(&now.revision) {
            std::cmp::Ordering::Greater => Err(Error::Future { requested: revision, current: now.revision }),
            std::cmp::Ordering::Equal => Ok(Snapshot::clone(&now)),
            std::cmp::Ordering::Less => history.window.rewind(&now.map, revision),
        }
    }

    /// The events of keys with `prefix` after `from_revision` that pass `filter`.
    pub fn watch(&self, prefix: &str, from_revision: u64, filter: Option<EventFilter>) -> Result<Watcher> {
        let mut history = self.shared.history.lock();
        let current = self.shared.current.load().revision;
        if from_revision > current {
            return Err(Error::Future { requested: from_revision, current });
        }
        let past = history.window.after(from_revision)?.cloned();
        let (subscription, watcher) = watch::channel(prefix, from_revision, filter, past);
        history.subscriptions.entry(subscription.prefix.clone()).or_default().push(subscription);
        Ok(watcher)
    }

    /// The store's revision: that of the last acknowledged write.
    pub fn revision(&self) -> u64 {
        self.shared.current.load().revision
    }

    /// The revision of the last commit that all watchers have been told of: no less than that of any write that
    /// was acknowledged. Some watchers can know of a later one already.
    pub fn told_revision(&self) -> u64 {
        *self.shared.revision.borrow()
    }

    /// The bytes that the store takes on disk, as the file system has them allocated. Looks at its files.
    pub fn size_on_disk(&self) -> u64 {
        (self.size)()
    }

    /// The revision up to which history is gone.
    pub fn compacted_revision(&self) -> u64 {
        self.shared.history.lock().window.compacted
    }

    /// Waits until the store has reached `revision`, and has told all watchers of it.
    pub async fn wait_for(&self, revision: u64) -> Result<()> {
        let mut signal = self.shared.revision.subscribe();
        signal.wait_for(|current| *current >= revision).await.map(drop).map_err(|_| Error::Closed)
    }

    /// As [`Store::create`], together with `along`: all of it is written in one commit, or nothing is.
    /// Where one of `along` cannot be written, the error names its key.
    pub async fn create_along(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
        along: Vec<Part>,
    ) -> Result<Arc<Entry>> {
        self.write_along(Operation::Create { key: key.into(), value, ttl }, along).await
    }

    /// As [`Store::update`], together with `along`, likewise.
    pub async fn update_along(
        &self,
        key: &str,
        expected: u64,
        value: Vec<u8>,
        along: Vec<Part>,
    ) -> Result<Arc<Entry>> {
        self.write_along(Operation::Update { key: key.into(), expected, value, ttl: None }, along).await
    }

    /// As [`Store::delete`], together with `along`, likewise.
    pub async fn delete_along(
        &self,
        key: &str,
        expected: Option<u64>,
        last_value: Option<Vec<u8>>,
        along: Vec<Part>,
    ) -> Result<Arc<Entry>> {
        self.write_along(Operation::Delete { key: key.into(), expected, last_value }, along).await
    }

    /// Returns when every write that was asked for before has happened or failed: also those whose callers
    /// did not wait for it.
    pub async fn settled(&self) -> Result<()> {
        // The writer takes what waits in its order; nothing is as old as that.
        self.compact(0).await
    }

    async fn write(&self, operation: Operation) -> Result<Arc<Entry>> {
        self.write_along(operation, Vec::new()).await
    }

    async fn write_along(&self, operation: Operation, along: Vec<Part>) -> Result<Arc<Entry>> {
        let (reply, done) = oneshot::channel();
        let along = along.into_iter().map(Operation::from).collect();
        self.send(Command::Write { operation, along, reply })?;
        done.await.map_err(|_| Error::Closed)?
    }

    fn send(&self, command: Command) -> Result<()> {
        let commands = self.writer.commands.lock();
        commands.as_ref().ok_or(Error::Closed)?.send(command).map_err(|_| Error::Closed)
    }
}
