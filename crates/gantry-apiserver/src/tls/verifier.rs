//! Which servers are who they say. A server whose own certificate is in the bundle of those that are trusted
//! needs no other to vouch for it, authority or not: that is how Go's clients have it, and how webhooks are
//! often set up, with the one certificate that `openssl req -x509` makes. Nor is a certificate refused that
//! says it is an authority's and comes from a trusted one.

use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::checked::Checked;
use super::path::Path;
use crate::Error;

/// Takes certificates that come from one of `roots`, of which there is one at least, and the roots themselves.
pub(super) fn verifier(
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<impl ServerCertVerifier + 'static, Error> {
    let issued = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
    let issued = issued.map_err(|cause| Error::tls("trust an authority", cause))?;
    let good = move |certificate: &CertificateDer<'_>,
                     others: &[CertificateDer<'_>],
                     name: &ServerName<'_>,
                     now: UnixTime| {
        let refused = match issued.verify_server_cert(certificate, others, name, &[], now) {
            Ok(_) => return Ok(()),
            Err(refused) => refused,
        };
        if is_root(&roots, certificate) || comes_from_root(&roots, certificate, others, now) {
            return check(certificate, name, now);
        }
        Err(refused)
    };
    Ok(Checked::new(provider, good))
}

/// Whether a certificate is one of those that are trusted.
fn is_root(roots: &RootCertStore, certificate: &CertificateDer<'_>) -> bool {
    let mut own = RootCertStore::empty();
    own.add(certificate.clone().into_owned()).is_ok() && own.roots.iter().all(|own| roots.roots.contains(own))
}

/// Whether a certificate says that it is an authority's, and comes from a root.
fn comes_from_root(
    roots: &RootCertStore,
    certificate: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    now: UnixTime,
) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let between: Vec<X509Certificate<'_>> = others
        .iter()
        .filter_map(|other| X509Certificate::from_der(other).ok())
        .map(|(_, read)| read)
        .collect();
    let mut path = Path { roots, between: &between, now: seconds(now), checked: 0 };
    certificate.is_ca() && path.leads_from(&certificate, 0)
}

fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Checks what is left to check of a certificate that is trusted as it is.
fn check(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| fault(CertificateError::BadEncoding))?;
    let now = seconds(now);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
        KeyPair, NameConstraints,
    };

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
        let verifier = verifier(Arc::new(roots), provider).unwrap();
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

    /// A certificate by `issuer`, with its key.
    fn by(
        issuer: Option<&Issuer<'_, KeyPair>>,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
        let mut params = CertificateParams::new([format!("{name}.default.svc")]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        authority(&mut params);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, issuer),
            None => params.self_signed(&key),
        };
        (certificate.unwrap().der().clone(), Issuer::new(params, key))
    }

    #[test]
    fn an_authoritys_certificate_comes_from_a_trusted_one() {
        let (root, root_key) = by(None, "root", |_| {});
        let (between, key) = by(Some(&root_key), "between", |_| {});
        let (narrow, narrow_key) =
            by(Some(&root_key), "narrow", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
        let (plain, plain_key) = by(Some(&root_key), "plain", |params| params.is_ca = IsCa::ExplicitNoCa);
        let (_, other_key) = by(None, "root", |_| {});
        let mut roots = RootCertStore::empty();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = verifier(Arc::new(roots), provider).unwrap();
        let good = |certificate: &CertificateDer<'_>, others: &[CertificateDer<'_>], name: &'static str| {
            let name = ServerName::try_from(name).unwrap();
            let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
            verifier.verify_server_cert(certificate, others, &name, &[], now).is_ok()
        };
        let name = "hook.default.svc";
        let (direct, _) = by(Some(&root_key), "hook", |_| {});
        assert!(good(&direct, &[], name));
        assert!(!good(&direct, &[], "other.default.svc"));
        let (far, _) = by(Some(&key), "hook", |_| {});
        assert!(good(&far, std::slice::from_ref(&between), name));
        assert!(!good(&far, &[], name), "nobody vouches for it");
        let (under_narrow, under_key) = by(Some(&narrow_key), "hook", |_| {});
        assert!(good(&under_narrow, std::slice::from_ref(&narrow), name));
        let (deep, _) = by(Some(&under_key), "deep", |_| {});
        assert!(!good(&deep, &[under_narrow, narrow], "deep.default.svc"), "longer than it may be");
        let (under_plain, _) = by(Some(&plain_key), "hook", |_| {});
        assert!(!good(&under_plain, &[plain], name), "no authority vouches for it");
        let (limited, limited_key) = by(Some(&root_key), "limited", |params| {
            let permitted_subtrees = vec![GeneralSubtree::DnsName("svc".to_owned())];
            params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
        });
        let (under_limited, _) = by(Some(&limited_key), "hook", |_| {});
        assert!(!good(&under_limited, &[limited], name), "for which names is not looked at");
        let (forged, _) = by(Some(&other_key), "hook", |_| {});
        assert!(!good(&forged, &[between], name), "of the same name, by another key");
    }
}
