//! The scheduler without its connections: takes what happened, says what to do. It does no IO
//! and reads no clock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use tokio::time::Instant;

use crate::budgets::{Budget, Budgets};
use crate::cluster::Cluster;
use crate::cycle::{self, Decision, Failure, Searcher};
use crate::hints::{self, Event};
use crate::pod::{PodInfo, Uid};
use crate::preemption::{self, Preemption};
use crate::queue::Queue;
use crate::requirement::Labels;
use crate::shapes::Shapes;

/// What to do about a pod.
#[derive(Debug)]
pub enum Outcome {
    /// Bind it.
    Bind(Binding),
    /// Say why it waits.
    Wait(Wait),
}

/// A pod and its node.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// The node.
    pub node: String,
}

/// A pod that fits nowhere.
#[derive(Debug, Clone)]
pub struct Wait {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// Why.
    pub message: Arc<str>,
    /// Whether its condition does not say so yet.
    pub condition: bool,
    /// The node it is nominated for now, where that changed; empty for none.
    pub nominated: Option<String>,
    /// Pods to end on that node.
    pub victims: Vec<Arc<PodInfo>>,
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    /// Pods that name this scheduler are its own.
    name: String,
    cluster: Cluster,
    queue: Queue,
    shapes: Shapes,
    searcher: Searcher,
    /// Pods on nodes that the API server has not confirmed, with their tries.
    assumed: HashMap<Uid, u32>,
}

