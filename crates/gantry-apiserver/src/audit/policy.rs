//! The audit policy: rules, of which the first that a request matches says how much is kept.

use serde::Deserialize;

use crate::Attributes;

/// How much of a request is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who asked for what, and the outcome.
    Metadata,
    /// The request's object as well.
    Request,
    /// The answer's object as well.
    RequestResponse,
}

impl Level {
    /// The API's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// A moment in the life of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// It is known who asks.
    RequestReceived,
    /// The header of a stream's answer is sent.
    ResponseStarted,
    /// The whole answer is sent.
    ResponseComplete,
    /// The server failed.
    Panic,
}

impl Stage {
    /// The API's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// Why a policy is none.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(#[from] serde_yaml_ng::Error),
    /// It is another kind of document.
    #[error("a policy is of kind Policy in audit.k8s.io/v1, not {0:?} in {1:?}")]
    Kind(String, String),
    /// A rule cannot be carried out.
    #[error("rules[{0}]: {1}")]
    Rule(usize, &'static str),
    /// It has no rules.
    #[error("a policy needs at least one rule")]
    Empty,
}

/// An audit policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: gantry_json::Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<Resources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// A set of stages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages(u8);

impl Stages {
    /// Whether the stage is one of them.
    pub fn has(self, stage: Stage) -> bool {
        self.0 & (1 << stage as u8) != 0
    }
}

impl<'a> FromIterator<&'a Stage> for Stages {
    fn from_iter<T: IntoIterator<Item = &'a Stage>>(stages: T) -> Self {
        Self(stages.into_iter().fold(0, |set, stage| set | 1 << *stage as u8))
    }
}

/// What a policy says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// How much is kept.
    pub level: Level,
    /// The stages without an event.
    pub omitted: Stages,
    /// Whether objects are kept without their managed fields.
    pub omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy in YAML or JSON.
    pub fn read(text: &str) -> Result<Self, PolicyError> {
        let policy: Self = serde_yaml_ng::from_str(text)?;
        if (policy.kind.as_str(), policy.api_version.as_str()) != ("Policy", "audit.k8s.io/v1") {
            return Err(PolicyError::Kind(policy.kind, policy.api_version));
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        for (at, rule) in policy.rules.iter().enumerate() {
            let resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if resources && !rule.non_resource_urls.is_empty() {
                return Err(PolicyError::Rule(
                    at,
                    "rules cannot apply to both regular resources and non-resource URLs",
                ));
            }
            let star = |url: &String| url.trim_end_matches('*').contains('*') || !url.starts_with(['/', '*']);
            if rule.non_resource_urls.iter().any(star) {
                return Err(PolicyError::Rule(
                    at,
                    "non-resource URLs begin with a slash and have a star at most at their end",
                ));
            }
        }
        Ok(policy)
    }

    /// What is kept of the request with `attributes`.
    pub fn verdict(&self, attributes: &Attributes) -> Verdict {
        let Some(rule) = self.rules.iter().find(|rule| rule.matches(attributes)) else {
            return Verdict { level: Level::None, omitted: Stages::default(), omit_managed_fields: false };
        };
        Verdict {
            level: rule.level,
            omitted: self.omit_stages.iter().chain(&rule.omit_stages).collect(),
            omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
        }
    }
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|each| each == item)
}

impl Rule {
    fn matches(&self, attributes: &Attributes) -> bool {
        let any = |list: &[String], item: &str| list.is_empty() || has(list, item);
        let user = &attributes.user;
        if !any(&self.users, &user.name)
            || !(self.user_groups.is_empty() || user.groups.iter().any(|group| has(&self.user_groups, group)))
            || !any(&self.verbs, &attributes.verb)
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return attributes.is_resource
                && any(&self.namespaces, &attributes.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|each| each.covers(attributes)));
        }
        if !self.non_resource_urls.is_empty() {
            return !attributes.is_resource
                && self.non_resource_urls.iter().any(|url| match url.strip_suffix('*') {
                    Some(prefix) => attributes.path.starts_with(prefix),
                    None => *url == attributes.path,
                });
        }
        true
    }
}

