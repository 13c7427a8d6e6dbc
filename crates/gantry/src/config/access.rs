//! Settings of authentication, authorization and admission, under upstream's names.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use gantry_apiserver::{admission, authn, authz};
use serde::Deserialize;

/// Settings as given.
#[derive(Debug, Clone, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct AccessSettings {
    /// For whom tokens must be meant; the issuer of service account tokens where absent.
    #[arg(long, env = "GANTRY_API_AUDIENCES", value_delimiter = ',', global = true)]
    pub api_audiences: Option<Vec<String>>,
    /// Issuer of service account tokens; further ones are those whose tokens are still good.
    #[arg(long, env = "GANTRY_SERVICE_ACCOUNT_ISSUER", value_delimiter = ',', global = true)]
    pub service_account_issuer: Option<Vec<String>>,
    /// File with the private key that signs service account tokens; the cluster's own where absent.
    #[arg(long, env = "GANTRY_SERVICE_ACCOUNT_SIGNING_KEY_FILE", global = true)]
    pub service_account_signing_key_file: Option<PathBuf>,
    /// Files with further keys whose service account tokens are good.
    #[arg(long, env = "GANTRY_SERVICE_ACCOUNT_KEY_FILE", value_delimiter = ',', global = true)]
    pub service_account_key_file: Option<Vec<PathBuf>>,
    /// Where the keys of service account tokens are published, where it is not here.
    #[arg(long, env = "GANTRY_SERVICE_ACCOUNT_JWKS_URI", global = true)]
    pub service_account_jwks_uri: Option<String>,
    /// Longest that a service account token lasts, such as 24h.
    #[arg(long, env = "GANTRY_SERVICE_ACCOUNT_MAX_TOKEN_EXPIRATION", global = true)]
    pub service_account_max_token_expiration: Option<String>,
    /// Whether the tokens of pods go on for a year for those who do not read them again.
    #[arg(long, env = "GANTRY_SERVICE_ACCOUNT_EXTEND_TOKEN_EXPIRATION", global = true)]
    pub service_account_extend_token_expiration: Option<bool>,
    /// File with an AuthenticationConfiguration; read again when it changes.
    #[arg(long, env = "GANTRY_AUTHENTICATION_CONFIG", global = true)]
    pub authentication_config: Option<PathBuf>,
    /// URL of the OpenID issuer whose tokens are good.
    #[arg(long, env = "GANTRY_OIDC_ISSUER_URL", global = true)]
    pub oidc_issuer_url: Option<String>,
    /// For whom the issuer's tokens must be meant.
    #[arg(long, env = "GANTRY_OIDC_CLIENT_ID", global = true)]
    pub oidc_client_id: Option<String>,
    /// Claim with the user's name; sub where absent.
    #[arg(long, env = "GANTRY_OIDC_USERNAME_CLAIM", global = true)]
    pub oidc_username_claim: Option<String>,
    /// What comes before the user's name; - for nothing.
    #[arg(long, env = "GANTRY_OIDC_USERNAME_PREFIX", global = true)]
    pub oidc_username_prefix: Option<String>,
    /// Claim with the user's groups.
    #[arg(long, env = "GANTRY_OIDC_GROUPS_CLAIM", global = true)]
    pub oidc_groups_claim: Option<String>,
    /// What comes before each group.
    #[arg(long, env = "GANTRY_OIDC_GROUPS_PREFIX", global = true)]
    pub oidc_groups_prefix: Option<String>,
    /// Claims with values that a token must have, as claim=value.
    #[arg(long, env = "GANTRY_OIDC_REQUIRED_CLAIM", value_delimiter = ',', global = true)]
    pub oidc_required_claim: Option<Vec<String>>,
    /// Signature algorithms of the issuer's tokens; RS256 where absent.
    #[arg(long, env = "GANTRY_OIDC_SIGNING_ALGS", value_delimiter = ',', global = true)]
    pub oidc_signing_algs: Option<Vec<String>>,
    /// File with the authorities of the issuer's certificate; those of this machine where absent.
    #[arg(long, env = "GANTRY_OIDC_CA_FILE", global = true)]
    pub oidc_ca_file: Option<PathBuf>,
    /// Kubeconfig of the server that is asked whose a token is.
    #[arg(long, env = "GANTRY_AUTHENTICATION_TOKEN_WEBHOOK_CONFIG_FILE", global = true)]
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// Version of the TokenReviews that it is sent: v1 or v1beta1.
    #[arg(long, env = "GANTRY_AUTHENTICATION_TOKEN_WEBHOOK_VERSION", global = true)]
    pub authentication_token_webhook_version: Option<String>,
    /// How long its answers are remembered, such as 2m.
    #[arg(long, env = "GANTRY_AUTHENTICATION_TOKEN_WEBHOOK_CACHE_TTL", global = true)]
    pub authentication_token_webhook_cache_ttl: Option<String>,
    /// File with an AuthorizationConfiguration; read again when it changes.
    #[arg(long, env = "GANTRY_AUTHORIZATION_CONFIG", global = true)]
    pub authorization_config: Option<PathBuf>,
    /// Authorizers in order, of Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny; Node,RBAC where absent.
    #[arg(long, env = "GANTRY_AUTHORIZATION_MODE", value_delimiter = ',', global = true)]
    pub authorization_mode: Option<Vec<String>>,
    /// File with a policy a line, for mode ABAC.
    #[arg(long, env = "GANTRY_AUTHORIZATION_POLICY_FILE", global = true)]
    pub authorization_policy_file: Option<PathBuf>,
    /// Kubeconfig of the server that authorizes, for mode Webhook.
    #[arg(long, env = "GANTRY_AUTHORIZATION_WEBHOOK_CONFIG_FILE", global = true)]
    pub authorization_webhook_config_file: Option<PathBuf>,
    /// Version of the SubjectAccessReviews that it is sent: v1 or v1beta1.
    #[arg(long, env = "GANTRY_AUTHORIZATION_WEBHOOK_VERSION", global = true)]
    pub authorization_webhook_version: Option<String>,
    /// How long its permission is remembered, such as 5m.
    #[arg(long, env = "GANTRY_AUTHORIZATION_WEBHOOK_CACHE_AUTHORIZED_TTL", global = true)]
    pub authorization_webhook_cache_authorized_ttl: Option<String>,
    /// How long its refusal is remembered, such as 30s.
    #[arg(long, env = "GANTRY_AUTHORIZATION_WEBHOOK_CACHE_UNAUTHORIZED_TTL", global = true)]
    pub authorization_webhook_cache_unauthorized_ttl: Option<String>,
    /// File with an AdmissionConfiguration.
    #[arg(long, env = "GANTRY_ADMISSION_CONTROL_CONFIG_FILE", global = true)]
    pub admission_control_config_file: Option<PathBuf>,
    /// Admission plugins that are on beside those that are on by default.
    #[arg(long, env = "GANTRY_ENABLE_ADMISSION_PLUGINS", value_delimiter = ',', global = true)]
    pub enable_admission_plugins: Option<Vec<String>>,
    /// Admission plugins that are off although they are on by default.
    #[arg(long, env = "GANTRY_DISABLE_ADMISSION_PLUGINS", value_delimiter = ',', global = true)]
    pub disable_admission_plugins: Option<Vec<String>>,
}

