//! What API priority and fairness does: how many requests of each flow schema run, wait and are sent away.
//!
//! Every request is counted, so what is counted of a flow schema is found once ([`Meters`]) and kept with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::table::{Histograms, counters, gauges, histograms};
use crate::fairness::Count;

/// The buckets of waiting and execution, in seconds.
const DURATIONS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Flowed {
    priority_level: String,
    flow_schema: String,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Refused {
    priority_level: String,
    flow_schema: String,
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Waited {
    priority_level: String,
    flow_schema: String,
    execute: bool,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Executed {
    priority_level: String,
    flow_schema: String,
    r#type: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLevel {
    priority_level: String,
}

/// What is counted of the requests of one flow schema.
#[derive(Debug)]
pub(crate) struct Meters {
    dispatched: Counter,
    executing: Gauge,
    seats: Gauge,
    queued: Gauge,
    waited: Histogram,
    executed: Histogram,
}

/// A request that is carried out.
pub(crate) struct Executing(Arc<Meters>, Instant);

impl Drop for Executing {
    fn drop(&mut self) {
        self.0.executing.dec();
        self.0.seats.dec();
        self.0.executed.observe(self.1.elapsed().as_secs_f64());
    }
}

/// A request that waits for its turn.
pub(crate) struct Queued<'a>(&'a Meters, Instant);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.queued.dec();
    }
}

impl Queued<'_> {
    /// How long it has waited.
    pub fn elapsed(&self) -> Duration {
        self.1.elapsed()
    }
}

impl Meters {
    /// Counts a request whose turn it is, which is carried out as long as what is returned lives.
    pub fn execute(self: &Arc<Self>) -> Executing {
        self.dispatched.inc();
        self.executing.inc();
        self.seats.inc();
        Executing(self.clone(), Instant::now())
    }

    /// Counts a request that waits as long as what is returned lives.
    pub fn queue(&self) -> Queued<'_> {
        self.queued.inc();
        Queued(self, Instant::now())
    }

    /// Counts how long a request waited whose turn it is now.
    pub fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }
}

/// The counts of flow schemas and priority levels.
pub(crate) struct FlowControl {
    dispatched: Family<Flowed, Counter>,
    refused: Family<Refused, Counter>,
    executing: Family<Flowed, Gauge>,
    seats: Family<Flowed, Gauge>,
    queued: Family<Flowed, Gauge>,
    waited: Histograms<Waited>,
    executed: Histograms<Executed>,
    nominal: Family<OfLevel, Gauge>,
    current: Family<OfLevel, Gauge>,
    lower: Family<OfLevel, Gauge>,
    upper: Family<OfLevel, Gauge>,
}

impl FlowControl {
    pub fn new(registry: &mut Registry) -> Self {
        let mut of_level = |name, help| gauges(registry, name, help);
        let nominal = of_level(
            "apiserver_flowcontrol_nominal_limit_seats",
            "Requests that a level carries out at once without borrowing",
        );
        let current = of_level(
            "apiserver_flowcontrol_current_limit_seats",
            "Requests that a level may carry out at once at the moment",
        );
        let lower = of_level(
            "apiserver_flowcontrol_lower_limit_seats",
            "Requests that a level may always carry out at once",
        );
        let upper = of_level(
            "apiserver_flowcontrol_upper_limit_seats",
            "Requests that a level may carry out at once when others lend what they can",
        );
        Self {
            dispatched: counters(
                registry,
                "apiserver_flowcontrol_dispatched_requests",
                "Requests that got their turn",
            ),
            refused: counters(
                registry,
                "apiserver_flowcontrol_rejected_requests",
                "Requests that were sent away",
            ),
            executing: gauges(
                registry,
                "apiserver_flowcontrol_current_executing_requests",
                "Requests that are carried out",
            ),
            seats: gauges(
                registry,
                "apiserver_flowcontrol_current_executing_seats",
                "Seats of the requests that are carried out",
            ),
            queued: gauges(
                registry,
                "apiserver_flowcontrol_current_inqueue_requests",
                "Requests that wait in queues",
            ),
            waited: histograms(
                registry,
                "apiserver_flowcontrol_request_wait_duration_seconds",
                "Time that requests waited in their queues",
                &DURATIONS,
            ),
            executed: histograms(
                registry,
                "apiserver_flowcontrol_request_execution_seconds",
                "Time that requests took when it was their turn",
                &DURATIONS,
            ),
            nominal,
            current,
            lower,
            upper,
        }
    }

    /// What is counted of the requests of a flow schema.
    pub fn meters(&self, flow_schema: &str, priority_level: &str) -> Arc<Meters> {
        let (flow_schema, priority_level) = (flow_schema.to_owned(), priority_level.to_owned());
        let executed = Executed {
            priority_level: priority_level.clone(),
            flow_schema: flow_schema.clone(),
            r#type: "regular",
        };
        let waited = Waited {
            priority_level: priority_level.clone(),
            flow_schema: flow_schema.clone(),
            execute: true,
        };
        let flowed = Flowed { priority_level, flow_schema };
        Arc::new(Meters {
            dispatched: self.dispatched.get_or_create(&flowed).clone(),
            executing: self.executing.get_or_create(&flowed).clone(),
            seats: self.seats.get_or_create(&flowed).clone(),
            queued: self.queued.get_or_create(&flowed).clone(),
            waited: self.waited.get_or_create(&waited).clone(),
            executed: self.executed.get_or_create(&executed).clone(),
        })
    }

    /// Counts a request that was sent away, and how long it had waited, if it did.
    pub fn refused(
        &self,
        flow_schema: &str,
        priority_level: &str,
        reason: &'static str,
        waited: Option<Duration>,
    ) {
        let (flow_schema, priority_level) = (flow_schema.to_owned(), priority_level.to_owned());
        if let Some(time) = waited {
            let labels = Waited {
                priority_level: priority_level.clone(),
                flow_schema: flow_schema.clone(),
                execute: false,
            };
            self.waited.get_or_create(&labels).observe(time.as_secs_f64());
        }
        self.refused.get_or_create(&Refused { priority_level, flow_schema, reason }).inc();
    }

    /// Notes what the levels may do.
    pub fn levels(&self, counts: &[Count]) {
        for count in counts {
            let labels = OfLevel { priority_level: count.level.clone() };
            for (gauges, seats) in [
                (&self.nominal, count.nominal),
                (&self.current, count.nominal.max(count.executing)),
                (&self.lower, count.kept),
                (&self.upper, count.most),
            ] {
                gauges.get_or_create(&labels).set(seats as i64);
            }
        }
    }
}
