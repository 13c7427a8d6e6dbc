//! Authentication: who is asking. Client certificates, then bearer tokens: of service accounts, of bootstrap
//! secrets, of identity providers, and such as a webhook knows. Whoever shows nothing is anonymous, and
//! anonymous gets no further than health and version where nothing else is configured; whoever shows something
//! that is no good is refused.

mod anonymous;
mod bootstrap_token;
mod certificate;
mod configuration;
mod impersonation;
mod jwt;
mod legacy_token;
mod notes;
mod request_header;
mod service_account;
mod settings;
mod webhook;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hashbrown::HashMap;
use http::request::Parts;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

use crate::expiring::{self, Expiring};
use crate::followed_file::FollowedFile;
use crate::lookup::Lookup;
use crate::metrics::{AccessMetrics, Reloaded};
use crate::server::PeerCertificates;
use crate::server::listener::Fingerprint;
use crate::token::Unverified;
use crate::{Error, User};
pub use anonymous::Anonymous;
use configuration::Configuration;
pub use impersonation::{Impersonation, impersonate};
use jwt::Jwt;
pub use legacy_token::LAST_USED;
pub use notes::{Notes, TokenUse, UsedSecret};
use request_header::FrontProxy;
pub use request_header::RequestHeader;
pub use service_account::{ServiceAccounts, TokenRequestError};
pub use settings::{Oidc, Settings, TokenWebhook};
use webhook::Webhook;

/// Says 401. The cause is for the log; the client is told no more than `Unauthorized`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthorized(pub String);

/// What is said of every token that is refused, before what those say who knew whose it should be.
const UNKNOWN: &str = "invalid bearer token";

/// The authenticators of a server.
pub struct Authenticators {
    /// Issuer and verifier of service account tokens.
    pub service_accounts: Arc<ServiceAccounts>,
    /// Users by certificate: a connection shows the same one with every request.
    certificates: Mutex<HashMap<Fingerprint, Arc<User>>>,
    front_proxy: Option<FrontProxy>,
    /// For whom a token must be meant where nobody says.
    audiences: Vec<String>,
    others: ArcSwap<Others>,
    webhook: Option<Webhook>,
    metrics: Arc<AccessMetrics>,
    /// The configuration file, with what was in it.
    file: Option<(PathBuf, String)>,
    /// Where requests without credentials may go when the file says nothing of them.
    anonymous: Anonymous,
}

/// What a configuration file can change.
struct Others {
    issuers: Vec<Jwt>,
    anonymous: Anonymous,
    /// Users by token, for a moment: a client shows the same one with every request.
    users: Expiring<User>,
}

/// Certificates and tokens remembered, at most.
const REMEMBERED: usize = 1024;
/// How long a token of an identity provider is not verified again.
const VERIFIED: Duration = Duration::from_secs(10);

impl Others {
    fn new(issuers: Vec<Jwt>, anonymous: Anonymous) -> Self {
        Self { issuers, anonymous, users: Expiring::new(REMEMBERED) }
    }
}

impl Authenticators {
    /// Authenticators that know client certificates, bootstrap tokens, and the tokens of
    /// `service_accounts`.
    pub fn new(service_accounts: Arc<ServiceAccounts>) -> Self {
        Self {
            audiences: vec![service_accounts.issuer().to_owned()],
            service_accounts,
            certificates: Mutex::default(),
            others: ArcSwap::from_pointee(Others::new(Vec::new(), Anonymous::default())),
            webhook: None,
            front_proxy: None,
            metrics: Arc::default(),
            file: None,
            anonymous: Anonymous::default(),
        }
    }

    /// As well as front proxies that say in headers who asks. `client_ca` is the authority of the
    /// certificates that stand for users themselves.
    pub fn with_front_proxy(mut self, settings: RequestHeader, client_ca: &str) -> Result<Self, Error> {
        self.front_proxy = Some(FrontProxy::new(settings, client_ca)?);
        Ok(self)
    }

