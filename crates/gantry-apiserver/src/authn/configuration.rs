//! AuthenticationConfiguration (`apiserver.config.k8s.io`): whose tokens are believed, and what they say.

mod check;

use serde::Deserialize;

use super::Anonymous;
pub(super) use check::Mapping;
pub(super) use check::{Rule, Source};

/// Why a configuration cannot be used.
pub(super) use crate::authz::ConfigurationError;

/// Whose tokens are believed, and which paths need none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Configuration {
    api_version: String,
    kind: String,
    pub jwt: Vec<JwtConfiguration>,
    pub anonymous: Option<AnonymousConfiguration>,
}

/// Which paths need no credentials.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct AnonymousConfiguration {
    pub enabled: bool,
    pub conditions: Vec<PathCondition>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct PathCondition {
    pub path: String,
}

/// An issuer of tokens, and what its tokens say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct JwtConfiguration {
    pub issuer: Issuer,
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    pub claim_mappings: ClaimMappings,
    pub user_validation_rules: Vec<UserValidationRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Issuer {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
    pub egress_selector_type: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ClaimValidationRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ClaimMappings {
    pub username: PrefixedClaimOrExpression,
    pub groups: PrefixedClaimOrExpression,
    pub uid: ClaimOrExpression,
    pub extra: Vec<ExtraMapping>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct PrefixedClaimOrExpression {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ClaimOrExpression {
    pub claim: String,
    pub expression: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct ExtraMapping {
    pub key: String,
    pub value_expression: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct UserValidationRule {
    pub expression: String,
    pub message: String,
}

impl Configuration {
    /// A configuration of these issuers.
    pub fn of(jwt: Vec<JwtConfiguration>) -> Self {
        Self { jwt, ..Self::default() }
    }

    /// Reads a configuration. [`Configuration::mappings`] checks it.
    pub fn read(text: &str) -> Result<Self, ConfigurationError> {
        let read: Self = serde_yaml_ng::from_str(text)
            .map_err(|error| ConfigurationError::Unreadable(error.to_string()))?;
        let versions =
            ["v1alpha1", "v1beta1", "v1"].map(|version| format!("apiserver.config.k8s.io/{version}"));
        if !versions.contains(&read.api_version) || read.kind != "AuthenticationConfiguration" {
            let why = format!(
                "no kind {:?} is registered for version {:?}: AuthenticationConfiguration of {} is expected",
                read.kind, read.api_version, versions[2],
            );
            return Err(ConfigurationError::Unreadable(why));
        }
        Ok(read)
    }

    /// Which paths need no credentials, where it says so.
    pub fn anonymous(&self) -> Option<Anonymous> {
        let anonymous = self.anonymous.as_ref()?;
        Some(match (anonymous.enabled, anonymous.conditions.as_slice()) {
            (false, _) => Anonymous::Paths(Vec::new()),
            (true, []) => Anonymous::Everywhere,
            (true, some) => Anonymous::Exactly(some.iter().map(|each| each.path.clone()).collect()),
        })
    }
}
