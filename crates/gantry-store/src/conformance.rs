//! The engine conformance suite: what a store on any engine must do. An engine passes when
//! [`all`] returns for a factory that opens, and re-opens, a store on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, future};

use crate::{Error, EventKind, Options, Part, Replacement, Store};

/// Opens a store on the engine under test; called again after the store was dropped, it opens
/// the same data.
pub type Open<'a> = &'a dyn Fn(Options) -> Store;

fn options() -> Options {
    Options {
        stamp: |value, revision| {
            let at = value.iter().position(|byte| *byte == b'@');
            if let Some(at) = at {
                value.truncate(at + 1);
                value.extend_from_slice(revision.to_string().as_bytes());
            }
        },
        ..Options::default()
    }
}

/// Runs every check, each on a fresh store that `fresh` makes a factory for.
pub async fn all<F: Fn(Options) -> Store>(fresh: impl Fn() -> F) {
    revisions(&fresh()).await;
    compare_and_set(&fresh()).await;
    together(&fresh()).await;
    parts(&fresh()).await;
    watch_from_revision(&fresh()).await;
    snapshots(&fresh()).await;
    compaction(&fresh()).await;
    expiry(&fresh()).await;
    restart(&fresh()).await;
    bounded_history(&fresh()).await;
    races(&fresh()).await;
}

/// Every write gets its own, larger revision, which is in its value when it is read.
pub async fn revisions(open: Open<'_>) {
    let store = open(options());
    assert_eq!(store.revision(), 0);
    let first = store.create("/a/1", b"x@".to_vec(), None).await.expect("create");
    let second = store.create("/a/2", b"y@".to_vec(), None).await.expect("create");
    let third = store.update("/a/1", first.mod_revision, b"z@".to_vec()).await.expect("update");
    assert_eq!([first.mod_revision, second.mod_revision, third.mod_revision], [1, 2, 3]);
    assert_eq!((third.create_revision, &third.value[..]), (1, &b"z@3"[..]));
    assert_eq!(store.revision(), 3);
    let gone = store.delete("/a/1", None, None).await.expect("delete");
    assert_eq!((gone.mod_revision, &gone.value[..]), (4, &b"z@4"[..]));
    assert!(store.snapshot().get("/a/1").is_none());
    store.wait_for(4).await.expect("reached");
}

/// A write with a stale revision changes nothing and says what stands there.
pub async fn compare_and_set(open: Open<'_>) {
    let store = open(options());
    let entry = store.create("/a", b"1@".to_vec(), None).await.expect("create");
    assert!(matches!(store.create("/a", b"2@".to_vec(), None).await, Err(Error::Exists { .. })));
    assert!(matches!(store.update("/b", 1, b"2@".to_vec()).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.delete("/b", None, None).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.delete("/a", Some(9), None).await, Err(Error::Conflict { .. })));
    store.update("/a", entry.mod_revision, b"2@".to_vec()).await.expect("update");
    match store.update("/a", entry.mod_revision, b"3@".to_vec()).await {
        Err(Error::Conflict { current, expected, .. }) => {
            assert_eq!((expected, current.mod_revision), (1, 2));
        }
        other => panic!("expected a conflict, got {other:?}"),
    }
    assert_eq!(store.revision(), 2, "failed writes take no revision");
}

/// Changes that belong together are written together or not at all, and seen in their order.
pub async fn together(open: Open<'_>) {
    let store = open(options());
    let count = store.create("/count", b"0@".to_vec(), None).await.expect("create");
    let watcher = store.watch("/", count.mod_revision, None).expect("watch");
    let along = |expected| vec![Replacement { key: "/count".into(), expected, value: b"1@".to_vec() }.into()];
    let first = store.create_along("/a", b"@".to_vec(), None, along(1)).await.expect("both are written");
    assert_eq!(first.mod_revision, 3);
    let stale = store.create_along("/b", b"@".to_vec(), None, along(1)).await;
    assert!(matches!(stale, Err(Error::Conflict { key, .. }) if &*key == "/count"));
    let taken = store.create_along("/a", b"@".to_vec(), None, along(2)).await;
    assert!(matches!(taken, Err(Error::Exists { key, .. }) if &*key == "/a"));
    assert!(store.update_along("/a", 1, b"@".to_vec(), along(2)).await.is_err());
    assert_eq!(store.revision(), 3, "what fails changes nothing");
    store.update_along("/a", 3, b"x@".to_vec(), along(2)).await.expect("both are written");
    let seen: Vec<_> = watcher.take(4).map(|event| event.entry.key.to_string()).collect().await;
    assert_eq!(seen, ["/count", "/a", "/count", "/a"]);
}

