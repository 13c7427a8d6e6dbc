//! Room on the node: requests against allocatable, and which node is the least full and the
//! most evenly so.

use super::{Filter, MAX_SCORE, Rejection, Score};
use crate::node::NodeInfo;
use crate::pod::PodInfo;

/// Filters by room and prefers the least allocated node.
pub struct Fit;

/// Prefers nodes whose CPU and memory fill up alike.
pub struct Balanced;

impl Filter for Fit {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let mut reasons = Vec::new();
        let mut resolvable = true;
        if node.pods.len() + 1 > node.max_pods {
            reasons.push("Too many pods".into());
        }
        let mut check = |name: &str, wanted: i64, used: i64, allocatable: i64| {
            if wanted > 0 && wanted > allocatable - used {
                reasons.push(format!("Insufficient {name}").into());
                resolvable &= wanted <= allocatable;
            }
        };
        let (wanted, used, all) = (&pod.requests, &node.requested, &node.allocatable);
        check("cpu", wanted.milli_cpu, used.milli_cpu, all.milli_cpu);
        check("memory", wanted.memory, used.memory, all.memory);
        check("ephemeral-storage", wanted.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage);
        for (name, amount) in &wanted.others {
            let of = |resources: &crate::resources::Resources| {
                resources.others.get(name).copied().unwrap_or_default()
            };
            check(name, *amount, of(used), of(all));
        }
        if reasons.is_empty() { Ok(()) } else { Err(Rejection { reasons, resolvable }) }
    }
}

impl Score for Fit {
    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
        let free = |wanted: i64, used: i64, all: i64| {
            let requested = wanted + used;
            if all == 0 || requested > all { 0 } else { (all - requested) * MAX_SCORE / all }
        };
        let (wanted, each) = (&pod.scoring_requests, nodes.iter());
        each.map(|node| {
            let (used, all) = (&node.scoring_requested, &node.allocatable);
            let cpu = free(wanted.milli_cpu, used.milli_cpu, all.milli_cpu);
            let memory = free(wanted.memory, used.memory, all.memory);
            (cpu + memory) / 2
        })
        .collect()
    }
}

impl Score for Balanced {
    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
        let fraction = |wanted: i64, used: i64, all: i64| {
            if all == 0 { 1.0 } else { ((wanted + used) as f64 / all as f64).min(1.0) }
        };
        let wanted = &pod.requests;
        nodes
            .iter()
            .map(|node| {
                let (used, all) = (&node.requested, &node.allocatable);
                let cpu = fraction(wanted.milli_cpu, used.milli_cpu, all.milli_cpu);
                let memory = fraction(wanted.memory, used.memory, all.memory);
                // With two resources the standard deviation is half their distance.
                ((1.0 - (cpu - memory).abs() / 2.0) * MAX_SCORE as f64) as i64
            })
            .collect()
    }
}
