//! Which authorizers are asked, in which order.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use super::Decision;
use super::abac::Policies;
use super::configuration::{AuthorizerConfiguration, Configuration, ConnectionInfo, WebhookConfiguration};
use super::webhook::Webhook;
use crate::Error;
use crate::metrics::AccessMetrics;

/// The modes that there are.
const MODES: [&str; 6] = ["AlwaysAllow", "AlwaysDeny", "ABAC", "Webhook", "RBAC", "Node"];

/// How a server chooses its authorizers.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// An AuthorizationConfiguration, which is read again when it changes.
    pub configuration_file: Option<PathBuf>,
    /// Without a file, the types of the authorizers in order; none: Node and RBAC.
    pub modes: Vec<String>,
    /// The file of policies for mode ABAC.
    pub policy_file: Option<PathBuf>,
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
            if !self.modes.is_empty() || self.webhook_config_file.is_some() || self.policy_file.is_some() {
                let why = "authorization-config and authorization-mode, authorization-policy-file or \
                    authorization-webhook-* exclude each other";
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
        match self.mode_errors(modes).as_slice() {
            [] => Ok((configuration, String::new())),
            [one] => Err(wrong(one)),
            several => Err(wrong(&format!("[{}]", several.join(", ")))),
        }
    }

    /// What is wrong with the modes, in upstream's words.
    fn mode_errors(&self, modes: &[String]) -> Vec<String> {
        let mut errors = Vec::new();
        for mode in modes {
            if !MODES.contains(&mode.as_str()) {
                errors.push(format!("authorization-mode {mode:?} is not a valid mode"));
            }
            if mode == "ABAC" && self.policy_file.is_none() {
                errors.push("authorization-mode ABAC's authorization policy file not passed".to_owned());
            }
            if mode == "Webhook" && self.webhook_config_file.is_none() {
                errors.push("authorization-mode Webhook's authorization config file not passed".to_owned());
            }
        }
        let has = |wanted: &str| modes.iter().any(|mode| mode == wanted);
        for (given, flag, mode) in [
            (self.policy_file.is_some(), "policy-file", "ABAC"),
            (self.webhook_config_file.is_some(), "webhook-config-file", "Webhook"),
        ] {
            if given && !has(mode) {
                errors.push(format!("cannot specify --authorization-{flag} without mode {mode}"));
            }
        }
        let distinct: BTreeSet<&String> = modes.iter().collect();
        if distinct.len() != modes.len() {
            errors.push(format!("authorization-mode {modes:?} has mode specified more than once"));
        }
        match self.webhook_version.as_deref() {
            None | Some("v1" | "v1beta1") => {}
            Some(other) => errors.push(format!(
                "unsupported webhook authorizer version {other:?}, supported versions are \"v1\", \"v1beta1\""
            )),
        }
        errors
    }

    /// The policies for mode ABAC.
    pub(super) fn policies(&self) -> Result<Policies, Error> {
        self.policy_file.as_deref().map_or_else(|| Ok(Policies::default()), Policies::from_file)
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
    /// The policies of a file.
    Abac(Policies),
    /// Roles and their bindings.
    Rbac,
    /// Somebody else.
    Webhook(Box<Webhook>),
}

impl Chain {
    /// The authorizers of a configuration that was checked, with the policies for ABAC.
    pub fn new(
        configuration: &Configuration,
        policies: &Policies,
        metrics: &Arc<AccessMetrics>,
    ) -> Result<Self, Error> {
        let link = |each: &AuthorizerConfiguration| {
            let (type_, asked) = match (&*each.type_, &each.webhook) {
                ("AlwaysAllow", _) => ("AlwaysAllow", Asked::AlwaysAllow),
                ("Node", _) => ("Node", Asked::Node),
                ("ABAC", _) => ("ABAC", Asked::Abac(policies.clone())),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_that_cannot_be() {
        let check = |modes: &[&str], settings: Settings, expect: &str| {
            let modes = modes.iter().map(|mode| (*mode).to_owned()).collect();
            let error = Settings { modes, ..settings }.configuration().unwrap_err();
            assert_eq!(error.to_string(), format!("authorization: {expect}"));
        };
        let none = Settings::default;
        check(&["Node", "Maybe"], none(), "authorization-mode \"Maybe\" is not a valid mode");
        check(&["ABAC"], none(), "authorization-mode ABAC's authorization policy file not passed");
        check(&["Webhook"], none(), "authorization-mode Webhook's authorization config file not passed");
        let file = Settings { policy_file: Some("policy".into()), ..none() };
        check(&["RBAC"], file, "cannot specify --authorization-policy-file without mode ABAC");
        check(
            &["RBAC", "RBAC"],
            none(),
            "authorization-mode [\"RBAC\", \"RBAC\"] has mode specified more than once",
        );
    }
}
