//! Topology spread: hard constraints filter, soft ones score. Pods without soft constraints are
//! spread over hosts and zones by default, as upstream's system defaults do, by the labels they
//! share with the pods already there.

use std::collections::HashMap;

use super::{Filter, MAX_SCORE, Rejection, Score, taint_toleration};
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::pod::{PodInfo, Spread};
use crate::requirement::Labels;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Pods per domain of one constraint.
struct Counted {
    spread: Spread,
    /// Domain to matching pods.
    domains: HashMap<String, i64>,
}

impl Counted {
    fn least(&self) -> i64 {
        if (self.domains.len() as i64) < self.spread.min_domains {
            return 0;
        }
        self.domains.values().copied().min().unwrap_or_default()
    }
}

struct Hard(Vec<Counted>);

/// The filter for `pod`, where it has hard constraints.
pub fn filter(pod: &PodInfo, cluster: &Cluster) -> Option<Box<dyn Filter>> {
    if pod.hard_spread.is_empty() {
        return None;
    }
    let counted = pod.hard_spread.iter().map(|spread| count(pod, spread, cluster)).collect();
    Some(Box::new(Hard(counted)))
}

fn count(pod: &PodInfo, spread: &Spread, cluster: &Cluster) -> Counted {
    let mut domains: HashMap<String, i64> = HashMap::new();
    for node in cluster.nodes() {
        let Some(domain) = node.labels.get(&spread.topology_key) else { continue };
        if spread.honor_affinity && !pod.wants_node(&node.name, &node.labels)
            || spread.honor_taints && !taint_toleration::stands(pod, &node.taints)
        {
            continue;
        }
        *domains.entry(domain.clone()).or_default() += matching(node, pod, spread);
    }
    Counted { spread: spread.clone(), domains }
}

fn matching(node: &NodeInfo, pod: &PodInfo, spread: &Spread) -> i64 {
    let counts = |other: &&std::sync::Arc<PodInfo>| {
        !other.terminating && other.namespace == pod.namespace && spread.selector.matches(&other.labels)
    };
    node.pods.iter().filter(counts).count() as i64
}

impl Filter for Hard {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        for counted in &self.0 {
            let Some(domain) = node.labels.get(&counted.spread.topology_key) else {
                return Err(Rejection::permanent(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                ));
            };
            let own = i64::from(counted.spread.selector.matches(&pod.labels));
            let there = counted.domains.get(domain).copied().unwrap_or_default();
            if there + own - counted.least() > counted.spread.max_skew {
                return Err(Rejection::resolvable("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }
}

/// The score.
pub struct Spreading {
    soft: Vec<Counted>,
    /// Pods with the same labels, per zone: the default for pods that ask for nothing.
    zones: Option<HashMap<String, i64>>,
}

impl Spreading {
    /// The counts for `pod`.
    pub fn new(pod: &PodInfo, cluster: &Cluster) -> Self {
        if !pod.soft_spread.is_empty() {
            let soft = pod.soft_spread.iter().map(|spread| count(pod, spread, cluster)).collect();
            return Self { soft, zones: None };
        }
        if !pod.hard_spread.is_empty() || pod.labels.is_empty() {
            return Self { soft: Vec::new(), zones: None };
        }
        let mut zones = HashMap::new();
        for node in cluster.nodes() {
            if let Some(zone) = node.labels.get(ZONE) {
                *zones.entry(zone.clone()).or_default() += alike(node, pod);
            }
        }
        Self { soft: Vec::new(), zones: Some(zones) }
    }
}

impl Score for Spreading {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
        let fullness: Vec<f64> = nodes.iter().map(|node| self.fullness(pod, node)).collect();
        let most = fullness.iter().copied().fold(0.0, f64::max);
        let least = fullness.iter().copied().fold(f64::MAX, f64::min);
        fullness
            .into_iter()
            .map(|full| {
                if most == 0.0 { MAX_SCORE } else { (MAX_SCORE as f64 * (most + least - full) / most) as i64 }
            })
            .collect()
    }
}

impl Spreading {
    fn fullness(&self, pod: &PodInfo, node: &NodeInfo) -> f64 {
        let weighed = |count: i64, domains: usize| count as f64 * ((domains + 2) as f64).ln();
        if let Some(zones) = &self.zones {
            let zone = node.labels.get(ZONE).and_then(|zone| zones.get(zone)).copied().unwrap_or_default();
            return alike(node, pod) as f64 + weighed(zone, zones.len());
        }
        self.soft
            .iter()
            .map(|counted| {
                let domain = node.labels.get(&counted.spread.topology_key);
                let there = domain.and_then(|domain| counted.domains.get(domain)).copied();
                let domains = if counted.spread.topology_key == HOST { 1 } else { counted.domains.len() };
                weighed(there.unwrap_or_default(), domains)
            })
            .sum()
    }
}

/// Pods on `node` that look like replicas of `pod`: same namespace and same labels.
fn alike(node: &NodeInfo, pod: &PodInfo) -> i64 {
    let same = |labels: &Labels| *labels == pod.labels;
    let counts = |other: &&std::sync::Arc<PodInfo>| {
        !other.terminating && other.namespace == pod.namespace && same(&other.labels)
    };
    node.pods.iter().filter(counts).count() as i64
}
