//! AuthorizationConfiguration (`apiserver.config.k8s.io`): which authorizers are asked, in order.

use std::collections::HashSet;
use std::path::{Path as FilePath, PathBuf};
use std::time::Duration;

use gantry_api::field::{FieldError, Path};
use gantry_api::rules::common;
use gantry_json::Value;
use serde::Deserialize;

use crate::duration;
use crate::expression::{About, Expression};

/// The types that an authorizer can have.
const TYPES: [&str; 5] = ["AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It breaks rules.
    #[error("{}", joined(.0))]
    Invalid(Vec<FieldError>),
}

pub(crate) fn joined(errors: &[FieldError]) -> String {
    let texts: Vec<String> = errors.iter().map(FieldError::to_string).collect();
    match texts.as_slice() {
        [one] => one.clone(),
        more => format!("[{}]", more.join(", ")),
    }
}

/// The authorizers, in order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Configuration {
    api_version: String,
    kind: String,
    /// Those asked.
    pub authorizers: Vec<AuthorizerConfiguration>,
}

/// One authorizer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthorizerConfiguration {
    /// `Webhook`, `RBAC`, `Node`, `AlwaysAllow` or `AlwaysDeny`.
    #[serde(rename = "type")]
    pub type_: String,
    /// What metrics call it.
    pub name: String,
    /// Where it is asked, for a webhook.
    pub webhook: Option<WebhookConfiguration>,
}

/// How a webhook is asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct WebhookConfiguration {
    /// How long it is remembered that something is allowed.
    #[serde(rename = "authorizedTTL", deserialize_with = "duration::deserialize")]
    pub authorized_ttl: Option<Duration>,
    /// Whether it is remembered that something is allowed; it is, where nothing is said.
    pub cache_authorized_requests: Option<bool>,
    /// How long it is remembered that something is not allowed.
    #[serde(rename = "unauthorizedTTL", deserialize_with = "duration::deserialize")]
    pub unauthorized_ttl: Option<Duration>,
    /// Whether it is remembered that something is not allowed; it is, where nothing is said.
    pub cache_unauthorized_requests: Option<bool>,
    /// How long an answer may take.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Option<Duration>,
    /// `v1` or `v1beta1`.
    pub subject_access_review_version: String,
    /// `v1`, where there are match conditions.
    pub match_condition_subject_access_review_version: String,
    /// What is decided without an answer: `NoOpinion` or `Deny`.
    pub failure_policy: String,
    /// Where it is.
    pub connection_info: ConnectionInfo,
    /// What all must hold for it to be asked.
    pub match_conditions: Vec<MatchCondition>,
}

/// Where a webhook is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectionInfo {
    /// `KubeConfigFile` or `InClusterConfig`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The kubeconfig.
    pub kube_config_file: Option<PathBuf>,
}

/// What must hold for a webhook to be asked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MatchCondition {
    /// A CEL expression over `request`, the spec of a SubjectAccessReview.
    pub expression: String,
}

impl Configuration {
    /// Reads a configuration with its defaults, and checks it.
    pub fn parse(text: &str) -> Result<Self, ConfigurationError> {
        let mut read: Self = serde_yaml_ng::from_str(text)
            .map_err(|error| ConfigurationError::Unreadable(error.to_string()))?;
        let versions =
            ["v1alpha1", "v1beta1", "v1"].map(|version| format!("apiserver.config.k8s.io/{version}"));
        if !versions.contains(&read.api_version) || read.kind != "AuthorizationConfiguration" {
            let why = format!(
                "no kind {:?} is registered for version {:?}: AuthorizationConfiguration of {} is expected",
                read.kind, read.api_version, versions[2],
            );
            return Err(ConfigurationError::Unreadable(why));
        }
        for webhook in read.authorizers.iter_mut().filter_map(|each| each.webhook.as_mut()) {
            let or = |given: Option<Duration>, seconds| match given {
                None | Some(Duration::ZERO) => Some(Duration::from_secs(seconds)),
                given => given,
            };
            webhook.authorized_ttl = or(webhook.authorized_ttl, 300);
            webhook.unauthorized_ttl = or(webhook.unauthorized_ttl, 30);
        }
        let errors = read.errors();
        if errors.is_empty() { Ok(read) } else { Err(ConfigurationError::Invalid(errors)) }
    }

    /// What is wrong with it.
    pub fn errors(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let path = Path::new("authorizers");
        if self.authorizers.is_empty() {
            errors.push(FieldError::required(&path, "at least one authorization mode must be defined"));
        }
        let (mut types, mut names) = (HashSet::new(), HashSet::new());
        for (at, each) in self.authorizers.iter().enumerate() {
            let path = path.index(at);
            let kind = path.child("type");
            if each.type_.is_empty() {
                errors.push(FieldError::required(&kind, ""));
                continue;
            }
            if !TYPES.contains(&&*each.type_) {
                errors.push(FieldError::not_supported(&kind, &*each.type_, &TYPES));
                continue;
            }
            if !types.insert(&*each.type_) && each.type_ != "Webhook" {
                errors.push(FieldError::duplicate(&kind, &*each.type_));
                continue;
            }
            check_name(&path.child("name"), &each.name, !names.insert(&*each.name), &mut errors);
            let at = path.child("webhook");
            match (&*each.type_, &each.webhook) {
                ("Webhook", None) => {
                    errors.push(FieldError::required(&at, "required when type=Webhook"));
                }
                ("Webhook", Some(webhook)) => webhook.check(&path, &mut errors),
                (_, Some(_)) => {
                    let why = "may only be specified when type=Webhook";
                    errors.push(FieldError::invalid(&at, "non-null", why));
                }
                (_, None) => {}
            }
        }
        errors
    }
}