    /// Authenticators that also know those whom `settings` name; requests without credentials go where
    /// `anonymous` lets them when a configuration file does not say.
    pub(crate) fn configured(
        service_accounts: Arc<ServiceAccounts>,
        settings: &Settings,
        anonymous: &Anonymous,
        metrics: Arc<AccessMetrics>,
    ) -> Result<Self, Error> {
        let (configuration, text, algorithms) = settings.configuration()?;
        let mut own = Self::new(service_accounts);
        own.metrics = metrics;
        own.anonymous = anonymous.clone();
        own.file = settings.configuration_file.clone().map(|path| (path, text));
        if !settings.api_audiences.is_empty() {
            own.audiences.clone_from(&settings.api_audiences);
        }
        own.webhook = settings.webhook.as_ref().map(Webhook::new).transpose()?;
        own.others = ArcSwap::from_pointee(own.others(&configuration, &algorithms)?);
        Ok(own)
    }

    fn others(&self, configuration: &Configuration, algorithms: &[String]) -> Result<Others, Error> {
        let mappings = configuration
            .mappings(self.service_accounts.issuers())
            .map_err(|error| Error::config("authentication", error))?;
        let issuers = configuration.jwt.iter().zip(mappings);
        let issuers = issuers.map(|(jwt, mapping)| Jwt::new(jwt, mapping, algorithms, self.metrics.clone()));
        let anonymous = configuration.anonymous().unwrap_or_else(|| self.anonymous.clone());
        Ok(Others::new(issuers.collect::<Result<_, _>>()?, anonymous))
    }

    /// Fetches the keys of identity providers, and takes over each change of the configuration file. What
    /// cannot be used is told, and what was before stays. Does not end.
    pub(crate) async fn follow_configuration(&self) {
        let prepare = async |others: Arc<Others>| {
            futures::future::join_all(others.issuers.iter().map(Jwt::prepare)).await;
        };
        let Some((path, text)) = &self.file else {
            prepare(self.others.load_full()).await;
            return std::future::pending().await;
        };
        let algorithms = crate::token::ALGORITHMS.map(str::to_owned);
        let changed = |text: &str| {
            let next = Configuration::read(text).map_err(|error| error.to_string());
            let next =
                next.and_then(|read| self.others(&read, &algorithms).map_err(|error| error.to_string()));
            self.metrics.reloaded(Reloaded::Authentication, next.is_ok());
            match next {
                Ok(others) => {
                    self.others.store(Arc::new(others));
                    tracing::info!(path = %path.display(), "authentication is configured anew");
                }
                Err(error) => {
                    tracing::error!(path = %path.display(), error, "authentication stays as it was");
                }
            }
        };
        let following = async {
            if let Err(error) = FollowedFile::new(path, text.as_bytes()).follow(changed).await {
                tracing::error!(path = %path.display(), %error, "the file is not followed");
                std::future::pending::<()>().await;
            }
        };
        tokio::join!(prepare(self.others.load_full()), following);
    }

    /// The user that a request without credentials is; the error is for paths that it cannot have.
    pub fn anonymous(&self, path: &str) -> Result<User, Unauthorized> {
        self.others.load().anonymous.user(path)
    }

    /// Who sends a request over a connection with the verified client certificates `peer`.
    /// `None`: the request has no credentials. `now` is in seconds since the Unix epoch.
    pub async fn authenticate(
        &self,
        parts: &Parts,
        peer: &PeerCertificates,
        objects: &dyn Lookup,
        now: i64,
        notes: &mut Notes,
    ) -> Result<Option<Arc<User>>, Unauthorized> {
        if let Some(proxy) = &self.front_proxy
            && let Some(user) = proxy.user(&parts.headers, peer)?
        {
            return Ok(Some(Arc::new(authenticated(user))));
        }
        // A front proxy's own certificate stands for nobody.
        let is_client = |peer| self.front_proxy.as_ref().is_none_or(|proxy| proxy.is_client(peer));
        if let Some(leaf) = peer.chain.first()
            && is_client(peer)
        {
            return self.certificate(leaf, peer.fingerprint).map(Some);
        }
        match bearer_token(&parts.headers)? {
            Some(token) => {
                self.token(&token, &[], objects, now, notes).await.map(|(user, _)| Some(Arc::new(user)))
            }
            None => Ok(None),
        }
    }

    fn certificate(
        &self,
        leaf: &CertificateDer<'_>,
        fingerprint: Fingerprint,
    ) -> Result<Arc<User>, Unauthorized> {
        let mut known = self.certificates.lock();
        if let Some(user) = known.get(&fingerprint) {
            return Ok(user.clone());
        }
        let user = Arc::new(authenticated(certificate::user(leaf)?));
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(fingerprint, user.clone());
        Ok(user)
    }

