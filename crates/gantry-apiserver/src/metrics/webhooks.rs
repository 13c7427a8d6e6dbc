//! What is counted of admission webhooks.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::table::{Histograms, counters, gauges, histograms};

/// The buckets of webhooks' durations, in seconds.
const DURATIONS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Admitted {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    rejected: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    code: u16,
    rejected: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rejected {
    name: String,
    r#type: &'static str,
    operation: &'static str,
    error_type: &'static str,
    rejection_code: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Opened {
    name: String,
    r#type: &'static str,
}

/// The counts of webhooks.
pub(crate) struct Webhooks {
    durations: Histograms<Admitted>,
    requests: Family<Answered, Counter>,
    // Upstream's names of these do not end as counters' do.
    rejections: Family<Rejected, Gauge>,
    open: Family<Opened, Gauge>,
}

impl Webhooks {
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            durations: histograms(
                registry,
                "apiserver_admission_webhook_admission_duration_seconds",
                "Time that an admission webhook took",
                &DURATIONS,
            ),
            requests: counters(
                registry,
                "apiserver_admission_webhook_request",
                "Calls of an admission webhook by what came of them",
            ),
            rejections: gauges(
                registry,
                "apiserver_admission_webhook_rejection_count",
                "Requests that an admission webhook, or its failure, ended",
            ),
            open: gauges(
                registry,
                "apiserver_admission_webhook_fail_open_count",
                "Failures of an admission webhook that counted as consent",
            ),
        }
    }

    /// Counts a call.
    pub fn called(
        &self,
        name: &str,
        r#type: &'static str,
        operation: &'static str,
        code: u16,
        rejected: bool,
        took: Duration,
    ) {
        let (name, rejected) = (name.to_owned(), if rejected { "true" } else { "false" });
        let labels = Admitted { name: name.clone(), r#type, operation, rejected };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { name, r#type, operation, code, rejected }).inc();
    }

    /// Counts a request that a webhook ended.
    pub fn rejected(
        &self,
        name: &str,
        r#type: &'static str,
        operation: &'static str,
        error_type: &'static str,
        rejection_code: u16,
    ) {
        let name = name.to_owned();
        self.rejections
            .get_or_create(&Rejected { name, r#type, operation, error_type, rejection_code })
            .inc();
    }

    /// Counts a failure that counted as consent.
    pub fn failed_open(&self, name: &str, r#type: &'static str) {
        self.open.get_or_create(&Opened { name: name.to_owned(), r#type }).inc();
    }
}
