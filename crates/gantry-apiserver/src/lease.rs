//! Leases, as far as the server reads them itself.

use gantry_json::Value;
use jiff::{SignedDuration, Timestamp};

/// Whether its holder was not heard of for as long as the Lease says.
pub(crate) fn expired(lease: &Value, now: Timestamp) -> bool {
    let spec = &lease["spec"];
    let renewed = spec["renewTime"].as_str().and_then(|time| time.parse::<Timestamp>().ok());
    let until = renewed.zip(spec["leaseDurationSeconds"].as_i64());
    let until = until.and_then(|(time, seconds)| time.checked_add(SignedDuration::from_secs(seconds)).ok());
    // What does not say until when it is good is nobody's.
    until.is_none_or(|until| until < now)
}
