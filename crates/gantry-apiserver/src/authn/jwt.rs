//! Tokens of identity providers: signed claims (OpenID Connect) that are mapped to a user.

mod claims;
mod distributed;
mod keys;

use std::sync::Arc;
use std::time::Instant;

use gantry_json::{Map, Value};

use super::configuration::{JwtConfiguration, Mapping};
use crate::metrics::AccessMetrics;
use crate::remote::Remote;
use crate::tls::Trust;
use crate::token::Unverified;
use crate::{Error, User};
use distributed::Distributed;
use keys::Keys;

/// How far before its time a token may be used, in seconds.
const NOT_BEFORE_LEEWAY: i64 = 300;

/// An issuer of tokens.
pub(super) struct Jwt {
    url: String,
    checks: Checks,
    keys: Keys,
    mapping: Mapping,
    distributed: Option<Distributed>,
    metrics: Arc<AccessMetrics>,
    hash: String,
}

/// What a token must be beside well signed.
#[derive(Debug, Clone)]
struct Checks {
    audiences: Vec<String>,
    algorithms: Vec<String>,
}

impl Jwt {
    pub fn new(
        configuration: &JwtConfiguration,
        mapping: Mapping,
        algorithms: &[String],
        metrics: Arc<AccessMetrics>,
    ) -> Result<Self, Error> {
        let issuer = &configuration.issuer;
        let trust = Trust::bundle(&issuer.certificate_authority)?;
        let remote = Arc::new(Remote::new(trust, None, None)?);
        let digest = ring::digest::digest(&ring::digest::SHA256, issuer.url.as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let hash = format!("sha256:{hex}");
        let discovery = Some(&*issuer.discovery_url).filter(|url| !url.is_empty());
        let checks = Checks { audiences: issuer.audiences.clone(), algorithms: algorithms.to_vec() };
        let groups = &configuration.claim_mappings.groups.claim;
        let distributed =
            (!groups.is_empty()).then(|| Distributed::new(groups.clone(), remote.clone(), checks.clone()));
        let observed = (metrics.clone(), hash.clone());
        let keys = Keys::new(&issuer.url, discovery, remote)
            .observed(Box::new(move |fetched| observed.0.fetched(&observed.1, fetched)));
        Ok(Self { url: issuer.url.clone(), checks, keys, mapping, distributed, metrics, hash })
    }

    /// The issuer's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Fetches the keys, so that the first token need not wait for them.
    pub async fn prepare(&self) {
        if let Err(error) = self.keys.fetch_first().await {
            tracing::warn!(issuer = self.url, error, "the keys of an identity provider are not there");
        }
    }

    /// Whose token it is, and until when that may be remembered (in seconds since the Unix epoch).
    pub async fn user(&self, token: &Unverified<'_>, now: i64) -> Result<(User, i64), String> {
        let started = Instant::now();
        let user = self.verified(token, now).await;
        let result = if user.is_ok() { "success" } else { "failure" };
        self.metrics.verified(&self.hash, result, started.elapsed());
        user
    }

    async fn verified(&self, token: &Unverified<'_>, now: i64) -> Result<(User, i64), String> {
        let wrong = |error: String| format!("oidc: verify token: {error}");
        let expires = self.checks.check(token, now).map_err(wrong)?;
        self.keys.verify(token).await.map_err(wrong)?;
        let mut claims = token.claims.clone();
        if let Some(distributed) = &self.distributed {
            let expanded = distributed.expand(&mut claims, now).await;
            expanded.map_err(|error| format!("oidc: could not expand distributed claims: {error}"))?;
        }
        Ok((claims::user(&self.mapping, claims)?, expires))
    }
}

impl Checks {
    /// When the token ends, where nothing but its signature is still to be verified.
    fn check(&self, token: &Unverified<'_>, now: i64) -> Result<i64, String> {
        if !self.algorithms.contains(&token.algorithm) {
            return Err(format!(
                "oidc: id token signed with unsupported algorithm, expected {:?} got {:?}",
                self.algorithms, token.algorithm
            ));
        }
        let audiences = texts(&token.claims, "aud");
        if !self.audiences.iter().any(|each| audiences.contains(&&**each)) {
            return Err(format!("oidc: expected audience in {:?} got {audiences:?}", self.audiences));
        }
        let expires = seconds(&token.claims, "exp").unwrap_or(0);
        if expires < now {
            return Err(format!("oidc: token is expired (Token Expiry: {})", time(expires)));
        }
        match seconds(&token.claims, "nbf") {
            Some(start) if now + NOT_BEFORE_LEEWAY < start => Err(format!(
                "oidc: current time {} before the nbf (not before) time: {}",
                time(now),
                time(start)
            )),
            _ => Ok(expires),
        }
    }
}

/// A claim that is one text or several.
fn texts<'a>(claims: &'a Map, name: &str) -> Vec<&'a str> {
    match claims.get(name) {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(more)) => more.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn seconds(claims: &Map, name: &str) -> Option<i64> {
    let value = claims.get(name)?;
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}

fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}