/// The names of these settings.
pub(super) const KEYS: &[&str] = &[
    "api-audiences",
    "service-account-issuer",
    "service-account-signing-key-file",
    "service-account-key-file",
    "service-account-jwks-uri",
    "service-account-max-token-expiration",
    "service-account-extend-token-expiration",
    "authentication-config",
    "oidc-issuer-url",
    "oidc-client-id",
    "oidc-username-claim",
    "oidc-username-prefix",
    "oidc-groups-claim",
    "oidc-groups-prefix",
    "oidc-required-claim",
    "oidc-signing-algs",
    "oidc-ca-file",
    "authentication-token-webhook-config-file",
    "authentication-token-webhook-version",
    "authentication-token-webhook-cache-ttl",
    "authorization-config",
    "authorization-mode",
    "authorization-policy-file",
    "authorization-webhook-config-file",
    "authorization-webhook-version",
    "authorization-webhook-cache-authorized-ttl",
    "authorization-webhook-cache-unauthorized-ttl",
    "admission-control-config-file",
    "enable-admission-plugins",
    "disable-admission-plugins",
];

/// Who is believed, and who decides.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The issuer of service account tokens, where it is not the cluster's own.
    pub issuer: Option<String>,
    /// The private key that signs them, where it is not the cluster's own, in PEM.
    pub signing_key_file: Option<PathBuf>,
    /// How requests are authenticated.
    pub authentication: authn::Settings,
    /// How they are authorized.
    pub authorization: authz::Settings,
    /// How writes are admitted.
    pub admission: admission::Settings,
}