    /// Whose `token` it is, and for which of `audiences` it is good; no audiences: the server's own. What else
    /// is to be said of it goes into `notes`.
    pub async fn token(
        &self,
        token: &str,
        audiences: &[String],
        objects: &dyn Lookup,
        now: i64,
        notes: &mut Notes,
    ) -> Result<(User, Vec<String>), Unauthorized> {
        let wanted = if audiences.is_empty() { &self.audiences } else { audiences };
        let mut refusals = Vec::new();
        let found = self.service_accounts.user(token, (wanted, &self.audiences), objects, now, notes);
        notes.uses.drain(..).for_each(|each| self.metrics.service_account(each));
        match found {
            Ok(Some((user, audiences))) => return Ok((authenticated(user), audiences)),
            Ok(None) => {}
            Err(error) => refusals.push(error.to_string()),
        }
        let common = self.common(wanted);
        if let Some((id, secret)) = bootstrap_token::split(token)
            && !common.is_empty()
        {
            match bootstrap_token::user(id, secret, objects, now) {
                Ok(user) => return Ok((authenticated(user), common)),
                // Upstream says no more of it than that it is nobody's.
                Err(error) => tracing::debug!(%error, "a bootstrap token is refused"),
            }
        }
        let others = self.others.load_full();
        if !others.issuers.is_empty() && !common.is_empty() {
            match Box::pin(self.provided(&others, token, now)).await {
                Ok(Some(user)) => return Ok((authenticated(user), common)),
                Ok(None) => {}
                Err(error) => refusals.push(error),
            }
        }
        if let Some(webhook) = &self.webhook {
            match Box::pin(webhook.user(token, wanted, &self.audiences, &self.metrics)).await {
                Ok(Some((user, audiences))) => return Ok((authenticated(user), audiences)),
                Ok(None) => {}
                Err(error) => refusals.push(error),
            }
        }
        Err(Unauthorized(match refusals.is_empty() {
            true => UNKNOWN.to_owned(),
            false => format!("[{UNKNOWN}, {}]", refusals.join(", ")),
        }))
    }

    /// The user of a token of an identity provider; `None`: it is of none that is known.
    async fn provided(&self, others: &Others, token: &str, now: i64) -> Result<Option<User>, String> {
        let key = expiring::key([token.as_bytes()]);
        if let Some(user) = others.users.get(&key) {
            return Ok(Some(user));
        }
        let Some(read) = Unverified::parse(token) else { return Ok(None) };
        let Some(issuer) = others.issuers.iter().find(|each| each.url() == read.issuer()) else {
            return Ok(None);
        };
        let (user, expires) = issuer.user(&read, now).await?;
        let left = Duration::from_secs(u64::try_from(expires - now).unwrap_or_default());
        others.users.insert(key, user.clone(), VERIFIED.min(left));
        Ok(Some(user))
    }

    /// The audiences among `wanted` for which what says nothing of audiences is good: the server's own.
    fn common(&self, wanted: &[String]) -> Vec<String> {
        wanted.iter().filter(|each| self.audiences.contains(each)).cloned().collect()
    }
}

fn authenticated(mut user: User) -> User {
    if !user.in_group("system:authenticated") && !user.in_group("system:unauthenticated") {
        user.groups.push("system:authenticated".to_owned());
    }
    user
}

/// The token of an `Authorization: Bearer` header, or of the WebSocket subprotocol that browsers use.
fn bearer_token(headers: &HeaderMap) -> Result<Option<String>, Unauthorized> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| Unauthorized("malformed Authorization header".into()))?;
        let Some((scheme, token)) = text.trim().split_once(' ') else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let token = token.trim();
        return if token.is_empty() { Ok(None) } else { Ok(Some(token.to_owned())) };
    }
    let protocols =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let encoded = protocols
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix("base64url.bearer.authorization.k8s.io."));
    let Some(encoded) = encoded else { return Ok(None) };
    use base64::Engine as _;
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('='));
    let token = token.ok().and_then(|token| String::from_utf8(token).ok());
    token.map(Some).ok_or_else(|| Unauthorized("malformed token in the WebSocket protocol".into()))
}

#[cfg(test)]
mod tests;
