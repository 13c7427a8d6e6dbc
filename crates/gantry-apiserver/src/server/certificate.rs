//! A certificate with its key that connections show, and that can be replaced while they do.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::listener::identity;
use crate::{Error, Identity};

/// The identity that new connections show.
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    pub(crate) fn new(shown: &Identity) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(RwLock::new(read(shown)?))))
    }

    /// Shows another identity from now on.
    pub(crate) fn replace(&self, next: &Identity) -> Result<(), Error> {
        *self.0.write() = read(next)?;
        Ok(())
    }
}

fn read(shown: &Identity) -> Result<Arc<CertifiedKey>, Error> {
    let (chain, key) = identity(shown)?;
    let provider = rustls::crypto::ring::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|cause| Error::tls("use a certificate with its key", cause))?;
    Ok(Arc::new(certified))
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
