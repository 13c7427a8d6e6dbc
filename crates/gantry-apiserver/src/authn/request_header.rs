//! The front proxy: whoever shows a certificate of its authority says in headers who asks. Those who show
//! another certificate are not listened to.

use std::sync::Arc;

use hashbrown::HashMap;
use http::{HeaderMap, HeaderName};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{REMEMBERED, Unauthorized};
use crate::server::listener::{self, Fingerprint, PeerCertificates};
use crate::{Error, User};

/// Who a front proxy is, and in which headers it says who asks.
#[derive(Debug, Clone)]
pub struct RequestHeader {
    /// The authority of the proxies' certificates, in PEM.
    pub ca: String,
    /// The common names that the certificates may have; none: any.
    pub allowed_names: Vec<String>,
    /// The headers of the user's name; the first that is there counts.
    pub username_headers: Vec<String>,
    /// The headers of the user's identifier; the first that is there counts.
    pub uid_headers: Vec<String>,
    /// The headers of the user's groups.
    pub group_headers: Vec<String>,
    /// What the headers of further facts begin with.
    pub extra_prefixes: Vec<String>,
}

impl RequestHeader {
    /// The usual headers, from proxies whose certificates come from `ca`.
    pub fn new(ca: String, allowed_names: Vec<String>) -> Self {
        let one = |name: &str| vec![name.to_owned()];
        Self {
            ca,
            allowed_names,
            username_headers: one("X-Remote-User"),
            uid_headers: one("X-Remote-Uid"),
            group_headers: one("X-Remote-Group"),
            extra_prefixes: one("X-Remote-Extra-"),
        }
    }
}

/// Whose certificate it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Issued {
    /// A client's.
    client: bool,
    /// A proxy's, or why it is none.
    proxy: Result<(), String>,
}

/// The authenticator.
pub(super) struct FrontProxy {
    settings: RequestHeader,
    proxies: Arc<dyn ClientCertVerifier>,
    clients: Arc<dyn ClientCertVerifier>,
    known: Mutex<HashMap<Fingerprint, Arc<Issued>>>,
}

impl FrontProxy {
    /// `client_ca` is the authority of certificates that stand for users themselves.
    pub fn new(settings: RequestHeader, client_ca: &str) -> Result<Self, Error> {
        let verifier = |pem: &str| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            WebPkiClientVerifier::builder_with_provider(Arc::new(listener::roots(pem)?), provider)
                .build()
                .map_err(|cause| Error::tls("verify the front proxy's certificates", cause))
        };
        Ok(Self {
            proxies: verifier(&settings.ca)?,
            clients: verifier(client_ca)?,
            settings,
            known: Mutex::default(),
        })
    }

    /// Who a request is from, where a proxy says so; `None`: this is not said. The error is for a
    /// certificate that is neither a proxy's nor a client's.
    pub fn user(&self, headers: &HeaderMap, peer: &PeerCertificates) -> Result<Option<User>, Unauthorized> {
        if peer.chain.is_empty() {
            return Ok(None);
        }
        let issued = self.issued(peer);
        match &issued.proxy {
            Ok(()) => Ok(said(&self.settings, headers)),
            Err(_) if issued.client => Ok(None),
            Err(why) => Err(Unauthorized(why.clone())),
        }
    }

    /// Whether the certificate stands for a user itself.
    pub fn is_client(&self, peer: &PeerCertificates) -> bool {
        self.issued(peer).client
    }

    fn issued(&self, peer: &PeerCertificates) -> Arc<Issued> {
        let [leaf, intermediates @ ..] = &*peer.chain else {
            return Arc::new(Issued { client: false, proxy: Err("no certificate".into()) });
        };
        if let Some(issued) = self.known.lock().get(&peer.fingerprint) {
            return issued.clone();
        }
        let now = UnixTime::now();
        let proxy = self.proxies.verify_client_cert(leaf, intermediates, now);
        let proxy = proxy.map_err(|error| error.to_string()).and_then(|_| self.named(leaf));
        let client = self.clients.verify_client_cert(leaf, intermediates, now).is_ok();
        let issued = Arc::new(Issued { client, proxy });
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(peer.fingerprint, issued.clone());
        issued
    }

    fn named(&self, leaf: &CertificateDer<'_>) -> Result<(), String> {
        let allowed = &self.settings.allowed_names;
        if allowed.is_empty() {
            return Ok(());
        }
        let name = super::certificate::user(leaf).map_err(|error| error.0)?.name;
        if allowed.contains(&name) {
            return Ok(());
        }
        Err(format!("x509: subject with cn={name} is not in the allowed list"))
    }
}

/// What the headers say.
fn said(settings: &RequestHeader, headers: &HeaderMap) -> Option<User> {
    let text = |value: &http::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).ok();
    let first = |names: &[String]| {
        names.iter().filter_map(|name| text(headers.get(name)?)).find(|value| !value.is_empty())
    };
    let name = first(&settings.username_headers)?;
    let mut user = User { name, uid: first(&settings.uid_headers).unwrap_or_default(), ..User::default() };
    for header in &settings.group_headers {
        let groups = headers.get_all(header).iter().filter_map(text).filter(|group| !group.is_empty());
        user.groups.extend(groups);
    }
    for (header, value) in headers {
        if let Some(key) = extra_key(settings, header)
            && let Some(value) = text(value)
        {
            user.extra.entry(key).or_default().push(value);
        }
    }
    Some(user)
}

fn extra_key(settings: &RequestHeader, header: &HeaderName) -> Option<String> {
    let name = header.as_str();
    let key = settings.extra_prefixes.iter().find_map(|prefix| name.strip_prefix(&*prefix.to_lowercase()))?;
    Some(percent_decode_str(key).decode_utf8_lossy().to_lowercase())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_headers_say() {
        let settings = RequestHeader::new(String::new(), Vec::new());
        let mut headers = HeaderMap::new();
        assert_eq!(said(&settings, &headers), None);
        for (name, value) in [
            ("x-remote-user", "jane"),
            ("x-remote-uid", "42"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-extra-example.com%2fscopes", "all"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let user = said(&settings, &headers).unwrap();
        assert_eq!(
            (user.name.as_str(), user.uid.as_str(), user.groups.join(",").as_str()),
            ("jane", "42", "a,b")
        );
        assert_eq!(user.extra["example.com/scopes"], ["all"]);
    }
}
