//! Which authorizers are asked, in which order.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::Decision;
use super::configuration::{
    AuthorizerConfiguration, Configuration, ConfigurationError, ConnectionInfo, WebhookConfiguration,
};
use super::webhook::Webhook;
use crate::Error;
use crate::metrics::AccessMetrics;

/// How a server chooses its authorizers.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// An AuthorizationConfiguration, which is read again when it changes.
    pub configuration_file: Option<PathBuf>,
    /// Without a file, the types of the authorizers in order; none: Node and RBAC.
    pub modes: Vec<String>,
    /// The kubeconfig of the webhook, where it is among the modes.
    pub webhook_config_file: Option<PathBuf>,
    /// `v1` or `v1beta1`; `v1` where nothing is said.
    pub webhook_version: Option<String>,
    /// How long the webhook's permission is remembered; five minutes where nothing is said.
    pub webhook_authorized_ttl: Option<Duration>,
    /// How long its refusal is remembered; half a minute where nothing is said.
    pub webhook_unauthorized_ttl: Option<Duration>,
}

impl Settings {
    /// The configuration that the settings amount to, with the text that it was read from.
    pub(super) fn configuration(&self) -> Result<(Configuration, String), Error> {
        let wrong = |error: &dyn std::fmt::Display| Error::config("authorization", error);
        if let Some(file) = &self.configuration_file {
            if !self.modes.is_empty() || self.webhook_config_file.is_some() {
                let why = "authorization-config and authorization-mode or authorization-webhook-* exclude each other";
                return Err(wrong(&why));
            }
            let named = |error: &dyn std::fmt::Display| {
                wrong(&format!("authorization-config {}: {error}", file.display()))
            };
            let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
            let read = Configuration::parse(&text).map_err(|error| named(&error))?;
            return Ok((read, text));
        }
        let modes = if self.modes.is_empty() { &["Node".into(), "RBAC".into()][..] } else { &self.modes };
        let mut configuration = Configuration::default();
        for mode in modes {
            let webhook = (mode == "Webhook").then(|| self.webhook());
            let name = if webhook.is_some() { "default".to_owned() } else { mode.to_lowercase() };
            let authorizer = AuthorizerConfiguration { type_: mode.clone(), name, webhook };
            configuration.authorizers.push(authorizer);
        }
        if self.webhook_config_file.is_some() && !modes.iter().any(|mode| mode == "Webhook") {
            return Err(wrong(&"cannot specify authorization-webhook-config-file without mode Webhook"));
        }
        let errors = configuration.errors();
        if !errors.is_empty() {
            return Err(wrong(&ConfigurationError::Invalid(errors)));
        }
        Ok((configuration, String::new()))
    }

    fn webhook(&self) -> WebhookConfiguration {
        WebhookConfiguration {
            authorized_ttl: Some(self.webhook_authorized_ttl.unwrap_or(Duration::from_secs(300))),
            unauthorized_ttl: Some(self.webhook_unauthorized_ttl.unwrap_or(Duration::from_secs(30))),
            timeout: Some(Duration::from_secs(30)),
            subject_access_review_version: self.webhook_version.clone().unwrap_or_else(|| "v1".into()),
            failure_policy: "NoOpinion".into(),
            connection_info: ConnectionInfo {
                type_: "KubeConfigFile".into(),
                kube_config_file: self.webhook_config_file.clone(),
            },
            ..WebhookConfiguration::default()
        }
    }
}

/// The authorizers that are asked, in order, until one has an opinion.
#[derive(Debug)]
pub(super) struct Chain {
    pub links: Vec<Link>,
}

/// One authorizer.
#[derive(Debug)]
pub(super) struct Link {
    pub asked: Asked,
    allowed: Counter,
    denied: Counter,
}

impl Link {
    fn new(type_: &'static str, name: &str, asked: Asked, metrics: &AccessMetrics) -> Self {
        let [allowed, denied] = metrics.decisions(type_, name);
        Self { asked, allowed, denied }
    }

    /// Counts what it decided.
    pub fn count(&self, decision: &Decision) {
        if decision.is_allowed() {
            self.allowed.inc()
        } else {
            self.denied.inc()
        };
    }
}

/// What an authorizer looks at.
#[derive(Debug)]
pub(super) enum Asked {
    /// Allows everything.
    AlwaysAllow,
    /// Allows nothing.
    AlwaysDeny,
    /// Nodes and what belongs to them.
    Node,
    /// Roles and their bindings.
    Rbac,
    /// Somebody else.
    Webhook(Box<Webhook>),
}

impl Chain {
    /// The authorizers of a configuration that was checked.
    pub fn new(configuration: &Configuration, metrics: &Arc<AccessMetrics>) -> Result<Self, Error> {
        let link = |each: &AuthorizerConfiguration| {
            let (type_, asked) = match (&*each.type_, &each.webhook) {
                ("AlwaysAllow", _) => ("AlwaysAllow", Asked::AlwaysAllow),
                ("Node", _) => ("Node", Asked::Node),
                ("RBAC", _) => ("RBAC", Asked::Rbac),
                ("Webhook", Some(webhook)) => {
                    let webhook = Webhook::new(&each.name, webhook, metrics.clone())?;
                    ("Webhook", Asked::Webhook(Box::new(webhook)))
                }
                _ => ("AlwaysDeny", Asked::AlwaysDeny),
            };
            Ok(Link::new(type_, &each.name, asked, metrics))
        };
        Ok(Self { links: configuration.authorizers.iter().map(link).collect::<Result<_, _>>()? })
    }
}

impl Default for Chain {
    fn default() -> Self {
        let metrics = AccessMetrics::default();
        let link = |type_, name: &str, asked| Link::new(type_, name, asked, &metrics);
        Self { links: vec![link("Node", "node", Asked::Node), link("RBAC", "rbac", Asked::Rbac)] }
    }
}

/// What those asked so far say who have no opinion.
#[derive(Debug, Default)]
pub(super) struct Reasons {
    reasons: String,
    failures: Vec<String>,
}

impl Reasons {
    pub fn add(&mut self, reason: &str) {
        if !self.reasons.is_empty() && !reason.is_empty() {
            self.reasons.push('\n');
        }
        self.reasons.push_str(reason);
    }

    pub fn failed(&mut self, error: String) {
        self.failures.push(error);
    }

    pub fn decision(self) -> Decision {
        match self.failures.as_slice() {
            [] => Decision::NoOpinion(self.reasons),
            [one] => Decision::Failed { denied: false, error: one.clone() },
            more => Decision::Failed { denied: false, error: format!("[{}]", more.join(", ")) },
        }
    }
}
