//! What is counted of Pod Security.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::table::counters;

/// What was looked at.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Looked {
    /// `create` or `update`.
    pub request_operation: &'static str,
    /// `pod`, `namespace` or `controller`.
    pub resource: &'static str,
    /// The subresource, or empty.
    pub subresource: String,
}

/// A standard that was checked.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Evaluation {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// `privileged`, `baseline` or `restricted`.
    pub policy_level: String,
    /// `latest`, a release, or `future`.
    pub policy_version: String,
    /// `enforce`, `audit` or `warn`.
    pub mode: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Evaluated {
    #[prometheus(flatten)]
    evaluation: Evaluation,
    #[prometheus(flatten)]
    looked: Looked,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Failed {
    fatal: &'static str,
    #[prometheus(flatten)]
    looked: Looked,
}

/// The counts of Pod Security.
pub(crate) struct PodSecurity {
    evaluations: Family<Evaluated, Counter>,
    exemptions: Family<Looked, Counter>,
    errors: Family<Failed, Counter>,
}

impl PodSecurity {
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            evaluations: counters(
                registry,
                "pod_security_evaluations",
                "Standards that were checked, not counting requests that are ignored or exempt",
            ),
            exemptions: counters(registry, "pod_security_exemptions", "Requests that are exempt"),
            errors: counters(
                registry,
                "pod_security_errors",
                "What kept requests from being checked as usual",
            ),
        }
    }

    /// Counts a standard that was checked.
    pub fn evaluated(&self, looked: &Looked, evaluation: Evaluation) {
        self.evaluations.get_or_create(&Evaluated { evaluation, looked: looked.clone() }).inc();
    }

    /// Counts a request that is exempt.
    pub fn exempted(&self, looked: &Looked) {
        self.exemptions.get_or_create(looked).inc();
    }

    /// Counts a namespace's labels that could not be read.
    pub fn failed(&self, looked: &Looked) {
        self.errors.get_or_create(&Failed { fatal: "false", looked: looked.clone() }).inc();
    }
}
