//! Authentication: who is asking. Client certificates, then bearer tokens of service accounts and of
//! bootstrap secrets. Whoever shows nothing is anonymous, and anonymous gets no further than health and
//! version; whoever shows something that is no good is refused.

mod bootstrap_token;
mod certificate;
mod impersonation;
mod request_header;
mod service_account;

use std::collections::HashMap;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;

use crate::lookup::Lookup;
use crate::{Error, User};
pub use impersonation::{Impersonation, impersonate};
use request_header::FrontProxy;
pub use request_header::RequestHeader;
pub use service_account::{ServiceAccounts, TokenRequestError};

/// Says 401. The cause is for the log; the client is told no more than `Unauthorized`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthorized(pub String);

/// The authenticators of a server.
pub struct Authenticators {
    /// Issuer and verifier of service account tokens.
    pub service_accounts: Arc<ServiceAccounts>,
    /// Users by certificate: a connection shows the same one with every request.
    certificates: Mutex<HashMap<Box<[u8]>, User>>,
    front_proxy: Option<FrontProxy>,
}

/// Certificates remembered, at most.
const REMEMBERED: usize = 1024;

impl Authenticators {
    /// Authenticators that know client certificates, bootstrap tokens, and the tokens of
    /// `service_accounts`.
    pub fn new(service_accounts: Arc<ServiceAccounts>) -> Self {
        Self { service_accounts, certificates: Mutex::default(), front_proxy: None }
    }

    /// As well as front proxies that say in headers who asks. `client_ca` is the authority of the
    /// certificates that stand for users themselves.
    pub fn with_front_proxy(mut self, settings: RequestHeader, client_ca: &str) -> Result<Self, Error> {
        self.front_proxy = Some(FrontProxy::new(settings, client_ca)?);
        Ok(self)
    }

    /// Who sends a request over a connection with the verified client certificates `peer` (leaf first).
    /// `None`: the request has no credentials. `now` is in seconds since the Unix epoch.
    pub async fn authenticate(
        &self,
        parts: &Parts,
        peer: &[CertificateDer<'_>],
        objects: &dyn Lookup,
        now: i64,
    ) -> Result<Option<User>, Unauthorized> {
        if let Some(proxy) = &self.front_proxy
            && let Some(user) = proxy.user(&parts.headers, peer)?
        {
            return Ok(Some(authenticated(user)));
        }
        // A front proxy's own certificate stands for nobody.
        let is_client = |peer| self.front_proxy.as_ref().is_none_or(|proxy| proxy.is_client(peer));
        if let Some(leaf) = peer.first()
            && is_client(peer)
        {
            return self.certificate(leaf).map(Some);
        }
        match bearer_token(&parts.headers)? {
            Some(token) => self.token(&token, &[], objects, now).await.map(|(user, _)| Some(user)),
            None => Ok(None),
        }
    }

    fn certificate(&self, leaf: &CertificateDer<'_>) -> Result<User, Unauthorized> {
        let mut known = self.certificates.lock();
        if let Some(user) = known.get(&**leaf) {
            return Ok(user.clone());
        }
        let user = authenticated(certificate::user(leaf)?);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((**leaf).into(), user.clone());
        Ok(user)
    }

    /// Whose `token` it is, and for which of `audiences` it is good; no audiences: the server's own.
    pub async fn token(
        &self,
        token: &str,
        audiences: &[String],
        objects: &dyn Lookup,
        now: i64,
    ) -> Result<(User, Vec<String>), Unauthorized> {
        if let Some((id, secret)) = bootstrap_token::split(token) {
            let user = bootstrap_token::user(id, secret, objects, now)?;
            return Ok((authenticated(user), audiences.to_vec()));
        }
        let (user, audiences) = self.service_accounts.user(token, audiences, objects, now)?;
        Ok((authenticated(user), audiences))
    }
}

/// The paths for which requests need no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anonymous {
    /// These, and everything below those that end in a star.
    Paths(Vec<String>),
}

impl Default for Anonymous {
    /// Health and version, which load balancers and probes ask for.
    fn default() -> Self {
        let paths =
            ["/healthz", "/healthz/*", "/livez", "/livez/*", "/readyz", "/readyz/*", "/version", "/version/"];
        Self::Paths(paths.map(str::to_owned).into())
    }
}

impl Anonymous {
    /// The user that a request without credentials is; the error is for paths that it cannot have.
    pub fn user(&self, path: &str) -> Result<User, Unauthorized> {
        let Self::Paths(paths) = self;
        let open = paths.iter().any(|each| match each.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => each == path,
        });
        if open { Ok(User::anonymous()) } else { Err(Unauthorized(format!("no credentials for {path}"))) }
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
