//! Watches of nodes, pods, namespaces and disruption budgets, reduced to what scheduling needs before they reach it.

use futures::StreamExt;
use gantry_client::Unmanaged;
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use crate::budgets::Budget;
use crate::pod::{PodInfo, Uid};
use crate::requirement::Labels;
use crate::watched::Pod;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Input {
    /// These are all pods.
    Pods(Vec<PodInfo>),
    /// A pod came or changed.
    Pod(Box<PodInfo>),
    /// A pod went.
    PodGone(Uid),
    /// These are all nodes.
    Nodes(Vec<Node>),
    /// A node came or changed.
    Node(Box<Node>),
    /// A node went.
    NodeGone(String),
    /// These are all namespaces.
    Namespaces(Vec<(String, Labels)>),
    /// A namespace came, changed, or (without labels) went.
    Namespace(String, Option<Labels>),
    /// These are all disruption budgets, by namespace and name.
    Budgets(Vec<(String, String, Budget)>),
    /// A disruption budget came, changed, or (without one) went.
    Budget(String, String, Option<Budget>),
    /// A pod could not be ended.
    VictimStays {
        /// The pod.
        victim: Uid,
        /// The pod that needs its room.
        preemptor: Uid,
    },
}

/// What has not been listed yet.
#[derive(Debug)]
pub(super) struct Missing {
    pods: bool,
    nodes: bool,
    namespaces: bool,
    budgets: bool,
}

impl Default for Missing {
    fn default() -> Self {
        Self { pods: true, nodes: true, namespaces: true, budgets: true }
    }
}

impl Missing {
    pub(super) fn note(&mut self, input: &Input) {
        match input {
            Input::Pods(_) => self.pods = false,
            Input::Nodes(_) => self.nodes = false,
            Input::Namespaces(_) => self.namespaces = false,
            Input::Budgets(_) => self.budgets = false,
            _ => {}
        }
    }

    /// Whether everything was listed.
    pub(super) fn nothing(&self) -> bool {
        !(self.pods || self.nodes || self.namespaces || self.budgets)
    }
}

/// Starts the watches; they end with `tasks`.
pub(super) fn start(client: &Client, inputs: &Sender<Input>, tasks: &mut JoinSet<()>) {
    let pods: Api<Unmanaged<Pod>> = Api::all(client.clone());
    let pod = |pod: Pod| PodInfo::new(&pod);
    tasks.spawn(watch(pods, inputs.clone(), pod, Input::Pods, |change| match change {
        Change::Applied(pod) => Input::Pod(Box::new(pod)),
        Change::Deleted(pod) => Input::PodGone(pod.uid),
    }));
    let nodes: Api<Unmanaged<Node>> = Api::all(client.clone());
    let node = |node: Node| node;
    tasks.spawn(watch(nodes, inputs.clone(), node, Input::Nodes, |change| match change {
        Change::Applied(node) => Input::Node(Box::new(node)),
        Change::Deleted(node) => Input::NodeGone(node.metadata.name.unwrap_or_default()),
    }));
    let namespaces: Api<Unmanaged<Namespace>> = Api::all(client.clone());
    let namespace = |namespace: Namespace| {
        let meta = namespace.metadata;
        (meta.name.unwrap_or_default(), meta.labels.unwrap_or_default())
    };
    tasks.spawn(watch(namespaces, inputs.clone(), namespace, Input::Namespaces, |change| match change {
        Change::Applied((name, labels)) => Input::Namespace(name, Some(labels)),
        Change::Deleted((name, _)) => Input::Namespace(name, None),
    }));
    let budgets: Api<Unmanaged<PodDisruptionBudget>> = Api::all(client.clone());
    let budget = |budget: PodDisruptionBudget| {
        let reduced = Budget::new(&budget);
        let meta = budget.metadata;
        (meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default(), reduced)
    };
    tasks.spawn(watch(budgets, inputs.clone(), budget, Input::Budgets, |change| match change {
        Change::Applied((namespace, name, budget)) => Input::Budget(namespace, name, Some(budget)),
        Change::Deleted((namespace, name, _)) => Input::Budget(namespace, name, None),
    }));
}

enum Change<T> {
    Applied(T),
    Deleted(T),
}

/// Sends what happens to objects of one kind, reduced by `keep`, until nobody receives it.
async fn watch<K, T>(
    api: Api<Unmanaged<K>>,
    inputs: Sender<Input>,
    keep: impl Fn(K) -> T,
    listed: impl Fn(Vec<T>) -> Input,
    changed: impl Fn(Change<T>) -> Input,
) where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut stream = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut list = Vec::new();
    while let Some(event) = stream.next().await {
        let input = match event {
            Ok(watcher::Event::Init) => {
                list.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(object)) => {
                list.push(keep(object.0));
                continue;
            }
            Ok(watcher::Event::InitDone) => listed(std::mem::take(&mut list)),
            Ok(watcher::Event::Apply(object)) => changed(Change::Applied(keep(object.0))),
            Ok(watcher::Event::Delete(object)) => changed(Change::Deleted(keep(object.0))),
            Err(error) => {
                tracing::debug!(%error, "a watch of the scheduler failed");
                continue;
            }
        };
        if inputs.send(input).await.is_err() {
            return;
        }
    }
}
