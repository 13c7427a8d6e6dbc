//! A certificate with its key that connections show, and that can be replaced while they do.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, Result};
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pki::{self, Pair};

/// The current certificate.
pub struct Certificate {
    current: RwLock<(Arc<CertifiedKey>, Arc<Facts>, Pair)>,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Whom it names.
    pub common_name: String,
    /// DNS names and addresses.
    pub names: BTreeSet<String>,
    /// When it begins.
    pub not_before: Timestamp,
    /// When it ends.
    pub not_after: Timestamp,
    der: Vec<u8>,
}

impl Facts {
    fn read(pair: &Pair) -> Result<Self> {
        let shown = pki::inspect(&pair.certificate)?;
        let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes())?;
        let (_, certificate) = X509Certificate::from_der(&der).context("not an X.509 certificate")?;
        let common_name = certificate.subject().iter_common_name().find_map(|name| name.as_str().ok());
        Ok(Self {
            common_name: common_name.unwrap_or_default().to_owned(),
            names: shown.names.into_iter().collect(),
            not_before: Timestamp::from_second(certificate.validity().not_before.timestamp())?,
            not_after: shown.not_after,
            der: der.to_vec(),
        })
    }

    /// Whether the authority, in PEM, signed the certificate.
    pub fn authority_signed(&self, authority: &str) -> bool {
        let Ok(authority) = CertificateDer::from_pem_slice(authority.as_bytes()) else { return false };
        let (Ok((_, own)), Ok((_, issuer))) =
            (X509Certificate::from_der(&self.der), X509Certificate::from_der(&authority))
        else {
            return false;
        };
        own.verify_signature(Some(issuer.public_key())).is_ok()
    }
}

impl Certificate {
    /// Reads a pair; its key must belong to its certificate.
    pub fn new(pair: &Pair) -> Result<Self> {
        Ok(Self { current: RwLock::new(read(pair)?) })
    }

    /// Shows another pair from now on.
    pub fn replace(&self, pair: &Pair) -> Result<()> {
        let next = read(pair)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// What the current certificate says.
    pub fn facts(&self) -> Arc<Facts> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// The current certificate and key, PEM.
    #[cfg(test)]
    pub fn pair(&self) -> Pair {
        self.current.read().unwrap_or_else(PoisonError::into_inner).2.clone()
    }

    /// What connections show now.
    pub fn key(&self) -> Arc<CertifiedKey> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

fn read(pair: &Pair) -> Result<(Arc<CertifiedKey>, Arc<Facts>, Pair)> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.certificate.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).context("the private key")?;
    let provider = rustls::crypto::ring::default_provider();
    let certified = CertifiedKey::from_der(chain.context("the certificate")?, key, &provider)?;
    Ok((Arc::new(certified), Arc::new(Facts::read(pair)?), pair.clone()))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.facts().common_name).finish()
    }
}

impl ResolvesClientCert for Certificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}
