//! A priority level, as its object describes it.

use gantry_json::Value;
use http::HeaderValue;

/// A share of the requests that are carried out at once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Level {
    pub name: String,
    pub uid: Option<HeaderValue>,
    /// Whether it has no limit.
    pub exempt: bool,
    /// Its share, beside those of the others.
    pub shares: f64,
    /// How much of it others may use, in percent.
    pub lendable: f64,
    /// How much it may use of others', in percent of its own; `None`: all of it.
    pub borrowing: Option<f64>,
    /// How many queues it has; 0: what there is no room for is sent away.
    pub queues: usize,
    /// How many queues a flow is spread over.
    pub hand: usize,
    /// How many requests a queue has room for.
    pub length: usize,
}

impl Level {
    pub fn read(object: &Value) -> Self {
        let spec = &object["spec"];
        let exempt = spec["type"] == "Exempt";
        let own = if exempt { &spec["exempt"] } else { &spec["limited"] };
        let number = |value: &Value, default: u64| value.as_u64().unwrap_or(default);
        let queuing = &own["limitResponse"]["queuing"];
        let queues = if own["limitResponse"]["type"] == "Queue" { number(&queuing["queues"], 64) } else { 0 };
        Self {
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            uid: HeaderValue::from_str(object["metadata"]["uid"].as_str().unwrap_or_default()).ok(),
            exempt,
            shares: number(&own["nominalConcurrencyShares"], if exempt { 0 } else { 30 }) as f64,
            lendable: number(&own["lendablePercent"], 0) as f64,
            borrowing: own["borrowingLimitPercent"].as_u64().map(|percent| percent as f64),
            // A level is not worth more memory than this, whatever its object says.
            queues: (queues as usize).min(4096),
            hand: number(&queuing["handSize"], 8) as usize,
            length: number(&queuing["queueLengthLimit"], 50) as usize,
        }
    }
}
