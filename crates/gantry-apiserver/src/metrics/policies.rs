//! What is counted of admission policies, and of the conditions that policies and webhooks have.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::admission;
use super::table::{Histograms, counters, histograms};

/// The buckets of checks' durations, in seconds.
const DURATIONS: [f64; 5] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Checked {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
    enforcement_action: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Mutated {
    policy: String,
    policy_binding: String,
    error_type: &'static str,
}

/// Whose match conditions were evaluated.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Conditioned {
    /// The webhook or policy.
    pub name: String,
    /// `webhook` or `policy`.
    pub kind: &'static str,
    /// `admit`, `validating` or `validate`.
    pub r#type: &'static str,
    /// The API's word for what is done to the object.
    pub operation: &'static str,
}

/// The counts of policies.
pub(crate) struct Policies {
    checks: Family<Checked, Counter>,
    durations: Histograms<Checked>,
    mutations: Family<Mutated, Counter>,
    mutation_durations: Histograms<Mutated>,
    condition_errors: Family<Conditioned, Counter>,
    condition_exclusions: Family<Conditioned, Counter>,
    condition_durations: Histograms<Conditioned>,
}

impl Policies {
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            checks: counters(
                registry,
                "apiserver_validating_admission_policy_check",
                "Expressions of an admission policy by what came of them",
            ),
            durations: histograms(
                registry,
                "apiserver_validating_admission_policy_check_duration_seconds",
                "Time that an expression of an admission policy took",
                &DURATIONS,
            ),
            mutations: counters(
                registry,
                "apiserver_mutating_admission_policy_check",
                "Mutations of an admission policy by what came of them",
            ),
            mutation_durations: histograms(
                registry,
                "apiserver_mutating_admission_policy_check_duration_seconds",
                "Time that a mutation of an admission policy took",
                &DURATIONS,
            ),
            condition_errors: counters(
                registry,
                "apiserver_admission_match_condition_evaluation_errors",
                "Match conditions that could not be evaluated",
            ),
            condition_exclusions: counters(
                registry,
                "apiserver_admission_match_condition_exclusions",
                "Requests that match conditions kept from a webhook or policy",
            ),
            condition_durations: histograms(
                registry,
                "apiserver_admission_match_condition_evaluation_seconds",
                "Time that match conditions took",
                &admission::DURATIONS,
            ),
        }
    }

    /// Counts a mutation and what came of it: `no_error`, `compile_error`, `invalid_error` or `out_of_budget`.
    pub fn mutated(&self, policy: &str, binding: &str, error_type: &'static str, took: Duration) {
        let labels = Mutated { policy: policy.to_owned(), policy_binding: binding.to_owned(), error_type };
        self.mutations.get_or_create(&labels).inc();
        self.mutation_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts an expression and what it led to: `allow`, `deny`, `warn` or `audit`.
    pub fn checked(
        &self,
        policy: &str,
        binding: &str,
        error_type: &'static str,
        enforcement_action: &'static str,
        took: Duration,
    ) {
        let (policy, policy_binding) = (policy.to_owned(), binding.to_owned());
        let labels = Checked { policy, policy_binding, error_type, enforcement_action };
        self.checks.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts match conditions of which some had `errors`, or one `excluded` the request.
    pub fn conditioned(&self, whose: &Conditioned, errors: usize, excluded: bool, took: Duration) {
        if errors > 0 {
            self.condition_errors.get_or_create(whose).inc_by(errors as u64);
        }
        if excluded {
            self.condition_exclusions.get_or_create(whose).inc();
        }
        self.condition_durations.get_or_create(whose).observe(took.as_secs_f64());
    }
}
