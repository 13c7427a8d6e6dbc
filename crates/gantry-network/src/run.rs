//! Following the API: Services and EndpointSlices into the table, Nodes into routes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_client::{Change, Changes, Informers};
use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    netlink::monitor::{Disturbed, Monitor},
    network::{Network, blocking},
    overlay::plan::Peer,
    proxy::{Place, health::HealthServers, index::Index},
};

/// Label of a Node that names its zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// Waits after the kernel has refused something; it does not say when it would not any more.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl Network {
    /// Keeps Services and the routes to other nodes as the API says, until `shutdown`. What it has made
    /// stays then, and goes on until the next run knows better.
    ///
    /// What somebody else deletes is made again. Nothing is changed before Services, EndpointSlices and Nodes are known completely. What cannot
    /// be done is logged and tried again.
    pub async fn run(self: Arc<Self>, informers: Informers, shutdown: CancellationToken) {
        let following = self.follow(&informers);
        tokio::select! {
            () = following => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn follow(self: Arc<Self>, informers: &Informers) {
        let (services, slices, nodes) =
            (informers.get::<Service>(), informers.get::<EndpointSlice>(), informers.get::<Node>());
        tokio::join!(services.synced(), slices.synced(), nodes.synced());
        let monitor = match Monitor::open() {
            Ok(monitor) => Some(monitor),
            Err(error) => {
                tracing::warn!(%error, "what others change about the network will not be noticed");
                None
            }
        };
        let mut feed =
            Feed { services: services.changes(), slices: slices.changes(), nodes: nodes.changes() };
        let mut told = Told::new(self.place());
        let mut health = HealthServers::default();
        let mut wait = RETRY.0;
        loop {
            feed.drain(&mut told);
            let network = self.clone();
            let done = blocking(move || {
                let result = network.apply(&mut told);
                Ok((told, result))
            });
            let Ok((returned, result)) = done.await else { return };
            told = returned;
            health.follow(told.index.checks());
            let retry = result.err().map(|error| {
                tracing::warn!(%error, "the network is not as the API says; trying again");
                let at = Instant::now() + wait;
                wait = (wait * 2).min(RETRY.1);
                at
            });
            if retry.is_none() {
                wait = RETRY.0;
            }
            tokio::select! {
                going = feed.next(&mut told, retry) => if !going { return },
                () = self.broken.notified() => {}
                disturbed = disturbed(monitor.as_ref()) => {
                    told.peers_changed |= disturbed.routes;
                    if disturbed.tables {
                        self.check_table();
                    }
                }
            }
        }
    }
}

/// Waits for what others change.
async fn disturbed(monitor: Option<&Monitor>) -> Disturbed {
    match monitor {
        // If it cannot be read, everything may have changed.
        Some(monitor) => monitor.next().await.unwrap_or(Disturbed { routes: true, tables: true }),
        None => std::future::pending().await,
    }
}

/// What the API has told, and what has not been done about it yet.
#[derive(Debug)]
pub struct Told {
    /// What rules depend on besides Services.
    pub place: Place,
    /// Services and their EndpointSlices.
    pub index: Index,
    /// All Nodes by name.
    pub peers: BTreeMap<String, Peer>,
    /// Whether routes are to be looked at again.
    pub peers_changed: bool,
}

impl Told {
    /// Nothing yet.
    pub fn new(place: Place) -> Self {
        // Routes of an earlier run are looked at even if there is no Node.
        Self { place, index: Index::default(), peers: BTreeMap::new(), peers_changed: true }
    }

    /// Takes in what happened to a Node.
    pub fn node(&mut self, change: &Change<Node>) {
        let node = change.object();
        let name = node.metadata.name.clone().unwrap_or_default();
        if let Change::Deleted(_) = change {
            self.peers_changed |= self.peers.remove(&name).is_some();
            return;
        }
        if name == self.place.node {
            let zone = node.metadata.labels.as_ref().and_then(|labels| labels.get(ZONE)).cloned();
            if zone != self.place.zone {
                self.place.zone = zone;
                self.index.touch_all();
            }
        }
        let peer = Peer::read(node);
        if self.peers.get(&name) != Some(&peer) {
            self.peers.insert(name, peer);
            self.peers_changed = true;
        }
    }
}

struct Feed {
    services: Changes<Service>,
    slices: Changes<EndpointSlice>,
    nodes: Changes<Node>,
}

impl Feed {
    /// Takes in what has come by now.
    fn drain(&mut self, told: &mut Told) {
        while let Some(change) = self.nodes.try_next() {
            told.node(&change);
        }
        while let Some(change) = self.services.try_next() {
            told.index.service(change);
        }
        while let Some(change) = self.slices.try_next() {
            told.index.slice(change);
        }
    }

    /// Waits for a change, or until it is time to try again. False at shutdown.
    async fn next(&mut self, told: &mut Told, retry: Option<Instant>) -> bool {
        let again = async {
            match retry {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = self.nodes.next() => change.map(|change| told.node(&change)).is_some(),
            change = self.services.next() => change.map(|change| told.index.service(change)).is_some(),
            change = self.slices.next() => change.map(|change| told.index.slice(change)).is_some(),
            () = again => true,
        }
    }
}