/// What is made and goes along with a write is there and gone with it, or neither happens.
pub async fn parts(open: Open<'_>) {
    let store = open(options());
    let mark = || vec![Part::Create { key: "/mark".into(), value: b"@".to_vec() }];
    store.create_along("/a", b"@".to_vec(), None, mark()).await.expect("both are written");
    let taken = store.create_along("/b", b"@".to_vec(), None, mark()).await;
    assert!(matches!(taken, Err(Error::Exists { key, .. }) if &*key == "/mark"));
    assert!(store.snapshot().get("/b").is_none(), "nothing is written");
    let unmark = |expected| vec![Part::Delete { key: "/mark".into(), expected }];
    let stale = store.delete_along("/a", None, None, unmark(7)).await;
    assert!(matches!(stale, Err(Error::Conflict { key, .. }) if &*key == "/mark"));
    assert_eq!(store.snapshot().count("/"), 2, "nothing is gone");
    let revision = store.snapshot().get("/mark").expect("it is there").mod_revision;
    store.delete_along("/a", None, None, unmark(revision)).await.expect("both go");
    assert_eq!(store.snapshot().count("/"), 0);
    let gone = store.create_along("/a", b"@".to_vec(), None, unmark(revision)).await;
    assert!(matches!(gone, Err(Error::NotFound { key }) if &*key == "/mark"));
    // Asked for, and nobody waits for it.
    let _ = store.create("/late", b"@".to_vec(), None).now_or_never();
    store.settled().await.expect("all is written");
    assert!(store.snapshot().get("/late").is_some());
}

/// A watch sees every matching event after its revision once and in order, past ones first.
pub async fn watch_from_revision(open: Open<'_>) {
    let store = open(options());
    store.create("/a/1", b"@".to_vec(), None).await.expect("create");
    store.create("/b/1", b"@".to_vec(), None).await.expect("create");
    let entry = store.create("/a/2", b"@".to_vec(), None).await.expect("create");
    let watcher = store.watch("/a/", 1, None).expect("watch");
    let odd = store
        .watch("/a/", 0, Some(Arc::new(|event: &crate::Event| event.revision() % 2 == 1)))
        .expect("watch");
    store.update("/a/2", entry.mod_revision, b"@".to_vec()).await.expect("update");
    store.delete("/a/2", None, Some(b"last@".to_vec())).await.expect("delete");
    let seen: Vec<_> = watcher.take(3).map(|event| (event.kind, event.revision())).collect().await;
    assert_eq!(seen, [(EventKind::Create, 3), (EventKind::Update, 4), (EventKind::Delete, 5)]);
    let seen: Vec<_> = odd.take(3).map(|event| event.revision()).collect().await;
    assert_eq!(seen, [1, 3, 5]);
    assert!(matches!(store.watch("/a/", 6, None), Err(Error::Future { .. })));
}

/// Snapshots do not move, and earlier ones can be had again.
pub async fn snapshots(open: Open<'_>) {
    let store = open(options());
    for n in 0..20 {
        store.create(&format!("/a/{n:02}"), b"@".to_vec(), None).await.expect("create");
    }
    let before = store.snapshot();
    store.delete("/a/03", None, None).await.expect("delete");
    store.update("/a/04", 5, b"new@".to_vec()).await.expect("update");
    store.create("/a/99", b"@".to_vec(), None).await.expect("create");
    let again = store.snapshot_at(before.revision()).expect("in the history");
    for snapshot in [&before, &again] {
        assert_eq!(snapshot.count("/a/"), 20);
        assert_eq!(&snapshot.get("/a/04").expect("there").value[..], b"@5");
    }
    let page: Vec<_> = again.range("/a/", Some("/a/02")).take(2).map(|e| e.key.to_string()).collect();
    assert_eq!(page, ["/a/03", "/a/04"]);
    assert!(matches!(store.snapshot_at(99), Err(Error::Future { .. })));
}

