//! Puts back what every cluster has when somebody removes or breaks it: the `kubernetes` Service with its
//! Endpoints and EndpointSlice, the cluster's namespaces, the ConfigMap that says since when tokens are tracked.
//!
//! Flow: the store's watch shows a change of one of them; all are looked at and what differs is written. What
//! could not be written is tried again after a growing delay: the address of a Service that was just deleted
//! may not be free yet. Guarantee: nothing is written where nothing differs.

use std::sync::Arc;
use std::time::Duration;

use super::settling::{Delays, Settling, keep_settled};
use super::start::today;
use crate::ApiServer;
use crate::bootstrap::{self, Kept};

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs until the store closes; dropping it is safe.
pub(super) async fn run(server: Arc<ApiServer>) {
    server.ready().await;
    let keys: Vec<String> = kept(&server).iter().map(Kept::key).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut upkeep = Upkeep { server: &server, delays: Delays::up_to(LONGEST) };
    keep_settled(&server.store, &keys, &mut upkeep).await;
}

fn kept(server: &ApiServer) -> Vec<Kept> {
    bootstrap::kept(&server.builtin, server.config.service_cidr, server.config.advertise, &today())
}

struct Upkeep<'a> {
    server: &'a ApiServer,
    delays: Delays,
}

impl Settling for Upkeep<'_> {
    async fn settle(&mut self) -> Option<Duration> {
        let mut all = true;
        for each in kept(self.server) {
            if let Err(error) = each.put(self.server).await {
                tracing::debug!(%error, "will be tried again");
                all = false;
            }
        }
        self.delays.after(all)
    }
}