impl Resources {
    fn covers(&self, attributes: &Attributes) -> bool {
        if self.group != attributes.group {
            return false;
        }
        let named = self.resource_names.is_empty() || has(&self.resource_names, &attributes.name);
        let (resource, subresource) = (attributes.resource.as_str(), attributes.subresource.as_str());
        self.resources.is_empty()
            || named
                && self.resources.iter().any(|each| match each.split_once('/') {
                    _ if each == "*" => true,
                    None => subresource.is_empty() && each == resource,
                    Some(("*", below)) => !subresource.is_empty() && below == subresource,
                    Some((above, "*")) => above == resource,
                    Some((above, below)) => above == resource && below == subresource,
                })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::User;

    fn policy(rules: &str) -> Result<Policy, PolicyError> {
        Policy::read(&format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n{rules}"
        ))
    }

    #[test]
    fn the_first_rule_that_matches() {
        let policy = policy(
            "- {level: None, users: ['system:kube-proxy'], verbs: [watch], resources: [{group: '', resources: [endpoints, services]}]}\n\
             - {level: None, nonResourceURLs: ['/healthz*', '/version']}\n\
             - {level: Request, resources: [{group: '', resources: [configmaps], resourceNames: [leader]}], namespaces: [kube-system]}\n\
             - {level: Metadata, resources: [{resources: [secrets, 'pods/*', '*/token']}, {group: authentication.k8s.io}]}\n\
             - {level: RequestResponse, userGroups: [dev], omitStages: [ResponseStarted], omitManagedFields: true}\n\
             - {level: Metadata, verbs: [delete]}\n",
        )
        .unwrap();
        let check = |user: &str, verb: &str, target: &str, level: Level| {
            let groups: &[&str] = if user == "jane" { &["dev"] } else { &[] };
            let mut attributes = Attributes {
                user: User::new(user, groups.iter().copied()).into(),
                verb: verb.into(),
                ..Attributes::default()
            };
            if target.starts_with('/') {
                attributes.path = target.into();
            } else {
                let parts: Vec<&str> = target.split(' ').collect();
                attributes.is_resource = true;
                (attributes.group, attributes.resource, attributes.subresource) =
                    (parts[0].trim_matches('-').into(), parts[1].into(), parts[2].trim_matches('-').into());
                (attributes.namespace, attributes.name) =
                    (parts[3].trim_matches('-').into(), parts[4].trim_matches('-').into());
            }
            assert_eq!(policy.verdict(&attributes).level, level, "{user} {verb} {target}");
        };
        check("system:kube-proxy", "watch", "- services - - -", Level::None);
        check("system:kube-proxy", "list", "- services - - -", Level::None);
        check("bob", "get", "/healthz/ping", Level::None);
        check("jane", "get", "/version", Level::None);
        check("jane", "get", "/versions", Level::RequestResponse);
        check("bob", "update", "- configmaps - kube-system leader", Level::Request);
        check("bob", "update", "- configmaps - kube-system other", Level::None);
        check("bob", "get", "- secrets - a s", Level::Metadata);
        check("bob", "get", "apps secrets - a s", Level::None);
        check("bob", "create", "- pods exec a p", Level::Metadata);
        check("bob", "create", "- pods - a p", Level::Metadata);
        check("bob", "create", "- serviceaccounts token a s", Level::Metadata);
        check("bob", "create", "authentication.k8s.io tokenreviews - - -", Level::Metadata);
        check("jane", "get", "apps deployments - a d", Level::RequestResponse);
        check("bob", "delete", "apps deployments - a d", Level::Metadata);
        check("bob", "get", "apps deployments - a d", Level::None);
        let jane = Attributes {
            user: User::new("jane", ["dev"]).into(),
            path: "/x".into(),
            ..Attributes::default()
        };
        let verdict = policy.verdict(&jane);
        let omitted = [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic]
            .map(|stage| verdict.omitted.has(stage));
        assert_eq!(omitted, [true, true, false, false]);
        assert!(verdict.omit_managed_fields);
    }

    #[test]
    fn what_is_no_policy() {
        for text in [
            "- {level: Some}",
            "- {level: None, user: [a]}",
            "- {level: None, nonResourceURLs: [healthz]}",
            "- {level: None, nonResourceURLs: ['/a*b']}",
            "- {level: None, nonResourceURLs: ['/a'], namespaces: [b]}",
            "[]",
        ] {
            assert!(policy(text).is_err(), "{text}");
        }
        assert!(
            Policy::read("kind: Policy\napiVersion: audit.k8s.io/v1beta1\nrules: [{level: None}]").is_err()
        );
    }
}