/// What was compacted is refused, what was not is whole, also after a restart.
pub async fn compaction(open: Open<'_>) {
    {
        let store = open(options());
        store.create("/a", b"@".to_vec(), None).await.expect("create");
        for revision in 1..10 {
            store.update("/a", revision, b"@".to_vec()).await.expect("update");
        }
        store.create("/gone", b"@".to_vec(), None).await.expect("create");
        store.delete("/gone", None, None).await.expect("delete");
        store.compact(12).await.expect("compact");
        assert!(matches!(store.compact(50).await, Err(Error::Future { .. })));
        assert!(matches!(store.watch("/", 11, None), Err(Error::Compacted { oldest: 12, .. })));
        assert!(matches!(store.snapshot_at(5), Err(Error::Compacted { .. })));
        store.watch("/", 12, None).expect("the present can be watched");
    }
    let store = open(options());
    assert_eq!((store.revision(), store.compacted_revision()), (12, 12));
    assert_eq!(store.snapshot().get("/a").map(|entry| entry.mod_revision), Some(10));
    assert_eq!(store.snapshot().count(""), 1);
}

/// A key with a time to live ends with an event; an update with a new one extends it.
pub async fn expiry(open: Open<'_>) {
    let store = open(options());
    let ttl = Duration::from_millis(150);
    store.create("/short", b"@".to_vec(), Some(ttl)).await.expect("create");
    let long = store.create("/long", b"@".to_vec(), Some(ttl)).await.expect("create");
    store
        .update_with_ttl("/long", long.mod_revision, b"@".to_vec(), Duration::from_secs(3600))
        .await
        .expect("update");
    let mut watcher = store.watch("/", 3, None).expect("watch");
    let event = watcher.next().await.expect("an event");
    assert_eq!((event.kind, &*event.entry.key), (EventKind::Delete, "/short"));
    assert!(store.snapshot().get("/long").is_some());
}

/// After a restart every key, revision and event is as before.
pub async fn restart(open: Open<'_>) {
    {
        let store = open(options());
        for n in 0..50 {
            store.create(&format!("/k/{n}"), b"@".to_vec(), None).await.expect("create");
        }
        store.delete("/k/7", None, None).await.expect("delete");
        store.update("/k/8", 9, b"new@".to_vec()).await.expect("update");
    }
    let store = open(options());
    assert_eq!((store.revision(), store.snapshot().count("/k/")), (52, 49));
    assert_eq!(&store.snapshot().get("/k/8").expect("there").value[..], b"new@52");
    let past: Vec<_> =
        store.watch("/k/", 49, None).expect("watch").take(3).map(|e| (e.kind, e.revision())).collect().await;
    assert_eq!(past, [(EventKind::Create, 50), (EventKind::Delete, 51), (EventKind::Update, 52)]);
    let next = store.create("/k/7", b"@".to_vec(), None).await.expect("create");
    assert_eq!(next.mod_revision, 53);
}

/// History is bounded by itself; what fell out is refused, never skipped.
pub async fn bounded_history(open: Open<'_>) {
    let store = open(Options { history_events: 10, ..options() });
    for n in 0..30 {
        store.create(&format!("/k/{n}"), b"@".to_vec(), None).await.expect("create");
    }
    assert!(matches!(store.watch("/", 5, None), Err(Error::Compacted { oldest: 20, .. })));
    assert_eq!(store.watch("/", 20, None).expect("watch").take(10).count().await, 10);
    assert_eq!(store.snapshot().count(""), 30);
}

/// Of many concurrent compare-and-sets from one revision exactly one wins, and revisions stay
/// unique.
pub async fn races(open: Open<'_>) {
    let store = open(options());
    store.create("/r", b"@".to_vec(), None).await.expect("create");
    let mut seen = BTreeSet::from([1]);
    for _ in 0..10 {
        let at = store.snapshot().get("/r").expect("there").mod_revision;
        let tries = (0..16).map(|_| store.update("/r", at, b"@".to_vec()));
        let won: Vec<_> = future::join_all(tries).await.into_iter().flatten().collect();
        assert_eq!(won.len(), 1);
        assert!(seen.insert(won[0].mod_revision));
    }
}
