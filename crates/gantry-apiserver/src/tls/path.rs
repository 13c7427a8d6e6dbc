//! Whether a certificate that says it is an authority's comes from one that is trusted (RFC 5280, section 6.1).
//! For servers' certificates rustls decides by itself, but it takes none that says that, and Go's clients do.

use rustls::RootCertStore;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// The most authorities between a certificate and a trusted one, and the most signatures that are checked.
const LONGEST: usize = 8;
const MOST_SIGNATURES: usize = 100;

/// Looks for a way from a certificate to one of the `roots`.
pub(super) struct Path<'a> {
    pub roots: &'a RootCertStore,
    /// The certificates that may stand between.
    pub between: &'a [X509Certificate<'a>],
    /// In seconds since the Unix epoch.
    pub now: i64,
    /// How many signatures were checked.
    pub checked: usize,
}

impl Path<'_> {
    /// Whether `certificate`, `below` authorities down from which a server stands, comes from a root.
    pub fn leads_from(&mut self, certificate: &X509Certificate<'_>, below: usize) -> bool {
        if !understood(certificate) {
            return false;
        }
        let issuer = certificate.issuer().as_raw();
        for root in &self.roots.roots {
            // Their names are without their tag and length.
            if root.name_constraints.is_none() && content(issuer) == Some(&*root.subject) {
                let key = sequence(&root.subject_public_key_info);
                let key = SubjectPublicKeyInfo::from_der(&key);
                if key.is_ok_and(|(_, key)| self.signed(certificate, &key)) {
                    return true;
                }
            }
        }
        let between = self.between;
        below < LONGEST
            && between.iter().any(|authority| {
                authority.subject().as_raw() == issuer
                    && may_issue(authority, below, self.now)
                    && self.signed(certificate, authority.public_key())
                    && self.leads_from(authority, below + 1)
            })
    }

    fn signed(&mut self, certificate: &X509Certificate<'_>, key: &SubjectPublicKeyInfo<'_>) -> bool {
        self.checked += 1;
        let algorithm = &certificate.signature_algorithm.algorithm;
        let weak = *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA;
        self.checked <= MOST_SIGNATURES && !weak && certificate.verify_signature(Some(key)).is_ok()
    }
}

/// Whether an authority may issue certificates of servers now, `below` further authorities down.
fn may_issue(authority: &X509Certificate<'_>, below: usize, now: i64) -> bool {
    let validity = authority.validity();
    let timely = validity.not_before.timestamp() <= now && now <= validity.not_after.timestamp();
    let constraints = authority.basic_constraints().ok().flatten().map(|found| found.value);
    let is_authority = constraints
        .is_some_and(|own| own.ca && own.path_len_constraint.is_none_or(|most| below <= most as usize));
    let signs =
        authority.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.key_cert_sign()));
    let for_servers = authority
        .extended_key_usage()
        .is_ok_and(|usage| usage.is_none_or(|usage| usage.value.any || usage.value.server_auth));
    timely && is_authority && signs && for_servers
}

/// Whether nothing is asked of who reads the certificate but what is looked at here. Which names an authority may
/// vouch for is not, so that one that says it is none.
fn understood(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().all(|each| match each.parsed_extension() {
        ParsedExtension::BasicConstraints(_)
        | ParsedExtension::KeyUsage(_)
        | ParsedExtension::ExtendedKeyUsage(_)
        | ParsedExtension::SubjectAlternativeName(_) => true,
        ParsedExtension::NameConstraints(_) => false,
        _ => !each.critical,
    })
}

/// What a DER value holds.
fn content(value: &[u8]) -> Option<&[u8]> {
    x509_parser::der_parser::asn1_rs::Any::from_der(value).ok().map(|(_, any)| any.data)
}

/// A DER sequence of this content.
fn sequence(content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut out = vec![0x30];
    if content.len() >= 128 {
        out.push(0x80 | length.len() as u8);
    }
    out.extend_from_slice(length);
    out.extend_from_slice(content);
    out
}
