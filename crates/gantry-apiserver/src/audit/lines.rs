//! Events on their way to the audit log's file. Those that nobody waits for are written together.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::backend::Failure;
use super::file::File;

/// How much may wait, in bytes.
const MOST: usize = 64 << 10;

/// The lines of a file, those that are written and those that wait.
pub(super) struct Lines {
    /// The file, and room for what is written to it.
    file: Mutex<(File, Vec<u8>)>,
    waiting: Mutex<Waiting>,
    /// Told when something begins to wait.
    began: Notify,
}

#[derive(Default)]
struct Waiting {
    text: Vec<u8>,
    events: usize,
    /// Whether somebody writes what waits.
    followed: bool,
}

impl Waiting {
    fn push(&mut self, event: &[u8]) {
        self.text.extend_from_slice(event);
        self.text.push(b'\n');
        self.events += 1;
    }
}

impl Lines {
    /// Nothing waits for `file`.
    pub fn new(file: File) -> Self {
        Self { file: Mutex::new((file, Vec::new())), waiting: Mutex::default(), began: Notify::new() }
    }

    /// Leaves an event to whoever writes next; `false`: too much waits already, or nobody follows.
    pub fn later(&self, event: &[u8]) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.followed || waiting.text.len() + event.len() >= MOST {
            return false;
        }
        waiting.push(event);
        if waiting.events == 1 {
            self.began.notify_one();
        }
        true
    }

    /// Writes what waits, and then `events`.
    pub fn write(&self, events: &[Bytes]) -> Result<(), Failure> {
        // The order of events is that of the turns at the file.
        let mut file = self.file.lock();
        let (file, text) = &mut *file;
        text.clear();
        let count = {
            let mut waiting = self.waiting.lock();
            events.iter().for_each(|event| waiting.push(event));
            std::mem::swap(&mut waiting.text, text);
            std::mem::take(&mut waiting.events)
        };
        let written = file.append(text);
        if text.capacity() > MOST {
            *text = Vec::new();
        }
        written.map_err(|error| Failure { events: count, why: error.to_string() })
    }

    /// Writes what waits until `stopping`, and then the rest of it; tells how each time went.
    pub async fn follow(&self, stopping: &CancellationToken, tell: impl Fn(Result<(), Failure>)) {
        self.waiting.lock().followed = true;
        let following = Following(self, tell);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = self.began.notified() => {}
            }
            // What else this worker has to do now may bring more.
            tokio::task::yield_now().await;
            (following.1)(self.write(&[]));
        }
    }
}

/// Whoever writes what waits: when that ends, nothing is left.
struct Following<'a, Tell: Fn(Result<(), Failure>)>(&'a Lines, Tell);

impl<Tell: Fn(Result<(), Failure>)> Drop for Following<'_, Tell> {
    fn drop(&mut self) {
        self.0.waiting.lock().followed = false;
        (self.1)(self.0.write(&[]));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::audit::LogFile;

    fn lines(directory: &Path) -> Lines {
        Lines::new(File::open(&LogFile::new(directory.join("log"))).unwrap())
    }

    fn read(directory: &Path) -> String {
        std::fs::read_to_string(directory.join("log")).unwrap()
    }

    #[tokio::test]
    async fn what_waits_is_written_in_order_and_together() {
        let directory = tempfile::tempdir().unwrap();
        let lines = lines(directory.path());
        assert!(!lines.later(b"a"), "nobody follows");
        let stopping = CancellationToken::new();
        let told = Mutex::new(0);
        let follow = lines.follow(&stopping, |written| {
            written.unwrap();
            *told.lock() += 1;
        });
        let work = async {
            tokio::task::yield_now().await;
            assert!(lines.later(b"b") && lines.later(b"c"));
            assert_eq!(read(directory.path()), "");
            lines.write(&[Bytes::from_static(b"d")]).unwrap();
            assert_eq!(read(directory.path()), "b\nc\nd\n");
            assert!(lines.later(b"e"));
            stopping.cancel();
        };
        tokio::join!(follow, work);
        assert_eq!(read(directory.path()), "b\nc\nd\ne\n");
        assert_eq!(*told.lock(), 1, "the rest is written when following ends");
        assert!(!lines.later(b"f"), "nobody follows any more");
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let lines = lines(directory.path());
        let stopping = CancellationToken::new();
        let event = vec![b'x'; MOST / 4];
        let work = async {
            tokio::task::yield_now().await;
            assert_eq!((0..5).filter(|_| lines.later(&event)).count(), 3);
            stopping.cancel();
        };
        tokio::join!(lines.follow(&stopping, |written| written.unwrap()), work);
        assert_eq!(read(directory.path()).lines().count(), 3);
    }
}
