//! Puts back what every cluster has when somebody removes or breaks it: the `kubernetes` Service with its
//! Endpoints and EndpointSlice, the cluster's namespaces, the ConfigMap that says since when tokens are tracked.
//!
//! Flow: the store's watch shows a change of one of them; all are looked at and what differs is written. What
//! could not be written is tried again after a growing delay: the address of a Service that was just deleted
//! may not be free yet. Guarantee: nothing is written where nothing differs.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::select_all;
use gantry_store::{WatchEnd, Watcher};

use super::start::today;
use crate::ApiServer;
use crate::bootstrap::{self, Kept};

/// The first delay, and the longest.
const DELAYS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// Runs until the store closes; dropping it is safe.
pub(super) async fn run(server: Arc<ApiServer>) {
    server.ready().await;
    loop {
        let revision = server.store.revision();
        let kept = kept(&server);
        let watch = |each: &Kept| server.store.watch(&each.key(), revision, None);
        match kept.iter().map(watch).collect::<Result<Vec<Watcher>, _>>() {
            Ok(watchers) => {
                if follow(&server, watchers).await == WatchEnd::Closed {
                    return;
                }
            }
            // A compaction between the two calls, or the end.
            Err(_) if server.store.watch("/", server.store.revision(), None).is_err() => return,
            Err(_) => {}
        }
    }
}

fn kept(server: &ApiServer) -> Vec<Kept> {
    bootstrap::kept(&server.builtin, server.config.service_cidr, server.config.advertise, &today())
}

/// Follows the changes until a watch ends.
async fn follow(server: &ApiServer, mut watchers: Vec<Watcher>) -> WatchEnd {
    let mut delay = DELAYS.0;
    loop {
        let mut failed = false;
        for each in kept(server) {
            if let Err(error) = each.put(server).await {
                tracing::debug!(%error, "will be tried again");
                failed = true;
            }
        }
        let again = async {
            match failed {
                true => tokio::time::sleep(delay).await,
                false => std::future::pending().await,
            }
        };
        let changed = select_all(watchers.iter_mut().map(StreamExt::next));
        let end = tokio::select! {
            (event, at, _) = changed => event.is_none().then_some(at),
            () = again => None,
        };
        if let Some(at) = end {
            return watchers[at].end();
        }
        for watcher in &mut watchers {
            while watcher.try_next().is_some() {}
        }
        delay = if failed { DELAYS.1.min(delay * 2) } else { DELAYS.0 };
    }
}
