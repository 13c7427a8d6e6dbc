//! The audit policy: rules, of which the first that a request matches says how much is kept.

use std::collections::BTreeMap;

use gantry_api::field::{FieldError, Path};
use gantry_api::rules::common::dns_subdomain;
use gantry_json::Value;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Attributes;
use crate::authz::joined;

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
    /// The header of a stream's answer is sent, or of a refusal because nobody knows who asks.
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
    /// Rules cannot be carried out.
    #[error("{}", joined(.0))]
    Rules(Vec<FieldError>),
    /// It has no rules.
    #[error("a policy needs at least one rule")]
    Empty,
}

/// The fields of an object that nobody knows.
type Unknown = BTreeMap<String, IgnoredAny>;

/// An audit policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: Value,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
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
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    #[serde(flatten)]
    unknown: Unknown,
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
        let (rules, mut errors) = (Path::new("rules"), Vec::new());
        policy.rules.iter().enumerate().for_each(|(at, rule)| rule.check(&rules.index(at), &mut errors));
        if !errors.is_empty() {
            return Err(PolicyError::Rules(errors));
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        Ok(policy)
    }

    /// The paths of the fields that nobody knows: as upstream has it, they do no harm.
    pub fn unknown(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.unknown.keys().cloned().collect();
        for (at, rule) in self.rules.iter().enumerate() {
            paths.extend(rule.unknown.keys().map(|field| format!("rules[{at}].{field}")));
            for (below, resources) in rule.resources.iter().enumerate() {
                let fields = resources.unknown.keys();
                paths.extend(fields.map(|field| format!("rules[{at}].resources[{below}].{field}")));
            }
        }
        paths
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

fn listed(texts: &[String]) -> Value {
    texts.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>().into()
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|each| each == item)
}

impl Rule {
    /// What cannot be carried out, in upstream's words.
    fn check(&self, path: &Path, errors: &mut Vec<FieldError>) {
        let urls = path.child("nonResourceURLs");
        for (at, url) in self.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
            let mut refuse = |why| errors.push(FieldError::invalid(&urls.index(at), url.as_str(), why));
            if !url.starts_with('/') {
                refuse("non-resource URL rules must begin with a '/' character");
            }
            if url.strip_suffix('*').unwrap_or(url).contains('*') {
                refuse("non-resource URL wildcards '*' must be the final character of the rule");
            }
        }
        let below = path.child("resources");
        for Resources { group, resources, resource_names, .. } in &self.resources {
            if !group.is_empty() {
                dns_subdomain(&below.child("group"), group, errors);
            }
            if resources.is_empty() && !resource_names.is_empty() {
                let why = "using resourceNames requires at least one resource";
                errors.push(FieldError::invalid(&below.child("resourceNames"), listed(resource_names), why));
            }
        }
        let resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if resources && !self.non_resource_urls.is_empty() {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(&urls, listed(&self.non_resource_urls), why));
        }
    }

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
        let check = |rules: &str, expect: &str| {
            let error = policy(rules).unwrap_err().to_string();
            assert!(error.starts_with(expect), "{rules}: {error}");
        };
        check(" []", "a policy needs at least one rule");
        check("- {level: Some}", "rules[0]");
        check(
            "- {level: None, nonResourceURLs: ['*', healthz, '/a*b', 'c**', '']}",
            "[rules[0].nonResourceURLs[1]: Invalid value: \"healthz\": non-resource URL rules must begin with a '/' character, \
             rules[0].nonResourceURLs[2]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final character of the rule, \
             rules[0].nonResourceURLs[3]: Invalid value: \"c**\": non-resource URL rules must begin with a '/' character, \
             rules[0].nonResourceURLs[3]: Invalid value: \"c**\": non-resource URL wildcards '*' must be the final character of the rule, \
             rules[0].nonResourceURLs[4]: Invalid value: \"\": non-resource URL rules must begin with a '/' character]",
        );
        check(
            "- {level: None}\n- {level: None, nonResourceURLs: ['/a'], namespaces: [b]}",
            "rules[1].nonResourceURLs: Invalid value: [\"/a\"]: rules cannot apply to both regular resources and non-resource URLs",
        );
        check(
            "- {level: None, resources: [{group: rbac.authorization.k8s.io/v1}]}",
            "rules[0].resources.group: Invalid value: \"rbac.authorization.k8s.io/v1\": a lowercase RFC 1123 subdomain must consist of",
        );
        check(
            "- {level: None, resources: [{group: apps}, {resourceNames: [leader]}]}",
            "rules[0].resources.resourceNames: Invalid value: [\"leader\"]: using resourceNames requires at least one resource",
        );
        assert!(
            Policy::read("kind: Policy\napiVersion: audit.k8s.io/v1beta1\nrules: [{level: None}]").is_err()
        );
        assert!(policy("- {level: None, nonResourceURLs: ['*', '/', '/a*']}").is_ok());
    }

    #[test]
    fn what_nobody_knows_does_no_harm() {
        let read =
            policy("- {level: None, user: [a], resources: [{group: b, names: {c: d}}]}\nextra: 1").unwrap();
        assert_eq!(read.unknown(), ["extra", "rules[0].user", "rules[0].resources[0].names"]);
        assert_eq!(policy("- {level: None}").unwrap().unknown(), Vec::<String>::new());
    }
}
