//! Which pods of a DaemonSet are missing, too many or outdated: a function of what is seen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::PodView;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Node;

use super::nodes::{Fit, fit, tolerate};
use crate::deployment::limits::amount;
use crate::history::REVISION_LABEL;

/// Pods made at once at most.
const BATCH: usize = 250;

/// What is seen of a DaemonSet.
pub(super) struct Snapshot<'a> {
    pub set: &'a DaemonSet,
    pub nodes: &'a [Arc<Node>],
    /// Its pods, each with the node that it runs on or is bound to.
    pub pods: &'a [(Arc<PodView>, Option<String>)],
    /// The hash of the present template.
    pub hash: &'a str,
    /// Whether pods that were asked for are not seen yet.
    pub awaited: bool,
    /// How long to keep a failed pod of a node.
    pub keep: &'a dyn Fn(&str) -> Option<Duration>,
    pub now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub status: DaemonSetStatus,
    /// Nodes that need a pod.
    pub create: Vec<String>,
    pub delete: Vec<Arc<PodView>>,
    /// Pods among `delete` that have ended, each with its node.
    pub ended: Vec<(Arc<PodView>, String)>,
    pub again: Option<Duration>,
}

struct OnNode<'a> {
    name: &'a str,
    fit: Fit,
    pods: Vec<Arc<PodView>>,
}

impl OnNode<'_> {
    fn newest(&self, hash: &str) -> Option<&Arc<PodView>> {
        self.pods.iter().find(|pod| !pod.is_deleted() && is_current(pod, hash))
    }

    fn oldest(&self, hash: &str) -> Option<&Arc<PodView>> {
        self.pods.iter().find(|pod| !pod.is_deleted() && !is_current(pod, hash))
    }
}

fn is_current(pod: &PodView, hash: &str) -> bool {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION_LABEL)).map(String::as_str)
        == Some(hash)
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The plan for what is seen.
pub(super) fn plan(seen: &Snapshot<'_>) -> Plan {
    let mut spec = seen.set.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
    tolerate(&mut spec);
    let mut by_node: BTreeMap<&str, Vec<Arc<PodView>>> = BTreeMap::new();
    for (pod, node) in seen.pods {
        if let Some(node) = node {
            by_node.entry(node.as_str()).or_default().push(pod.clone());
        }
    }
    let nodes: Vec<OnNode<'_>> = seen
        .nodes
        .iter()
        .map(|node| {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let mut pods = by_node.remove(name).unwrap_or_default();
            pods.sort_by_key(|pod| {
                let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (created, pod.metadata.name.clone())
            });
            OnNode { name, fit: fit(&spec, node), pods }
        })
        .collect();
    let mut plan = Plan::default();
    if seen.set.metadata.deletion_timestamp.is_none() && !seen.awaited {
        for node in &nodes {
            manage(seen, node, &mut plan);
        }
        if plan.create.is_empty() && plan.delete.is_empty() {
            update(seen, &nodes, &mut plan);
        }
        plan.create.truncate(BATCH);
        plan.delete.truncate(BATCH);
    }
    report(seen, &nodes, &mut plan);
    plan
}

/// How many more pods than nodes an update may make.
fn surge(set: &DaemonSet, nodes: i32) -> i32 {
    let update = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    let update = update.filter(|update| update.type_.as_deref() != Some("OnDelete"));
    let rolling = update.and_then(|update| update.rolling_update.as_ref());
    rolling.and_then(|rolling| rolling.max_surge.as_ref()).map_or(0, |most| amount(Some(most), nodes, true))
}

/// The pods that a node needs and those that it has too many of.
fn manage(seen: &Snapshot<'_>, node: &OnNode<'_>, plan: &mut Plan) {
    if !node.fit.stay {
        plan.delete.extend(node.pods.iter().filter(|pod| !pod.is_deleted()).cloned());
        return;
    }
    let mut living: Vec<&Arc<PodView>> = Vec::new();
    let mut leaving = false;
    for pod in &node.pods {
        if pod.is_deleted() {
            leaving = true;
        } else if pod.is_terminal() {
            leaving = true;
            match (seen.keep)(node.name).filter(|_| pod.phase.as_deref() == Some("Failed")) {
                Some(wait) => plan.again = Some(plan.again.map_or(wait, |again| again.min(wait))),
                None => {
                    plan.delete.push(pod.clone());
                    plan.ended.push((pod.clone(), node.name.to_owned()));
                }
            }
        } else {
            living.push(pod);
        }
    }
    if node.fit.run && living.is_empty() && !leaving {
        plan.create.push(node.name.to_owned());
    }
    // While an update makes pods beside the old ones two are right: one of each kind.
    let pairs = surge(seen.set, number(seen.nodes.len())) > 0;
    let (current, outdated): (Vec<_>, Vec<_>) =
        living.into_iter().partition(|pod| pairs && is_current(pod, seen.hash));
    for group in [current, outdated] {
        plan.delete.extend(group.into_iter().skip(1).cloned());
    }
}

