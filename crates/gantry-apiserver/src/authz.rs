//! Authorization: who may do what.
//!
//! [`Authorizer`] asks, in order: is the user in `system:masters`; then those that are configured, by default
//! whether the user is a node and the object its own (the node authorizer), and whether RBAC allows it.
//! Roles, bindings and the pods' references are kept in indexes that follow the store's watch: these
//! decisions read memory only, and are ready when they are asked for. Only a webhook makes one wait.

mod abac;
mod chain;
mod configuration;
mod escalation;
pub(crate) mod feed;
mod message;
pub mod node;
pub mod rbac;
mod review;
mod review_selectors;
mod rule;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures::FutureExt;
use gantry_json::json;
use gantry_store::Store;

use crate::followed_file::FollowedFile;
use crate::metrics::{AccessMetrics, Reloaded};
use crate::{Attributes, Error, User};
use abac::Policies;
pub use chain::Settings;
use chain::{Asked, Chain, Reasons};
use configuration::Configuration;
pub(crate) use configuration::{ConfigurationError, joined};
pub use escalation::{check_binding_write, check_role_write};
use feed::Feed;
pub use message::{forbidden_message, forbidden_prefix};
use node::{NodeGraph, NodeIndex};
use rbac::RbacIndex;
use review::Rules;
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
    /// An authorizer could not find out, and no other allowed it. Nobody else may allow it where it is `denied`.
    Failed {
        /// Whether that counts as a refusal.
        denied: bool,
        /// What failed.
        error: String,
    },
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
            Self::Failed { error, .. } => error,
        }
    }

    /// What metrics call it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Allow(_) => "allowed",
            Self::Deny(_) => "denied",
            Self::NoOpinion(_) => "no-opinion",
            Self::Failed { .. } => "error",
        }
    }
}

/// The authorizers of a server.
pub struct Authorizer {
    rbac: Feed<RbacIndex>,
    nodes: Feed<NodeIndex>,
    chain: ArcSwap<Chain>,
    metrics: Arc<AccessMetrics>,
    /// The configuration file, with what was in it.
    file: Option<(PathBuf, String)>,
}

impl Authorizer {
    /// An authorizer over what `store` holds, now and later, that asks the node authorizer and RBAC.
    pub fn new(store: &Store) -> Self {
        let chain = ArcSwap::from_pointee(Chain::default());
        let metrics = Arc::default();
        Self { rbac: Feed::new(store), nodes: Feed::new(store), chain, metrics, file: None }
    }

    /// An authorizer that asks those whom `settings` choose.
    pub(crate) fn configured(
        store: &Store,
        settings: &Settings,
        metrics: Arc<AccessMetrics>,
    ) -> Result<Self, Error> {
        let (configuration, text) = settings.configuration()?;
        let chain = Chain::new(&configuration, &settings.policies()?, &metrics)?;
        let chain = ArcSwap::from_pointee(chain);
        let file = settings.configuration_file.clone().map(|path| (path, text));
        Ok(Self { rbac: Feed::new(store), nodes: Feed::new(store), chain, metrics, file })
    }

    /// Takes over each change of the configuration file. What cannot be used is told, and what was before
    /// stays.
    pub(crate) async fn follow_configuration(&self) {
        let Some((path, text)) = &self.file else { return std::future::pending().await };
        let changed = |text: &str| {
            let next = Configuration::parse(text).map_err(|error| error.to_string());
            let chain = |read: Configuration| Chain::new(&read, &Policies::default(), &self.metrics);
            let next = next.and_then(|read| chain(read).map_err(|error| error.to_string()));
            self.metrics.reloaded(Reloaded::Authorization, next.is_ok());
            match next {
                Ok(chain) => {
                    self.chain.store(Arc::new(chain));
                    tracing::info!(path = %path.display(), "authorization is configured anew");
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), error, "authorization stays as it was");
                }
            }
        };
        if let Err(error) = FollowedFile::new(path, text.as_bytes()).follow(changed).await {
            tracing::error!(path = %path.display(), %error, "the file is not followed");
            std::future::pending::<()>().await;
        }
    }

    /// Decides on one request. Waits only where a webhook is asked.
    pub async fn authorize(&self, attributes: &Attributes) -> Decision {
        if attributes.user.in_group("system:masters") {
            return Decision::Allow(String::new());
        }
        let chain = self.chain.load_full();
        let mut reasons = Reasons::default();
        for link in &chain.links {
            let decision = match &link.asked {
                Asked::AlwaysAllow => Decision::Allow(String::new()),
                Asked::AlwaysDeny => Decision::NoOpinion("Everything is forbidden.".to_owned()),
                Asked::Node => match node::node_name(&attributes.user) {
                    Some(node) => self.nodes.read(|index| index.graph.authorize(node, attributes)),
                    None => continue,
                },
                Asked::Abac(policies) => policies.authorize(attributes),
                Asked::Rbac => self.rbac.read(|index| index.rbac.authorize(attributes)),
                // In a box, so that those who ask nobody carry nothing of it around.
                Asked::Webhook(webhook) => Box::pin(webhook.authorize(attributes)).await,
            };
            match decision {
                Decision::NoOpinion(reason) => reasons.add(&reason),
                Decision::Failed { denied: false, error } => reasons.failed(error),
                decision => {
                    link.count(&decision);
                    return decision;
                }
            }
        }
        reasons.decision()
    }

    /// Decides on one request without waiting; `None`: a webhook might have to be asked.
    pub fn authorize_from_memory(&self, attributes: &Attributes) -> Option<Decision> {
        let asks = |link: &chain::Link| matches!(link.asked, Asked::Webhook(_));
        if self.chain.load().links.iter().any(asks) {
            return None;
        }
        self.authorize(attributes).now_or_never()
    }

    /// What a user may do in a namespace, as far as the authorizers can tell.
    fn rules_of(&self, user: &User, namespace: &str) -> Rules {
        let chain = self.chain.load();
        let mut rules = Rules::default();
        for link in &chain.links {
            match &link.asked {
                Asked::AlwaysAllow => {
                    let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
                    rules.resources.push(all);
                    rules.paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
                }
                Asked::AlwaysDeny => {}
                Asked::Abac(policies) => {
                    let (resources, paths) = policies.rules_of(user, namespace);
                    rules.resources.extend(resources);
                    rules.paths.extend(paths);
                }
                Asked::Rbac => self.with_rbac(|rbac| rules.extend(&rbac.rules_of(user, namespace))),
                // What a node may do depends on which pods it has.
                Asked::Node if node::node_name(user).is_none() => {}
                Asked::Node => rules.unknown.push("node authorizer does not support user rule resolution"),
                Asked::Webhook(_) => {
                    let why = "webhook authorizer does not support user rule resolution";
                    if !rules.unknown.contains(&why) {
                        rules.unknown.push(why);
                    }
                }
            }
        }
        rules
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
