//! Issuing a certificate for a request (RFC 5280). Subject, public key and alternative names are taken
//! over byte by byte, so that nothing gets lost that this program has no words for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::prelude::FromDer;

use super::authority::{Authority, AuthorityError};
use super::der::{bits, extension, integer, named_bits, oid, sequence, tagged, time};

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const EMPTY: &[u8] = &[0x30, 0];

/// A certificate begins a little before it is issued, since clocks differ; a short one as much before as
/// it ends after.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// A certificate was not issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    /// The request cannot be read.
    #[error("the request: {0}")]
    Request(String),
    /// The authority cannot sign.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// The certificate, in PEM, for the request in `der`.
pub(super) fn issue(
    authority: &Authority,
    der: &[u8],
    usages: &[String],
    (now, until): (Timestamp, Timestamp),
    serial: [u8; 16],
) -> Result<String, IssueError> {
    let (_, request) =
        X509CertificationRequest::from_der(der).map_err(|error| IssueError::Request(error.to_string()))?;
    let info = &request.certification_request_info;
    let subject = info.subject.as_raw();
    let mut extensions = extensions(usages);
    if let Some(id) = &authority.key_id {
        extensions.push(extension(AUTHORITY_KEY, false, &sequence(&[&tagged(0x80, id)])));
    }
    for attribute in info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else { continue };
        let names = asked.extensions.iter().filter(|each| each.oid.as_bytes() == ALTERNATIVE_NAMES);
        extensions.extend(names.map(|names| extension(ALTERNATIVE_NAMES, subject == EMPTY, names.value)));
    }
    let parts: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let body = sequence(&[
        &tagged(0xa0, &integer(&[2])),
        &integer(&serial),
        authority.algorithm,
        &authority.subject,
        &sequence(&[&time(now - BACKDATE.min(until.duration_since(now))), &time(until)]),
        subject,
        info.subject_pki.raw,
        &tagged(0xa3, &sequence(&parts)),
    ]);
    let signature = authority.sign(&body)?;
    Ok(pem(&sequence(&[&body, authority.algorithm, &bits(&signature)])))
}

fn extensions(usages: &[String]) -> Vec<Vec<u8>> {
    let mut key_usages: Vec<usize> = usages.iter().filter_map(|usage| key_usage(usage)).collect();
    key_usages.sort_unstable();
    let mut purposes: Vec<Vec<u8>> = usages.iter().filter_map(|usage| purpose(usage).map(oid)).collect();
    purposes.dedup();
    let mut extensions = Vec::new();
    if !key_usages.is_empty() {
        extensions.push(extension(KEY_USAGE, true, &named_bits(&key_usages)));
    }
    if !purposes.is_empty() {
        let purposes: Vec<&[u8]> = purposes.iter().map(Vec::as_slice).collect();
        extensions.push(extension(EXTENDED_KEY_USAGE, false, &sequence(&purposes)));
    }
    extensions.push(extension(BASIC_CONSTRAINTS, true, EMPTY));
    extensions
}

/// The bit of a usage of the key.
fn key_usage(usage: &str) -> Option<usize> {
    Some(match usage {
        "signing" | "digital signature" => 0,
        "content commitment" => 1,
        "key encipherment" => 2,
        "data encipherment" => 3,
        "key agreement" => 4,
        "cert sign" => 5,
        "crl sign" => 6,
        "encipher only" => 7,
        "decipher only" => 8,
        _ => return None,
    })
}

/// The identifier of an extended usage.
fn purpose(usage: &str) -> Option<&'static [u8]> {
    Some(match usage {
        "any" => &[0x55, 0x1d, 0x25, 0],
        "server auth" => &[0x2b, 6, 1, 5, 5, 7, 3, 1],
        "client auth" => &[0x2b, 6, 1, 5, 5, 7, 3, 2],
        "code signing" => &[0x2b, 6, 1, 5, 5, 7, 3, 3],
        "email protection" | "s/mime" => &[0x2b, 6, 1, 5, 5, 7, 3, 4],
        "ipsec end system" => &[0x2b, 6, 1, 5, 5, 7, 3, 5],
        "ipsec tunnel" => &[0x2b, 6, 1, 5, 5, 7, 3, 6],
        "ipsec user" => &[0x2b, 6, 1, 5, 5, 7, 3, 7],
        "timestamping" => &[0x2b, 6, 1, 5, 5, 7, 3, 8],
        "ocsp signing" => &[0x2b, 6, 1, 5, 5, 7, 3, 9],
        "microsoft sgc" => &[0x2b, 6, 1, 4, 1, 0x82, 0x37, 10, 3, 3],
        "netscape sgc" => &[0x60, 0x86, 0x48, 1, 0x86, 0xf8, 0x42, 4, 1],
        _ => return None,
    })
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
    use x509_parser::prelude::X509Certificate;

    use super::*;

    #[test]
    fn a_certificate_says_what_was_asked_and_verifies() {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root");
        let authority = Authority::open(&root.pem(), &key.serialize_pem()).expect("opens");
        let mut asked = CertificateParams::new(vec!["n1".to_owned(), "192.0.2.7".to_owned()]).expect("names");
        asked.distinguished_name = DistinguishedName::new();
        asked.distinguished_name.push(DnType::CommonName, "system:node:n1");
        let request = asked.serialize_request(&KeyPair::generate().expect("a key")).expect("a request");
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let until = now + SignedDuration::from_hours(1);
        let usages = ["digital signature", "server auth"].map(str::to_owned);
        let pem = issue(&authority, request.der(), &usages, (now, until), [0xff; 16]).expect("issued");
        let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).expect("PEM");
        let (rest, certificate) = X509Certificate::from_der(&block.contents).expect("a certificate");
        let (_, issuer) = X509Certificate::from_der(root.der()).expect("a certificate");
        certificate.verify_signature(Some(issuer.public_key())).expect("verifies");
        assert!(rest.is_empty() && !certificate.is_ca());
        assert_eq!(certificate.issuer(), issuer.subject());
        assert_eq!(certificate.subject().to_string(), "CN=system:node:n1");
        assert_eq!(certificate.validity().not_after.timestamp(), until.as_second());
        assert_eq!(certificate.validity().not_before.timestamp(), now.as_second() - 300);
        let names = certificate.subject_alternative_name().expect("parses").expect("there");
        assert_eq!(names.value.general_names.len(), 2);
        let purposes = certificate.extended_key_usage().expect("parses").expect("there");
        assert!(purposes.value.server_auth && !purposes.value.client_auth);
        let usage = certificate.key_usage().expect("parses").expect("there");
        assert!(usage.value.digital_signature() && !usage.value.key_cert_sign());
    }
}
