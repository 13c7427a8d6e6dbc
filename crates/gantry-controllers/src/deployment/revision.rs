//! Revisions: which template was rolled out when, kept in annotations that `kubectl rollout` reads.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;

use super::rollout::Plot;

/// The number of the rollout, on the Deployment and on each of its ReplicaSets.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Earlier numbers of a ReplicaSet that was rolled back to.
pub const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The Deployment's replicas when the ReplicaSet was scaled last.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with the surge.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of the Deployment that its ReplicaSets do not get.
const OWN: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// Longest history, in characters; the earliest numbers go first.
const HISTORY_LIMIT: usize = 2000;

/// The revision that `annotations` say; 0 where they say none.
pub fn revision(annotations: &BTreeMap<String, String>) -> i64 {
    annotations.get(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Makes `new` the latest revision after the highest of `old`, and gives it the Deployment's
/// annotations.
pub fn advance(deployment: &Deployment, new: &mut Plot, old: &[Plot]) {
    let inherited = deployment.metadata.annotations.iter().flatten();
    for (key, value) in inherited.filter(|(key, _)| !OWN.contains(&key.as_str())) {
        new.annotations.insert(key.clone(), value.clone());
    }
    let next = old.iter().map(|plot| revision(&plot.annotations)).max().unwrap_or(0) + 1;
    let current = new.annotations.get(REVISION).cloned();
    // A number above the others' stays: they may have been removed since.
    if revision(&new.annotations) >= next {
        return;
    }
    new.annotations.insert(REVISION.into(), next.to_string());
    if let Some(current) = current.filter(|text| text.parse::<i64>().is_ok()) {
        let history = new.annotations.get(HISTORY).map(String::as_str).unwrap_or_default();
        let mut numbers: Vec<&str> = history.split(',').filter(|number| !number.is_empty()).collect();
        numbers.push(&current);
        let mut joined = numbers.join(",");
        while joined.len() > HISTORY_LIMIT {
            let Some((_, rest)) = joined.split_once(',') else { break };
            joined = rest.to_owned();
        }
        new.annotations.insert(HISTORY.into(), joined);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gantry_json::{Value, json};

    use super::*;

    fn plot(annotations: Value) -> Plot {
        let set = json!({"metadata": {"annotations": annotations}, "spec": {"selector": {}}});
        Plot::of(Arc::new(gantry_json::from_value(set).expect("a ReplicaSet")))
    }

    fn advanced(annotations: Value, old: &[i64]) -> BTreeMap<String, String> {
        let deployment = gantry_json::from_value(json!({"metadata": {"annotations": {
            REVISION: "77", "kubernetes.io/change-cause": "why", "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }}}))
        .expect("a Deployment");
        let old: Vec<_> = old.iter().map(|number| plot(json!({REVISION: number.to_string()}))).collect();
        let mut new = plot(annotations);
        advance(&deployment, &mut new, &old);
        new.annotations
    }

    #[test]
    fn the_latest_revision_has_the_highest_number() {
        let found = advanced(json!({}), &[]);
        assert_eq!(json!(found), json!({REVISION: "1", "kubernetes.io/change-cause": "why"}));
        assert_eq!(advanced(json!({}), &[3, 1])[REVISION], "4");
        assert_eq!(advanced(json!({REVISION: "9"}), &[3])[REVISION], "9");
    }

    #[test]
    fn a_revision_that_comes_back_keeps_its_history() {
        let found = advanced(json!({REVISION: "1"}), &[2]);
        assert_eq!((found[REVISION].as_str(), found[HISTORY].as_str()), ("3", "1"));
        let found = advanced(json!({REVISION: "3", HISTORY: "1"}), &[12]);
        assert_eq!((found[REVISION].as_str(), found[HISTORY].as_str()), ("13", "1,3"));
        let long = vec!["1234567"; 250].join(",");
        let found = advanced(json!({REVISION: "3", HISTORY: long}), &[12]);
        assert!(found[HISTORY].len() <= HISTORY_LIMIT && found[HISTORY].ends_with(",3"));
    }
}
