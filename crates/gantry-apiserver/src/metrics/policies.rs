//! What is counted of admission policies.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Histograms;

/// The buckets of checks' durations, in seconds.
const DURATIONS: [f64; 6] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0, 10.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Checked {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
    enforcement_action: &'static str,
}

/// The buckets of mutations' durations, in seconds.
const MUTATIONS: [f64; 5] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Mutated {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
}

/// The counts of policies.
pub(crate) struct Policies {
    checks: Family<Checked, Counter>,
    durations: Histograms<Checked>,
    mutations: Family<Mutated, Counter>,
    mutation_durations: Histograms<Mutated>,
}

impl Policies {
    pub fn new(registry: &mut Registry) -> Self {
        let durations = Histograms::new_with_constructor(|| Histogram::new(DURATIONS));
        let mutation_durations = Histograms::new_with_constructor(|| Histogram::new(MUTATIONS));
        let policies =
            Self { checks: Family::default(), durations, mutations: Family::default(), mutation_durations };
        registry.register(
            "apiserver_validating_admission_policy_check",
            "Checks of an admission policy by what came of them",
            policies.checks.clone(),
        );
        registry.register(
            "apiserver_validating_admission_policy_check_duration_seconds",
            "Time that the expressions of an admission policy took",
            policies.durations.clone(),
        );
        registry.register(
            "apiserver_mutating_admission_policy_check",
            "Mutations of an admission policy by what came of them",
            policies.mutations.clone(),
        );
        registry.register(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "Time that a mutation of an admission policy took",
            policies.mutation_durations.clone(),
        );
        policies
    }

    /// Counts a mutation and what came of it: `no_error`, `compile_error`, `invalid_error` or `out_of_budget`.
    pub fn mutated(&self, policy: &str, binding: &str, error_type: &'static str, took: Duration) {
        let labels = Mutated { policy: policy.to_owned(), policy_binding: binding.to_owned(), error_type };
        self.mutations.get_or_create(&labels).inc();
        self.mutation_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts a check and what it led to: `allow`, `deny`, `warn` or `audit`.
    pub fn checked(&self, policy: &str, binding: &str, enforcement_action: &'static str, took: Duration) {
        let labels = Checked {
            policy: policy.to_owned(),
            policy_binding: binding.to_owned(),
            error_type: "no_error",
            enforcement_action,
        };
        self.checks.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
