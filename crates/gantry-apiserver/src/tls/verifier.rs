//! Which servers are who they say. A server whose own certificate is in the bundle of those that are trusted
//! needs no other to vouch for it, authority or not: that is how Go's clients have it, and how webhooks are
//! often set up, with the one certificate that `openssl req -x509` makes.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::Error;

/// Takes certificates that come from a trusted one, and the trusted ones themselves.
#[derive(Debug)]
pub(super) struct Verifier {
    roots: Arc<RootCertStore>,
    issued: Arc<WebPkiServerVerifier>,
}

impl Verifier {
    /// Trusts `roots`, of which there is one at least.
    pub fn new(roots: Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let issued = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider).build();
        let issued = issued.map_err(|cause| Error::tls("trust an authority", cause))?;
        Ok(Self { roots, issued })
    }

    /// Whether a certificate is one of those that are trusted.
    fn is_root(&self, certificate: &CertificateDer<'_>) -> bool {
        let mut own = RootCertStore::empty();
        own.add(certificate.clone().into_owned()).is_ok()
            && own.roots.iter().all(|own| self.roots.roots.contains(own))
    }
}

/// Checks what is left to check of a certificate that is trusted as it is.
fn check(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| fault(CertificateError::BadEncoding))?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(fault(CertificateError::NotValidYet));
    }
    if now > validity.not_after.timestamp() {
        return Err(fault(CertificateError::Expired));
    }
    let usage = parsed.extended_key_usage().map_err(|_| fault(CertificateError::BadEncoding))?;
    if usage.is_some_and(|usage| !usage.value.any && !usage.value.server_auth) {
        return Err(fault(CertificateError::InvalidPurpose));
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
}

fn fault(fault: CertificateError) -> rustls::Error {
    rustls::Error::InvalidCertificate(fault)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let issued = self.issued.verify_server_cert(certificate, intermediates, name, ocsp, now);
        if issued.is_ok() || !self.is_root(certificate) {
            return issued;
        }
        check(certificate, name, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.issued.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.issued.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.issued.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair};

    use super::*;

    fn own(change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["hook.default.svc".to_owned()]).unwrap();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn authority(params: &mut CertificateParams) {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }

    #[test]
    fn a_trusted_certificate_needs_no_other() {
        let plain = own(|_| {});
        let as_authority = own(authority);
        let for_clients = own(|params| {
            authority(params);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        let mut roots = RootCertStore::empty();
        for each in [&plain, &as_authority, &for_clients] {
            roots.add(each.clone()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new(Arc::new(roots), provider).unwrap();
        let verify = |certificate: &CertificateDer<'_>, name: &'static str, now: u64| {
            let name = ServerName::try_from(name).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
            verifier.verify_server_cert(certificate, &[], &name, &[], now).map(drop)
        };
        let (name, now) = ("hook.default.svc", 1_800_000_000);
        assert_eq!(verify(&plain, name, now), Ok(()));
        assert_eq!(verify(&as_authority, name, now), Ok(()));
        assert!(verify(&as_authority, "other.default.svc", now).is_err());
        assert_eq!(verify(&as_authority, name, 70_000_000_000), Err(fault(CertificateError::Expired)));
        assert_eq!(verify(&as_authority, name, 0), Err(fault(CertificateError::NotValidYet)));
        assert_eq!(verify(&for_clients, name, now), Err(fault(CertificateError::InvalidPurpose)));
        assert!(verify(&own(authority), name, now).is_err());
    }
}