fn min_ready(set: &DaemonSet) -> SignedDuration {
    let seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    SignedDuration::from_secs(i64::from(seconds.max(0)))
}

fn is_available(seen: &Snapshot<'_>, pod: &PodView) -> bool {
    pod.ready_since().is_some_and(|since| seen.now.duration_since(since) >= min_ready(seen.set))
        || (pod.is_ready() && min_ready(seen.set).is_zero())
}

/// The outdated pods that may go now, and the nodes that may have another pod.
fn update(seen: &Snapshot<'_>, nodes: &[OnNode<'_>], plan: &mut Plan) {
    let update = seen.set.spec.as_ref().and_then(|spec| spec.update_strategy.clone()).unwrap_or_default();
    if update.type_.as_deref() == Some("OnDelete") {
        return;
    }
    let wanted: Vec<_> = nodes.iter().filter(|node| node.fit.run).collect();
    let total = number(wanted.len());
    let most = surge(seen.set, total);
    if most > 0 {
        return surged(seen, nodes, most, plan);
    }
    let rolling = update.rolling_update.unwrap_or_default();
    let unavailable = match rolling.max_unavailable.as_ref() {
        Some(most) => amount(Some(most), total, true).max(1),
        None => 1,
    };
    let mut down = 0;
    let mut candidates = Vec::new();
    for node in wanted {
        match (node.newest(seen.hash), node.oldest(seen.hash)) {
            (Some(new), _) => down += i32::from(!is_available(seen, new)),
            (None, Some(old)) if is_available(seen, old) => candidates.push(old.clone()),
            // What is down already may be replaced at once.
            (None, Some(old)) => {
                down += 1;
                plan.delete.push(old.clone());
            }
            (None, None) => down += 1,
        }
    }
    let room = usize::try_from(unavailable - down).unwrap_or(0);
    plan.delete.extend(candidates.into_iter().take(room));
}

fn surged(seen: &Snapshot<'_>, nodes: &[OnNode<'_>], most: i32, plan: &mut Plan) {
    let mut doubled = 0;
    let mut candidates = Vec::new();
    for node in nodes {
        match (node.newest(seen.hash), node.oldest(seen.hash)) {
            (Some(new), Some(old)) => {
                if is_available(seen, new) || !is_available(seen, old) {
                    plan.delete.push(old.clone());
                } else {
                    doubled += 1;
                }
            }
            (None, Some(old)) if node.fit.run => match is_available(seen, old) {
                true => candidates.push(node.name.to_owned()),
                false => plan.create.push(node.name.to_owned()),
            },
            _ => {}
        }
    }
    let room = usize::try_from(most - doubled).unwrap_or(0);
    plan.create.extend(candidates.into_iter().take(room));
}

