//! What is counted of admission: how long each plugin took, and all of them together.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::table::{Histograms, histograms};

/// The buckets of durations, in seconds.
pub(super) const DURATIONS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Admitted {
    name: &'static str,
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Stepped {
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

/// The metrics of admission.
pub(crate) struct Admission {
    plugins: Histograms<Admitted>,
    together: Histograms<Stepped>,
}

impl Admission {
    pub fn new(registry: &mut Registry) -> Self {
        Self {
            plugins: histograms(
                registry,
                "apiserver_admission_controller_admission_duration_seconds",
                "Time that an admission plugin took",
                &DURATIONS,
            ),
            together: histograms(
                registry,
                "apiserver_admission_step_admission_duration_seconds",
                "Time that all admission plugins together took",
                &DURATIONS,
            ),
        }
    }

    /// What is counted of a plugin (`None`: of all together) in an operation, as `admit` or `validate`.
    pub fn meter(
        &self,
        name: Option<&'static str>,
        operation: &'static str,
        r#type: &'static str,
    ) -> AdmissionMeter {
        let (plugins, together) = (self.plugins.clone(), self.together.clone());
        let find = move |rejected| match name {
            Some(name) => plugins.get_or_create(&Admitted { name, operation, rejected, r#type }).clone(),
            None => together.get_or_create(&Stepped { operation, rejected, r#type }).clone(),
        };
        AdmissionMeter { find: Box::new(find), passed: OnceLock::new(), rejected: OnceLock::new() }
    }
}

/// What is counted of the turns of a plugin, found with the first of them: every write has a dozen.
pub(crate) struct AdmissionMeter {
    find: Box<dyn Fn(&'static str) -> Histogram + Send + Sync>,
    passed: OnceLock<Histogram>,
    rejected: OnceLock<Histogram>,
}

impl AdmissionMeter {
    /// Counts a turn.
    pub fn observe(&self, rejected: bool, took: Duration) {
        let (histogram, word) = if rejected { (&self.rejected, "true") } else { (&self.passed, "false") };
        histogram.get_or_init(|| (self.find)(word)).observe(took.as_secs_f64());
    }
}
