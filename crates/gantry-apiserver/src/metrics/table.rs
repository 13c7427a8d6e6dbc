//! Metrics as they come to be: each gets its name where it is made.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::OnceLock;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// The upper bounds of a histogram's buckets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets(pub &'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Metrics by labels, for what every request counts: most count under the labels that came first, which are
/// found without a look-up.
pub(super) struct Usual<L, M, C = fn() -> M> {
    all: Family<L, M, C>,
    first: OnceLock<(L, M)>,
}

impl<L: Labels, M: Clone, C: MetricConstructor<M>> Usual<L, M, C> {
    pub fn of(all: Family<L, M, C>) -> Self {
        Self { all, first: OnceLock::new() }
    }

    /// Counts under `labels`.
    pub fn count(&self, labels: &L, count: impl FnOnce(&M)) {
        match self.first.get().filter(|(first, _)| first == labels) {
            Some((_, metric)) => count(metric),
            None => {
                let metric = self.all.get_or_create(labels).clone();
                count(&metric);
                // Others may have been first.
                let _ = self.first.set((labels.clone(), metric));
            }
        }
    }
}

/// Histograms by labels.
pub(super) type Histograms<L> = Family<L, Histogram, Buckets>;

/// Labels that are shown.
pub(super) trait Labels: EncodeLabelSet + Debug + Clone + Hash + Eq + Send + Sync + 'static {}

impl<L: EncodeLabelSet + Debug + Clone + Hash + Eq + Send + Sync + 'static> Labels for L {}

/// Registers a metric and gives it back.
pub(super) fn metric<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// Counters by labels; `_total` is added to the name.
pub(super) fn counters<L: Labels>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Counter> {
    metric(registry, name, help, Family::default())
}

/// A counter; `_total` is added to the name.
pub(super) fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    metric(registry, name, help, Counter::default())
}

/// Gauges by labels.
pub(super) fn gauges<L: Labels>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Gauge> {
    metric(registry, name, help, Family::default())
}

/// Histograms by labels.
pub(super) fn histograms<L: Labels>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    buckets: &'static [f64],
) -> Histograms<L> {
    metric(registry, name, help, Family::new_with_constructor(Buckets(buckets)))
}