/// Counts the nodes into the status.
fn report(seen: &Snapshot<'_>, nodes: &[OnNode<'_>], plan: &mut Plan) {
    let old = seen.set.status.clone().unwrap_or_default();
    let mut status = DaemonSetStatus {
        collision_count: old.collision_count,
        conditions: old.conditions,
        observed_generation: seen.set.metadata.generation,
        ..Default::default()
    };
    let (mut available, mut updated) = (0, 0);
    for node in nodes {
        let living = || node.pods.iter().filter(|pod| !pod.is_terminal());
        if !node.fit.run {
            status.number_misscheduled += i32::from(living().next().is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        if node.pods.is_empty() {
            continue;
        }
        status.current_number_scheduled += 1;
        let serves = |pod: &&Arc<PodView>| pod.is_active() && pod.is_ready();
        status.number_ready += i32::from(living().any(|pod| serves(&pod)));
        available += i32::from(living().any(|pod| serves(&pod) && is_available(seen, pod)));
        updated += i32::from(living().any(|pod| is_current(pod, seen.hash)));
        for pod in living().filter(|pod| pod.is_active() && pod.is_ready() && !is_available(seen, pod)) {
            let since = pod.ready_since().unwrap_or(seen.now);
            let wait = min_ready(seen.set) - seen.now.duration_since(since);
            let wait = Duration::try_from(wait).unwrap_or_default();
            plan.again = Some(plan.again.map_or(wait, |again| again.min(wait)));
        }
    }
    let some = |count: i32| Some(count).filter(|count| *count > 0);
    status.number_available = some(available);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    status.updated_number_scheduled = some(updated);
    plan.status = status;
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn set(strategy: Value) -> DaemonSet {
        gantry_json::from_value(json!({"metadata": {"name": "d", "generation": 4}, "spec": {
            "selector": {}, "updateStrategy": strategy,
            "template": {"spec": {"nodeSelector": {"use": "yes"}, "containers": []}}}}))
        .expect("a DaemonSet")
    }

    fn nodes(all: &[(&str, &str)]) -> Vec<Arc<Node>> {
        let node = |(name, used): &(&str, &str)| {
            let value = json!({"metadata": {"name": name, "labels": {"use": used}}});
            Arc::new(gantry_json::from_value(value).expect("a Node"))
        };
        all.iter().map(node).collect()
    }

    /// A pod `NAME NODE HASH STATE`.
    fn pod(text: &str) -> (Arc<PodView>, Option<String>) {
        let words: Vec<_> = text.split(' ').collect();
        let mut value = json!({"metadata": {"name": words[0], "uid": words[0], "labels": {REVISION_LABEL: words[2]}},
            "status": {"phase": "Running"}});
        match words[3] {
            "ready" => value["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]),
            "leaving" => value["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into(),
            "waiting" => {}
            phase => value["status"]["phase"] = phase.into(),
        }
        let pod: Pod = gantry_json::from_value(value).expect("a Pod");
        (Arc::new(pod.into()), Some(words[1].to_owned()))
    }

    fn check(set: &DaemonSet, on: &[(&str, &str)], pods: &[&str], create: &[&str], delete: &[&str]) -> Plan {
        let nodes = nodes(on);
        let pods_seen: Vec<_> = pods.iter().map(|text| pod(text)).collect();
        let keep = |node: &str| (node == "kept").then_some(Duration::from_secs(7));
        let plan = plan(&Snapshot {
            set,
            nodes: &nodes,
            pods: &pods_seen,
            hash: "new",
            awaited: false,
            keep: &keep,
            now: Timestamp::UNIX_EPOCH,
        });
        let deleted: Vec<_> = plan.delete.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(
            (plan.create.as_slice(), deleted.as_slice()),
            (&create.iter().map(|each| (*each).to_owned()).collect::<Vec<_>>()[..], delete),
            "{pods:?}"
        );
        plan
    }

    #[test]
    fn every_node_that_fits_has_one_pod() {
        let set = set(Value::Null);
        let on = [("a", "yes"), ("b", "yes"), ("c", "no")];
        let plan = check(&set, &on, &[], &["a", "b"], &[]);
        assert_eq!((plan.status.desired_number_scheduled, plan.status.current_number_scheduled), (2, 0));
        let plan = check(&set, &on, &["1 a new ready", "2 b new waiting", "3 c new ready"], &[], &["3"]);
        let status = plan.status;
        assert_eq!((status.number_ready, status.number_misscheduled), (1, 1));
        assert_eq!((status.number_available, status.number_unavailable), (Some(1), Some(1)));
        assert_eq!((status.updated_number_scheduled, status.observed_generation), (Some(2), Some(4)));
        check(&set, &on, &["1 a new ready", "2 a new ready", "3 b new leaving"], &[], &["2"]);
    }

    #[test]
    fn pods_that_ended_are_made_again_at_some_pace() {
        let set = set(Value::Null);
        let plan = check(
            &set,
            &[("a", "yes"), ("kept", "yes")],
            &["1 a new Failed", "2 kept new Failed"],
            &[],
            &["1"],
        );
        assert_eq!((plan.ended.len(), plan.again.map(|again| again.as_secs())), (1, Some(7)));
        check(&set, &[("kept", "yes")], &["1 kept new Succeeded"], &[], &["1"]);
    }

    #[test]
    fn an_update_takes_few_at_a_time() {
        let on = [("a", "yes"), ("b", "yes"), ("c", "yes"), ("d", "yes")];
        let old = ["1 a old ready", "2 b old ready", "3 c old ready", "4 d new ready"];
        let rolling = |most: Value| set(json!({"type": "RollingUpdate", "rollingUpdate": most}));
        check(&rolling(Value::Null), &on, &old, &[], &["1"]);
        check(&rolling(json!({"maxUnavailable": "50%"})), &on, &old, &[], &["1", "2"]);
        check(&set(json!({"type": "OnDelete"})), &on, &old, &[], &[]);
        let down = ["1 a old ready", "2 b old waiting", "3 c old ready", "4 d new ready"];
        check(&rolling(Value::Null), &on, &down, &[], &["2"]);
        let coming = ["1 a old ready", "2 b new waiting", "3 c old ready", "4 d new ready"];
        check(&rolling(Value::Null), &on, &coming, &[], &[]);
    }

    #[test]
    fn an_update_may_make_pods_beside_the_old_ones() {
        let set =
            set(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}));
        let on = [("a", "yes"), ("b", "yes")];
        check(&set, &on, &["1 a old ready", "2 b old ready"], &["a"], &[]);
        check(&set, &on, &["1 a old ready", "2 b old ready", "3 a new waiting"], &[], &[]);
        check(&set, &on, &["1 a old ready", "2 b old ready", "3 a new ready"], &["b"], &["1"]);
        check(&set, &on, &["2 b old ready", "3 a new ready"], &["b"], &[]);
    }
}
