//! When a pod has to leave its node.

use std::time::Duration;

use gantry_client::tolerates;
use k8s_openapi::api::core::v1::{Taint, Toleration};
use tokio::time::Instant;

/// What becomes of a pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may stay.
    Stay,
    /// It has to leave then; the instant may be past.
    Leave(Instant),
}

/// Decides about a pod with these tolerations on a node with these taints, which it has to stand
/// since `since`.
pub(super) fn decide(tolerations: &[Toleration], taints: &[Taint], since: Instant) -> Verdict {
    let mut shortest = None;
    for taint in taints.iter().filter(|taint| taint.effect == "NoExecute") {
        let mut standing = tolerations.iter().filter(|each| tolerates(each, taint)).peekable();
        if standing.peek().is_none() {
            return Verdict::Leave(since);
        }
        let limits = standing.filter_map(|each| each.toleration_seconds);
        // A negative time is none.
        let limits = limits.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        shortest = shortest.into_iter().chain(limits).min();
    }
    // A time that is further away than the clock reaches never comes.
    match shortest.map(|limit| since.checked_add(limit)) {
        Some(Some(time)) => Verdict::Leave(time),
        _ => Verdict::Stay,
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_shortest_toleration_counts() {
        let since = Instant::now();
        let check = |tolerations: Value, taints: Value, expect: Option<u64>| {
            let tolerations: Vec<Toleration> =
                gantry_json::from_value(tolerations.clone()).expect("tolerations");
            let taints: Vec<Taint> = gantry_json::from_value(taints).expect("taints");
            let expect =
                expect.map_or(Verdict::Stay, |seconds| Verdict::Leave(since + Duration::from_secs(seconds)));
            assert_eq!(decide(&tolerations, &taints, since), expect, "{tolerations:?} {taints:?}");
        };
        let taint = |key: &str| json!({"key": key, "effect": "NoExecute"});
        let for_seconds =
            |key: &str, seconds: i64| json!({"key": key, "operator": "Exists", "tolerationSeconds": seconds});
        check(json!([]), json!([]), None);
        check(json!([]), json!([{"key": "a", "effect": "NoSchedule"}]), None);
        check(json!([]), json!([taint("a")]), Some(0));
        check(json!([{"operator": "Exists"}]), json!([taint("a"), taint("b")]), None);
        check(json!([for_seconds("a", 300)]), json!([taint("a")]), Some(300));
        check(json!([for_seconds("a", 300)]), json!([taint("a"), taint("b")]), Some(0));
        check(json!([for_seconds("a", 300), for_seconds("b", 7)]), json!([taint("a"), taint("b")]), Some(7));
        check(
            json!([for_seconds("a", 300), {"operator": "Exists"}]),
            json!([taint("a"), taint("b")]),
            Some(300),
        );
        check(json!([for_seconds("a", -5)]), json!([taint("a")]), Some(0));
        check(json!([for_seconds("a", i64::MAX)]), json!([taint("a")]), None);
        check(
            json!([{"key": "a", "value": "x", "effect": "NoExecute"}]),
            json!([{"key": "a", "value": "y", "effect": "NoExecute"}]),
            Some(0),
        );
    }
}