impl Scheduler {
    /// A scheduler that knows nothing yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cluster: Cluster::default(),
            queue: Queue::default(),
            shapes: Shapes::default(),
            searcher: Searcher::default(),
            assumed: HashMap::new(),
        }
    }

    /// The cluster as it is known, with the pods assumed on their nodes.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Takes over all nodes.
    pub fn nodes_listed(&mut self, nodes: &[Node], now: Instant) {
        let listed: HashSet<&str> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
        let gone: Vec<_> = self
            .cluster
            .nodes()
            .filter(|node| !listed.contains(&*node.facts.name))
            .map(|node| node.facts.name.clone())
            .collect();
        gone.iter().for_each(|name| self.node_gone(name, now));
        nodes.iter().for_each(|node| self.node_changed(node, now));
    }

    /// Takes over a new or changed node.
    pub fn node_changed(&mut self, node: &Node, now: Instant) {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if self.cluster.set_node(node)
            && let Some(node) = self.cluster.node(name)
        {
            tell(&mut self.queue, &self.cluster, Event::Node(node), now);
        }
    }

    /// Forgets a node.
    pub fn node_gone(&mut self, name: &str, now: Instant) {
        if self.cluster.remove_node(name) {
            tell(&mut self.queue, &self.cluster, Event::NodeGone, now);
        }
    }

    /// Takes over a namespace's labels; without, the namespace is gone.
    pub fn namespace_changed(&mut self, name: &str, labels: Option<Labels>, now: Instant) {
        if self.cluster.set_namespace(name, labels) {
            tell(&mut self.queue, &self.cluster, Event::Namespace, now);
        }
    }

    /// Takes over all namespaces.
    pub fn namespaces_listed(&mut self, all: Vec<(String, Labels)>, now: Instant) {
        let listed: HashSet<&str> = all.iter().map(|(name, _)| &**name).collect();
        let known = self.cluster.namespaces().keys();
        let gone: Vec<_> = known.filter(|name| !listed.contains(&***name)).cloned().collect();
        gone.iter().for_each(|name| self.namespace_changed(name, None, now));
        all.into_iter().for_each(|(name, labels)| self.namespace_changed(&name, Some(labels), now));
    }

    /// Takes over all disruption budgets.
    pub fn budgets_listed(&mut self, all: Vec<(String, String, Budget)>) {
        self.cluster.budgets = Budgets::default();
        all.into_iter()
            .for_each(|(namespace, name, budget)| self.budget_changed(&namespace, &name, Some(budget)));
    }

    /// Takes over a new or changed disruption budget; without one, it is gone.
    pub fn budget_changed(&mut self, namespace: &str, name: &str, budget: Option<Budget>) {
        self.cluster.budgets.set(namespace, name, budget);
    }

    /// Takes over all pods.
    pub fn pods_listed(&mut self, mut pods: Vec<PodInfo>, now: Instant) {
        let listed: HashSet<&str> = pods.iter().map(|pod| &*pod.uid).collect();
        let known = self.cluster.placed().chain(self.queue.uids());
        let gone: Vec<Uid> = known.filter(|uid| !listed.contains(&***uid)).cloned().collect();
        gone.iter().for_each(|uid| self.pod_gone(uid, now));
        pods.sort_by_key(|pod| pod.created);
        pods.into_iter().for_each(|pod| self.pod_changed(pod, now));
    }

    /// Takes over a new or changed pod.
    pub fn pod_changed(&mut self, mut pod: PodInfo, now: Instant) {
        if pod.finished {
            return self.pod_gone(&pod.uid, now);
        }
        pod.shape = self.shapes.intern(pod.shape);
        if pod.node_name.is_some() {
            return self.pod_placed(Arc::new(pod), now);
        }
        let assumed = self.assumed.contains_key(&pod.uid);
        if assumed {
            // News from before the binding.
            if let Some(node) = self.cluster.node_of(&pod.uid) {
                let node = node.facts.name.clone();
                self.cluster.place(Arc::new(pod), &node);
            }
            return;
        }
        if *pod.scheduler != *self.name || pod.terminating {
            return self.pod_gone(&pod.uid, now);
        }
        let pod = Arc::new(pod);
        if let Some(node) = &pod.nominated
            && self.queue.get(&pod.uid).is_none()
        {
            self.cluster.nominate(pod.clone(), node);
        }
        self.queue.put(pod, now);
    }

    fn pod_placed(&mut self, pod: Arc<PodInfo>, now: Instant) {
        self.queue.remove(&pod.uid);
        self.cluster.withdraw(&pod.uid);
        let before = self.cluster.pod(&pod.uid).cloned();
        let confirmed = self.assumed.remove(&pod.uid).is_none();
        if let Some(before) = &before
            && confirmed
            && Arc::ptr_eq(&before.shape, &pod.shape)
            && (before.terminating, &before.node_name) == (pod.terminating, &pod.node_name)
        {
            return;
        }
        let node = pod.node_name.as_deref().unwrap_or_default().to_owned();
        self.cluster.place(pod.clone(), &node);
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(&before.shape, &pod.shape)) {
            let left = Event::PodLeft { shape: &before.shape, node: self.cluster.node(&node) };
            tell(&mut self.queue, &self.cluster, left, now);
        }
        tell(&mut self.queue, &self.cluster, Event::PodPlaced(&pod.shape), now);
    }

    /// Forgets a pod.
    pub fn pod_gone(&mut self, uid: &str, now: Instant) {
        self.assumed.remove(uid);
        let waiting = self.queue.remove(uid).map(|waiting| waiting.pod);
        let nominated = self.cluster.withdraw(uid);
        let node = self.cluster.node_of(uid).map(|node| node.facts.name.clone()).or(nominated);
        let pod = self.cluster.displace(uid).or(waiting);
        if let (Some(pod), Some(node)) = (pod, node) {
            let left = Event::PodLeft { shape: &pod.shape, node: self.cluster.node(&node) };
            tell(&mut self.queue, &self.cluster, left, now);
        }
    }

    /// When a waiting pod's time comes next.
    pub fn wake(&mut self, now: Instant) -> Option<Instant> {
        self.queue.wake(now)
    }

    /// Decides about the next pod.
    pub fn next(&mut self, now: Instant) -> Option<Outcome> {
        let pod = self.queue.pop(now)?;
        self.cluster.watch_topologies(&pod.shape);
        match self.searcher.decide(&pod, &self.cluster) {
            Decision::Node(node) => {
                let attempts = self.queue.remove(&pod.uid).map_or(1, |waiting| waiting.attempts);
                self.cluster.withdraw(&pod.uid);
                self.cluster.place(pod.clone(), &node);
                self.assumed.insert(pod.uid.clone(), attempts);
                Some(Outcome::Bind(Binding { pod, node }))
            }
            Decision::Unschedulable(failure) => Some(Outcome::Wait(self.wait(pod, &failure, now))),
        }
    }

    fn wait(&mut self, pod: Arc<PodInfo>, failure: &Failure, now: Instant) -> Wait {
        let turn = self.searcher.turn();
        let before = self.cluster.nomination(&pod.uid).map(|node| node.facts.name.clone());
        let (message, after, victims) = match preemption::preempt(&pod, &mut self.cluster, failure, turn) {
            Preemption::Evict { node, victims } => (failure.reasons(), Some(node), victims),
            Preemption::Waiting(why) => (failure.message(&why), before.clone(), Vec::new()),
            Preemption::Not(why) => (failure.message(&why), None, Vec::new()),
        };
        if before != after {
            match &after {
                Some(node) => self.cluster.nominate(pod.clone(), node),
                None => drop(self.cluster.withdraw(&pod.uid)),
            }
        }
        // Until the API server says otherwise the victims are on their way out.
        for victim in &victims {
            self.set_terminating(&victim.uid, true);
        }
        self.queue.failed(&pod.uid, cycle::rejectors(failure), now);
        let message: Arc<str> = message.into();
        let said = self.queue.get(&pod.uid).and_then(|waiting| waiting.reported.clone());
        let said = said.as_deref().or(pod.unscheduled.as_deref());
        let condition = said != Some(&*message);
        self.queue.report(&pod.uid, message.clone());
        let nominated = (before != after).then(|| after.unwrap_or_default());
        Wait { pod, message, condition, nominated, victims }
    }

    fn set_terminating(&mut self, uid: &str, terminating: bool) {
        let Some(node) = self.cluster.node_of(uid).map(|node| node.facts.name.clone()) else { return };
        if let Some(pod) = self.cluster.pod(uid).cloned() {
            self.cluster.place(Arc::new(PodInfo { terminating, ..PodInfo::clone(&pod) }), &node);
        }
    }

    /// Notes that a victim was not ended after all; who waited for its room tries again.
    pub fn victim_stays(&mut self, victim: &str, preemptor: &str, now: Instant) {
        self.set_terminating(victim, false);
        self.cluster.withdraw(preemptor);
        if let Some(waiting) = self.queue.remove(preemptor) {
            self.queue.put_back(waiting.pod, waiting.attempts, now);
        }
    }

    /// Notes that a binding failed; says whether the pod still waits for one.
    pub fn not_bound(&mut self, uid: &str, now: Instant) -> bool {
        let Some(attempts) = self.assumed.remove(uid) else { return false };
        let node = self.cluster.node_of(uid).map(|node| node.facts.name.clone());
        let (Some(pod), Some(node)) = (self.cluster.displace(uid), node) else { return false };
        if pod.terminating {
            return false;
        }
        let left = Event::PodLeft { shape: &pod.shape, node: self.cluster.node(&node) };
        tell(&mut self.queue, &self.cluster, left, now);
        self.queue.put_back(pod, attempts, now);
        true
    }
}

fn tell(queue: &mut Queue, cluster: &Cluster, event: Event<'_>, now: Instant) {
    let namespaces = cluster.namespaces();
    queue.moved(now, |shape, rejectors| hints::helps(&event, shape, rejectors, namespaces));
}

#[cfg(test)]
mod tests;
