//! The keys of an identity provider: found by its discovery document, fetched when they are first needed,
//! again when a token names an unknown one, and again after an hour, so that a key that was given up is no
//! longer good.
//!
//! Guarantee: however many tokens with unknown keys arrive, the provider is asked a few times a minute.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::remote::Remote;
use crate::token::{Jwk, Unverified};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How old keys may be.
const OLDEST: Duration = Duration::from_secs(3600);
/// How often keys are fetched in a row, at most.
const BURST: u32 = 10;
/// How long it takes until they may be fetched once more.
const REFILL: Duration = Duration::from_secs(6);

type Observer = Box<dyn Fn(bool) + Send + Sync>;

/// The keys of an issuer.
pub(super) struct Keys {
    issuer: String,
    discovery_url: String,
    remote: Arc<Remote>,
    known: ArcSwapOption<KeySet>,
    fetching: Mutex<Budget>,
    observer: Observer,
}

struct KeySet {
    keys: Vec<Jwk>,
    fetched: Instant,
}

/// How often the provider may still be asked.
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    fn take(&mut self) -> bool {
        let refilled = (self.since.elapsed().as_secs() / REFILL.as_secs()) as u32;
        if refilled > 0 {
            self.left = self.left.saturating_add(refilled).min(BURST);
            self.since += REFILL * refilled;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

impl Keys {
    /// The keys that `issuer` publishes, whose discovery document is at `discovery_url` where it is not at the
    /// usual place.
    pub fn new(issuer: &str, discovery_url: Option<&str>, remote: Arc<Remote>) -> Self {
        let usual = || format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        Self {
            issuer: issuer.to_owned(),
            discovery_url: discovery_url.map_or_else(usual, str::to_owned),
            remote,
            known: ArcSwapOption::empty(),
            fetching: Mutex::new(Budget { left: BURST, since: Instant::now() }),
            observer: Box::new(|_| {}),
        }
    }

    /// Tells `observer` of each attempt to fetch keys, and whether there were any.
    pub fn observed(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// Fetches the keys where there are none yet.
    pub async fn fetch_first(&self) -> Result<(), String> {
        if self.known.load().is_none() { self.refresh(None).await.map(drop) } else { Ok(()) }
    }

    /// Whether one of the issuer's keys made the token's signature.
    pub async fn verify(&self, token: &Unverified<'_>) -> Result<(), String> {
        let wrong = || Err("failed to verify signature: failed to verify id token signature".to_owned());
        let known = self.known.load_full();
        if let Some(known) = &known {
            let signed = token.is_signed_by(&known.keys);
            if known.fetched.elapsed() < OLDEST {
                match signed {
                    true => return Ok(()),
                    false if !token.key_id.is_empty() && token.names_one_of(&known.keys) => return wrong(),
                    false => {}
                }
            } else if signed && self.fetching.try_lock().is_err() {
                // Somebody else is fetching newer ones.
                return Ok(());
            }
        }
        let now = match (self.refresh(known.as_ref()).await, known) {
            (Ok(now), _) => now,
            // A provider that is away for a while takes nobody's access away.
            (Err(error), Some(known)) => {
                tracing::warn!(issuer = self.issuer, error, "the keys of an identity provider are old");
                known
            }
            (Err(error), None) => {
                tracing::warn!(issuer = self.issuer, error, "an identity provider cannot be asked");
                return Err(format!("oidc: authenticator not initialized: {error}"));
            }
        };
        if token.is_signed_by(&now.keys) { Ok(()) } else { wrong() }
    }

    /// Keys other than `known`, fetched at once or by somebody else meanwhile.
    async fn refresh(&self, known: Option<&Arc<KeySet>>) -> Result<Arc<KeySet>, String> {
        let mut budget = self.fetching.lock().await;
        if let Some(now) = self.known.load_full()
            && known.is_none_or(|known| !Arc::ptr_eq(known, &now))
        {
            return Ok(now);
        }
        if !budget.take() {
            return Err("the identity provider was asked too often".to_owned());
        }
        let keys = self.fetch().await;
        (self.observer)(keys.is_ok());
        let now = Arc::new(KeySet { keys: keys?, fetched: Instant::now() });
        self.known.store(Some(now.clone()));
        Ok(now)
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let get =
            async |url: &str| self.remote.get(url, None, PATIENCE).await.map_err(|error| error.to_string());
        let document = get(&self.discovery_url).await?;
        let document: gantry_json::Value =
            gantry_json::from_slice(&document).map_err(|error| format!("{}: {error}", self.discovery_url))?;
        let issuer = document["issuer"].as_str().unwrap_or_default();
        if issuer != self.issuer {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {issuer:?}",
                self.issuer
            ));
        }
        let uri = document["jwks_uri"].as_str().unwrap_or_default();
        if !uri.starts_with("https://") {
            return Err(format!("{}: jwks_uri {uri:?} is no https URL", self.discovery_url));
        }
        let set = get(uri).await?;
        Jwk::set(&set).ok_or_else(|| format!("{uri}: no key set"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_provider_is_asked_a_few_times_a_minute() {
        let mut budget = Budget { left: BURST, since: Instant::now() };
        assert_eq!((0..50).filter(|_| budget.take()).count(), BURST as usize);
        tokio::time::advance(REFILL * 2).await;
        assert_eq!((0..50).filter(|_| budget.take()).count(), 2);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!((0..50).filter(|_| budget.take()).count(), BURST as usize);
    }
}
