//! Measurements as data: what to ask for, how often, and what the design says of the figure.

use std::time::Duration;

use anyhow::{Context, Result};

use super::call::Call;
use super::cluster::Cluster;
use super::http::Client;
use super::load::{self, Load, Rate};
use super::report::{Budget, Report, Row};
use super::watch;

/// How often an answer or a watch is timed whose median counts.
const TIMES: usize = 7;

/// What is done with a request.
pub enum How {
    /// Sent on all connections for the window: answers per second.
    Rate,
    /// Sent so often on all connections: answers per second.
    All(usize),
    /// Sent one at a time for the window: median and 99th percentile.
    Latency,
    /// Sent a few times, one after the other: the median time.
    Time,
    /// Sent a few times as a watch: the median time until so many events have come.
    Events(usize),
}

/// A figure to be measured.
pub struct Measurement {
    what: String,
    how: How,
    call: Call,
    budget: Budget,
    upstream: &'static str,
}

impl Measurement {
    /// One that is only reported.
    pub fn new(what: impl Into<String>, how: How, call: Call) -> Self {
        Self { what: what.into(), how, call, budget: Budget::Reported, upstream: "-" }
    }

    /// With what the design says of it, and upstream's figure.
    #[must_use]
    pub fn against(self, budget: Budget, upstream: &'static str) -> Self {
        Self { budget, upstream, ..self }
    }

    fn row(&self, value: f64, unit: &'static str, method: String) -> Row {
        Row::new(&*self.what, value, unit, method).budget(self.budget).upstream(self.upstream)
    }
}

/// What measurements are made on.
pub struct Measuring<'a> {
    /// The server.
    pub cluster: &'a Cluster,
    /// Its client.
    pub client: &'a Client,
    /// The load.
    pub load: Load,
}

impl Measuring<'_> {
    /// Makes measurements one after the other.
    pub async fn run(&self, measurements: &[Measurement], report: &mut Report) -> Result<()> {
        for measurement in measurements {
            for row in self.measure(measurement).await.with_context(|| measurement.what.clone())? {
                report.row(row);
            }
        }
        Ok(())
    }

    async fn measure(&self, measurement: &Measurement) -> Result<Vec<Row>> {
        let Self { cluster, client, load } = self;
        let Load { connections, warm_up, window, .. } = load;
        let Measurement { what, how, call, .. } = measurement;
        let before = cluster.cpu()?;
        let rate = |rate: Rate, method: String| -> Result<Vec<Row>> {
            let each = (cluster.cpu()? - before).div_f64(rate.answers as f64);
            Ok(vec![measurement.row(rate.per_second, "/s", method).cpu(each)])
        };
        let time = |took: Duration| {
            vec![measurement.row(took.as_secs_f64(), "s", format!("one connection, median of {TIMES}"))]
        };
        match how {
            How::Rate => {
                let method = format!("{connections} connections, {window:?} after {warm_up:?}");
                rate(load.rate(client, call).await?, method)
            }
            How::All(count) => {
                let method = format!("{connections} connections, {count} requests");
                rate(load.all(client, call, *count).await?, method)
            }
            How::Latency => {
                let method = format!("one at a time, {window:?} after {warm_up:?}");
                let latency = load.latency(client, call).await?;
                let row = |name, took| Row::milliseconds(format!("{what} {name}"), took, &*method);
                Ok(vec![row("p50", latency.p50), row("p99", latency.p99)])
            }
            How::Time => Ok(time(load::median(client, call, TIMES).await?)),
            How::Events(count) => Ok(time(watch::start(client, call, *count, TIMES).await?)),
        }
    }
}
