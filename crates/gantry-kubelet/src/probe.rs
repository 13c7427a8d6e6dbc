//! Probes: when they run and what their results add up to.

mod grpc;
pub mod handler;
mod runner;

use k8s_openapi::api::core::v1::Probe;

pub use runner::{Prober, Report};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Restarts the container when it fails.
    Liveness,
    /// Takes the container out of Services while it fails.
    Readiness,
    /// Holds the other two back until it succeeds.
    Startup,
}

impl Kind {
    /// As events spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
            Kind::Startup => "Startup",
        }
    }
}

/// Counts results until a threshold is reached.
#[derive(Clone, Debug)]
pub struct Threshold {
    failure: u32,
    success: u32,
    last: Option<bool>,
    run: u32,
    reported: Option<bool>,
}

impl Threshold {
    /// With the probe's thresholds, 3 and 1 when unset.
    pub fn new(probe: &Probe) -> Self {
        let at_least_one = |v: Option<i32>, d: i32| v.unwrap_or(d).max(1) as u32;
        Self {
            failure: at_least_one(probe.failure_threshold, 3),
            success: at_least_one(probe.success_threshold, 1),
            last: None,
            run: 0,
            reported: None,
        }
    }

    /// Takes one result; returns the verdict when it changes.
    pub fn observe(&mut self, success: bool) -> Option<bool> {
        self.run = if self.last == Some(success) { self.run + 1 } else { 1 };
        self.last = Some(success);
        let needed = if success { self.success } else { self.failure };
        if self.run < needed || self.reported == Some(success) {
            return None;
        }
        self.reported = Some(success);
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds() {
        let probe = Probe { failure_threshold: Some(3), success_threshold: Some(2), ..Probe::default() };
        let mut threshold = Threshold::new(&probe);
        let steps = [
            (true, None),
            (true, Some(true)),
            (true, None),
            (false, None),
            (false, None),
            (true, None),
            (false, None),
            (false, None),
            (false, Some(false)),
            (false, None),
            (true, None),
            (true, Some(true)),
        ];
        for (i, (result, expect)) in steps.into_iter().enumerate() {
            assert_eq!(threshold.observe(result), expect, "step {i}");
        }
    }
}
