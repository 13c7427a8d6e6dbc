//! Affinity and anti-affinity between pods, of the pod to be placed and of those that are.

use std::collections::{HashMap, HashSet};

use super::{Filter, MAX_SCORE, Rejection, Score};
use crate::cluster::Cluster;
use crate::node::NodeInfo;
use crate::pod::{AffinityTerm, PodInfo};

/// A node label and a value of it.
type Domain = (String, String);

struct Required {
    /// Per affinity term of the pod: domains that hold a pod matching every term; `None` where
    /// no pod in the cluster does.
    wanted: Vec<HashSet<String>>,
    /// Whether the pod is the first of its group: no pod matches, but it would itself.
    first_of_group: bool,
    /// Per anti-affinity term of the pod: domains that hold a pod it must not be with.
    avoided: Vec<HashSet<String>>,
    /// Domains whose pods must not be with this one.
    closed: HashSet<Domain>,
}

/// The filter for `pod`, where it or a placed pod has terms.
pub fn filter(pod: &PodInfo, cluster: &Cluster) -> Option<Box<dyn Filter>> {
    let mut closed = HashSet::new();
    for node in cluster.nodes() {
        for other in &node.pods {
            for term in other.anti_affinity.iter().filter(|term| term.selects(pod)) {
                closed.extend(domain(node, term));
            }
        }
    }
    if pod.affinity.is_empty() && pod.anti_affinity.is_empty() && closed.is_empty() {
        return None;
    }
    let domains_of = |term: &AffinityTerm, matches: &dyn Fn(&PodInfo) -> bool| -> HashSet<String> {
        cluster
            .nodes()
            .filter(|node| node.pods.iter().any(|other| matches(other)))
            .filter_map(|node| node.labels.get(&term.topology_key).cloned())
            .collect()
    };
    let matches_all = |other: &PodInfo| pod.affinity.iter().all(|term| term.selects(other));
    let wanted: Vec<_> = pod.affinity.iter().map(|term| domains_of(term, &matches_all)).collect();
    let first_of_group =
        wanted.iter().all(HashSet::is_empty) && pod.affinity.iter().all(|term| term.selects(pod));
    let avoided = pod
        .anti_affinity
        .iter()
        .map(|term| domains_of(term, &|other: &PodInfo| term.selects(other)))
        .collect();
    Some(Box::new(Required { wanted, first_of_group, avoided, closed }))
}

fn domain(node: &NodeInfo, term: &AffinityTerm) -> Option<Domain> {
    let value = node.labels.get(&term.topology_key)?;
    Some((term.topology_key.clone(), value.clone()))
}

impl Filter for Required {
    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let inside = |term: &AffinityTerm, domains: &HashSet<String>| {
            node.labels.get(&term.topology_key).is_some_and(|value| domains.contains(value))
        };
        for (term, domains) in pod.affinity.iter().zip(&self.wanted) {
            let labelled = node.labels.contains_key(&term.topology_key);
            if !(inside(term, domains) || self.first_of_group && labelled) {
                return Err(Rejection::permanent("node(s) didn't match pod affinity rules"));
            }
        }
        if pod.anti_affinity.iter().zip(&self.avoided).any(|(term, domains)| inside(term, domains)) {
            return Err(Rejection::resolvable("node(s) didn't match pod anti-affinity rules"));
        }
        if self.closed.iter().any(|(key, value)| node.labels.get(key) == Some(value)) {
            return Err(Rejection::resolvable("node(s) didn't satisfy existing pods anti-affinity rules"));
        }
        Ok(())
    }
}

struct Preferred(HashMap<Domain, i64>);

/// The score for `pod`, where it or a placed pod prefers anything.
pub fn score(pod: &PodInfo, cluster: &Cluster) -> Option<Box<dyn Score>> {
    let mut weights: HashMap<Domain, i64> = HashMap::new();
    for node in cluster.nodes() {
        for other in &node.pods {
            let mine = pod.preferred_affinity.iter().filter(|term| term.selects(other));
            let theirs = other.preferred_affinity.iter().filter(|term| term.selects(pod));
            for term in mine.chain(theirs) {
                if let Some(domain) = domain(node, term) {
                    *weights.entry(domain).or_default() += term.weight;
                }
            }
            // A pod that must be with this one attracts it, with upstream's hard weight of 1.
            for term in other.affinity.iter().filter(|term| term.selects(pod)) {
                if let Some(domain) = domain(node, term) {
                    *weights.entry(domain).or_default() += 1;
                }
            }
        }
    }
    (!weights.is_empty()).then(|| Box::new(Preferred(weights)) as Box<dyn Score>)
}

impl Score for Preferred {
    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, _: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
        let sum = |node: &&NodeInfo| -> i64 {
            self.0
                .iter()
                .filter(|((key, value), _)| node.labels.get(key) == Some(value))
                .map(|(_, weight)| weight)
                .sum()
        };
        let raw: Vec<i64> = nodes.iter().map(sum).collect();
        let most = raw.iter().copied().max().unwrap_or_default();
        let least = raw.iter().copied().min().unwrap_or_default();
        raw.into_iter()
            .map(|score| if most == least { 0 } else { (score - least) * MAX_SCORE / (most - least) })
            .collect()
    }
}
