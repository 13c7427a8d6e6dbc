//! Both engines against the conformance suite, and what only real files can show.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;
use gantry_store::engine::{Batch, Engine, FjallEngine, MemoryEngine, Record};
use gantry_store::{Error, Options, Pace, Result, Store, backup, conformance};

#[tokio::test]
async fn memory_engine_conforms() {
    conformance::all(|| {
        let engine = MemoryEngine::default();
        move |options| Store::with_engine(engine.clone(), options).expect("open")
    })
    .await;
}

#[tokio::test]
async fn fjall_engine_conforms() {
    let directories = Rc::new(RefCell::new(Vec::new()));
    conformance::all(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_owned();
        directories.borrow_mut().push(directory);
        move |options| Store::open(&path, options).expect("open")
    })
    .await;
}

#[tokio::test]
async fn a_backup_restores_and_a_damaged_one_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::with_engine(MemoryEngine::default(), Options::default()).expect("open");
    for n in 0..100 {
        store.create(&format!("/k/{n}"), vec![n; 100], None).await.expect("create");
    }
    store.delete("/k/5", None, None).await.expect("delete");
    let file = directory.path().join("backup");
    backup::write(&store.snapshot(), &file).expect("backup");

    let path = directory.path().join("restored");
    let revision = backup::restore(&file, &mut FjallEngine::open(&path).expect("open")).expect("restore");
    let restored = Store::open(&path, Options::default()).expect("open");
    assert_eq!((revision, restored.revision()), (101, 101));
    assert_eq!(restored.snapshot().count(""), 99);
    assert!(matches!(restored.watch("/", 100, None), Err(Error::Compacted { .. })));

    let mut bytes = std::fs::read(&file).expect("read");
    bytes[500] ^= 1;
    let damaged = directory.path().join("damaged");
    std::fs::write(&damaged, bytes).expect("write");
    let mut engine = MemoryEngine::default();
    assert!(matches!(backup::restore(&damaged, &mut engine), Err(Error::Engine { .. })));
    assert_eq!(Store::with_engine(engine, Options::default()).expect("open").revision(), 0);
}

/// An engine that counts its commits.
struct Counting(MemoryEngine, Arc<AtomicUsize>);

impl Engine for Counting {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<u64> {
        self.0.load(each)
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.commit(batch)
    }
}

#[tokio::test]
async fn writes_gather_while_all_threads_are_at_work() {
    let (commits, pace) = (Arc::new(AtomicUsize::new(0)), Arc::new(Pace::new(Duration::MAX)));
    let engine = Counting(MemoryEngine::default(), commits.clone());
    let options = Options { pace: Some(pace.clone()), ..Options::default() };
    let store = Store::with_engine(engine, options).expect("open");
    let keys: Vec<String> = (0..100).map(|n| format!("/k/{n}")).collect();
    let mut writes = join_all(keys.iter().map(|key| store.create(key, vec![], None)));
    assert!((&mut writes).now_or_never().is_none());
    pace.rest();
    assert!(writes.await.into_iter().all(|written| written.is_ok()));
    assert_eq!(commits.load(Ordering::Relaxed), 1);
    // With a thread that has nothing to do nobody waits.
    store.delete("/k/1", None, None).await.expect("delete");
    store.delete("/k/2", None, None).await.expect("delete");
    assert_eq!(commits.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn writes_do_not_wait_for_longer_than_they_may() {
    let pace = Some(Arc::new(Pace::new(Duration::from_millis(1))));
    let options = Options { pace, ..Options::default() };
    let store = Store::with_engine(MemoryEngine::default(), options).expect("open");
    store.create("/k", vec![], None).await.expect("create");
}

/// An engine whose disk fills up after some commits.
struct Failing(MemoryEngine, u32);

impl Engine for Failing {
    fn load(&mut self, each: &mut dyn FnMut(Record)) -> Result<u64> {
        self.0.load(each)
    }

    fn commit(&mut self, batch: &Batch) -> Result<()> {
        self.1 = self.1.checked_sub(1).ok_or_else(|| Error::engine("commit", "no space left on device"))?;
        self.0.commit(batch)
    }
}

#[tokio::test]
async fn a_failed_commit_is_not_acknowledged_and_not_seen() {
    let engine = MemoryEngine::default();
    let store = Store::with_engine(Failing(engine.clone(), 2), Options::default()).expect("open");
    store.create("/1", vec![], None).await.expect("create");
    store.create("/2", vec![], None).await.expect("create");
    assert!(matches!(store.create("/3", vec![], None).await, Err(Error::Engine { .. })));
    assert!(matches!(store.update("/1", 1, vec![]).await, Err(Error::Engine { .. })));
    assert_eq!((store.revision(), store.snapshot().count("")), (2, 2));
    drop(store);
    assert_eq!(Store::with_engine(engine, Options::default()).expect("open").revision(), 2);
}