impl AccessSettings {
    /// The settings in force, where `stored` ones count for what is not given.
    pub(super) fn resolve(self, stored: Self) -> Result<Access> {
        macro_rules! pick {
            ($field:ident) => {
                self.$field.or(stored.$field)
            };
        }
        let oidc = oidc(&self, &stored)?;
        let time = |name: &str, text: Option<String>| -> Result<Option<Duration>> {
            let read = text.map(|text| gantry_apiserver::duration(&text)).transpose();
            read.map_err(|error| anyhow!("{name}: {error}"))
        };
        let mut issuers = pick!(service_account_issuer).unwrap_or_default().into_iter();
        let issuer = issuers.next();
        let mut keys = String::new();
        for file in pick!(service_account_key_file).unwrap_or_default() {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("service-account-key-file {}", file.display()))?;
            keys += &text;
            keys.push('\n');
        }
        let webhook = pick!(authentication_token_webhook_config_file).map(authn::TokenWebhook::new);
        let version = pick!(authentication_token_webhook_version);
        let ttl = pick!(authentication_token_webhook_cache_ttl);
        let ttl = time("authentication-token-webhook-cache-ttl", ttl)?;
        let webhook = webhook.map(|webhook| authn::TokenWebhook {
            version: version.unwrap_or(webhook.version),
            cache_ttl: ttl.unwrap_or(webhook.cache_ttl),
            ..webhook
        });
        let longest = pick!(service_account_max_token_expiration);
        let authentication = authn::Settings {
            api_audiences: pick!(api_audiences).unwrap_or_default(),
            accepted_issuers: issuers.collect(),
            service_account_keys: keys,
            max_token_expiration: time("service-account-max-token-expiration", longest)?,
            exact_token_expiration: pick!(service_account_extend_token_expiration) == Some(false),
            jwks_uri: pick!(service_account_jwks_uri),
            configuration_file: pick!(authentication_config),
            oidc,
            webhook,
        };
        let (authorized, unauthorized) = (
            pick!(authorization_webhook_cache_authorized_ttl),
            pick!(authorization_webhook_cache_unauthorized_ttl),
        );
        let authorization = authz::Settings {
            configuration_file: pick!(authorization_config),
            modes: pick!(authorization_mode).unwrap_or_default(),
            policy_file: pick!(authorization_policy_file),
            webhook_config_file: pick!(authorization_webhook_config_file),
            webhook_version: pick!(authorization_webhook_version),
            webhook_authorized_ttl: time("authorization-webhook-cache-authorized-ttl", authorized)?,
            webhook_unauthorized_ttl: time("authorization-webhook-cache-unauthorized-ttl", unauthorized)?,
        };
        let admission = admission::Settings {
            configuration_file: pick!(admission_control_config_file),
            enabled: pick!(enable_admission_plugins).unwrap_or_default(),
            disabled: pick!(disable_admission_plugins).unwrap_or_default(),
        };
        Ok(Access {
            issuer,
            signing_key_file: pick!(service_account_signing_key_file),
            authentication,
            authorization,
            admission,
        })
    }
}

fn oidc(given: &AccessSettings, stored: &AccessSettings) -> Result<Option<authn::Oidc>> {
    macro_rules! pick {
        ($field:ident) => {
            given.$field.clone().or_else(|| stored.$field.clone())
        };
    }
    let mut required_claims = std::collections::BTreeMap::new();
    for pair in pick!(oidc_required_claim).unwrap_or_default() {
        let Some((claim, value)) = pair.split_once('=') else {
            bail!("oidc-required-claim: {pair:?} is not claim=value");
        };
        required_claims.insert(claim.to_owned(), value.to_owned());
    }
    let oidc = authn::Oidc {
        issuer_url: pick!(oidc_issuer_url).unwrap_or_default(),
        client_id: pick!(oidc_client_id).unwrap_or_default(),
        username_claim: pick!(oidc_username_claim),
        username_prefix: pick!(oidc_username_prefix),
        groups_claim: pick!(oidc_groups_claim),
        groups_prefix: pick!(oidc_groups_prefix),
        required_claims,
        signing_algs: pick!(oidc_signing_algs).unwrap_or_default(),
        ca_file: pick!(oidc_ca_file),
    };
    Ok((oidc != authn::Oidc::default()).then_some(oidc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_names_make_settings() {
        let text = "
            oidc-issuer-url: https://id.example
            oidc-client-id: kubernetes
            oidc-required-claim: [hd=example.com]
            service-account-issuer: [https://new, https://old]
            authorization-mode: [Node, RBAC, Webhook]
            authorization-webhook-cache-authorized-ttl: 1m30s";
        let stored: AccessSettings = serde_yaml_ng::from_str(text).expect("reads");
        let given = AccessSettings { oidc_client_id: Some("other".into()), ..AccessSettings::default() };
        let access = given.resolve(stored).expect("resolves");
        let oidc = access.authentication.oidc.expect("an issuer");
        assert_eq!((oidc.issuer_url.as_str(), oidc.client_id.as_str()), ("https://id.example", "other"));
        assert_eq!(oidc.required_claims["hd"], "example.com");
        assert_eq!(access.issuer.as_deref(), Some("https://new"));
        assert_eq!(access.authentication.accepted_issuers, ["https://old"]);
        assert_eq!(access.authorization.webhook_authorized_ttl, Some(Duration::from_secs(90)));
        let none = AccessSettings::default().resolve(AccessSettings::default()).expect("resolves");
        assert!(none.authentication.oidc.is_none() && none.authorization.modes.is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let bad = |settings: AccessSettings| {
            settings.resolve(AccessSettings::default()).expect_err("refused").to_string()
        };
        let claim =
            AccessSettings { oidc_required_claim: Some(vec!["hd".into()]), ..AccessSettings::default() };
        assert_eq!(bad(claim), "oidc-required-claim: \"hd\" is not claim=value");
        let time = AccessSettings {
            authentication_token_webhook_cache_ttl: Some("soon".into()),
            ..AccessSettings::default()
        };
        assert_eq!(bad(time), "authentication-token-webhook-cache-ttl: time: invalid duration \"soon\"");
    }
}
