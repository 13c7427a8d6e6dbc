//! Authorization: who may do what.
//!
//! [`Authorizer`] asks, in order: is the user in `system:masters`; is it a node and the object its
//! own (the node authorizer); does RBAC allow it. Roles, bindings and the pods' references are kept
//! in indexes that follow the store's watch; a decision reads memory only.

mod escalation;
pub(crate) mod feed;
mod message;
pub mod node;
pub mod rbac;
mod review;
mod rule;

use gantry_store::Store;

use crate::Attributes;
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
}

impl Authorizer {
    /// An authorizer over what `store` holds, now and later.
    pub fn new(store: &Store) -> Self {
        Self { rbac: Feed::new(store), nodes: Feed::new(store) }
    }

    /// Decides on one request.
    pub fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.in_group("system:masters") {
            return Decision::Allow(String::new());
        }
        if let Some(node) = node::node_name(&attributes.user) {
            let decision = self.nodes.read(|index| index.graph.authorize(node, attributes));
            let Decision::NoOpinion(reason) = decision else { return decision };
            let decision = self.rbac.read(|index| index.rbac.authorize(attributes));
            return if decision.is_allowed() || reason.is_empty() {
                decision
            } else {
                Decision::NoOpinion(reason)
            };
        }
        self.rbac.read(|index| index.rbac.authorize(attributes))
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
