//! How a server finds out who asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::configuration::{
    ClaimMappings, ClaimValidationRule, Configuration, Issuer, JwtConfiguration, PrefixedClaimOrExpression,
};
use crate::Error;
use crate::token::ALGORITHMS;

/// How a server finds out who asks, beside client certificates and its own tokens.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// For whom tokens must be meant; none: for the issuer of service account tokens.
    pub api_audiences: Vec<String>,
    /// Further issuers whose service account tokens are good: those that the server was once.
    pub accepted_issuers: Vec<String>,
    /// Further public keys of service account tokens, in PEM: those that signed before.
    pub service_account_keys: String,
    /// The longest that a service account token may last.
    pub max_token_expiration: Option<Duration>,
    /// Whether tokens that the kubelet asks for last exactly as long as it asks.
    pub exact_token_expiration: bool,
    /// Where the keys of service account tokens are published, where it is not the server itself.
    pub jwks_uri: Option<String>,
    /// An AuthenticationConfiguration, which is read again when it changes.
    pub configuration_file: Option<PathBuf>,
    /// One issuer of tokens.
    pub oidc: Option<Oidc>,
    /// A webhook that knows tokens.
    pub webhook: Option<TokenWebhook>,
}

/// An issuer of tokens as upstream's flags describe one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Oidc {
    /// Its URL.
    pub issuer_url: String,
    /// For whom its tokens must be meant.
    pub client_id: String,
    /// The claim with the user's name; `sub` where nothing is said.
    pub username_claim: Option<String>,
    /// What comes before the name; `-` for nothing. The issuer and `#` where nothing is said, but for `email`.
    pub username_prefix: Option<String>,
    /// The claim with the user's groups.
    pub groups_claim: Option<String>,
    /// What comes before each group.
    pub groups_prefix: Option<String>,
    /// Claims that a token must have, with their values.
    pub required_claims: BTreeMap<String, String>,
    /// Signature algorithms; RS256 where nothing is said.
    pub signing_algs: Vec<String>,
    /// The authorities of its certificate.
    pub ca_file: Option<PathBuf>,
}

/// A webhook that answers TokenReviews.
#[derive(Debug, Clone)]
pub struct TokenWebhook {
    /// Its kubeconfig.
    pub config_file: PathBuf,
    /// `v1` or `v1beta1`.
    pub version: String,
    /// How long an answer is remembered.
    pub cache_ttl: Duration,
}

impl TokenWebhook {
    /// A webhook whose answers are remembered for two minutes.
    pub fn new(config_file: PathBuf) -> Self {
        Self { config_file, version: "v1".into(), cache_ttl: Duration::from_secs(120) }
    }
}

fn wrong(error: impl std::fmt::Display) -> Error {
    Error::config("authentication", error)
}

impl Settings {
    /// The configuration that the settings amount to, with the text that it was read from, and the signature
    /// algorithms that are taken.
    pub(super) fn configuration(&self) -> Result<(Configuration, String, Vec<String>), Error> {
        let all = || ALGORITHMS.map(str::to_owned).to_vec();
        match (&self.configuration_file, &self.oidc) {
            (Some(_), Some(_)) => {
                Err(wrong("authentication-config file and oidc-* flags are mutually exclusive"))
            }
            (Some(file), None) => {
                let named = |error: &dyn std::fmt::Display| {
                    wrong(format!("authentication-config {}: {error}", file.display()))
                };
                let text = std::fs::read_to_string(file).map_err(|error| named(&error))?;
                let read = Configuration::read(&text).map_err(|error| named(&error))?;
                Ok((read, text, all()))
            }
            (None, Some(oidc)) => {
                Ok((Configuration::of(vec![oidc.configuration()?]), String::new(), oidc.algorithms()?))
            }
            (None, None) => Ok((Configuration::default(), String::new(), all())),
        }
    }
}

impl Oidc {
    fn configuration(&self) -> Result<JwtConfiguration, Error> {
        if self.issuer_url.is_empty() || self.client_id.is_empty() {
            return Err(wrong(
                "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
            ));
        }
        let certificate_authority = match &self.ca_file {
            Some(file) => std::fs::read_to_string(file)
                .map_err(|error| wrong(format!("oidc-ca-file {}: {error}", file.display())))?,
            None => String::new(),
        };
        let claim = self.username_claim.clone().unwrap_or_else(|| "sub".to_owned());
        let prefix = match self.username_prefix.as_deref() {
            Some("-") => String::new(),
            Some(prefix) if !prefix.is_empty() => prefix.to_owned(),
            // Names of others could be taken for those of this server.
            _ if claim != "email" => format!("{}#", self.issuer_url),
            _ => String::new(),
        };
        let groups = match &self.groups_claim {
            Some(claim) => PrefixedClaimOrExpression {
                claim: claim.clone(),
                prefix: Some(self.groups_prefix.clone().unwrap_or_default()),
                ..PrefixedClaimOrExpression::default()
            },
            None => PrefixedClaimOrExpression::default(),
        };
        let required = self.required_claims.iter().map(|(claim, value)| ClaimValidationRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..ClaimValidationRule::default()
        });
        let username =
            PrefixedClaimOrExpression { claim, prefix: Some(prefix), ..PrefixedClaimOrExpression::default() };
        Ok(JwtConfiguration {
            issuer: Issuer {
                url: self.issuer_url.clone(),
                audiences: vec![self.client_id.clone()],
                certificate_authority,
                ..Issuer::default()
            },
            claim_validation_rules: required.collect(),
            claim_mappings: ClaimMappings { username, groups, ..ClaimMappings::default() },
            ..JwtConfiguration::default()
        })
    }

    fn algorithms(&self) -> Result<Vec<String>, Error> {
        if let Some(other) = self.signing_algs.iter().find(|each| !ALGORITHMS.contains(&&***each)) {
            return Err(wrong(format!("oidc: unsupported signing alg: {other:?}")));
        }
        Ok(if self.signing_algs.is_empty() { vec!["RS256".to_owned()] } else { self.signing_algs.clone() })
    }
}
