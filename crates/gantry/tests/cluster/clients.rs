//! Clients that others wrote, each on a tour through the API of a running cluster.

mod helm;
mod kubectl;
mod languages;
mod operator;

use std::path::PathBuf;

use crate::cluster::workspace;

/// The directory of what the tours bring: scripts, a chart.
fn baggage() -> PathBuf {
    workspace().join("crates/gantry/tests/clients")
}
