//! When a node was last heard of. Only this machine's clock counts: a sign of life is a change of what
//! the node writes, whatever time it writes.

use gantry_client::{Cached, Meta};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use tokio::time::Instant;

use crate::NodeTimes;

/// The leases of nodes, lean.
pub struct NodeLease {
    metadata: ObjectMeta,
    /// `spec.renewTime`.
    pub renewed: Option<Timestamp>,
}

impl Cached for NodeLease {
    type Object = Lease;
    const FIELDS: Option<&'static str> = Some("metadata.namespace=kube-node-lease");

    fn from_object(object: Lease) -> Self {
        let all = object.metadata;
        let metadata = ObjectMeta {
            name: all.name,
            namespace: all.namespace,
            resource_version: all.resource_version,
            ..Default::default()
        };
        Self { metadata, renewed: object.spec.and_then(|spec| spec.renew_time).map(|time| time.0) }
    }

    fn meta(&self) -> &dyn Meta {
        &self.metadata
    }
}

/// What is known of a node's signs of life.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heartbeat {
    /// When the last one was seen here.
    seen: Instant,
    posted: Option<Time>,
    renewed: Option<Timestamp>,
}

/// The conditions that become unknown when a node is silent.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

impl Heartbeat {
    /// A node that is seen for the first time, at `now`.
    pub(super) fn first(node: &Node, now: Instant) -> Self {
        Self { seen: now, posted: posted(node), renewed: None }
    }

    /// Looks at the node's latest state.
    pub(super) fn node(&mut self, node: &Node, now: Instant) {
        let posted = posted(node);
        if posted.is_some() && self.posted != posted {
            *self = Self { seen: now, posted, renewed: self.renewed };
        }
    }

    /// Looks at the node's lease.
    pub(super) fn lease(&mut self, renewed: Option<Timestamp>, now: Instant) {
        if renewed > self.renewed {
            self.renewed = renewed;
            self.seen = now;
        }
    }

    /// When the node counts as silent, unless it is heard of before.
    pub(super) fn deadline(&self, node: &Node, times: &NodeTimes) -> Instant {
        let reported = condition(node, "Ready").is_some();
        self.seen + if reported { times.grace } else { times.startup_grace }
    }
}

/// The node's condition of that type.
pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let status = node.status.as_ref()?;
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// The status of the node's condition Ready.
pub(super) fn ready(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|condition| condition.status.as_str())
}

fn posted(node: &Node) -> Option<Time> {
    condition(node, "Ready").and_then(|condition| condition.last_heartbeat_time.clone())
}

/// The conditions of a node that is silent at `now`; `None` where they say so already.
pub(super) fn silent(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let status = node.status.as_ref();
    let mut all = status.and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut changed = false;
    for kind in CONDITIONS {
        match all.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => continue,
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(now));
            }
            None => all.push(NodeCondition {
                type_: kind.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
        changed = true;
    }
    changed.then_some(all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantry_json::json;

    use super::*;

    fn node(ready: Option<(&str, i64)>) -> Node {
        let condition = ready.map(|(status, beat)| {
            let at = Timestamp::from_second(beat).expect("a time");
            json!({"type": "Ready", "status": status, "lastHeartbeatTime": at})
        });
        let conditions: Vec<_> = condition.into_iter().collect();
        gantry_json::from_value(
            json!({"metadata": {"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": conditions}}),
        )
        .expect("a Node")
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_status_or_lease_is_a_sign_of_life() {
        let times = NodeTimes::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let silent_node = node(None);
        let mut beat = Heartbeat::first(&silent_node, start);
        assert_eq!(beat.deadline(&silent_node, &times), at(60));
        let reported = node(Some(("True", 100)));
        beat.node(&reported, at(10));
        assert_eq!(beat.deadline(&reported, &times), at(60));
        beat.node(&reported, at(20));
        assert_eq!(beat.deadline(&reported, &times), at(60), "nothing new");
        beat.lease(Timestamp::from_second(7).ok(), at(30));
        assert_eq!(beat.deadline(&reported, &times), at(80));
        beat.lease(Timestamp::from_second(7).ok(), at(40));
        beat.lease(Timestamp::from_second(6).ok(), at(40));
        beat.lease(None, at(40));
        assert_eq!(beat.deadline(&reported, &times), at(80), "nothing newer");
        beat.node(&node(Some(("True", 90))), at(50));
        assert_eq!(beat.deadline(&reported, &times), at(100), "clocks may be set back");
    }

    #[test]
    fn a_silent_nodes_conditions_are_unknown() {
        let now = Timestamp::from_second(2_000_000_000).expect("a time");
        let never = silent(&node(None), now).expect("they change");
        assert_eq!(never.iter().map(|each| &*each.type_).collect::<Vec<_>>(), CONDITIONS);
        assert!(never.iter().all(|each| each.reason.as_deref() == Some("NodeStatusNeverUpdated")));
        let stopped = silent(&node(Some(("True", 100))), now).expect("they change");
        assert_eq!(stopped[0].reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(stopped[0].message.as_deref(), Some("Kubelet stopped posting node status."));
        assert_eq!(stopped[0].last_transition_time, Some(Time(now)));
        assert_eq!(stopped[0].last_heartbeat_time, Timestamp::from_second(100).ok().map(Time));
        let mut again = node(None);
        again.status.get_or_insert_default().conditions = Some(stopped);
        assert_eq!(silent(&again, now), None);
    }
}
