//! Health checks as service level indicators: how each ended, and how it ended last.

use std::collections::BTreeMap;
use std::fmt::Write;

use parking_lot::Mutex;

/// A check, and the endpoint that it was made for.
type Check = (&'static str, &'static str);

/// How often a check succeeded and failed, and whether it did the last time.
#[derive(Debug, Clone, Copy, Default)]
struct Ended {
    success: u64,
    error: u64,
    healthy: bool,
}

/// The results of health checks.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<BTreeMap<Check, Ended>>);

impl Health {
    /// Notes how a check ended.
    pub fn checked(&self, name: &'static str, endpoint: &'static str, healthy: bool) {
        let mut all = self.0.lock();
        let ended = all.entry((name, endpoint)).or_default();
        ended.healthy = healthy;
        match healthy {
            true => ended.success += 1,
            false => ended.error += 1,
        }
    }

    /// All of it in Prometheus' text format.
    pub fn encode(&self) -> String {
        let all = self.0.lock().clone();
        let mut text = String::from(
            "# HELP kubernetes_healthcheck How each health check ended last\n# TYPE kubernetes_healthcheck gauge\n",
        );
        for ((name, endpoint), ended) in &all {
            let value = u8::from(ended.healthy);
            // Writing to memory does not fail.
            let _ = writeln!(text, "kubernetes_healthcheck{{name=\"{name}\",type=\"{endpoint}\"}} {value}");
        }
        text += "# HELP kubernetes_healthchecks_total How often each health check ended how\n\
            # TYPE kubernetes_healthchecks_total counter\n";
        for ((name, endpoint), ended) in &all {
            for (status, count) in [("error", ended.error), ("success", ended.success)] {
                if count > 0 {
                    let _ = writeln!(
                        text,
                        "kubernetes_healthchecks_total{{name=\"{name}\",status=\"{status}\",type=\"{endpoint}\"}} {count}"
                    );
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_counted() {
        let health = Health::default();
        health.checked("ping", "livez", true);
        health.checked("shutdown", "readyz", true);
        health.checked("shutdown", "readyz", false);
        let text = health.encode();
        for line in [
            "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1",
            "kubernetes_healthcheck{name=\"shutdown\",type=\"readyz\"} 0",
            "kubernetes_healthchecks_total{name=\"shutdown\",status=\"error\",type=\"readyz\"} 1",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
        }
    }
}
