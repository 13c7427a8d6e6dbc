//! Keeps the default flow schemas and priority levels as they should be.
//!
//! Flow: the store's watch shows a change of one of them; all are looked at and what differs is written through
//! the server's own pipeline. What could not be written is tried again after a growing delay. Guarantee: nothing
//! is written where nothing differs.

use std::sync::Arc;
use std::time::Duration;

use gantry_json::Value;
use http::Method;

use super::settling::{Delays, Settling, keep_settled};
use crate::ApiServer;
use crate::bootstrap::{Api, Upkeep, flow_schemas, flow_upkeep, priority_levels};
use crate::storage;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const MANAGER: &str = "fieldManager=api-priority-and-fairness-config-producer-v1";
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(10);

/// One of the two kinds.
struct Kept {
    kind: &'static str,
    plural: &'static str,
    defaults: Vec<Value>,
}

impl Kept {
    fn all() -> [Self; 2] {
        [
            Self {
                kind: "PriorityLevelConfiguration",
                plural: "prioritylevelconfigurations",
                defaults: priority_levels(),
            },
            Self { kind: "FlowSchema", plural: "flowschemas", defaults: flow_schemas() },
        ]
    }

    fn prefix(&self) -> String {
        storage::prefix(GROUP, self.plural)
    }

    /// Writes what differs; whether that worked.
    async fn put_right(&self, server: &ApiServer) -> bool {
        let registry = server.registry.load_full();
        let Some(kind) = registry.by_gvk(GROUP, "v1", self.kind) else { return true };
        let snapshot = server.store.snapshot();
        let stored = snapshot.range(&self.prefix(), None);
        let existing: Vec<Value> =
            stored.filter_map(|entry| gantry_json::from_slice(&entry.value).ok()).collect();
        let mut all = true;
        for write in flow_upkeep(kind, &existing, &self.defaults) {
            let path = format!("/apis/{GROUP}/v1/{}", self.plural);
            let named = |object: &Value| {
                format!("{path}/{}?{MANAGER}", object["metadata"]["name"].as_str().unwrap_or_default())
            };
            let (code, answer) = match &write {
                Upkeep::Create(object) => {
                    server.call(Method::POST, &format!("{path}?{MANAGER}"), Some(object)).await
                }
                Upkeep::Replace(object) => server.call(Method::PUT, &named(object), Some(object)).await,
                Upkeep::Remove(name) => server.call(Method::DELETE, &format!("{path}/{name}"), None).await,
            };
            // Who was quicker has made a change that is seen next.
            if !matches!(code, 200..300 | 404 | 409) {
                tracing::debug!(code, message = ?answer["message"], "a default of fairness is not as it should be");
                all = false;
            }
        }
        all
    }
}

/// Runs until the store closes; dropping it is safe.
pub(super) async fn run(server: Arc<ApiServer>) {
    server.ready().await;
    let kept = Kept::all();
    let prefixes = kept.each_ref().map(Kept::prefix);
    let prefixes = prefixes.each_ref().map(String::as_str);
    let mut defaults = Defaults { server: &server, kept, delays: Delays::up_to(LONGEST) };
    keep_settled(&server.store, &prefixes, &mut defaults).await;
}

/// The defaults of both kinds.
struct Defaults<'a> {
    server: &'a ApiServer,
    kept: [Kept; 2],
    delays: Delays,
}

impl Settling for Defaults<'_> {
    async fn settle(&mut self) -> Option<Duration> {
        let mut all = true;
        for each in &self.kept {
            all &= each.put_right(self.server).await;
        }
        self.delays.after(all)
    }
}
