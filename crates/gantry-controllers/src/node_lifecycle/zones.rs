//! How fast pods may be evicted: nodes are tainted for it one at a time in each zone, more slowly or
//! not at all where so many are silent that the fault is likely elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use tokio::time::Instant;

use super::heartbeat::ready;
use super::taints::Eviction;

/// Time between two nodes of a zone, usually and in a disturbed zone.
const PACE: Duration = Duration::from_secs(10);
const SLOW_PACE: Duration = Duration::from_secs(100);
/// A zone is disturbed with this part of its nodes not ready, and more than `FEW` of them.
const DISTURBED_PERCENT: usize = 55;
const FEW: usize = 2;
/// In disturbed zones that are not larger than this nothing is evicted.
const LARGE: usize = 50;

/// Region and zone by the node's labels.
type Name = (String, String);

#[derive(Debug, Default)]
struct Zone {
    ready: usize,
    not_ready: usize,
    /// When the next node may be tainted.
    next: Option<Instant>,
}

/// The zones of the cluster.
#[derive(Debug, Default)]
pub(super) struct Zones {
    zones: BTreeMap<Name, Zone>,
    nodes: HashMap<String, (Name, bool)>,
}

/// Whether a node may be tainted for eviction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// Like this, at once.
    Now(Eviction),
    /// Not before that time.
    At(Instant),
}

impl Zones {
    /// Notes the node's latest state; `None` stands for a node that is gone. Returns whether what
    /// nodes may expect has changed for those that are waiting.
    pub(super) fn note(&mut self, name: &str, node: Option<&Node>) -> bool {
        let new = node.map(|node| (zone(node), ready(node) == Some("True")));
        if self.nodes.get(name) == new.as_ref() {
            return false;
        }
        let before = self.modes();
        if let Some((zone, was_ready)) = self.nodes.remove(name)
            && let Some(zone) = self.zones.get_mut(&zone)
        {
            *zone.count(was_ready) -= 1;
        }
        if let Some((zone, is_ready)) = new {
            *self.zones.entry(zone.clone()).or_default().count(is_ready) += 1;
            self.nodes.insert(name.into(), (zone, is_ready));
        }
        self.zones.retain(|_, zone| zone.ready + zone.not_ready > 0);
        before != self.modes()
    }

    /// Asks for leave to taint `node`, which is taken when it is given.
    pub(super) fn ask(&mut self, node: &Node, now: Instant) -> Permit {
        if self.all_dark() {
            return Permit::Now(Eviction::Forbidden);
        }
        let Some(zone) = self.zones.get_mut(&zone(node)) else { return Permit::Now(Eviction::Wait) };
        match (zone.pace(), zone.next) {
            (None, _) => Permit::Now(Eviction::Wait),
            (Some(_), Some(next)) if next > now => Permit::At(next),
            (Some(pace), _) => {
                zone.next = Some(now + pace);
                Permit::Now(Eviction::Allowed)
            }
        }
    }

    /// Gives back a leave that was not used.
    pub(super) fn give_back(&mut self, node: &Node) {
        if let Some(zone) = self.zones.get_mut(&zone(node)) {
            zone.next = None;
        }
    }

    /// Whether no node of any zone is ready.
    pub(super) fn all_dark(&self) -> bool {
        self.zones.values().all(|zone| zone.ready == 0)
    }

    fn modes(&self) -> (bool, Vec<(Name, Option<Duration>)>) {
        (self.all_dark(), self.zones.iter().map(|(name, zone)| (name.clone(), zone.pace())).collect())
    }
}

impl Zone {
    fn count(&mut self, ready: bool) -> &mut usize {
        if ready { &mut self.ready } else { &mut self.not_ready }
    }

    /// Time between two nodes; `None` where none is to be tainted.
    fn pace(&self) -> Option<Duration> {
        let all = self.ready + self.not_ready;
        let disturbed =
            self.ready > 0 && self.not_ready > FEW && self.not_ready * 100 >= all * DISTURBED_PERCENT;
        match disturbed {
            false => Some(PACE),
            true => (all > LARGE).then_some(SLOW_PACE),
        }
    }
}

fn zone(node: &Node) -> Name {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|all| all.get(key)).cloned();
    let of = |key: &str| label(key).unwrap_or_default();
    (of("topology.kubernetes.io/region"), of("topology.kubernetes.io/zone"))
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn node(zone: &str, ready: bool) -> Node {
        let status = if ready { "True" } else { "Unknown" };
        gantry_json::from_value(json!({"metadata": {"labels": {"topology.kubernetes.io/zone": zone}},
            "status": {"conditions": [{"type": "Ready", "status": status}]}}))
        .expect("a Node")
    }

    fn zones(all: &[(&str, usize, usize)]) -> Zones {
        let mut zones = Zones::default();
        for (zone, ready, silent) in all {
            for n in 0..ready + silent {
                zones.note(&format!("{zone}{n}"), Some(&node(zone, n < *ready)));
            }
        }
        zones
    }

    #[tokio::test(start_paused = true)]
    async fn one_node_at_a_time_unless_too_many_are_silent() {
        let now = Instant::now();
        let check = |all: &[(&str, usize, usize)], first: Permit, second: Permit| {
            let mut zones = zones(all);
            assert_eq!(zones.ask(&node("a", false), now), first, "{all:?}");
            assert_eq!(zones.ask(&node("a", false), now), second, "{all:?}");
        };
        let allowed = || Permit::Now(Eviction::Allowed);
        let forbidden = || Permit::Now(Eviction::Forbidden);
        let wait = || Permit::Now(Eviction::Wait);
        check(&[("a", 1, 1)], allowed(), Permit::At(now + PACE));
        check(&[("a", 0, 1)], forbidden(), forbidden());
        check(&[("a", 0, 3), ("b", 0, 1)], forbidden(), forbidden());
        check(&[("a", 0, 3), ("b", 1, 0)], allowed(), Permit::At(now + PACE));
        check(&[("a", 2, 3)], wait(), wait());
        check(&[("a", 2, 2)], allowed(), Permit::At(now + PACE));
        check(&[("a", 20, 31)], allowed(), Permit::At(now + SLOW_PACE));
    }

    #[test]
    fn a_change_of_mode_is_told() {
        let mut zones = zones(&[("a", 2, 0)]);
        assert!(!zones.note("a0", Some(&node("a", false))));
        assert!(!zones.note("a0", Some(&node("a", false))), "nothing new");
        assert!(zones.note("a1", Some(&node("a", false))), "now all are silent");
        assert!(zones.note("a1", Some(&node("a", true))));
        assert!(zones.note("a1", None), "the last one that is ready goes");
    }
}