fn check_name(path: &Path, name: &str, again: bool, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    if again {
        return errors.push(FieldError::duplicate(path, name));
    }
    let mut faults = Vec::new();
    common::dns_subdomain(path, name, &mut faults);
    if !faults.is_empty() {
        let why: Vec<&str> = faults.iter().map(|fault| &*fault.detail).collect();
        let why = format!("authorizer name is invalid: {}", why.join(", "));
        errors.push(FieldError::invalid(path, name, why));
    }
}

impl WebhookConfiguration {
    fn check(&self, path: &Path, errors: &mut Vec<FieldError>) {
        let timeout = path.child("timeout");
        match self.timeout {
            None | Some(Duration::ZERO) => errors.push(FieldError::required(&timeout, "")),
            Some(time) if time > Duration::from_secs(30) => {
                let shown = format!("{time:?}");
                errors.push(FieldError::invalid(&timeout, shown, "must be > 0s and <= 30s"));
            }
            Some(_) => {}
        }
        let mut one_of = |field: &str, value: &str, supported: &[&str]| {
            let path = path.child(field);
            if value.is_empty() {
                errors.push(FieldError::required(&path, ""));
            } else if !supported.contains(&value) {
                errors.push(FieldError::not_supported(&path, value, supported));
            }
        };
        one_of("subjectAccessReviewVersion", &self.subject_access_review_version, &["v1", "v1beta1"]);
        let version = &*self.match_condition_subject_access_review_version;
        if !version.is_empty() {
            one_of("matchConditionSubjectAccessReviewVersion", version, &["v1"]);
        }
        one_of("failurePolicy", &self.failure_policy, &["NoOpinion", "Deny"]);
        if version.is_empty() && !self.match_conditions.is_empty() {
            let path = path.child("matchConditionSubjectAccessReviewVersion");
            errors.push(FieldError::required(&path, "required if match conditions are specified"));
        }
        self.connection_info.check(&path.child("connectionInfo"), errors);
        if let Err(faults) = self.compile(path) {
            errors.extend(faults);
        }
    }

    /// The match conditions, compiled.
    pub(crate) fn compile(&self, path: &Path) -> Result<Vec<Expression>, Vec<FieldError>> {
        let path = path.child("matchConditions");
        let (mut errors, mut compiled) = (Vec::new(), Vec::new());
        let count = self.match_conditions.len();
        if count > 64 {
            return Err(vec![FieldError::too_many(&path, count, 64)]);
        }
        let mut seen = HashSet::new();
        for (at, condition) in self.match_conditions.iter().enumerate() {
            let path = path.index(at).child("expression");
            let text = &*condition.expression;
            if text.trim().is_empty() {
                errors.push(FieldError::required(&path, ""));
            } else if !seen.insert(text) {
                errors.push(FieldError::duplicate(&path, text));
            } else {
                match Expression::compile(text, About::Request, true) {
                    Ok(expression) => compiled.push(expression),
                    Err(why) => errors.push(FieldError::invalid(&path, text, why)),
                }
            }
        }
        if errors.is_empty() { Ok(compiled) } else { Err(errors) }
    }
}

impl ConnectionInfo {
    fn check(&self, path: &Path, errors: &mut Vec<FieldError>) {
        let (kind, at) = (path.child("type"), path.child("kubeConfigFile"));
        match (&*self.type_, &self.kube_config_file) {
            ("", _) => errors.push(FieldError::required(&kind, "")),
            ("KubeConfigFile", None) => errors.push(FieldError::required(&at, "")),
            ("KubeConfigFile", Some(file)) if file.as_os_str().is_empty() => {
                errors.push(FieldError::required(&at, ""));
            }
            ("KubeConfigFile", Some(file)) => {
                if let Some(why) = unusable(file) {
                    errors.push(FieldError::invalid(&at, shown(file), why));
                }
            }
            ("InClusterConfig", Some(file)) => {
                let why = "can only be set when type=KubeConfigFile";
                errors.push(FieldError::invalid(&at, shown(file), why));
            }
            ("InClusterConfig", None) => {
                let why = "this server runs in no pod whose configuration it could use";
                errors.push(FieldError::invalid(&kind, "InClusterConfig", why));
            }
            (other, _) => {
                errors.push(FieldError::not_supported(&kind, other, &["InClusterConfig", "KubeConfigFile"]));
            }
        }
    }
}

fn shown(file: &FilePath) -> Value {
    file.display().to_string().into()
}

fn unusable(file: &FilePath) -> Option<String> {
    if !file.is_absolute() {
        return Some("must be an absolute path".to_owned());
    }
    match std::fs::metadata(file) {
        Err(error) => Some(format!("error loading file: {error}")),
        Ok(found) if !found.is_file() => Some("must be a regular file".to_owned()),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests;
