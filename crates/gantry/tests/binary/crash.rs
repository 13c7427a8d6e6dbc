//! SIGKILL in the middle of concurrent writes: what was acknowledged is there afterwards,
//! revisions are unique and increase, and a watcher that resumes misses and repeats nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, future};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use tokio::sync::Notify;

use crate::server::Server;

/// Rounds, where `GANTRY_CRASH_ROUNDS` does not say.
const ROUNDS: usize = 20;
/// Writers at once.
const WRITERS: usize = 16;
/// Acknowledged writes after which the server is killed.
const WRITES: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_no_event_missed_or_repeated() {
    let rounds = std::env::var("GANTRY_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok());
    let mut server = Server::start();
    let mut acknowledged = BTreeMap::new();
    let mut watched = Watched { revision: "1".into(), names: BTreeSet::new() };
    for round in 0..rounds.unwrap_or(ROUNDS) {
        let api = api(&server).await;
        let watching = tokio::spawn(watch(api.clone(), watched, usize::MAX));
        let (count, enough) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let prefix = format!("r{round}-w{writer}");
                tokio::spawn(write(api.clone(), prefix, count.clone(), enough.clone()))
            })
            .collect();
        enough.notified().await;
        server.crash();
        for written in future::join_all(writers).await {
            acknowledged.extend(written.expect("a writer"));
        }
        watched = watching.await.expect("the watcher");
        server.crash_and_restart();
        check(&server, &acknowledged).await;
    }
    let api = api(&server).await;
    let there = names(&api).await;
    let watched = watch(api, watched, there.len()).await;
    assert_eq!(watched.names, there.into_keys().collect());
}

async fn api(server: &Server) -> Api<ConfigMap> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let file = Kubeconfig::read_from(server.kubeconfig()).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("a config");
    Api::namespaced(Client::try_from(config).expect("a client"), "default")
}

/// Creates objects until the server goes; returns what was acknowledged, with its revision.
async fn write(
    api: Api<ConfigMap>,
    prefix: String,
    count: Arc<AtomicUsize>,
    enough: Arc<Notify>,
) -> BTreeMap<String, u64> {
    let mut written = BTreeMap::new();
    for number in 0.. {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(format!("{prefix}-{number}"));
        let Ok(created) = api.create(&PostParams::default(), &object).await else { break };
        written.insert(created.name_any(), revision(&created));
        if count.fetch_add(1, Ordering::Relaxed) == WRITES {
            enough.notify_one();
        }
    }
    written
}

/// How far a watcher got.
struct Watched {
    revision: String,
    names: BTreeSet<String>,
}

/// Watches on from where `watched` got until the connection breaks or `count` were seen.
async fn watch(api: Api<ConfigMap>, mut watched: Watched, count: usize) -> Watched {
    let Ok(events) = api.watch(&WatchParams::default(), &watched.revision).await else { return watched };
    let mut events = pin!(events);
    while watched.names.len() < count {
        match events.next().await {
            Some(Ok(WatchEvent::Added(object))) => {
                let last: u64 = watched.revision.parse().expect("a revision");
                assert!(revision(&object) > last, "revisions increase");
                assert!(watched.names.insert(object.name_any()), "{} is repeated", object.name_any());
                watched.revision = revision(&object).to_string();
            }
            Some(Ok(WatchEvent::Bookmark(_))) => {}
            Some(Ok(other)) => panic!("nothing else happens here: {other:?}"),
            Some(Err(_)) | None => break,
        }
    }
    watched
}

async fn names(api: &Api<ConfigMap>) -> BTreeMap<String, u64> {
    let list = api.list(&ListParams::default()).await.expect("a list");
    list.items.iter().map(|object| (object.name_any(), revision(object))).collect()
}

async fn check(server: &Server, acknowledged: &BTreeMap<String, u64>) {
    let there = names(&api(server).await).await;
    for (name, revision) in acknowledged {
        assert_eq!(there.get(name), Some(revision), "{name} was acknowledged");
    }
    let unique: BTreeSet<_> = there.values().collect();
    assert_eq!(unique.len(), there.len(), "revisions are unique");
}

fn revision(object: &ConfigMap) -> u64 {
    object.resource_version().and_then(|text| text.parse().ok()).expect("a revision")
}
