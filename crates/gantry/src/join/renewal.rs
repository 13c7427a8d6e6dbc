//! When a certificate is renewed.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::Certificate;
use crate::pki::Pair;

/// How long to wait after a renewal that failed.
const RETRY: Duration = Duration::from_secs(60);

/// The longest wait. A machine may sleep meanwhile, which timers do not count.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Renews `certificate` by `obtain` whenever its time has come.
pub(super) async fn keep(certificate: &Certificate, obtain: impl AsyncFn() -> Result<Pair>) {
    let share = rand::random_range(0.75..0.85);
    loop {
        let facts = certificate.facts();
        let left = due(facts.not_before, facts.not_after, share).duration_since(Timestamp::now());
        if left.is_positive() {
            tokio::time::sleep(Duration::try_from(left).unwrap_or_default().min(LONGEST)).await;
            continue;
        }
        let renewed = async { certificate.replace(&obtain().await?) };
        match renewed.await {
            Ok(()) => tracing::info!(name = facts.common_name, "certificate renewed"),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "certificate not renewed; it is tried again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// The moment at which `share` of the time between begin and end is over.
fn due(begin: Timestamp, end: Timestamp, share: f64) -> Timestamp {
    let lifetime = end.duration_since(begin);
    begin + lifetime.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_the_last_part_of_its_life() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        assert_eq!(due(at(1000), at(2000), 0.8), at(1800));
    }
}
