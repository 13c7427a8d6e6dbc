//! Authorization: who may do what.
//!
//! [`Authorizer`] asks, in order: is the user in `system:masters`; then those of its [`Chain`], by default
//! whether the user is a node and the object its own (the node authorizer), and whether RBAC allows it.
//! Roles, bindings and the pods' references are kept in indexes that follow the store's watch: these
//! decisions read memory only, and are ready when they are asked for. Only a webhook makes one wait.

mod chain;
mod escalation;
pub(crate) mod feed;
mod message;
pub mod node;
pub mod rbac;
mod review;
mod rule;

use arc_swap::ArcSwap;
use futures::FutureExt;
use gantry_store::Store;

use crate::Attributes;
use chain::Reasons;
pub use chain::{Chain, Link};
pub use escalation::{check_binding_write, check_role_write};
use feed::Feed;
pub use message::{forbidden_message, forbidden_prefix};
use node::{NodeGraph, NodeIndex};
use rbac::RbacIndex;
pub use review::{
    access_review_attributes, local_subject_access_review, self_subject_access_review,
    self_subject_rules_review, subject_access_review,
};
pub use rule::Rule;

/// What an authorizer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The request may go on.
    Allow(String),
    /// Nobody else may allow it.
    Deny(String),
    /// This authorizer knows of no reason to allow it.
    NoOpinion(String),
}

impl Decision {
    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// Why.
    pub fn reason(&self) -> &str {
        match self {
            Self::Allow(reason) | Self::Deny(reason) | Self::NoOpinion(reason) => reason,
        }
    }
}

/// The authorizers of a server.
pub struct Authorizer {
    rbac: Feed<RbacIndex>,
    nodes: Feed<NodeIndex>,
    chain: ArcSwap<Chain>,
}

impl Authorizer {
    /// An authorizer over what `store` holds, now and later.
    pub fn new(store: &Store) -> Self {
        let chain = ArcSwap::from_pointee(Chain::default());
        Self { rbac: Feed::new(store), nodes: Feed::new(store), chain }
    }

    /// Decides on one request. Waits only where a webhook is asked.
    pub async fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.in_group("system:masters") {
            return Decision::Allow(String::new());
        }
        let chain = self.chain.load_full();
        let mut reasons = Reasons::default();
        for link in &chain.links {
            let decision = match link {
                Link::AlwaysAllow => Decision::Allow(String::new()),
                Link::AlwaysDeny => Decision::NoOpinion("Everything is forbidden.".to_owned()),
                Link::Node => match node::node_name(&attributes.user) {
                    Some(node) => self.nodes.read(|index| index.graph.authorize(node, attributes)),
                    None => continue,
                },
                Link::Rbac => self.rbac.read(|index| index.rbac.authorize(attributes)),
            };
            match decision {
                Decision::NoOpinion(reason) => reasons.add(reason),
                decision => return decision,
            }
        }
        Decision::NoOpinion(reasons.joined())
    }

    /// Decides on one request without waiting; where that takes waiting, nothing is allowed.
    pub fn authorize_now(&self, attributes: &Attributes) -> Decision {
        let waiting = || Decision::NoOpinion("the authorizer's answer was not waited for".to_owned());
        self.authorize(attributes).now_or_never().unwrap_or_else(waiting)
    }

    /// Runs `read` on the RBAC rules as they are now.
    pub fn with_rbac<T>(&self, read: impl FnOnce(&rbac::Rbac) -> T) -> T {
        self.rbac.read(|index| read(&index.rbac))
    }

    /// Runs `read` on the graph of nodes and what their pods refer to.
    pub fn with_nodes<T>(&self, read: impl FnOnce(&NodeGraph) -> T) -> T {
        self.nodes.read(|index| read(&index.graph))
    }

    /// Keeps the indexes near the store while no request asks. Ends when the store closes; dropping
    /// the future is safe.
    pub async fn follow(&self) {
        tokio::join!(self.rbac.follow(), self.nodes.follow());
    }
}

#[cfg(test)]
mod tests;
