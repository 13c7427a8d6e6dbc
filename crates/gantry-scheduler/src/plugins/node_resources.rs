//! Room on the node: requests against allocatable, and which node is the least full and the
//! most evenly so.

use super::{MAX_SCORE, Plugin, Rejection};
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::resources::Resources;
use crate::shape::Shape;

/// Whether there is room.
pub fn filter(shape: &Shape, node: &NodeInfo) -> Result<(), Rejection> {
    let mut reasons = Vec::new();
    let mut resolvable = true;
    if node.pods.len() + 1 > node.facts.max_pods {
        reasons.push("Too many pods".into());
    }
    let mut check = |name: &str, wanted: i64, used: i64, allocatable: i64| {
        if wanted > 0 && wanted > allocatable - used {
            reasons.push(format!("Insufficient {name}").into());
            resolvable &= wanted <= allocatable;
        }
    };
    let (wanted, used, all) = (&shape.requests, &node.requested, &node.facts.allocatable);
    check("cpu", wanted.milli_cpu, used.milli_cpu, all.milli_cpu);
    check("memory", wanted.memory, used.memory, all.memory);
    check("ephemeral-storage", wanted.ephemeral_storage, used.ephemeral_storage, all.ephemeral_storage);
    for (name, amount) in &wanted.others {
        let of = |resources: &Resources| resources.others.get(name).copied().unwrap_or_default();
        check(name, *amount, of(used), of(all));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Rejection { plugin: Plugin::NodeResourcesFit, reasons, resolvable })
}

/// How much of the node is left, of CPU and memory alike.
pub fn least_allocated(shape: &Shape, node: &NodeInfo, _: &Cluster) -> i32 {
    let (wanted, used, all) = (&shape.scoring_requests, &node.scoring_requested, &node.facts.allocatable);
    let free = |wanted: i64, used: i64, all: i64| {
        let requested = wanted + used;
        (all != 0).then(|| if requested > all { 0 } else { (all - requested) * MAX_SCORE / all })
    };
    let cpu = free(wanted.milli_cpu, used.milli_cpu, all.milli_cpu);
    let memory = free(wanted.memory, used.memory, all.memory);
    match (cpu, memory) {
        (Some(cpu), Some(memory)) => ((cpu + memory) / 2) as i32,
        (one, other) => one.or(other).unwrap_or_default() as i32,
    }
}

/// How evenly CPU and memory fill up. Pods that ask for neither do not care.
pub fn balanced(shape: &Shape, node: &NodeInfo, _: &Cluster) -> i32 {
    let (wanted, used, all) = (&shape.requests, &node.requested, &node.facts.allocatable);
    if wanted.milli_cpu == 0 && wanted.memory == 0 {
        return 0;
    }
    let fraction = |wanted: i64, used: i64, all: i64| {
        if all == 0 { 1.0 } else { ((wanted + used) as f64 / all as f64).min(1.0) }
    };
    let cpu = fraction(wanted.milli_cpu, used.milli_cpu, all.milli_cpu);
    let memory = fraction(wanted.memory, used.memory, all.memory);
    // With two resources the standard deviation is half their distance.
    ((1.0 - (cpu - memory).abs() / 2.0) * MAX_SCORE as f64) as i32
}
