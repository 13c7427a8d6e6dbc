//! Groups that a token does not say itself, but says where they are (OpenID Connect Core 1.0, 5.6.2): in
//! another token, which is fetched and verified with the keys of its own issuer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_json::{Map, Value};
use parking_lot::Mutex;

use super::Checks;
use super::keys::Keys;
use crate::remote::Remote;
use crate::token::Unverified;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many issuers of such tokens are remembered.
const ISSUERS: usize = 32;

/// Fetches one claim.
pub(super) struct Distributed {
    claim: String,
    remote: Arc<Remote>,
    checks: Checks,
    issuers: Mutex<HashMap<String, Arc<Keys>>>,
}

impl Distributed {
    pub fn new(claim: String, remote: Arc<Remote>, checks: Checks) -> Self {
        Self { claim, remote, checks, issuers: Mutex::default() }
    }

    /// Puts the claim among `claims`, where they say where it is.
    pub async fn expand(&self, claims: &mut Map, now: i64) -> Result<(), String> {
        if claims.contains_key(&self.claim) {
            return Ok(());
        }
        let Some(source) = claims.get("_claim_names").and_then(|names| names[&*self.claim].as_str()) else {
            return Ok(());
        };
        let sources = claims.get("_claim_sources").ok_or("oidc: no claim sources")?;
        let Some(found) = sources.get(source) else {
            return Err(format!(
                "id token _claim_names contained a source {source} missing in _claims_sources"
            ));
        };
        let Some(url) = found["endpoint"].as_str().filter(|url| !url.is_empty()) else { return Ok(()) };
        let token = found["access_token"].as_str().filter(|token| !token.is_empty());
        let value = self.fetch(url, token, now).await?;
        claims.insert(self.claim.as_str().into(), value);
        Ok(())
    }

    async fn fetch(&self, url: &str, token: Option<&str>, now: i64) -> Result<Value, String> {
        let claim = &self.claim;
        if !url.starts_with("https://") {
            return Err(format!("while getting distributed claim {claim:?}: {url:?} is no https URL"));
        }
        let answer = self.remote.get(url, token, PATIENCE).await;
        let answer = answer.map_err(|error| format!("while getting distributed claim {claim:?}: {error}"))?;
        let text = std::str::from_utf8(&answer).unwrap_or_default().trim();
        let token = Unverified::parse(text).ok_or_else(|| {
            format!(
                "getting untrusted issuer from endpoint {url} failed for claim {claim:?}: malformed token"
            )
        })?;
        let wrong = |error| format!("verify distributed claim token: {error}");
        self.checks.check(&token, now).map_err(wrong)?;
        self.keys_of(token.issuer()).verify(&token).await.map_err(wrong)?;
        token.claims.get(claim).cloned().ok_or_else(|| {
            format!("jwt returned by distributed claim endpoint {url:?} did not contain claim: {claim}")
        })
    }

    fn keys_of(&self, issuer: &str) -> Arc<Keys> {
        let mut issuers = self.issuers.lock();
        if issuers.len() >= ISSUERS && !issuers.contains_key(issuer) {
            issuers.clear();
        }
        let new = || Arc::new(Keys::new(issuer, None, self.remote.clone()));
        issuers.entry(issuer.to_owned()).or_insert_with(new).clone()
    }
}
