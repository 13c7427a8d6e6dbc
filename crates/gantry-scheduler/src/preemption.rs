//! Preemption: which pods of lower priority to end so that a pod fits. Disruption budgets are kept
//! where that is possible.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::cycle::{self, Failure, NO_VICTIMS, NOT_HELPFUL, counted};
use crate::plugins::{self, Plugin, Rejection};
use crate::pod::PodInfo;

/// What to do.
#[derive(Debug, Clone)]
pub enum Preemption {
    /// End these pods on this node.
    Evict {
        /// The node.
        node: String,
        /// The pods.
        victims: Vec<Arc<PodInfo>>,
    },
    /// Nothing helps; why, in the words of the pod's condition.
    Not(String),
    /// Pods that were ended for it are not gone yet; the words.
    Waiting(String),
}

/// Decides for a pod that fits nowhere, beginning at slot `turn`. `cluster` is changed to see
/// what would be, and left as it was.
pub fn preempt(pod: &PodInfo, cluster: &mut Cluster, failure: &Failure, turn: usize) -> Preemption {
    if !pod.preempts {
        return Preemption::Not("not eligible due to preemptionPolicy=Never.".into());
    }
    if is_waiting(pod, cluster, failure) {
        return Preemption::Waiting("not eligible due to a terminating pod on the nominated node.".into());
    }
    let mut possible: Vec<usize> = failure
        .rejections
        .iter()
        .filter(|(_, rejection)| rejection.resolvable)
        .map(|(slot, _)| *slot)
        .collect();
    let split = possible.iter().position(|slot| *slot >= turn).unwrap_or_default();
    possible.rotate_left(split);
    let helpless = failure.total - possible.len();
    let enough = (failure.total / 10).max(100);
    let mut candidates: Vec<(usize, Victims)> = Vec::new();
    let mut refusals = Vec::new();
    for slot in possible {
        match victims(pod, cluster, slot) {
            Ok(victims) => candidates.push((slot, victims)),
            Err(refusal) => refusals.push(refusal),
        }
        if candidates.len() >= enough && candidates.iter().any(|(_, victims)| victims.overruns == 0) {
            break;
        }
    }
    match candidates.into_iter().min_by_key(|(_, victims)| victims.cost()) {
        Some((slot, victims)) => {
            Preemption::Evict { node: cluster.slots()[slot].facts.name.clone(), victims: victims.pods }
        }
        None => {
            let refused = refusals.iter().flat_map(|refusal| &refusal.reasons).map(|reason| &**reason);
            let helpless = std::iter::repeat_n(NOT_HELPFUL, helpless);
            Preemption::Not(counted(failure.total, refused.chain(helpless)))
        }
    }
}

/// Whether the node that `pod` is nominated for still has pods of lower priority that go.
fn is_waiting(pod: &PodInfo, cluster: &Cluster, failure: &Failure) -> bool {
    let Some(node) = cluster.nomination(&pod.uid) else { return false };
    let hopeless = |(slot, rejection): &(usize, Arc<Rejection>)| *slot == node.slot && !rejection.resolvable;
    !failure.rejections.iter().any(hopeless)
        && node.pods.iter().any(|other| other.terminating && other.priority < pod.priority)
}

/// Pods to end on one node.
struct Victims {
    pods: Vec<Arc<PodInfo>>,
    /// How many of them go beyond a disruption budget.
    overruns: usize,
}

/// The fewest and least important pods to end on the node in `slot`, budgets kept first.
fn victims(pod: &PodInfo, cluster: &mut Cluster, slot: usize) -> Result<Victims, Rejection> {
    let node = &cluster.slots()[slot];
    let name = node.facts.name.clone();
    let mut lower: Vec<_> = node.pods.iter().filter(|other| other.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return Err(Rejection::permanent(Plugin::NodeResourcesFit, NO_VICTIMS));
    }
    lower.sort_by_key(|other| (Reverse(other.priority), other.created));
    for other in &lower {
        cluster.displace(&other.uid);
    }
    let mut victims = Victims { pods: Vec::new(), overruns: 0 };
    let outcome = fits(pod, cluster, slot);
    if outcome.is_ok() {
        let overruns = cluster.budgets.overrun(&lower);
        // Keep each that may stay: those of budgets first, then the most important.
        let (guarded, free): (Vec<_>, Vec<_>) = lower.iter().zip(overruns).partition(|(_, overrun)| *overrun);
        for (other, overrun) in guarded.into_iter().chain(free) {
            cluster.place(other.clone(), &name);
            if fits(pod, cluster, slot).is_err() {
                cluster.displace(&other.uid);
                victims.pods.push(other.clone());
                victims.overruns += usize::from(overrun);
            }
        }
        victims.pods.iter().for_each(|victim| cluster.place(victim.clone(), &name));
        victims.pods.sort_by_key(|other| (Reverse(other.priority), other.created));
    } else {
        lower.into_iter().for_each(|other| cluster.place(other, &name));
    }
    outcome.map(|()| victims)
}

fn fits(pod: &PodInfo, cluster: &Cluster, slot: usize) -> Result<(), Rejection> {
    let filters = plugins::filters(&pod.shape, cluster);
    cycle::fits(pod, &cluster.slots()[slot], &filters)
}

impl Victims {
    /// Nodes with the lowest cost are chosen: fewest overrun budgets, least important victims, then
    /// fewest, then youngest.
    fn cost(&self) -> (usize, i32, i64, usize, Reverse<i64>) {
        let pods = &self.pods;
        let highest = pods.iter().map(|victim| victim.priority).max().unwrap_or(i32::MIN);
        // Shifted, so that many of negative priority cost more than one.
        let sum = pods.iter().map(|victim| i64::from(victim.priority) + i64::from(i32::MAX) + 1).sum();
        let earliest =
            pods.iter().filter(|victim| victim.priority == highest).map(|victim| victim.created).min();
        (self.overruns, highest, sum, pods.len(), Reverse(earliest.unwrap_or_default()))
    }
}
