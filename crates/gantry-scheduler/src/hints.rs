//! Which events can make a waiting pod schedulable: only those send it back into the queue.

use crate::node::NodeInfo;
use crate::plugins::{self, Plugin, PluginSet};
use crate::requirement::Namespaces;
use crate::shape::Shape;

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A node came or changed.
    Node(&'a NodeInfo),
    /// A node went.
    NodeGone,
    /// A pod left, or was to come to, this node.
    PodLeft {
        /// The pod's shape.
        shape: &'a Shape,
        /// The node, where it exists.
        node: Option<&'a NodeInfo>,
    },
    /// A pod of this shape was placed.
    PodPlaced(&'a Shape),
    /// A namespace's labels changed.
    Namespace,
}

/// Whether `event` can help a pod that `rejectors` rejected.
pub fn helps(event: &Event<'_>, shape: &Shape, rejectors: PluginSet, namespaces: &Namespaces) -> bool {
    let spreads_over = |other: &Shape| {
        rejectors.has(Plugin::PodTopologySpread)
            && other.namespace == shape.namespace
            && shape.hard_spread.iter().any(|spread| spread.selector.matches(&other.labels))
    };
    let by_affinity = rejectors.has(Plugin::InterPodAffinity);
    match event {
        // There was no node at all.
        Event::Node(_) if rejectors.is_empty() => true,
        Event::Node(node) => match plugins::filter(shape, node) {
            Ok(()) => true,
            // A reason that the pod has not been told of is worth another try, too.
            Err(rejection) if !rejectors.has(rejection.plugin) => true,
            Err(rejection) => {
                rejection.resolvable && node.pods.iter().any(|pod| pod.priority < shape.priority)
            }
        },
        Event::NodeGone => rejectors.has(Plugin::PodTopologySpread),
        Event::PodLeft { shape: left, node } => {
            let room = rejectors.has(Plugin::NodeResourcesFit) || rejectors.has(Plugin::NodePorts);
            room && node.is_some_and(|node| plugins::filter(shape, node).is_ok())
                || spreads_over(left)
                || by_affinity
                    && (shape.anti_affinity.iter().any(|term| term.selects(left, namespaces))
                        || left.anti_affinity.iter().any(|term| term.selects(shape, namespaces)))
        }
        Event::PodPlaced(placed) => {
            spreads_over(placed)
                || by_affinity && shape.affinity.iter().any(|term| term.selects(placed, namespaces))
        }
        Event::Namespace => by_affinity,
    }
}
