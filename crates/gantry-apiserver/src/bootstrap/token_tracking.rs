//! Since when the use of tokens is noted in the Secrets that keep them: the ConfigMap
//! `kube-apiserver-legacy-service-account-token-tracking`.

use gantry_json::{Value, json};
use jiff::civil::Date;

/// The ConfigMap, where it is made `today` (`2026-01-31`).
pub fn token_tracking(today: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "kube-apiserver-legacy-service-account-token-tracking", "namespace": "kube-system",
        },
        "data": {"since": today},
    })
}

/// What it has to become; `None`: it says a day, and stays.
pub fn reconcile_token_tracking(existing: &Value, default: &Value) -> Option<Value> {
    let since = existing["data"]["since"].as_str().unwrap_or_default();
    if since.len() == 10 && since.parse::<Date>().is_ok() {
        return None;
    }
    let mut next = existing.clone();
    if !next["data"].is_object() {
        next["data"] = json!({});
    }
    next["data"]["since"] = default["data"]["since"].clone();
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_day_stays() {
        let (first, today) = (token_tracking("2025-12-31"), token_tracking("2026-01-31"));
        assert_eq!(reconcile_token_tracking(&first, &today), None);
        for wrong in [json!({"since": "yesterday"}), json!({"since": "2026-02-30"}), Value::Null] {
            let mut broken = first.clone();
            broken["data"] = wrong;
            let next = reconcile_token_tracking(&broken, &today).unwrap();
            assert_eq!(next["data"]["since"], "2026-01-31");
        }
    }
}
