//! The server's own metrics, in Prometheus' text format.

use std::time::Duration;

use gantry_store::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::request::RequestInfo;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    code: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

/// Counters of requests.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram, fn() -> Histogram>,
    revision: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = Family::<_, _, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_25, 4.0, 9))
        });
        let revision = Gauge::default();
        registry.register("apiserver_request", "Requests by target and answer", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Time until the answer's header, by verb",
            durations.clone(),
        );
        registry.register("apiserver_storage_revision", "The store's revision", revision.clone());
        Self { registry, requests, durations, revision }
    }
}

impl Metrics {
    /// Counts one request.
    pub fn observe(&self, info: &RequestInfo, code: u16, took: Duration) {
        // Paths that nobody serves must not make new series.
        let known = code != 404 || info.is_resource;
        let labels = RequestLabels {
            verb: info.verb,
            group: if known { info.group.clone() } else { String::new() },
            version: if known { info.version.clone() } else { String::new() },
            resource: if code == 404 { String::new() } else { info.resource.clone() },
            subresource: if code == 404 { String::new() } else { info.subresource.clone() },
            code,
        };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&VerbLabels { verb: info.verb }).observe(took.as_secs_f64());
    }

    /// All metrics as text.
    pub fn encode(&self, store: &Store) -> String {
        self.revision.set(store.revision() as i64);
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            text.clear();
        }
        text
    }
}
